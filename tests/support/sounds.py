"""Sounds for tests: speech out of files, and what `experiments.benchmarks.sounds` makes.

Knows where the file is. Knows no model.
"""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from experiments.benchmarks.sounds import (
    COLOURS,
    joined,
    music,
    noise,
    plain_words,
    resampled,
    silence,
    word_error_rate,
)
from jc1.speech.base import HEARING_RATE, Audio

__all__ = ["COLOURS", "JFK", "JFK_TEXT", "joined", "music", "noise", "plain_words", "read", "resampled", "silence",
           "word_error_rate"]  # fmt: skip

JFK = Path(__file__).parents[1] / "data" / "jfk.ogg"
"""Eleven seconds of a real voice."""
JFK_TEXT = (
    "And so, my fellow Americans, ask not what your country can do for you, ask what you can do for your country."
)


def read(file: Path, rate: int = HEARING_RATE) -> Audio:
    """Return a file's sound as mono at `rate`."""
    with av.open(str(file)) as container:
        resampler = av.AudioResampler("flt", "mono", rate)
        frames = [piece for frame in container.decode(audio=0) for piece in resampler.resample(frame)]
        frames += resampler.resample(None)
    return Audio(np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]), rate)
