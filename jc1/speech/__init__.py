"""Hearing and speaking: what turns recordings into text, and text into recordings.

Knows the lists of transcribers and of synthesizers: one joins by its file and its row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from jc1.settings import Settings
    from jc1.speech.base import Synthesizer, Transcriber


def create_transcriber(settings: Settings) -> Transcriber:
    """Return the transcriber that the settings name; it loads at first use.

    Raises:
        SpeechUnavailable: They name none, or one that is not there.
    """
    return TRANSCRIBERS[settings.transcriber](settings)


def create_synthesizer(settings: Settings) -> Synthesizer:
    """Return the synthesizer that the settings name; it loads at first use.

    Raises:
        SpeechUnavailable: They name none, or one that is not there.
    """
    return SYNTHESIZERS[settings.synthesizer](settings)


def _whisper(settings: Settings) -> Transcriber:
    from jc1.speech.whisper import Whisper

    return Whisper(settings.whisper_model, threads=settings.speech_threads, device=settings.whisper_device)


def _piper(settings: Settings) -> Synthesizer:
    from jc1.speech.piper import Piper

    return Piper(settings.piper_voice, threads=settings.speech_threads)


def _openai_transcriber(settings: Settings) -> Transcriber:
    from jc1.speech.openai import OpenAITranscriber

    return OpenAITranscriber(
        settings.transcriber_url, settings.transcriber_model, settings.transcriber_key.get_secret_value()
    )


def _openai_synthesizer(settings: Settings) -> Synthesizer:
    from jc1.speech.openai import OpenAISynthesizer

    return OpenAISynthesizer(
        settings.synthesizer_url,
        settings.synthesizer_model,
        settings.synthesizer_voice,
        settings.synthesizer_key.get_secret_value(),
    )


def _deaf(settings: Settings) -> NoReturn:
    from jc1.errors import SpeechUnavailable

    raise SpeechUnavailable("Nothing here hears: start JC1 with transcriber = 'whisper' or 'openai'.")


def _mute(settings: Settings) -> NoReturn:
    from jc1.errors import SpeechUnavailable

    raise SpeechUnavailable("Nothing here speaks: start JC1 with synthesizer = 'piper' or 'openai'.")


TRANSCRIBERS: Mapping[str, Callable[[Settings], Transcriber]] = {
    "whisper": _whisper,
    "openai": _openai_transcriber,
    "none": _deaf,
}
"""Factories by the word in the settings."""

SYNTHESIZERS: Mapping[str, Callable[[Settings], Synthesizer]] = {
    "piper": _piper,
    "openai": _openai_synthesizer,
    "none": _mute,
}
"""Factories by the word in the settings."""
