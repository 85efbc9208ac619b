"""What every transcriber does: one suite for all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest

from jc1.errors import CannotTranslate, SpeechFailed, UnknownLanguage
from jc1.speech.base import Audio, Hearing, Transcriber, Transcript
from jc1.speech.whisper import Whisper
from tests.support import sounds


@pytest.fixture(scope="module", params=["whisper", "openai_ears"])
def transcriber(request: pytest.FixtureRequest) -> Transcriber:
    model: Transcriber = request.getfixturevalue(request.param)
    return model


def text_of(transcriber: Transcriber, audio: Audio) -> str:
    segments = transcriber.transcribe(audio, Hearing())
    return Transcript.of(segments, duration=audio.seconds, language="en").text


def test_a_real_voice_is_written_down(transcriber: Transcriber, jfk: Audio) -> None:
    assert sounds.word_error_rate(sounds.JFK_TEXT, text_of(transcriber, jfk)) <= 0.05


def test_segments_follow_each_other_within_the_recording(transcriber: Transcriber, jfk: Audio) -> None:
    segments = list(transcriber.transcribe(jfk, Hearing()))
    times = [time for segment in segments for time in (segment.start, segment.end)]
    assert segments
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= jfk.seconds + 0.5
    assert all(segment.language == "en" and segment.words == () for segment in segments)


def test_words_have_places_where_they_are_asked_for(transcriber: Transcriber, say: Callable[[str], Audio]) -> None:
    spoken = say("The weather is fine today.")
    words = [word for segment in transcriber.transcribe(spoken, Hearing(words=True)) for word in segment.words]
    assert sounds.plain_words("".join(word.text for word in words)) == ["the", "weather", "is", "fine", "today"]
    assert all(0 <= word.start <= word.end <= spoken.seconds + 0.5 for word in words)
    assert all(0 <= word.probability <= 1 for word in words)


def test_places_count_from_the_recordings_start(transcriber: Transcriber, say: Callable[[str], Audio]) -> None:
    late = sounds.joined([sounds.silence(4.0), say("The weather is fine today."), sounds.silence(0.5)])
    (segment,) = transcriber.transcribe(late, Hearing())
    assert 3.4 < segment.start < 4.6


def test_nothing_is_written_where_nobody_speaks(transcriber: Transcriber) -> None:
    for quiet in (sounds.silence(0.0), sounds.silence(2.0), sounds.noise(2.0, "white"), sounds.music(3.0)):
        assert list(transcriber.transcribe(quiet, Hearing())) == []


def test_a_language_that_it_does_not_know_is_refused_by_name(transcriber: Transcriber, jfk: Audio) -> None:
    known = transcriber.languages  # none where only its server knows
    with pytest.raises(UnknownLanguage if known else SpeechFailed) as caught:
        list(transcriber.transcribe(jfk, Hearing(language="xx")))
    assert caught.value.param == ("language" if known else None)
    assert all(language in caught.value.message for language in known[:12])


def test_who_cannot_translate_says_so(transcriber: Transcriber, jfk: Audio) -> None:
    if transcriber.translates:
        assert list(transcriber.transcribe(jfk, Hearing(translate=True)))
    else:
        with pytest.raises(CannotTranslate):
            list(transcriber.transcribe(jfk, Hearing(translate=True)))


def test_who_closes_after_a_segment_hears_no_more(transcriber: Transcriber, say: Callable[[str], Audio]) -> None:
    sentence = say("The weather is fine today.")
    apart = sounds.joined([sentence, sounds.silence(4.0), sentence])  # two windows
    with closing(transcriber.transcribe(apart, Hearing())) as segments:  # type: ignore[type-var]
        assert next(segments).text
    assert list(segments) == []


def test_it_can_be_loaded_twice_and_says_what_it_is(transcriber: Transcriber) -> None:
    transcriber.load()
    transcriber.load()
    assert transcriber.name
    assert transcriber.model


def test_one_that_is_closed_says_so(jfk: Audio) -> None:
    from jc1.errors import SpeechUnavailable

    closed = Whisper()
    closed.close()
    with pytest.raises(SpeechUnavailable, match="closed"):
        list(closed.transcribe(jfk, Hearing()))
