"""A skip is a failure in CI, unless it is excused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.skips import EXCUSED

ROOT = Path(__file__).resolve().parent.parent
TESTS = f"""
import pytest

@pytest.mark.skipif(True, reason="no AMX")
def test_marked(): ...

@pytest.fixture
def missing():
    pytest.skip("no server")

def test_without_its_fixture(missing): ...

def test_excused():
    pytest.skip("{EXCUSED[0]}, whatever else holds")

@pytest.mark.xfail
def test_that_is_expected_to_fail():
    assert False
"""


@pytest.mark.parametrize(
    ("environment", "counts"),
    [({}, "3 skipped, 1 xfailed"), ({"CI": "true"}, "1 skipped, 1 xfailed, 2 errors")],
)
def test_ci_fails_what_is_skipped_without_an_excuse(tmp_path: Path, environment: dict[str, str], counts: str) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    inherited = {name: value for name, value in os.environ.items() if name not in ("CI", "PYTEST_ADDOPTS")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.support.skips", "-p", "no:cacheprovider", "test_some.py"],
        cwd=tmp_path,
        env={**inherited, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1].startswith(f"{counts} in "), done.stdout
