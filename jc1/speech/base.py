"""What hearing and speaking share: sound, what was heard in it, and the two interfaces.

Knows the shapes and what a model of either kind must do. Knows nothing about models, files, formats of sound or threads
(`jc1.speech.threads` steps through what blocks here).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HEARING_RATE = 16_000
"""Samples a second that `Transcriber` and voice activity detection take (Whisper and Silero are trained on it)."""


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """Mono sound: `samples`, float32 of shape (n,) between -1 and 1, `rate` of them a second."""

    samples: NDArray[np.float32]
    rate: int

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate


@dataclass(frozen=True, slots=True)
class Word:
    """A word that was heard, with its place in seconds from the start of the sound."""

    text: str
    start: float
    end: float
    probability: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech, about a sentence, with its place in seconds from the start of the sound.

    The figures are the model's own, as OpenAI's `verbose_json` names them. A model that gives none leaves the defaults.
    """

    text: str
    """As it continues the one before: with the space that leads it, in languages that write any."""
    start: float
    end: float
    words: tuple[Word, ...] = ()
    """Empty where no words were asked for."""
    language: str = "en"
    tokens: tuple[int, ...] = ()
    temperature: float = 0.0
    avg_logprob: float = 0.0
    """Mean log-probability of the tokens: nearer to zero is surer."""
    compression_ratio: float = 1.0
    """Bytes of the text over bytes of it compressed: high where the model repeats itself."""
    no_speech_prob: float = 0.0
    """Probability that nobody speaks here."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """All that was heard in a sound of `duration` seconds. Its text is empty where nobody spoke."""

    text: str
    language: str
    duration: float
    segments: tuple[Segment, ...] = ()

    @classmethod
    def of(cls, segments: Iterable[Segment], *, duration: float, language: str) -> Transcript:
        """Return segments as one; `language` is told where there are none."""
        heard = tuple(segments)
        text = "".join(segment.text for segment in heard).strip()
        return cls(text, heard[0].language if heard else language, duration, heard)


@dataclass(frozen=True, slots=True)
class Hearing:
    """How a sound is to be heard."""

    language: str | None = None
    """ISO 639-1, such as `en`; None lets a model of several languages find it."""
    prompt: str | None = None
    """What was said before, or names that may come: the model then spells them so."""
    temperature: float = 0.0
    """Of sampling; 0 takes the likeliest token, and rises by itself where the model repeats itself or is unsure."""
    words: bool = False
    """Whether each word's place is wanted, which takes longer."""
    translate: bool = False
    """Whether to write English, whatever is spoken."""


class Transcriber(Protocol):
    """Writes down what is said. Blocks; may be called from any thread, several at a time."""

    name: str
    """What runs it, as the setting `transcriber` says."""

    model: str
    """The model's name, as clients name it."""

    languages: tuple[str, ...]
    """Those that it understands, as ISO 639-1; empty where only a server, or a model not yet fetched, knows."""

    translates: bool
    """Whether it can write English of other languages."""

    def load(self) -> None:
        """Load the model now, if that has not been done, not at first use. Raises `SpeechUnavailable`."""

    def transcribe(self, audio: Audio, hearing: Hearing) -> Iterator[Segment]:
        """Yield what is said, segment by segment as it is heard; nothing where nobody speaks. Closing it stops.

        Args:
            audio: At `HEARING_RATE`.

        Raises:
            UnknownLanguage: It does not understand the language; the message says which it does.
            CannotTranslate: It writes what is spoken, and no other language.
            SpeechUnavailable: The model cannot be loaded, or its server not reached.
            SpeechFailed: It broke while it listened.
        """

    def close(self) -> None:
        """Free the model's memory. It cannot be used again."""


class Synthesizer(Protocol):
    """Reads text out. Blocks; may be called from any thread, several at a time."""

    name: str
    """What runs it, as the setting `synthesizer` says."""

    model: str
    """The model's name, as clients name it."""

    voices: tuple[str, ...]
    """Those that it has, the one that speaks where none is named first; empty where only a server knows."""

    language: str
    """What it reads out, as ISO 639-1; empty where only its server knows."""

    rate: int
    """Samples a second of what it says."""

    def load(self) -> None:
        """Load the model now, if that has not been done, not at first use. Raises `SpeechUnavailable`."""

    def synthesize(self, text: str, *, voice: str | None = None, speed: float = 1.0) -> Iterator[Audio]:
        """Yield the sound of the text, one sentence or less at a time; nothing where no letter is to be said.

        Args:
            text: As it is to be said: `jc1.speech.speakable` makes it so.
            voice: One of `voices`; None takes the first.
            speed: From `SLOWEST` to `FASTEST`; 1 is the voice's own.

        Raises:
            UnknownVoice: It has no such voice; the message says which it has.
            SpeechUnavailable: The model cannot be loaded, or its server not reached.
            SpeechFailed: It broke while it spoke.
        """

    def close(self) -> None:
        """Free the model's memory. It cannot be used again."""


SLOWEST, FASTEST = 0.25, 4.0
"""Speeds that OpenAI's speech endpoint takes."""


@dataclass(frozen=True, slots=True)
class Speaking:
    """How a text is to be read out."""

    voice: str | None = None
    """None takes the synthesizer's first."""
    speed: float = 1.0
