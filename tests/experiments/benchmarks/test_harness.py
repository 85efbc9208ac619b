"""What a benchmark prints is one JSON object, with the machine and the versions beside the figures."""

from __future__ import annotations

import importlib.metadata
import json
from typing import Any

import pytest

from experiments.benchmarks.harness import Figures, in_turns, main
from jc1.hardware import available_cores


def measure(rounds: int = 3, names: list[str] | None = None, deep: bool = False) -> Figures:
    return {"rounds": rounds, "names": names, "deep": deep}


async def measure_async(rounds: int = 3) -> Figures:
    return {"rounds": rounds}


def run(function: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *options: str) -> Any:
    monkeypatch.setattr("sys.argv", ["benchmark", *options])
    with pytest.raises(SystemExit) as ended:
        main(function, packages=["numpy"])
    assert not ended.value.code
    return json.loads(capsys.readouterr().out)


def test_a_functions_arguments_are_the_options_and_the_machine_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = run(measure, monkeypatch, capsys, "--rounds", "5", "--names", "a", "--names", "b", "--deep")
    assert printed["results"] == {"rounds": 5, "names": ["a", "b"], "deep": True}
    assert printed["benchmark"] == "test_harness"
    assert printed["versions"] == {"numpy": importlib.metadata.version("numpy")}
    assert printed["machine"]["cores"] == available_cores()
    assert run(measure_async, monkeypatch, capsys)["results"] == {"rounds": 3}


def test_sides_take_turns_after_one_that_warms_each() -> None:
    calls: list[str] = []
    taken = in_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2)
    assert calls == ["a", "b"] * 3
    assert [len(seconds) for seconds in taken.values()] == [2, 2]
