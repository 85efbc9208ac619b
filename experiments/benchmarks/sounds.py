"""Sounds to measure hearing with: noise of several colours, music, babble; and how far a text is from what was said.

Knows how sounds are made from a seed, mixed and compared. Knows no model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import av
import numpy as np
from numpy.typing import NDArray

from jc1.speech.base import HEARING_RATE, Audio
from jc1.speech.speakable import speakable

COLOURS = {"white": 0.0, "pink": 1.0, "brown": 2.0, "blue": -1.0}
"""Colours of noise, by the exponent of the frequency with which their power falls."""


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
    return Audio(_at(np.fft.irfft(spectrum * frequencies ** (-COLOURS[colour] / 2), count), level), rate)


def music(seconds: float, *, seed: int = 0, level: float = 0.1, rate: int = HEARING_RATE) -> Audio:
    """Return tones, chords and broken chords with overtones that die away, as a piano's do."""
    random = np.random.default_rng(seed)
    sound = np.zeros(int(seconds * rate))
    at = 0.0
    while at < seconds:
        length = float(random.uniform(0.15, 1.2))
        root = 110.0 * 2 ** (random.integers(0, 24) / 12)
        steps = ((0,), (0, 4, 7), (0, 3, 7, 10))[random.integers(0, 3)]
        apart = float(random.choice([0.0, 0.1]))  # a chord, or one broken into its notes
        for number, step in enumerate(steps):
            start = int((at + number * apart) * rate)
            times = np.arange(max(0, min(int(length * rate), len(sound) - start))) / rate
            pitch = root * 2 ** (step / 12)
            tone = sum(np.sin(2 * np.pi * pitch * k * times) / k**1.5 for k in range(1, 6))
            sound[start : start + len(times)] += tone * np.exp(-3 * times)
        at += length
    return Audio(_at(sound, level), rate)


def babble(voices: Iterable[Audio], seconds: float, *, seed: int = 0) -> Audio:
    """Return several voices at once, each repeated from a place of its own until the end."""
    random = np.random.default_rng(seed)
    count = int(seconds * HEARING_RATE)
    together = np.zeros(count)
    for voice in voices:
        start = int(random.integers(0, len(voice.samples)))
        together += np.resize(np.roll(voice.samples, start), count) / _loudness(voice.samples)
    return Audio(_at(together, 0.1), HEARING_RATE)


def mixed(speech: Audio, disturbance: Audio, decibels: float) -> Audio:
    """Return speech with a disturbance so many decibels below it, by the root mean square of both."""
    other = disturbance.samples[: len(speech.samples)]
    gain = _loudness(speech.samples) / _loudness(other) / 10 ** (decibels / 20)
    return Audio(np.clip(speech.samples + gain * other, -1, 1).astype(np.float32), speech.rate)


def _loudness(sound: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64)))) or 1.0


def _at(sound: NDArray[np.float64], level: float) -> NDArray[np.float32]:
    return np.clip(sound * (level / _loudness(sound)), -1, 1).astype(np.float32)


def plain_words(text: str) -> list[str]:
    """Return the words of a text for comparison: in lower case, without marks and apostrophes, numbers written out."""
    return re.findall(r"[a-z]+", re.sub(r"['’]", "", speakable(text).lower()))


def word_errors(expected: str, heard: str) -> tuple[int, int]:
    """Return the least number of words to insert, delete or replace, and how many were expected (Levenshtein)."""
    reference, hypothesis = plain_words(expected), plain_words(heard)
    row = list(range(len(hypothesis) + 1))
    for i, word in enumerate(reference, 1):
        previous, row[0] = row[0], i
        for j, other in enumerate(hypothesis, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (word != other))
    return row[-1], len(reference)


def word_error_rate(expected: str, heard: str) -> float:
    errors, words = word_errors(expected, heard)
    return errors / max(1, words)
