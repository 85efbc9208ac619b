"""The models that hear and speak, loaded once for all tests, and workbenches that borrow them.

Knows no test. What is heavy is imported when a test asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from jc1.messages import AudioPart
    from jc1.speech.base import Audio, Synthesizer, Transcriber
    from jc1.speech.openai import OpenAISynthesizer, OpenAITranscriber
    from jc1.speech.piper import Piper
    from jc1.speech.whisper import Whisper
    from jc1.workbench import Workbench
    from tests.support.speech_server import SpeechServer


class Borrowed:
    """A model that whoever borrows it cannot close."""

    def __init__(self, model: Transcriber | Synthesizer) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def close(self) -> None:
        pass


def lend(bench: Workbench, ears: Transcriber, voice: Synthesizer) -> Workbench:
    """Return the workbench with models that are loaded already, and outlive it."""
    vars(bench)["ears"], vars(bench)["voice"] = Borrowed(ears), Borrowed(voice)
    return bench


def samples_of(audio: Audio) -> AudioPart:
    """Return sound as a part of a message."""
    from jc1.messages import PCM, AudioPart

    return AudioPart((audio.samples * 32767).astype("<i2").tobytes(), PCM)


@pytest.fixture(scope="session")
def whisper() -> Iterator[Whisper]:
    from jc1.speech.whisper import Whisper

    model = Whisper()
    yield model
    model.close()


@pytest.fixture(scope="session")
def piper() -> Iterator[Piper]:
    from jc1.speech.piper import Piper

    voice = Piper()
    yield voice
    voice.close()


@pytest.fixture(scope="session")
def jfk() -> Audio:
    from tests.support import sounds

    return sounds.read(sounds.JFK)


@pytest.fixture(scope="session")
def say(piper: Piper) -> Callable[[str], Audio]:
    """Return what reads a text out, at the rate that transcribers take."""
    from tests.support import sounds

    return lambda text: sounds.resampled(sounds.joined(list(piper.synthesize(text))))


@pytest.fixture(scope="module")
def speech_server(whisper: Whisper, piper: Piper) -> Iterator[SpeechServer]:
    """A server of OpenAI's audio endpoints over these models."""
    from tests.support.speech_server import SpeechServer, serving

    with serving(SpeechServer(whisper, piper)) as running:
        yield running


@pytest.fixture(scope="module")
def openai_ears(speech_server: SpeechServer) -> Iterator[OpenAITranscriber]:
    from jc1.speech.openai import OpenAITranscriber

    client = OpenAITranscriber(speech_server.url, "whisper-1")
    yield client
    client.close()


@pytest.fixture(scope="module")
def openai_voice(speech_server: SpeechServer) -> Iterator[OpenAISynthesizer]:
    from jc1.speech.openai import OpenAISynthesizer

    client = OpenAISynthesizer(speech_server.url, "tts-1", "alloy")
    yield client
    client.close()
