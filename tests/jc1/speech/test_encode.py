"""Files of sound that are sent while they are made."""

from __future__ import annotations

import io
import wave

import numpy as np
import pytest

from jc1.errors import InvalidRequest
from jc1.speech.base import Audio
from jc1.speech.decode import answer, format_of
from jc1.speech.encode import FORMATS, Encoder
from tests.support import recordings

RATE = 22_050
"""That of the bundled voice."""


def written(name: str, *pieces: Audio) -> list[bytes]:
    """Return what an encoder gives for each piece, and at the end."""
    encoder = Encoder(name, RATE)
    return [*(encoder.add(piece) for piece in pieces), encoder.finish()]


@pytest.fixture(scope="module")
def second() -> Audio:
    return Audio(recordings.tone(1.0, rate=RATE), RATE)


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "pcm"])
def test_what_is_written_sounds_as_what_was_made(name: str, second: Audio) -> None:
    data = b"".join(written(name, second, second, second))
    _, samples = answer(data, format_of(data), 60, 16_000)
    sound = np.frombuffer(samples, np.float32)
    assert len(sound) / 16_000 == pytest.approx(3.0, abs=0.15)
    assert recordings.pitch(sound, 16_000) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("name", FORMATS)
def test_most_of_a_sentence_is_out_before_the_next_is_made(name: str, second: Audio) -> None:
    first, *rest = written(name, second, second, second)
    assert len(first) > 0.2 * len(first + b"".join(rest))
    if name != "pcm":
        _, samples = answer(first, format_of(first), 60, 16_000)
        assert len(samples) / 4 / 16_000 > 0.75


def test_pcm_is_24_khz_without_a_header_whatever_the_voice_has(second: Audio) -> None:
    samples = np.frombuffer(b"".join(written("pcm", second, second)), "<i2").astype(np.float32) / np.float32(32768)
    assert len(samples) / 24_000 == pytest.approx(2.0, abs=0.01)
    assert recordings.pitch(samples, 24_000) == pytest.approx(440, abs=2)


def test_wav_is_what_other_readers_take(second: Audio) -> None:
    data = b"".join(written("wav", second))
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)
        assert file.readframes(2 * RATE) == data[44:]


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_without_sound_ends_in_order(name: str) -> None:
    assert len(b"".join(written(name))) < 10_000


def test_what_is_too_loud_is_cut_and_does_not_wrap_around() -> None:
    loud = Audio(np.array([2.0, -2.0], np.float32), RATE)
    assert np.frombuffer(written("wav", loud)[0][44:], "<i2").tolist() == [32767, -32767]


def test_a_format_that_is_not_written_is_refused_with_those_that_are() -> None:
    with pytest.raises(InvalidRequest, match="'midi': send mp3, opus, aac, flac, wav, pcm"):
        Encoder("midi", RATE)
