"""A sweep on the echo engine, from plan to result: what it finds, what it reads, and what ends it early."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jc1.engines.echo import EchoEngine
from jc1.errors import (
    Conflict,
    InvalidRequest,
    InvalidSettings,
    InvalidSpace,
    StorageFull,
    UnknownPreset,
    UnsupportedDecoding,
)
from jc1.memory.base import NewRecord
from jc1.memory.store import DatabaseMemory
from jc1.messages import Message
from jc1.presets import Preset
from jc1.settings import Settings
from jc1.sync import LoopThread
from jc1.workbench import Workbench
from jc1_lab import Load, Space, Suite, Sweep, SweepResult, run_sweep
from jc1_lab.records.evals import EvalRecord
from jc1_lab.records.items import Item
from jc1_lab.records.store import SweepStore
from jc1_lab.sinks.mlflow_client import connected
from jc1_lab.sweep import runner
from jc1_lab.sweep.runner import Progress

ROOT = Path(__file__).parents[3]
WORDS = ("amber", "birch", "cedar", "dune", "ember", "fjord", "grove", "heath", "inlet", "jetty")


def echo_suite(prompts: int = 40) -> Suite:
    """Prompts whose right answer is themselves: what the echo engine repeats, as long as it does not sample."""
    said = [f"{WORDS[i % 10]} {WORDS[i // 10 % 10]} {i}" for i in range(prompts)]
    items = [
        Item(
            id=f"item-{i:02d}",
            messages=(Message.user(text),),
            references=(text,),
            scorer="exact",
            category=WORDS[i % 2],
        )
        for i, text in enumerate(said)
    ]
    return Suite.of("echoes", items, {})


def echo_sweep(space: Mapping[str, Any] | Space, *, name: str = "sweep", **options: Any) -> Sweep:
    """Without timing, unless asked for."""
    given = {"suite": echo_suite(), "settings": Settings.load({"engine": "echo"}), "loads": ()}
    return Sweep(space, name=name, **{**given, **options})


def run(sweep: Sweep, *, resume: bool = False, progress: Progress = lambda *_: None) -> SweepResult:
    """Nobody is told: that takes longer than most of these sweeps."""
    with LoopThread() as loop:
        return loop.run(runner.run(sweep, resume=resume, progress=progress))


def run_with_files(sweep: Sweep, *, resume: bool = False) -> SweepResult:
    """With `result.json` and `report.html`."""
    return run_sweep(sweep, resume=resume, progress=False, tracked=False)


def records_in(folder: Path) -> list[EvalRecord]:
    """What is in the sweep's store, in order."""
    with SweepStore(folder, read_only=True) as store:
        return store.ordered()


def added_to(folder: Path) -> list[EvalRecord]:
    """The same in the order in which it came there."""
    with SweepStore(folder) as store:
        return [*store]


PLANTED = {"decoding": {"temperature": [0, 1.2, 1.4]}, "baseline": {"decoding": {"temperature": 1.2}}}


def test_a_planted_winner_is_found_called_better_and_confirmed_on_held_out_prompts() -> None:
    result = run(echo_sweep(PLANTED))
    assert result.trial(result.winner).settings.decoding == {"temperature": 0}
    assert result.trial(result.winner).comparison.verdict == "better"
    assert result.verified.comparison.verdict == "better"
    assert set(result.verified.scores) == set(result.suite.heldout)
    assert not set(result.suite.heldout) & set(result.suite.search)
    assert [trial.label for trial in result.trials] == ["the baseline", "temperature=0", "temperature=1.4"]


def test_settings_that_do_the_same_are_called_not_distinguishable() -> None:
    space = {"decoding": {"top_k": [300, 400, 500]}, "baseline": {"decoding": {"temperature": 1}}}
    result = run(echo_sweep(space))
    assert {trial.comparison.verdict for trial in result.trials[1:]} == {"not distinguishable"}
    assert result.verified.comparison.verdict == "not distinguishable"


