"""Which model a name means."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jc1.errors import UnknownModel
from jc1.models import BUNDLED, bundled, resolve


def test_a_bundled_name_is_its_folder() -> None:
    assert "jc1-tiny" in bundled()
    source = resolve("jc1-tiny")
    assert (source.name, source.kind, source.path) == ("jc1-tiny", "bundled", BUNDLED / "jc1-tiny")


def test_a_folder_is_called_by_its_last_name(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    source = resolve(str(folder))
    assert (source.name, source.kind, source.path) == ("mine", "folder", folder)


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match=r"holds no config\.json"):
        resolve(str(tmp_path))


def test_a_hub_id_is_kept_for_later() -> None:
    source = resolve("Qwen/Qwen2.5-0.5B-Instruct")
    assert (source.name, source.kind, source.location) == (
        "Qwen/Qwen2.5-0.5B-Instruct",
        "hub",
        "Qwen/Qwen2.5-0.5B-Instruct",
    )


@pytest.mark.parametrize("name", ["", "   ", "jc1-huge", "/no/such/folder", "a/b/c", "../up", "org/na me", "org/"])
def test_any_other_name_is_refused_with_the_next_step(name: str) -> None:
    with pytest.raises(UnknownModel, match="use a bundled one"):
        resolve(name)


def test_importing_it_is_cheap() -> None:
    heavy = {"torch", "transformers", "jinja2", "sentencepiece"}
    code = f"import sys, jc1.models, jc1.tokenizer.tokenizer; print(sorted({heavy!r} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
