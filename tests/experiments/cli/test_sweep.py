"""`jc1 sweep` as a person or a script meets it: plan, run, resume and promotion."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jc1_lab.records.results import SweepResult
from tests.support.cli import Run, ok

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def space(tmp_path: Path) -> str:
    path = tmp_path / "warmth.yaml"
    path.write_text("baseline: {decoding: {temperature: 1.5}}\ndecoding: {temperature: [0, 1.4]}\n")
    return str(path)


@pytest.fixture
def suite(tmp_path: Path) -> str:
    path = tmp_path / "words.jsonl"
    lines = [{"prompt": f"say {i} amber", "reference": f"say {i} amber", "id": f"w{i}"} for i in range(40)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def test_from_a_plan_to_a_champion(jc1: Run, space: str, suite: str, tmp_path: Path) -> None:
    asked = ("sweep", space, "--suite", suite, "--engine", "echo", "--concurrency", "0")
    planned = ok(jc1(*asked, "--dry-run"))
    assert "28 prompts to search and 12 held out" in planned
    assert "can show" in planned
    assert not (tmp_path / "home" / "sweeps").exists()

    told = jc1(*asked)
    assert "better than the baseline" in ok(told)
    assert "jc1 promote warmth" in told.stdout
    assert "searching" in told.stderr
    folder = tmp_path / "home" / "sweeps" / "warmth"
    assert (folder / "report.html").stat().st_size > 100_000
    found = SweepResult.read(folder)
    assert found.winner == 1
    assert found.mlflow_run

    again = jc1(*asked)
    assert again.returncode == 1
    assert "[conflict]" in again.stderr
    assert "--resume" in again.stderr
    assert json.loads(ok(jc1(*asked, "--resume", "--json")))["trials"] == found.model_dump(mode="json")["trials"]

    assert "warmth" in ok(jc1("runs", "list"))
    assert "champion" in ok(jc1("promote", "warmth"))
    reply = json.loads(ok(jc1("chat", "amber and birch", "--engine", "echo", "--preset", "champion", "--json")))
    assert reply["trace"]["preset"] == "warmth@1"
    assert reply["text"] == "amber and birch"


def test_what_is_wrong_is_one_line_with_its_code(jc1: Run, space: str, suite: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"prompt": "fine", "reference": "fine"}\n{"promt": "typo"}\n')
    refused = jc1("sweep", space, "--suite", str(bad), "--engine", "echo")
    assert refused.returncode == 1
    assert "bad.jsonl, line 2" in refused.stderr
    assert "[invalid_suite]" in refused.stderr
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("decoding: {temprature: [0, 1]}\n")
    refused = jc1("sweep", str(wrong), "--suite", suite, "--engine", "echo")
    assert "temprature" in refused.stderr
    assert "[invalid_space]" in refused.stderr
    assert not (tmp_path / "home" / "sweeps").exists()
