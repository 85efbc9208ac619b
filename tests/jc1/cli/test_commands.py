"""Commands of other packages join `jc1` by the entry point `jc1.commands`: the lab's, and anybody's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import Run, ok, run_process

MODULE = """
import typer

def join(app: typer.Typer) -> None:
    tides = typer.Typer(help="Tides.")
    app.add_typer(tides, name="tides")

    @tides.command()
    def high(port: str) -> None:
        "Tell when the water is high."
        print(f"high water at {port}")

    @app.command()
    def chat() -> None:
        "Not JC1's own."
        print("not JC1's own")
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package with a group of commands, and a command of a name that JC1 has."""
    site = tmp_path / "site"
    metadata = site / "jc1_tides-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "jc1_tides.py").write_text(MODULE)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: jc1-tides\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[jc1.commands]\ntides = jc1_tides:join\n")
    monkeypatch.syspath_prepend(site)
    yield site
    sys.modules.pop("jc1_tides", None)


def test_a_package_brings_a_command(jc1: Run, package: Path) -> None:
    assert ok(jc1("tides", "high", "Brest")) == "high water at Brest\n"
    listed = ok(jc1("--help"))
    assert "Tides." in listed
    assert all(f" {name} " in listed for name in ("chat", "sweep", "promote", "runs"))
    assert ok(run_process("tides", "high", "Brest", PYTHONPATH=str(package))) == "high water at Brest\n"


def test_a_command_of_jc1_cannot_be_taken(jc1: Run, package: Path) -> None:
    assert ok(jc1("chat", "Mine.", "--no-memory")) == "Mine.\n"
    assert "Not JC1's own" not in ok(jc1("--help"))


@pytest.mark.parametrize("error", ["RuntimeError", "SystemExit"])
def test_a_package_that_cannot_be_loaded_is_told_and_the_others_are_there(jc1: Run, package: Path, error: str) -> None:
    (package / "jc1_tides.py").write_text(f"raise {error}('secret')")
    listed = jc1("--help")
    assert " sweep " in ok(listed)
    assert listed.stderr == (
        f"jc1: the commands of 'tides' are left out, since its package raised {error}: update it, or remove it.\n"
    )
    assert jc1("tides", "high", "Brest").returncode == 2
