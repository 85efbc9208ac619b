"""Voice activity: where somebody speaks, in a whole recording or while it comes in.

Knows Silero VAD (https://github.com/snakers4/silero-vad, version 6, which faster-whisper's package holds in ONNX) and
how its probabilities become stretches of speech. Knows nothing about what is said, or about turns of a talk.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from jc1.speech.base import HEARING_RATE, Audio
from jc1.speech.weights import check, package_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

WINDOW = 512
"""Samples that one probability is for: 32 ms."""
CONTEXT = 64
"""Samples before a window that Silero reads too."""
STATE = (1, 1, 128)
WINDOW_SECONDS = WINDOW / HEARING_RATE
SHA256 = "4cbf549b8326f60f80f2536d9eefeb450a9abe83365a098031c89719f1be17d2"
WINDOWS_TOGETHER = 10_000
"""Windows in one call: five minutes, 23 MB."""


@dataclass(frozen=True, slots=True)
class Knobs:
    """What counts as speech, under LiveKit's names. Durations in seconds."""

    activation_threshold: float = 0.5
    """Probability from which on somebody speaks."""
    deactivation_threshold: float = 0.35
    """Probability under which the speaker is silent; between the two it stays as it was."""
    min_speech_duration: float = 0.2
    """Shorter sounds are none of speech: a click, a cough, the attack of a note. "No" has a quarter of a second."""
    min_silence_duration: float = 0.5
    """Silence that ends a stretch of speech."""
    prefix_padding_duration: float = 0.3
    """What belongs to a stretch before its start: the first sound of a word is quiet."""


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Somebody begins to speak, at `start` seconds of the sound with the padding before it."""

    start: float


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """Somebody spoke from `start` to `end`, in seconds of the sound, the padding before it included."""

    start: float
    end: float


class SpeechProbability:
    """Silero's probability that somebody speaks, window by window, of sound that comes in pieces.

    Not for several threads at a time: it remembers what it heard.
    """

    def __init__(self) -> None:
        self._session = _session()
        self._h = np.zeros(STATE, np.float32)
        self._c = np.zeros(STATE, np.float32)
        self._context = np.zeros(CONTEXT, np.float32)
        self._rest = np.zeros(0, np.float32)

    def feed(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a probability for each whole window, shape (windows,); what is left over waits for more.

        Args:
            samples: float32 of shape (n,) at `HEARING_RATE`, which go on where the last ones ended.
        """
        sound = np.concatenate([self._rest, samples])
        count = len(sound) // WINDOW
        self._rest = sound[count * WINDOW :]
        if not count:
            return np.zeros(0, np.float32)
        windows = sound[: count * WINDOW].reshape(count, WINDOW)
        before = np.concatenate([self._context[None], windows[:-1, -CONTEXT:]])  # (windows, CONTEXT)
        self._context = windows[-1, -CONTEXT:]
        inputs = np.concatenate([before, windows], axis=1)  # (windows, CONTEXT + WINDOW)
        probabilities = []
        for start in range(0, count, WINDOWS_TOGETHER):
            batch = {"input": inputs[start : start + WINDOWS_TOGETHER], "h": self._h, "c": self._c}
            probability, self._h, self._c = self._session.run(None, batch)
            probabilities.append(np.asarray(probability, np.float32).reshape(-1))
        return np.concatenate(probabilities)


class Activity:
    """Starts and ends of speech in sound that comes in pieces: feed it, and it tells what happened."""

    def __init__(self, knobs: Knobs | None = None) -> None:
        self._knobs = knobs or Knobs()
        self._probability = SpeechProbability()
        self._windows = 0
        self._start: int | None = None
        """The window in which speech began, also while it is too short to count."""
        self._silent: int | None = None
        """The window since which the speaker is silent."""
        self._speaking = False

    @property
    def speaking(self) -> bool:
        """Return whether somebody speaks, as far as has been heard."""
        return self._speaking

    def feed(self, samples: NDArray[np.float32]) -> list[SpeechStarted | SpeechEnded]:
        """Return what happened in these samples, float32 of shape (n,) at `HEARING_RATE`."""
        events: list[SpeechStarted | SpeechEnded] = []
        for probability in self._probability.feed(samples):
            events.extend(self._step(float(probability)))
            self._windows += 1
        return events

    def finish(self) -> list[SpeechEnded]:
        """Return the end of the stretch that was not over when the sound was."""
        if not self._speaking or self._start is None:
            return []
        self._speaking = False
        return [SpeechEnded(self._padded(self._start), self._windows * WINDOW_SECONDS)]

    def _step(self, probability: float) -> Iterator[SpeechStarted | SpeechEnded]:
        knobs, now = self._knobs, self._windows
        if probability >= knobs.activation_threshold:
            self._silent = None
            if self._start is None:
                self._start = now
            if not self._speaking and (now + 1 - self._start) * WINDOW_SECONDS >= knobs.min_speech_duration:
                self._speaking = True
                yield SpeechStarted(self._padded(self._start))
        elif probability < knobs.deactivation_threshold and self._start is not None:
            if not self._speaking:
                self._start = None
                return
            if self._silent is None:
                self._silent = now
            if (now + 1 - self._silent) * WINDOW_SECONDS >= knobs.min_silence_duration:
                yield SpeechEnded(self._padded(self._start), self._silent * WINDOW_SECONDS)
                self._start, self._silent, self._speaking = None, None, False

    def _padded(self, start: int) -> float:
        return max(0.0, start * WINDOW_SECONDS - self._knobs.prefix_padding_duration)


def stretches(audio: Audio, knobs: Knobs | None = None) -> list[tuple[float, float]]:
    """Return where somebody speaks in a whole recording, as (start, end) in seconds; nothing where nobody does.

    The padding stands on both sides of a stretch, as far as the recording and the next stretch leave room.
    """
    knobs = knobs or Knobs()
    activity = Activity(knobs)
    # The last window is filled up with silence, so that its sound is heard too.
    events = [*activity.feed(audio.samples), *activity.feed(np.zeros(WINDOW, np.float32)), *activity.finish()]
    spoken = [(event.start, event.end) for event in events if isinstance(event, SpeechEnded)]
    limits = [*(start for start, _ in spoken[1:]), audio.seconds]
    return [
        (start, max(min(end + knobs.prefix_padding_duration, limit), min(end, audio.seconds)))
        for (start, end), limit in zip(spoken, limits, strict=False)
    ]


def windows(spoken: Sequence[tuple[float, float]], *, longest: float, gap: float) -> list[tuple[float, float]]:
    """Return what a model is to hear at once: stretches of speech, (start, end) in seconds, joined while they are near.

    Args:
        longest: Seconds of a window at most; a longer stretch is cut into equal parts.
        gap: Seconds of silence inside a window at most.
    """
    joined: list[tuple[float, float]] = []
    for start, end in spoken:
        if joined and end - joined[-1][0] <= longest and start - joined[-1][1] <= gap:
            joined[-1] = joined[-1][0], end
            continue
        parts = max(1, math.ceil((end - start) / longest))
        length = (end - start) / parts
        joined += [(start + part * length, start + (part + 1) * length) for part in range(parts)]
    return joined


@cache
def _session() -> Any:
    """Return the model, which is small (1 MB) and shared by all who listen. Raises `SpeechUnavailable`."""
    import onnxruntime

    file = package_folder("faster_whisper", "pip install jc1.") / "assets" / "silero_vad_v6.onnx"
    check(file, SHA256)
    options = onnxruntime.SessionOptions()
    # A window takes .1 ms on one core: more would wait for each other.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
