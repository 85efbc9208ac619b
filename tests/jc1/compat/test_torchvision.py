"""The patch of torchvision, each case in a fresh process with a stand-in package that fails as the real one does."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy._core._multiarray_umath as any_compiled_module
import pytest

# As torchvision 0.28.0 does: load the operators, forgive a failure, then describe them to torch all the same.
STAND_IN = """
import pathlib
import torch

try:
    torch.ops.load_library(str(pathlib.Path(__file__).parent / "_C.so"))
except OSError:
    pass

def describe():
    @torch.library.register_fake("torchvision::nms")
    def nms(dets, scores, iou_threshold): ...

    @torch.library.register_fake("torchvision::qnms")
    def qnms(dets, scores, iou_threshold): ...
"""


@pytest.fixture
def torchvision(tmp_path: Path) -> Path:
    """A folder for sys.path that holds a torchvision whose operators cannot load."""
    package = tmp_path / "site" / "torchvision"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(STAND_IN + "describe()\n")
    (package / "_C.so").write_bytes(b"built for another machine")
    return package


def run(package: Path, code: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.path.insert(0, {str(package.parent)!r})\n{code}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_it_is_needed_as_long_as_torch_refuses_operators_that_are_described_and_not_there(torchvision: Path) -> None:
    found = run(torchvision, "import torchvision")
    assert "operator torchvision::nms does not exist" in found.stderr


def test_an_unsound_torchvision_is_importable_with_it_and_it_is_applied_once(torchvision: Path) -> None:
    code = (
        "from jc1.compat.torchvision import define_operators; print(define_operators(), define_operators())\n"
        "import torchvision; print('in')"
    )
    found = run(torchvision, code)
    assert found.stdout.split() == ["True", "False", "in"], found.stderr


def test_a_sound_torchvision_is_left_alone(torchvision: Path) -> None:
    shutil.copy(any_compiled_module.__file__, torchvision / "_C.so")
    (torchvision / "__init__.py").write_text(STAND_IN)
    code = "from jc1.compat.torchvision import define_operators; print(define_operators()); import torchvision"
    found = run(torchvision, code)
    assert found.stdout.split() == ["False"], found.stderr
    assert found.returncode == 0, found.stderr


PIXTRAL = "transformers.models.pixtral.image_processing_pixtral"


def test_what_imports_torchvision_without_need_is_imported_where_it_is_absent(tmp_path: Path) -> None:
    """Without the patch it is not: the patch may go where the first line no longer fails."""
    without = run(tmp_path / "none", f"import {PIXTRAL}")
    assert "No module named 'torchvision'" in without.stderr
    code = (
        "from jc1.compat.torchvision import stood_in\n"
        f"with stood_in(): import {PIXTRAL} as pixtral\n"
        "from transformers.utils import is_torchvision_available\n"
        "print('torchvision' in sys.modules, is_torchvision_available(), hasattr(pixtral, 'PixtralImageProcessor'))\n"
        "try: pixtral.tvF.resize\n"
        "except ImportError as error: print(error)"
    )
    shown = run(tmp_path / "none", code)
    assert shown.stdout.splitlines() == [
        "False False True",
        "torchvision.transforms.v2.functional.resize is needed, and torchvision is not installed.",
    ], shown.stderr


def test_an_absent_torchvision_costs_no_import_of_torch(tmp_path: Path) -> None:
    code = (
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name: None if name == 'torchvision' else find(name)\n"
        "from jc1.compat.torchvision import define_operators; print(define_operators(), 'torch' in sys.modules)"
    )
    assert run(tmp_path / "none", code).stdout.split() == ["False", "False"]
