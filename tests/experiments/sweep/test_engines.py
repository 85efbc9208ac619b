"""Sweeps on real engines: engine settings start each engine once, and what kills a process loses no row."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from jc1.models import resolve
from jc1.settings import Settings
from jc1_lab import Load, Sweep, SweepResult, run_sweep
from jc1_lab.records.evals import EvalRecord
from jc1_lab.records.store import SweepStore
from jc1_lab.suites.suite import load
from tests.experiments.latency.test_targets import serving
from tests.experiments.sweep.test_spec import echo_suite, run

ROOT = Path(__file__).parents[3]
SPACE = {"decoding": {"max_tokens": 24, "temperature": [0, 0.8, 1.1]}, "retrieval": {"k": [2, 8]}}


@pytest.mark.timeout(300)
def test_each_combination_of_engine_settings_starts_its_engine_once(home: Path) -> None:
    sweep = Sweep(
        {"decoding": {"max_tokens": 16}, "engine": {"dtype": ["float32", "bfloat16"]}, "retrieval": {"k": [1, 4]}},
        suite=load("memory-qa", limit=10),
        settings=Settings.load({"engine": "transformers", "dtype": "float32"}),
        name="dtypes",
        holdout=0,
        loads=(),
    )
    result = run(sweep)
    assert result.search["engine_starts"] == 2
    assert [trial.settings.engine.get("dtype", "float32") for trial in result.trials] == [
        *("float32", "float32", "float32"),
        *("bfloat16", "bfloat16"),
    ]
    assert all(trial.state == "measured" for trial in result.trials)


@pytest.mark.timeout(300)
def test_a_baseline_that_needs_engine_settings_lends_them_to_every_trial(home: Path) -> None:
    sweep = Sweep(
        {
            "decoding": {"max_tokens": [8, 16]},
            "engine": {"speculation": ["off", "ngram:2"]},
            "baseline": {"engine": {"dtype": "bfloat16"}},
        },
        suite=load("memory-qa", limit=6),
        settings=Settings.load({"engine": "transformers", "dtype": "float32"}),
        name="lent",
        holdout=0,
        loads=(),
    )
    result = run(sweep)
    assert {trial.state for trial in result.trials} == {"measured"}
    assert {trial.settings.engine["dtype"] for trial in result.trials} == {"bfloat16"}
    assert [trial.settings.engine.get("speculation", "off") for trial in result.trials] == [
        *("off", "off", "off"),
        *("ngram:2", "ngram:2"),
    ]
    assert result.search["engine_starts"] == 2


@pytest.mark.timeout(300)
def test_a_model_that_cannot_be_loaded_refuses_its_trials_and_the_others_run(home: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(resolve("jc1-tiny").path, broken)
    (broken / "model.safetensors").write_bytes(b"not weights")
    sweep = Sweep(
        {"decoding": {"max_tokens": [8, 12]}, "engine": {"model": [str(broken), "jc1-tiny"]}},
        suite=load("memory-qa", limit=6),
        settings=Settings.load({"engine": "transformers"}),
        name="broken",
        holdout=0,
        loads=(),
    )
    result = run(sweep)
    refused = [trial for trial in result.trials if trial.state == "refused"]
    assert [trial.settings.engine["model"] for trial in refused] == [str(broken)] * 2
    assert all("model.safetensors" in trial.reason for trial in refused)
    assert result.trial(result.winner).settings.engine["model"] == "jc1-tiny"


@pytest.mark.timeout(300)
def test_a_sweep_on_a_server_says_which_model_answered_and_that_its_prefix_cache_stayed(
    home: Path, tmp_path: Path
) -> None:
    with serving(tmp_path / "server") as url:
        sweep = Sweep(
            {"decoding": {"max_tokens": [4, 40]}, "baseline": "default"},
            suite=echo_suite(8),
            settings=Settings.load({"engine": "openai", "base_url": f"{url}/v1"}),
            name="remote",
            loads=(Load(concurrency=2),),
            requests=2,
            blocks=1,
        )
        result = run(sweep)
    assert result.trial(result.winner).settings.decoding["max_tokens"] == 40
    assert result.settings["model"] == "echo"
    assert any("cannot be emptied" in note for note in result.notes)


def vllm_sweep() -> Sweep:
    return Sweep(
        SPACE,
        suite=load("memory-qa", limit=40),
        settings=Settings.load({"engine": "vllm"}),
        name="killed",
        racing=False,
        loads=(),
    )


def count_aloud(*, resume: bool) -> None:
    """Run it, and print how many rows there are whenever there is one more."""

    def say(phase: str, done: int, total: int) -> None:
        if phase == "search":
            print(json.dumps({"rows": done}), flush=True)

    run_sweep(vllm_sweep(), resume=resume, progress=say, tracked=False)


@pytest.mark.engines
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_sweep_on_vllm_is_killed_twice_its_engine_once_and_no_row_is_lost_or_doubled(home: Path) -> None:
    """The third run's engine process is killed too: it is started again, and the requests are made again."""
    folder = home / "sweeps" / "killed"
    kept: list[EvalRecord] = []
    total = vllm_sweep().plan.requests
    for kill in range(3):
        code = f"from tests.experiments.sweep import test_engines as t; t.count_aloud(resume={kill > 0})"
        # vLLM's processes begin by importing the main module: what runs there must not run again in them.
        code = f"if __name__ == '__main__':\n    {code}"
        with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            for said in process.stdout:
                if said.startswith("{") and json.loads(said)["rows"] >= (kill + 1) * total // 5:
                    if kill == 2:
                        core = next(p for p in psutil.Process(process.pid).children() if "EngineCore" in p.name())
                        os.kill(core.pid, signal.SIGKILL)
                        process.stdout.read()
                    else:
                        process.kill()
                    break
        assert process.returncode == (0 if kill == 2 else -signal.SIGKILL)
        with SweepStore(folder) as store:
            before, kept = kept, [*store]
        assert kept[: len(before)] == before
    result = SweepResult.read(folder)
    assert len({record.key for record in kept}) == len(kept) == result.rows
    assert {record.outcome for record in kept} == {"ok"}
    assert sum(record.split == "search" for record in kept) == sum(t.repeats * t.prompts for t in result.trials)
