"""Recordings as people send them: every kind and rate, and what is wrong with some."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jc1.errors import AudioTooLong, DamagedAudio, InvalidRequest, RequestTooLarge, UnsupportedAudio
from jc1.speech.base import Audio
from jc1.speech.decode import answer, decode, format_of
from jc1.speech.encode import wav_header
from tests.support import recordings


def here(data: bytes, *, max_seconds: float = 60) -> Audio:
    """Decode as the confined process does, in this one: tests of formats need no process each."""
    _, samples = answer(data, format_of(data), max_seconds, 16_000)
    return Audio(np.frombuffer(samples, np.float32), 16_000)


@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", recordings.KINDS)
def test_every_kind_becomes_the_same_sound(kind: str, channels: int, rate: int) -> None:
    audio = here(recordings.recorded(kind, *[recordings.tone(1.5, rate=rate)] * channels, rate=rate))
    assert audio.seconds == pytest.approx(1.5, abs=0.15)
    assert recordings.pitch(audio.samples, 16_000) == pytest.approx(440, abs=2)
    # Of a sine's samples 5 % are within 1 % of its peak; AAC overshoots where a tone begins.
    assert np.quantile(np.abs(audio.samples), 0.95) == pytest.approx(0.5, abs=0.05)


def test_it_is_decoded_in_another_process() -> None:
    audio = decode(recordings.recorded("webm", recordings.tone(1.0)), max_seconds=60, max_bytes=1_000_000)
    assert (audio.rate, audio.samples.dtype) == (16_000, np.dtype(np.float32))
    assert recordings.pitch(audio.samples, 16_000) == pytest.approx(440, abs=2)


def test_channels_become_one_by_their_mean() -> None:
    left, silence = recordings.tone(1.0), np.zeros(16_000, np.float32)
    assert np.abs(here(recordings.recorded("wav", left, silence)).samples).max() == pytest.approx(0.25, abs=0.01)


def test_a_film_is_heard() -> None:
    audio = here(recordings.recorded("m4a", recordings.tone(1.0), picture=True))
    assert recordings.pitch(audio.samples, 16_000) == pytest.approx(440, abs=2)


def test_a_file_whose_channels_change_on_the_way_is_heard_to_its_end() -> None:
    one = recordings.tone(1.0)
    audio = here(recordings.recorded("mp3", one) + recordings.recorded("mp3", one, one))
    assert audio.seconds == pytest.approx(2.0, abs=0.2)
    assert recordings.pitch(audio.samples, 16_000) == pytest.approx(440, abs=2)


def test_a_wav_file_whose_length_was_not_known_when_it_was_begun_is_read_to_its_end() -> None:
    samples = (recordings.tone(1.0) * 32767).astype("<i2").tobytes()
    assert here(wav_header(16_000) + samples).seconds == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"", DamagedAudio, "0 bytes"),
        (b"Hello, this is no sound at all.", UnsupportedAudio, "send wav, flac, mp3"),
        (b"%PDF-1.7 a document", UnsupportedAudio, "no recording"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), UnsupportedAudio, "no recording"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", UnsupportedAudio, "no recording"),
        (b"ID3", DamagedAudio, "cannot be decoded"),
        (b"fLaC" + bytes(2000), DamagedAudio, "cannot be decoded"),
        (b"OggS" + bytes(2000), DamagedAudio, "cannot be decoded"),
        (b"\x1aE\xdf\xa3" + bytes(2000), DamagedAudio, "see that it is complete"),
        (b"\0\0\0\x20ftypM4A " + bytes(2000), DamagedAudio, "see that it is complete"),
        (wav_header(16_000, 0), DamagedAudio, "holds no sound"),
    ],
)
def test_what_is_no_sound_is_refused_by_name(data: bytes, error: type[InvalidRequest], words: str) -> None:
    with pytest.raises(error, match=words):
        here(data)


def test_a_film_without_sound_is_refused_by_name() -> None:
    with pytest.raises(DamagedAudio, match="film without any"):
        here(recordings.film())


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "ogg", "webm", "aac"])
def test_a_recording_that_breaks_off_is_heard_as_far_as_it_goes(kind: str) -> None:
    data = recordings.recorded(kind, recordings.tone(4.0))
    audio = here(data[: len(data) // 2])
    assert 0.9 < audio.seconds < 3.1
    assert recordings.pitch(audio.samples, 16_000) == pytest.approx(440, abs=3)


def test_an_m4a_file_whose_index_is_cut_off_is_refused_by_name() -> None:
    data = recordings.recorded("m4a", recordings.tone(2.0))
    with pytest.raises(DamagedAudio, match="see that it is complete"):
        here(data[: len(data) // 2])


def test_more_bytes_than_are_allowed_are_not_looked_at() -> None:
    with pytest.raises(RequestTooLarge, match="1,001 bytes, 1,000 are allowed"):
        decode(bytes(1001), max_seconds=60, max_bytes=1000)


def test_three_hours_are_refused_by_the_header_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(recordings.recorded("flac", recordings.tone(0.1)))
    struct.pack_into(">I", data, 22, 3 * 3600 * 16_000)  # the samples in all, as the format's STREAMINFO has them

    def decoded(*_: object) -> Any:
        raise AssertionError("it was decoded")

    monkeypatch.setattr("jc1.speech.decode._frames", decoded)
    with pytest.raises(AudioTooLong, match="longer than the 600 seconds"):
        here(bytes(data), max_seconds=600)


def test_a_recording_that_does_not_tell_its_length_is_refused_when_it_has_gone_on_too_long() -> None:
    data = recordings.recorded("webm", recordings.tone(8.0))
    # What browsers record has no duration: its element (0x4489) becomes one that is skipped (0xEC, Void).
    at = data.index(b"\x44\x89\x88")
    live = data[:at] + b"\xec\x40\x08" + data[at + 3 :]
    assert here(live).seconds == pytest.approx(8.0, abs=0.1)
    with pytest.raises(AudioTooLong):
        here(live, max_seconds=4)


def test_one_that_is_just_as_long_as_allowed_passes_with_what_encoders_add() -> None:
    assert here(recordings.recorded("aac", recordings.tone(2.0)), max_seconds=2).seconds > 2


def test_a_title_in_another_encoding_is_no_fault_of_the_sound() -> None:
    data = recordings.recorded("webm", recordings.tone(1.0))
    assert here(data.replace(b"Lavf", b"\xfcavf")).seconds == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("rate", [1, 2_000_000_000])
def test_a_rate_that_nothing_records_with_is_refused_before_it_makes_minutes_of_a_sample(rate: int) -> None:
    header = bytearray(wav_header(16_000, 2000))
    struct.pack_into("<I", header, 24, rate)
    with pytest.raises((UnsupportedAudio, DamagedAudio)):
        here(bytes(header) + bytes(2000))


def test_what_is_no_number_becomes_silence_and_what_is_too_loud_is_cut() -> None:
    samples = np.array([np.nan, np.inf, -np.inf, 7.0, -0.5] * 1000, "<f4")
    header = bytearray(wav_header(16_000, len(samples) * 4))
    struct.pack_into("<HHIIHH", header, 20, 3, 1, 16_000, 64_000, 4, 32)  # IEEE float, one channel
    audio = here(bytes(header) + samples.tobytes())
    assert np.isfinite(audio.samples).all()
    assert np.abs(audio.samples).max() <= 1


_FILES = {
    kind: recordings.recorded(kind, recordings.tone(0.2)) for kind in ("wav", "flac", "mp3", "ogg", "m4a", "webm")
}


# The same files each time: about one in a hundred thousand crashes FFmpeg, which would end these tests. It ends a
# confined process alone, and is a damaged recording then (tests/jc1/test_confined.py).
@settings(max_examples=40, derandomize=True)
@given(data=st.data())
def test_a_file_that_was_tampered_with_is_heard_or_refused_by_name(data: st.DataObject) -> None:
    file = bytearray(_FILES[data.draw(st.sampled_from(sorted(_FILES)))])
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(file) - 1))
        file[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    try:
        audio = here(bytes(file))
    except (AudioTooLong, DamagedAudio, UnsupportedAudio):
        return
    assert np.isfinite(audio.samples).all()
