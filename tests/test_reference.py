"""What docs/ says of the code is what the code says: files, public names, commands and settings."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """tools/reference.py as a module."""
    spec = importlib.util.spec_from_file_location("reference", ROOT / "tools" / "reference.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_docs_say_of_the_code_is_up_to_date(reference: ModuleType) -> None:
    for name, text in reference.documents().items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == text, f"docs/{name} is stale: run `make docs`"


def test_every_path_that_the_architecture_names_is_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("<!-- files")[0]
    named = re.findall(r"`((?:jc1|api|ui|experiments|tests|docs|jc1_lab)/[\w/.]+)`", text)
    assert len(named) > 20
    for path in named:
        folder = ROOT / "experiments" if path.startswith("jc1_lab/") else ROOT
        assert (folder / path).exists(), path