def test_greedy_trials_run_once_and_sampled_ones_share_seeds() -> None:
    sweep = echo_sweep({"decoding": {"temperature": [0, 0.7, 0.9]}}, racing=False, repeats=3)
    result = run(sweep)
    assert [trial.repeats for trial in result.trials] == [1, 3, 3]
    rows = records_in(sweep.folder)
    seeds = {trial: [row.seed for row in rows if row.trial == trial and row.split == "search"] for trial in (1, 2)}
    assert seeds[1] == seeds[2]
    assert len(set(seeds[1])) == len(seeds[1])
    assert result.rows == len(rows) == sum(trial.repeats for trial in result.trials) * 28 + 12 * (1 + 3)


def test_racing_stops_dominated_trials_and_says_so() -> None:
    space = {"decoding": {"temperature": [0, 1.6, 1.7, 1.8, 1.9]}, "baseline": {"decoding": {"temperature": 2}}}
    suite = echo_suite(100)
    raced = run(echo_sweep(space, suite=suite, name="raced"))
    stopped = [trial for trial in raced.trials if trial.state == "stopped"]
    assert stopped
    assert all(0 < trial.prompts < len(raced.suite.search) and "behind" in trial.reason for trial in stopped)
    assert any("Racing stopped" in note for note in raced.notes)
    whole = run(echo_sweep(space, suite=suite, name="whole", racing=False))
    assert raced.winner == whole.winner == 1
    assert raced.rows < whole.rows


def test_what_the_engine_cannot_carry_out_is_refused_with_its_reason_and_the_others_run() -> None:
    result = run(echo_sweep({"decoding": {"regex": ["[a-z ]+"]}, "baseline": "default"}))
    assert [trial.state for trial in result.trials] == ["measured", "refused"]
    assert "regex" in result.trials[1].reason
    assert result.winner is None
    assert result.verified is None


def test_several_objectives_give_a_front() -> None:
    space = {
        "decoding": {"max_tokens": [4, 64]},
        "objectives": {"score": "max", "output_tokens": "min"},
    }
    result = run(echo_sweep(space))
    by_label = {trial.label: trial for trial in result.trials}
    assert by_label["max_tokens=4"].pareto
    assert result.winner == by_label["max_tokens=64"].number
    assert by_label["max_tokens=4"].metrics["score"].mean == 0


@pytest.mark.parametrize("search", ["random", "tpe"])
def test_a_search_of_a_space_without_end_tries_as_many_points_as_it_may(search: str) -> None:
    space = {"decoding": {"temperature": {"low": 0, "high": 1.5}, "top_p": {"low": 0.5, "high": 1}}}
    result = run(echo_sweep(space, search=search, trials=20, suite=echo_suite(12)))
    assert len(result.trials) == 21
    assert len({trial.label for trial in result.trials}) == 21


def test_a_request_that_fails_is_a_row_with_its_code_and_scores_nothing() -> None:
    suite = echo_suite(8)
    long = Item(id="long", messages=(Message.user("word " * 4000),), references=("word",), scorer="contains")
    sweep = echo_sweep({"decoding": {"max_tokens": [50]}}, suite=Suite.of("long", [*suite.items, long], {}), holdout=0)
    result = run(sweep)
    rows = [row for row in records_in(sweep.folder) if row.item == "long"]
    assert {row.outcome for row in rows} == {"context_length_exceeded"}
    assert result.trials[1].failed == 1
    assert result.trials[1].scores["long"] == 0
    assert result.trials[1].metrics["score"].prompts == 9


async def test_it_runs_inside_a_running_event_loop() -> None:
    assert run(echo_sweep({"decoding": {"max_tokens": [50]}}, suite=echo_suite(6))).winner == 1


