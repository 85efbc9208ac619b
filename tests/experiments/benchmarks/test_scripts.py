"""The benchmarks run and print figures. What the figures are is for their readers: a busy machine is no defect."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.mark.parametrize(
    ("script", "options", "figures"),
    [
        ("startup", ["--repeats", "1"], ["import_jc1", "help", "serve_ready"]),
        ("own_time", ["--requests", "50", "--records", "200"], ["memory_off", "memory_on", "first_token"]),
        ("embedding", ["--cached-only"], ["cached_us"]),
        ("statistics", ["--sweeps", "20", "--suites", "40"], ["false_verdicts", "coverage", "power", "racing"]),
        (
            "sweep",
            ["--engine", "echo", "--model", "echo", "--trials", "2", "--prompts", "4", "--rounds", "1", "--alone", "2"],
            ["seconds", "ratio_to_one_batch"],
        ),
        ("access", ["--rounds", "1", "--requests", "40"], ["no_keys", "limits", "limits_in_redis", "met"]),
        ("pictures", ["--minutes", "0.05", "--confined", "50"], ["files", "outcomes", "faults", "slowest_s"]),
        ("history", ["--turns", "10", "--repetitions", "5"], ["database", "10_turns_ms"]),
    ],
    ids=[
        "startup",
        "own time",
        "cached embeddings",
        "statistics",
        "sweeps",
        "keys and limits",
        "pictures",
        "histories",
    ],
)
def test_a_benchmark_prints_its_figures_and_the_machine(script: str, options: list[str], figures: list[str]) -> None:
    command = [sys.executable, "-m", f"experiments.benchmarks.{script}", *options]
    found = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    assert found["benchmark"] == script
    assert found["machine"]["cores"] >= 1
    assert set(figures) <= found["results"].keys()
