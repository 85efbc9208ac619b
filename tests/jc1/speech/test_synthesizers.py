"""What every synthesizer does: one suite for all."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from jc1.errors import SpeechFailed, UnknownVoice
from jc1.speech.base import Hearing, Synthesizer, Transcript
from jc1.speech.whisper import Whisper
from tests.support import sounds

TEXT = "The weather is fine today. We walk to the market."


@pytest.fixture(scope="module", params=["piper", "openai_voice"])
def synthesizer(request: pytest.FixtureRequest) -> Synthesizer:
    model: Synthesizer = request.getfixturevalue(request.param)
    return model


def test_what_it_says_can_be_understood(synthesizer: Synthesizer, whisper: Whisper) -> None:
    sound = sounds.resampled(sounds.joined(list(synthesizer.synthesize(TEXT))))
    heard = Transcript.of(whisper.transcribe(sound, Hearing()), duration=sound.seconds, language="en")
    assert sounds.word_error_rate(TEXT, heard.text) <= 0.2


def test_sentences_come_one_by_one_as_sound_at_its_rate(synthesizer: Synthesizer) -> None:
    pieces = list(synthesizer.synthesize(TEXT))
    assert len(pieces) >= 2
    for piece in pieces:
        assert piece.rate == synthesizer.rate
        assert piece.samples.dtype == np.float32
        assert piece.samples.ndim == 1
        assert np.abs(piece.samples).max() <= 1.0
    assert max(np.abs(piece.samples).max() for piece in pieces) > 0.05


def test_speed_shortens_what_is_said(synthesizer: Synthesizer) -> None:
    usual, fast = (sum(piece.seconds for piece in synthesizer.synthesize(TEXT, speed=speed)) for speed in (1.0, 2.0))
    assert fast < 0.75 * usual


def test_a_voice_that_it_has_not_is_refused_and_those_that_it_has_are_told(synthesizer: Synthesizer) -> None:
    known = synthesizer.voices  # none where only its server knows
    assert list(synthesizer.synthesize("Yes.", voice=known[0] if known else "alloy"))
    with pytest.raises(UnknownVoice if known else SpeechFailed) as caught:
        list(synthesizer.synthesize("Yes.", voice="nobody"))
    assert all(voice in caught.value.message for voice in known)


@pytest.mark.parametrize("text", ["", " ", "...", "\x00"])
def test_what_has_nothing_to_say_gives_no_sound(synthesizer: Synthesizer, text: str) -> None:
    assert list(synthesizer.synthesize(text)) == []


@pytest.mark.parametrize("text", ["a\x00b c", "x " * 50, "[[ not phonemes ]]", "😀 日本 ü"])
def test_odd_texts_break_nothing(synthesizer: Synthesizer, text: str) -> None:
    assert all(np.isfinite(piece.samples).all() for piece in synthesizer.synthesize(text))


def test_who_closes_after_a_sentence_hears_no_more(synthesizer: Synthesizer) -> None:
    with closing(synthesizer.synthesize(TEXT)) as pieces:  # type: ignore[type-var]
        assert next(pieces).seconds > 0
    assert list(pieces) == []


def test_it_can_be_loaded_twice_and_says_what_it_is(synthesizer: Synthesizer) -> None:
    synthesizer.load()
    synthesizer.load()
    assert synthesizer.name
    assert synthesizer.model