def test_memory_is_read_as_it_was_and_never_written(home: Path) -> None:
    settings = Settings.load({"engine": "echo"})
    settings.prepare_home()
    workbench = Workbench.open(settings)
    workbench.memory.add("ann", [NewRecord("I keep amber in the cellar."), NewRecord("The birch stands by the gate.")])
    before = workbench.memory.statistics("ann")
    suite = echo_suite(10)
    sweep = echo_sweep({"retrieval": {"memory": [True, False]}}, suite=suite, owner="ann", holdout=0)
    result = run(sweep)
    by_label = {trial.label: trial for trial in result.trials}
    # What was recalled stands in the prompt.
    with_memory, without = result.trials[0], by_label["memory.k=0"]
    assert with_memory.metrics["prompt_tokens"].mean > without.metrics["prompt_tokens"].mean
    assert workbench.memory.statistics("ann") == before
    workbench.memory.add("ann", [NewRecord("Cedar grows where dune meets fjord.")])
    bytes_before = (sweep.folder / "memory.db").read_bytes()
    again = run(sweep, resume=True)
    assert again.trials == result.trials
    assert again.memory == result.memory
    other = run(echo_sweep({"retrieval": {"memory": [False]}}, suite=suite, owner="ann", holdout=0, name="later"))
    assert (result.owner, other.owner) == ("ann", "ann")
    assert other.memory != result.memory
    assert (sweep.folder / "memory.db").read_bytes() == bytes_before


def test_the_embedder_is_loaded_where_something_is_recalled_and_nowhere_else(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "jc1.embedding.openvino")
    suite = echo_suite(6)
    run(echo_sweep({"decoding": {"max_tokens": [50]}}, suite=suite, holdout=0))
    tried = {"decoding": {"max_tokens": [50]}, "baseline": {"retrieval": {"k": 0}}}
    run(echo_sweep(tried, suite=suite, holdout=0, name="off", loads=(Load(concurrency=2),), requests=2))
    assert not caplog.records
    owned = [replace(item, owner="ann") for item in suite.items]
    remembering = Suite.of("remembering", owned, {"ann": [NewRecord("I keep amber in the cellar.")]})
    run(echo_sweep(tried, suite=remembering, holdout=0, name="remembering"))
    assert "Loaded all-MiniLM-L6-v2" in caplog.text


def test_the_best_are_timed_under_the_loads_asked_for() -> None:
    loads = (Load(concurrency=2), Load(rate=500))
    result = run(echo_sweep(PLANTED, loads=loads, requests=4, blocks=2))
    timed = {trial.number for trial in result.trials if trial.latency}
    assert timed == {0, result.winner}
    for latency, load in zip(result.baseline.latency, loads, strict=True):
        assert latency.load == load
        assert latency.requests == 8


def test_ctrl_c_keeps_what_was_answered_and_the_rest_ends_the_same(home: Path) -> None:
    run(_killed("grid"))
    folder, whole = home / "sweeps" / "killed", home / "sweeps" / "whole"
    folder.rename(whole)
    with _counting("grid") as process:
        assert process.stdout
        for line in process.stdout:
            if int(line) == 30:
                process.send_signal(signal.SIGINT)
        assert process.wait() != 0
    kept = added_to(folder)
    assert 30 <= len(kept) < len(added_to(whole))
    run(_killed("grid"), resume=True)
    assert added_to(folder)[: len(kept)] == kept
    assert records_in(folder) == records_in(whole)


@pytest.mark.parametrize("search", ["grid", "tpe"])
def test_a_killed_sweep_repeats_no_request_and_its_records_are_the_same(home: Path, search: str) -> None:
    killed_and_resumed(home, kills=2, search=search)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_kills_change_nothing_in_the_records(home: Path) -> None:
    killed_and_resumed(home, kills=20, search="grid")


def killed_and_resumed(home: Path, *, kills: int, search: str) -> None:
    """Kill a sweep at growing numbers of records, resume it each time, and hold it against an untouched one."""
    run(_killed(search))
    folder, whole = home / "sweeps" / "killed", home / "sweeps" / "whole"
    folder.rename(whole)
    kept: list[EvalRecord] = []
    total = len(records_in(whole))
    for kill in range(kills):
        with _counting(search, resume=kill > 0) as process:
            assert process.stdout
            for line in process.stdout:
                if int(line) >= (kill + 1) * (total - 5) // kills:  # the last one while the winner is confirmed
                    process.kill()
                    break
        assert process.returncode == -signal.SIGKILL
        before, kept = kept, added_to(folder)
        assert len(kept) >= int(line)  # what was told was kept
        assert kept[: len(before)] == before  # and stays as it was
    run(_killed(search), resume=True)
    after = added_to(folder)
    assert after[: len(kept)] == kept
    assert len(after) == total
    assert records_in(folder) == records_in(whole)


