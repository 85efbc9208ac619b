"""The notebooks run from top to bottom, their two halves say the same, and what is saved of a run can be shown around.

Knows whatever notebooks there are. Each runs once: the quickest in the ordinary tests, the others with the slow ones.
"""

from __future__ import annotations

import base64
import json
import re
import struct
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "notebooks"
NAMES = sorted({path.stem for path in FOLDER.iterdir() if path.suffix in (".py", ".ipynb")})
ORDINARY = ("00_quickstart", "03_speculation", "04_memory")
"""The quickest three: the quickstart and two of the lab's."""
FIGURE, PICTURE = "application/vnd.plotly.v1+json", "image/png"
LARGEST = 400_000
"""Bytes that a notebook may have with its outputs."""
LARGEST_OUTPUT = 120_000
"""Characters that one cell's saved output may have."""
NOT_FOR_OTHERS = {
    "an absolute path": re.compile(
        r"(?<![\w:/.])/(?:home|root|Users|tmp|work|private|var|usr|opt|mnt)/\w|[A-Z]:\\\\\w"
    ),
    "a memory address": re.compile(r"\bat 0x[0-9a-fA-F]{6,}"),
    "a widget, which is empty where no kernel runs": re.compile(r"application/vnd\.jupyter\.widget"),
    "a library inlined": re.compile(r"plotly\.js v|<script[^>]*>"),
}
"""What must not be in a saved output."""


RUNS = [pytest.param(name, id=name, marks=() if name in ORDINARY else pytest.mark.slow) for name in NAMES]


def saved(name: str) -> nbformat.NotebookNode:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_the_ordinary_run_executes_the_quickstart_and_two_more() -> None:
    assert set(ORDINARY) < set(NAMES)
    assert "00_quickstart" in ORDINARY
    assert len(ORDINARY) >= 3


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", RUNS)
def test_a_notebook_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("JC1_HOME", str(tmp_path / "home"))
    notebook = jupytext.read(FOLDER / f"{name}.py")
    NotebookClient(notebook, timeout=800, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    assert outputs
    assert all(output.output_type != "error" for output in outputs)
    assert not (tmp_path / "home").exists(), "it wrote into the reader's home folder instead of a temporary one"


@pytest.mark.parametrize("name", NAMES)
def test_script_and_notebook_hold_the_same_cells(name: str) -> None:
    written = jupytext.read(FOLDER / f"{name}.py")
    assert [(c.cell_type, c.source) for c in saved(name).cells] == [(c.cell_type, c.source) for c in written.cells]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_saved_as_it_ran_from_top_to_bottom(name: str) -> None:
    cells = code(saved(name))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert outputs
    assert all(output.output_type != "error" for output in outputs)
    assert not [output for output in outputs if output.get("name") == "stderr"]


@pytest.mark.parametrize("name", NAMES)
def test_saved_outputs_are_small(name: str) -> None:
    assert (FOLDER / f"{name}.ipynb").stat().st_size < LARGEST
    assert all(len(json.dumps(cell.outputs)) < LARGEST_OUTPUT for cell in code(saved(name)))


def figures(name: str) -> list[nbformat.NotebookNode]:
    return [o.data for cell in code(saved(name)) for o in cell.outputs if FIGURE in o.get("data", {})]


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_is_saved_with_a_picture_for_readers_without_jupyterlab(name: str) -> None:
    shown = figures(name)
    assert shown, "make notebooks"
    for data in shown:
        width, _ = struct.unpack(">II", base64.b64decode(data[PICTURE])[16:24])
        assert width > 600


def test_a_notebook_as_a_page_shows_all_its_figures() -> None:
    page, _ = HTMLExporter().from_filename(str(FOLDER / "06_champion.ipynb"))
    assert page.count("<img") == len(figures("06_champion")) > 0


@pytest.mark.parametrize("name", NAMES)
def test_saved_outputs_tell_nothing_of_the_machine(name: str) -> None:
    for cell in code(saved(name)):
        texts = [{**output, "data": {**output.get("data", {}), PICTURE: ""}} for output in cell.outputs]
        outputs = json.dumps(texts).replace("\\n", "\n")
        found = [what for what, pattern in NOT_FOR_OTHERS.items() if pattern.search(outputs)]
        assert not found, cell.source
