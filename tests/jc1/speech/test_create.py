"""Transcribers and synthesizers by the words in the settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from jc1.errors import SpeechUnavailable
from jc1.settings import Settings
from jc1.speech import create_synthesizer, create_transcriber
from jc1.workbench import Workbench


def test_the_default_ones_come_with_the_packages_and_are_not_loaded_yet() -> None:
    settings = Settings()
    assert create_transcriber(settings).name == "whisper"
    assert create_synthesizer(settings).name == "piper"


def test_who_wants_none_is_told_so_when_one_is_asked_for() -> None:
    settings = Settings(transcriber="none", synthesizer="none")
    with pytest.raises(SpeechUnavailable, match="Nothing here hears"):
        create_transcriber(settings)
    with pytest.raises(SpeechUnavailable, match="Nothing here speaks"):
        create_synthesizer(settings)


async def test_a_workbench_keeps_what_it_made_and_closes_it(home: Path) -> None:
    bench = Workbench.open(Settings(home=home, engine="echo"))
    async with bench:
        ears, voice = bench.ears, bench.voice
        assert bench.ears is ears
        assert bench.voice is voice
    with pytest.raises(SpeechUnavailable, match="closed"):
        ears.load()
    with pytest.raises(SpeechUnavailable, match="closed"):
        voice.load()
