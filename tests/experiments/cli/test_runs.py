"""`jc1 runs` as a person or a script meets it."""

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from jc1_lab.records.store import FILE
from tests.experiments.conftest import Tracked, tracked
from tests.support.cli import Run, ok
from tests.support.sweep_results import sweep_result, write_folder

__all__ = ["tracked"]


@pytest.fixture
def sweeps(tmp_path: Path) -> Path:
    """A home that holds two sweeps."""
    folder = tmp_path / "home" / "sweeps"
    for result in (sweep_result(), sweep_result(name="calm-heron", distinct=False)):
        write_folder(result, folder / result.name)
    return folder


def test_sweeps_are_listed_with_what_they_found(jc1: Run, sweeps: Path) -> None:
    shown = ok(jc1("runs", "list"))
    assert "sober-otter" in shown
    assert "Not distinguishable from the baseline" in shown
    listed = json.loads(ok(jc1("runs", "list", "--json")))
    assert {(sweep["name"], sweep["trials"], sweep["folder"]) for sweep in listed} == {
        (name, 13, str(sweeps / name)) for name in ("sober-otter", "calm-heron")
    }


def test_before_the_first_sweep_the_list_says_how_to_make_one(jc1: Run) -> None:
    assert "jc1 sweep" in ok(jc1("runs", "list"))


def test_a_sweep_is_shown_and_written_as_a_report(jc1: Run, sweeps: Path, tmp_path: Path) -> None:
    shown = ok(jc1("runs", "show", "sober-otter", "--html", "report.html"))
    assert shown.startswith("Trial #3 (system=Answer in one word, tak…) is better than the baseline")
    assert "0.84 (0.72 to 0.97)" in shown
    assert "refused: The vllm engine cannot honour" in shown
    assert "I was not told &amp; cannot know." in (tmp_path / "report.html").read_text()
    assert json.loads(ok(jc1("runs", "show", "sober-otter", "--json"))) == json.loads(
        (sweeps / "sober-otter" / "result.json").read_text()
    )


def test_a_report_from_mlflow_quotes_no_namesake(jc1: Run, tracked: Tracked, sweeps: Path, tmp_path: Path) -> None:
    folder = sweeps / tracked.result.name
    later = tracked.result.model_copy(update={"created": "9999-12-24T00:00:00+00:00", "mlflow_run": ""})
    later.write(folder)
    with contextlib.closing(sqlite3.connect(folder / FILE)) as database, database:
        database.execute("UPDATE records SET texts = replace(texts, 'Your cat is called', 'The namesake says')")
    uri = tracked.settings.tracking
    ok(jc1("runs", "show", tracked.run_id, "--html", "report.html", JC1_TRACKING_URI=uri))
    text = (tmp_path / "report.html").read_text()
    assert "The namesake says" not in text
    assert "Your cat is called" in text


def test_sweeps_are_compared_and_written_on_one_page(jc1: Run, sweeps: Path, tmp_path: Path) -> None:
    shown = ok(jc1("runs", "compare", "sober-otter", "calm-heron", "--html", "both.html"))
    assert "0.75 (0.53 to 0.97)" in shown
    assert "not distinguishable" in shown
    assert "Sweeps compared: sober-otter, calm-heron" in (tmp_path / "both.html").read_text()
    (first, second) = json.loads(ok(jc1("runs", "compare", "sober-otter", "calm-heron", "--json")))
    assert (first["name"], first["verified"]["comparison"]["verdict"]) == ("sober-otter", "better")
    assert second["headline"].startswith("Not distinguishable")


def test_what_cannot_be_shown_is_one_line_and_a_status(jc1: Run, sweeps: Path) -> None:
    refused = jc1("runs", "show", "none")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "[run_not_found]" in refused.stderr
    assert jc1("runs", "show", "sober-otter", "--html", "no/where.html").returncode == 2


@pytest.mark.parametrize(
    ("missing", "arguments"),
    [("plotly", ["show", "sober-otter", "--html", "x.html"]), ("mlflow", ["show", "0" * 32])],
)
def test_without_the_labs_packages_the_next_step_is_told(sweeps: Path, missing: str, arguments: list[str]) -> None:
    """In a process of its own: here the package was imported before."""
    code = f"import sys; sys.modules[{missing!r}] = None; from jc1.cli.main import main; main()"
    command = [sys.executable, "-c", code, "runs", *arguments]
    environment = {**os.environ, "JC1_TRACKING_URI": "http://127.0.0.1:9"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "make install-dev" in done.stderr
    assert "[package_missing]" in done.stderr