def _counting(search: str, *, resume: bool = False) -> subprocess.Popen[str]:
    """A process that runs `count_aloud`."""
    code = f"from tests.experiments.sweep import test_spec as t; t.count_aloud({search!r}, resume={resume})"
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def count_aloud(search: str, *, resume: bool) -> None:
    """Run it, and print how many records there are whenever there is one more."""
    searched = 0

    def say(phase: str, done: int, total: int) -> None:
        nonlocal searched
        if phase == "search":
            searched = done
            print(done, flush=True)
        elif phase == "heldout":
            print(searched + done, flush=True)

    run(_killed(search), resume=resume, progress=say)


def _killed(search: str) -> Sweep:
    return echo_sweep(
        {"decoding": {"temperature": [0, 0.6, 0.9, 1.2, 1.5], "top_p": [0.8, 1]}},
        name="killed",
        search=search,
        trials=None if search == "grid" else 8,
        suite=echo_suite(60),
    )


def test_a_name_that_is_taken_and_another_plan_are_refused_with_the_way_out() -> None:
    run(echo_sweep(PLANTED, suite=echo_suite(8)))
    with pytest.raises(Conflict, match="--resume"):
        run(echo_sweep(PLANTED, suite=echo_suite(8)))
    with pytest.raises(Conflict, match="another suite"):
        run(echo_sweep(PLANTED, suite=echo_suite(9)), resume=True)
    with pytest.raises(Conflict, match="leave out --resume"):
        run(echo_sweep(PLANTED, name="nobody"), resume=True)


def test_what_a_sweep_was_begun_with_cannot_change_under_its_rows(home: Path) -> None:
    settings = Settings.load({"engine": "echo"})
    settings.prepare_home()
    Workbench.open(settings).memory.add("ann", [NewRecord("I keep amber in the cellar.")])
    space = {"decoding": {"temperature": [0, 0.2, 0.4]}}

    def bounded(low: float, high: float) -> Space:
        return Space.parse({**space, "constraints": [lambda point: low <= point["temperature"] <= high]})

    run(echo_sweep(space, suite=echo_suite(8)))
    with pytest.raises(Conflict, match="another owner"):
        run(echo_sweep(space, suite=echo_suite(8), owner="ann"), resume=True)
    with pytest.raises(Conflict, match="another metrics"):
        run(echo_sweep(space, suite=echo_suite(8), scorers=["f1"]), resume=True)
    hidden = {"suite": echo_suite(8), "name": "hidden", "search": "random", "trials": 1}
    run(echo_sweep(bounded(0.1, 0.3), **hidden))
    with pytest.raises(Conflict, match="begun with other settings"):
        run(echo_sweep(bounded(0.3, 1), **hidden), resume=True)


def test_a_finished_sweep_that_is_resumed_stays_as_it_is() -> None:
    sweep = echo_sweep(PLANTED, loads=(Load(concurrency=2),), requests=2, blocks=1)
    first = run_with_files(sweep)
    kept, before = added_to(sweep.folder), (sweep.folder / "result.json").read_bytes()
    assert run_with_files(sweep, resume=True) == first
    assert (added_to(sweep.folder), (sweep.folder / "result.json").read_bytes()) == (kept, before)


def test_a_resumed_sweep_is_timed_anew_under_another_load() -> None:
    run(echo_sweep(PLANTED, loads=(Load(concurrency=2),), requests=2, blocks=1))
    again = run(echo_sweep(PLANTED, loads=(Load(concurrency=3),), requests=2, blocks=1), resume=True)
    assert [str(latency.load) for latency in again.baseline.latency] == ["3 at a time"]


def test_a_plan_is_written_only_where_no_other_process_has_the_store() -> None:
    sweep = echo_sweep(PLANTED)
    with SweepStore(sweep.folder), pytest.raises(Conflict, match="Another process"):
        run(sweep)
    with SweepStore(sweep.folder) as store:
        assert store.get("plan") is None


