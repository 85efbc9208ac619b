"""No transcript of silence is invented."""

from __future__ import annotations

import pytest

from experiments.benchmarks.speech import quiet_clips
from jc1.speech.base import Audio, Hearing
from jc1.speech.whisper import Whisper

CLIPS = list(quiet_clips())


def test_there_are_fifty_clips_and_no_two_are_alike() -> None:
    assert len(CLIPS) == 50
    assert len({clip.samples.tobytes() for _, clip in CLIPS}) == 50


@pytest.mark.parametrize("clip", [clip for _, clip in CLIPS], ids=[name for name, _ in CLIPS])
def test_where_nobody_speaks_no_word_is_written(whisper: Whisper, clip: Audio) -> None:
    assert list(whisper.transcribe(clip, Hearing())) == []
