"""The models that hear and speak, loaded once for all tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from jc1.speech.base import Audio
from jc1.speech.piper import Piper
from jc1.speech.whisper import Whisper
from tests.support import sounds


@pytest.fixture(scope="session")
def whisper() -> Iterator[Whisper]:
    model = Whisper()
    yield model
    model.close()


@pytest.fixture(scope="session")
def piper() -> Iterator[Piper]:
    voice = Piper()
    yield voice
    voice.close()


@pytest.fixture(scope="session")
def jfk() -> Audio:
    return sounds.read(sounds.JFK)


@pytest.fixture(scope="session")
def say(piper: Piper) -> Callable[[str], Audio]:
    """Return what reads a text out, at the rate that transcribers take."""
    return lambda text: sounds.resampled(sounds.joined(list(piper.synthesize(text))))