def test_a_trial_that_fails_on_the_hard_prompts_does_not_win_by_the_easy_ones() -> None:
    long = [
        Item(id=f"long-{i}", messages=(Message.user("word " * 2000),), references=("word",), scorer="contains")
        for i in range(8)
    ]
    space = {
        "system": {"brief": "Repeat.", "endless": "Repeat. " * 1500},
        "objectives": {"output_tokens": "min"},
        "baseline": {"decoding": {"max_tokens": 60}},
    }
    result = run(echo_sweep(space, suite=Suite.of("long", [*echo_suite(8).items, *long], {})))
    by_label = {trial.settings.system[:9]: trial for trial in result.trials[1:]}
    assert by_label["Repeat. R"].failed > 0
    assert result.trial(result.winner).failed == 0
    assert "output_tokens" not in by_label["Repeat. R"].metrics
    assert by_label["Repeat."].comparison.prompts == len(result.suite.search)


def test_with_one_objective_only_the_baseline_and_the_winner_are_timed() -> None:
    space = {"decoding": {"top_k": [300, 400, 500]}}
    result = run(echo_sweep(space, loads=(Load(concurrency=2),), requests=2, blocks=1))
    assert {trial.number for trial in result.trials if trial.latency} == {0, result.winner}


def test_what_is_wrong_is_told_before_anything_runs(home: Path) -> None:
    with pytest.raises(InvalidSpace, match="letters"):
        echo_sweep(PLANTED, name="../up")
    with pytest.raises(InvalidSpace, match="tpe"):
        echo_sweep(PLANTED, search="best")
    with pytest.raises(InvalidSpace, match="grid"):
        echo_sweep({"decoding": {"temperature": {"low": 0, "high": 1}}}, search="grid")
    with pytest.raises(UnknownPreset):
        echo_sweep({"decoding": {"temperature": [0]}}, baseline="nobody")
    with pytest.raises(InvalidSpace, match="seed"):
        echo_sweep(PLANTED, seed=-1)
    for loads in ((Load(),), (Load(concurrency=-2),), (Load(rate=float("nan")),)):
        with pytest.raises(InvalidRequest, match="load"):
            echo_sweep(PLANTED, loads=loads)
    with pytest.raises(InvalidRequest, match="at least 1 request"):
        echo_sweep(PLANTED, loads=(Load(concurrency=1),), requests=0)
    with pytest.raises(InvalidSettings, match="takes no dtype"):
        echo_sweep({"engine": {"dtype": ["float32", "bfloat16"]}})
    with pytest.raises(InvalidRequest, match="'nobody' is empty"):
        echo_sweep(PLANTED, owner="nobody")
    assert not (home / "sweeps").exists()


def test_the_plan_says_how_much_and_what_it_can_show() -> None:
    plan = echo_sweep({"decoding": {"temperature": [0, 0.5, 1]}}, racing=False).plan
    assert plan.requests == 28 * (1 + 3 + 3 + 1)
    assert plan.trials == 4
    larger = echo_sweep({"decoding": {"temperature": [0, 0.5, 1]}}, suite=echo_suite(100)).plan
    assert larger.mde < plan.mde
    # The baseline has one choice of 256 tokens and is asked once; the dearest trial has four and is asked thrice.
    several = echo_sweep({"decoding": {"n": [1, 4], "temperature": [0.5]}}, racing=False).plan
    assert several.tokens == (28 * (1 + 3 + 12) + 12 * (1 + 12)) * 256
    shorter = echo_sweep({"decoding": {"max_tokens": {"low": 8, "high": 16}}}, search="tpe", trials=2).plan
    assert shorter.tokens == 28 * (256 + 16 + 15) + 12 * (256 + 16)
    endless = echo_sweep({"decoding": {"temperature": {"low": 0, "high": 1}}}, trials=2).plan
    assert endless.tokens == (28 * (1 + 2 * 3) + 12 * (1 + 3)) * 256
    counted = echo_sweep({"decoding": {"max_tokens": [8]}, "objectives": {"output_tokens": "min"}}).plan
    assert counted.mde is None
    assert "can show" not in dict(counted.lines())


