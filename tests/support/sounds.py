"""Sounds for tests: speech out of files, and what is no speech, made from a seed.

Knows how sounds are made and compared. Knows no model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from jc1.speech.base import HEARING_RATE, Audio

JFK = Path(__file__).parents[1] / "data" / "jfk.ogg"
"""Eleven seconds of a real voice."""
JFK_TEXT = (
    "And so, my fellow Americans, ask not what your country can do for you, ask what you can do for your country."
)
COLOURS = {"white": 0.0, "pink": 1.0, "brown": 2.0, "blue": -1.0}
"""Colours of noise, by the power of the frequency with which their power falls."""


def read(file: Path, rate: int = HEARING_RATE) -> Audio:
    """Return a file's sound as mono at `rate`."""
    with av.open(str(file)) as container:
        resampler = av.AudioResampler("flt", "mono", rate)
        frames = [piece for frame in container.decode(audio=0) for piece in resampler.resample(frame)]
        frames += resampler.resample(None)
    return Audio(np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]), rate)


def resampled(audio: Audio, rate: int = HEARING_RATE) -> Audio:
    """Return a sound at another rate."""
    resampler = av.AudioResampler("flt", "mono", rate)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(audio.samples).reshape(1, -1), format="flt", layout="mono")
    frame.sample_rate = audio.rate
    pieces = [*resampler.resample(frame), *resampler.resample(None)]
    return Audio(np.concatenate([piece.to_ndarray().reshape(-1) for piece in pieces]), rate)


def joined(pieces: Sequence[Audio]) -> Audio:
    """Return sounds of one rate, one after the other."""
    return Audio(np.concatenate([piece.samples for piece in pieces]), pieces[0].rate)


def silence(seconds: float, rate: int = HEARING_RATE) -> Audio:
    return Audio(np.zeros(int(seconds * rate), np.float32), rate)


def noise(seconds: float, colour: str, *, level: float = 0.1, seed: int = 0, rate: int = HEARING_RATE) -> Audio:
    """Return noise whose power falls with the frequency as its colour says; `level` is its root mean square."""
    count = int(seconds * rate)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    frequencies = np.maximum(np.fft.rfftfreq(count, 1 / rate), 20.0)
    shaped = np.fft.irfft(spectrum * frequencies ** (-COLOURS[colour] / 2), count)
    return Audio(_at(shaped, level), rate)


def music(seconds: float, *, seed: int = 0, level: float = 0.1, rate: int = HEARING_RATE) -> Audio:
    """Return chords, tones or arpeggios with overtones that die away, as a piano's or an organ's do."""
    random = np.random.default_rng(seed)
    sound = np.zeros(int(seconds * rate))
    at = 0.0
    while at < seconds:
        length = float(random.uniform(0.15, 1.2))
        root = 110.0 * 2 ** (random.integers(0, 24) / 12)
        for step in ((0,), (0, 4, 7), (0, 3, 7, 10))[random.integers(0, 3)]:
            times = np.arange(int(min(length, seconds - at) * rate)) / rate
            pitch = root * 2 ** (step / 12)
            tone = sum(np.sin(2 * np.pi * pitch * k * times) / k**1.5 for k in range(1, 6))
            start = int(at * rate)
            sound[start : start + len(times)] += (tone * np.exp(-3 * times))[: len(sound) - start]
        at += length
    return Audio(_at(sound, level), rate)


def _at(sound: NDArray[np.float64], level: float) -> NDArray[np.float32]:
    loudness = float(np.sqrt(np.mean(sound**2))) or 1.0
    return np.clip(sound * (level / loudness), -1, 1).astype(np.float32)


def plain_words(text: str) -> list[str]:
    """Return the words of a text for comparison: in lower case, without marks, numbers written out."""
    from jc1.speech.speakable import speakable

    return re.findall(r"[a-z']+", speakable(text).lower().replace("-", " ").replace("’", "'"))


def word_error_rate(expected: str, heard: str) -> float:
    """Return the edits of words between the texts, over the words expected (Levenshtein)."""
    reference, hypothesis = plain_words(expected), plain_words(heard)
    row = list(range(len(hypothesis) + 1))
    for i, word in enumerate(reference, 1):
        previous, row[0] = row[0], i
        for j, other in enumerate(hypothesis, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (word != other))
    return row[-1] / len(reference)