def test_a_full_disk_ends_the_sweep_with_its_rows_whole(home: Path) -> None:
    """A limit on the size of files stands in for the disk: the kernel refuses what goes beyond it."""
    code = """
import resource, signal
from tests.experiments.sweep import test_spec as t
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
def limit(phase, done, total):
    if phase == "search" and done == 10:
        size = (t.echo_sweep(t.PLANTED).folder / "sweep.db-wal").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 40, resource.RLIM_INFINITY))
t.run(t.echo_sweep(t.PLANTED), progress=limit)
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env=os.environ)
    assert StorageFull.__name__ in ended.stderr
    sweep = echo_sweep(PLANTED)
    assert len(added_to(sweep.folder)) >= 10
    assert run(sweep, resume=True).winner is not None


def test_where_no_answer_is_right_another_metric_decides_and_less_may_be_better() -> None:
    suite = Suite.of("open", [replace(item, references=(), scorer="none") for item in echo_suite(24).items], {})
    sweep = echo_sweep(
        {"decoding": {"max_tokens": [4, 6, 64], "temperature": [0, 0.5]}, "objectives": {"output_tokens": "min"}},
        suite=suite,
        loads=(Load(concurrency=2),),
        requests=2,
        blocks=1,
    )
    result = run_with_files(sweep)
    assert result.trial(result.winner).settings.decoding["max_tokens"] == 4
    assert result.verified.comparison.verdict == "better"
    assert result.verified.comparison.difference < 0
    assert "is better than the baseline" in (sweep.folder / "report.html").read_text(encoding="utf-8")


def lost(text: str, references: list[str]) -> float:
    """A scorer that fails for half of the prompts."""
    if references[0].endswith(("0", "2", "4", "6", "8")):
        raise ConnectionError("the judge is away")
    return 1.0


def test_a_scorer_that_raised_is_told_in_the_result() -> None:
    sweep = echo_sweep(PLANTED, suite=echo_suite(8), scorers=[f"{__name__}:lost"], holdout=0)
    result = run_with_files(sweep)
    asked = sum(trial.repeats for trial in result.trials)
    assert any(f"raised for {4 * asked} of {8 * asked} replies" in note for note in result.notes)
    assert run_with_files(sweep, resume=True) == result


def test_f1_as_the_objective_counts_a_failed_request_as_nothing() -> None:
    long = Item(id="long", messages=(Message.user("word " * 4000),), references=("word",), scorer="contains")
    suite = Suite.of("long", [*echo_suite(8).items, long], {})
    result = run(echo_sweep({"decoding": {"max_tokens": [50]}, "objectives": {"f1": "max"}}, suite=suite, holdout=0))
    assert result.trials[1].metrics["f1"].prompts == 9
    assert result.trials[1].scores["long"] == 0


def test_a_sampled_trial_has_seeds_even_when_asked_once_and_a_presets_own_seed_is_not_among_them() -> None:
    Workbench.open(Settings.load({"engine": "echo"})).presets.save(
        Preset("hot", decoding={"temperature": 0.9, "seed": 7})
    )
    sweep = echo_sweep({"decoding": {"top_p": [0.9]}}, baseline="hot", repeats=1, suite=echo_suite(8))
    result = run(sweep)
    rows = records_in(sweep.folder)
    seeds: dict[tuple[int, str], set[int | None]] = defaultdict(set)
    for row in rows:
        seeds[row.trial, row.split].add(row.seed)
    assert seeds[0, "search"] == seeds[1, "search"]
    assert None not in seeds[0, "search"] | seeds[0, "heldout"]
    assert not seeds[0, "search"] & seeds[0, "heldout"]
    assert len(seeds[0, "search"]) == len(result.suite.search)
    assert any("fewer than 3" in note for note in result.notes)


def test_a_champion_of_another_model_is_no_baseline_unless_that_model_runs() -> None:
    champion = Preset("one", decoding={"temperature": 0.5}, engine={"model": "jc1-tiny-draft"})
    presets = Workbench.open(Settings.load({"engine": "echo"})).presets
    presets.set_alias("champion", presets.save(champion).reference)
    space = {"decoding": {"top_p": [0.9]}}
    with pytest.raises(Conflict, match=r"--model jc1-tiny-draft, or --baseline default"):
        echo_sweep(space)
    assert echo_sweep(space, baseline="default").baseline_name == "default@0"
    assert (
        echo_sweep(space, settings=Settings.load({"engine": "echo", "model": "jc1-tiny-draft"})).baseline_name
        == "one@1"
    )


def test_what_the_engine_lacks_for_a_metric_is_told_before_a_prompt_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    able = EchoEngine.capabilities.fget
    monkeypatch.setattr(
        EchoEngine,
        "capabilities",
        property(lambda self: replace(able(self), decoding=able(self).decoding - {"logprobs"})),
    )
    sweep = echo_sweep({"decoding": {"max_tokens": [50]}, "objectives": {"logprob": "max"}}, suite=echo_suite(6))
    with pytest.raises(UnsupportedDecoding, match="logprobs"):
        run(sweep)
    assert not added_to(sweep.folder)


def test_a_trial_that_lacks_a_metric_on_some_prompts_takes_none_from_the_others() -> None:
    suite = echo_suite(12)
    space = {"decoding": {"max_tokens": [2, 50]}, "objectives": {f"{__name__}:long": "max"}}
    result = run(echo_sweep(space, suite=suite, holdout=0, racing=False))
    short, whole = result.trials[1], result.trials[2]
    assert short.settings.decoding["max_tokens"] == 2
    assert short.comparison is None
    assert whole.comparison.prompts == 12
    assert result.winner == whole.number


def long(text: str, references: list[str]) -> float:
    """A scorer that fails for replies that were cut off."""
    if text not in references:
        raise ValueError("cut off")
    return 1.0


def test_code_from_outside_takes_its_time_while_other_requests_go_on() -> None:
    sweep = echo_sweep(
        {"decoding": {"max_tokens": [50]}}, suite=echo_suite(8), scorers=[f"{__name__}:together"], holdout=0
    )
    result = run(sweep)
    assert result.trials[1].metrics[f"{__name__}:together"].mean == 1


MEETING = threading.Barrier(2, timeout=60)


def together(text: str, references: list[str]) -> float:
    """A scorer that returns only when another reply is being scored meanwhile."""
    MEETING.wait()
    return 1.0


def test_what_is_timed_searches_its_memory_anew_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[str] = []
    search = DatabaseMemory.search

    def counted(self: DatabaseMemory, owner: str, query: str, *rest: Any, **more: Any) -> Any:
        searched.append(query)
        return search(self, owner, query, *rest, **more)

    monkeypatch.setattr(DatabaseMemory, "search", counted)
    seen: dict[str, int] = {}

    def progress(phase: str, done: int, total: int) -> None:
        if phase == "latency":
            seen.setdefault("first block ended", len(searched))
            seen["last"] = len(searched)

    sweep = echo_sweep(PLANTED, suite=echo_suite(8), loads=(Load(concurrency=1),), requests=3, blocks=2)
    run(sweep, progress=progress)
    # Five requests a block, the warm-up's two included; the prompts of both members are the same.
    assert seen["last"] - seen["first block ended"] == 3 * 5


def test_a_sweep_that_is_killed_while_it_is_timed_goes_on_there_and_is_one_run_in_mlflow(home: Path) -> None:
    code = "from tests.experiments.sweep import test_spec as t; t.timed(resume=False, aloud=True)"
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "latency\n"
        process.kill()
    folder = home / "sweeps" / "timed"
    kept = added_to(folder)
    assert not (folder / "result.json").exists()
    result = timed(resume=True)
    assert added_to(folder) == kept
    assert all(result.trial(number).latency for number in (0, result.winner))
    with connected(Settings.load().tracking) as client:
        (experiment,) = client.search_experiments(filter_string="name = 'jc1'")
        runs = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(runs) == 1 + len(result.trials)
    assert {run.info.run_id for run in runs} >= {result.mlflow_run}


def timed(*, resume: bool, aloud: bool = False) -> Any:
    """A sweep with MLflow and timing; `aloud` says when a block was timed."""

    def say(phase: str, done: int, total: int) -> None:
        if phase == "latency" and done:
            print("latency", flush=True)

    sweep = echo_sweep(PLANTED, name="timed", suite=echo_suite(8), loads=(Load(concurrency=1),), requests=2)
    return run_sweep(sweep, resume=resume, progress=say if aloud else False)
