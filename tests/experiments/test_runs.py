"""A sweep is found by its name, by its run and by a trial's run; what is not there is said."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from jc1 import Settings
from jc1.errors import UnknownRun
from jc1_lab.records.evals import Asked
from jc1_lab.records.store import FILE, SweepStore
from jc1_lab.runs import find, find_trial, list_runs, texts
from jc1_lab.sinks import mlflow as tracking
from jc1_lab.sinks.mlflow_client import connected
from jc1_lab.sinks.texts import Texts
from tests.experiments.conftest import Tracked
from tests.support.sweep_results import WINNER, sweep_result, write_folder


def child(tracked: Tracked, number: int) -> str:
    with connected(tracked.settings.tracking) as client:
        only = f"tags.`{tracking.PARENT}` = '{tracked.run_id}' AND tags.`{tracking.TRIAL}` = '{number}'"
        experiment = client.get_run(tracked.run_id).info.experiment_id
        (run,) = client.search_runs([experiment], only)
    return run.info.run_id


def test_a_sweep_is_found_by_name_by_run_and_by_a_trials_run(tracked: Tracked) -> None:
    assert find(tracked.result.name, tracked.settings) == tracked.result
    assert find(tracked.run_id, tracked.settings) == tracked.result
    assert find(child(tracked, 5), tracked.settings) == tracked.result


def test_a_trial_is_the_one_named_else_the_winner(tracked: Tracked) -> None:
    name, settings = tracked.result.name, tracked.settings
    assert find_trial(name, settings) == (tracked.result, WINNER)
    assert find_trial(tracked.run_id, settings) == (tracked.result, WINNER)
    assert find_trial(f"{name}/2", settings) == (tracked.result, 2)
    assert find_trial(f"{tracked.run_id}/2", settings) == (tracked.result, 2)
    assert find_trial(child(tracked, 5), settings) == (tracked.result, 5)


def test_a_sweeps_texts_are_its_own_though_another_has_its_name_now(tracked: Tracked, tmp_path: Path) -> None:
    home = Settings(home=tmp_path, tracking_uri=tracked.settings.tracking)
    later = sweep_result().model_copy(update={"created": "9999-12-24T00:00:00+00:00"})
    namesake = write_folder(later, tmp_path / "sweeps" / later.name)
    with SweepStore(namesake) as store:
        store.put_prompts({"other": Asked("Of another?")})
    with SweepStore(tracked.folder, read_only=True) as store:
        prompts, records = store.prompts(), store.ordered()
    own = find(later.name, home)
    assert texts(own, home).prompts == {"other": Asked("Of another?")}
    fetched = texts(find(tracked.run_id, home), home)
    assert fetched.prompts == prompts
    # Of the two trials that a report quotes; MLflow has no reasons why a reply ended.
    quoted = [replace(record, finish_reason=None) for record in records if record.trial in (0, WINNER)]
    assert fetched.records == quoted
    assert texts(tracked.result.model_copy(update={"mlflow_run": ""}), home) == Texts()


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("none", "jc1 runs list"),
        ("0" * 32, "jc1 runs list"),
        ("", "neither"),
        ("..", "neither"),
        ("../sweeps/sober-otter", "neither"),
        ("sober-otter/99", "jc1 runs show sober-otter"),
        ("sober-otter/one", "has no trial 'one'"),
    ],
)
def test_what_is_not_there_is_said_with_the_next_step(tracked: Tracked, reference: str, says: str) -> None:
    with pytest.raises(UnknownRun, match=says):
        find_trial(reference, tracked.settings)


def test_a_sweep_without_winner_wants_a_trial_named(tmp_path: Path) -> None:
    result = sweep_result().model_copy(update={"winner": None, "verified": None})
    settings = Settings(home=tmp_path)
    write_folder(result, tmp_path / "sweeps" / result.name)
    with pytest.raises(UnknownRun, match="sober-otter/NUMBER"):
        find_trial(result.name, settings)
    assert find_trial(f"{result.name}/1", settings) == (result, 1)


def test_unfinished_and_damaged_folders_are_told_apart(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    (tmp_path / "sweeps" / "begun").mkdir(parents=True)
    with pytest.raises(UnknownRun, match="--resume"):
        find("begun", settings)
    (tmp_path / "sweeps" / "begun" / "result.json").write_text("{}")
    with pytest.raises(UnknownRun, match="cannot be read"):
        find("begun", settings)
    (listed,) = list_runs(settings).sweeps
    assert (listed.name, listed.status) == ("begun", "DAMAGED")


def test_looking_makes_no_store(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    assert list_runs(settings).sweeps == []
    with pytest.raises(UnknownRun):
        find("0" * 32, settings)
    assert not settings.home.exists()


def test_the_list_has_what_lies_in_folders_and_what_only_mlflow_has(tracked: Tracked) -> None:
    later = "9999-12-01T00:00:00+00:00"
    tracking.begin("still-running", tracked.settings.tracking, about={"created": later})
    sweeps = {sweep.name: sweep for sweep in list_runs(tracked.settings).sweeps}
    own, other = sweeps[tracked.result.name], sweeps["still-running"]
    assert (own.status, own.trials, own.run, own.folder) == ("FINISHED", 13, tracked.run_id, tracked.folder)
    assert own.found.startswith("Trial #3")
    assert (other.status, other.created, other.folder) == ("RUNNING", later, None)
    assert next(iter(sweeps)) == "still-running"


def test_a_dead_mlflow_leaves_the_folders_and_is_told(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, tracking_uri="http://127.0.0.1:9")
    write_folder(sweep_result(), tmp_path / "sweeps" / "sober-otter")
    listing = list_runs(settings)
    assert [sweep.name for sweep in listing.sweeps] == ["sober-otter"]
    assert "127.0.0.1:9" in listing.problem


SWEEP = """
import sys
from jc1 import Settings
from jc1_lab.records.store import FILE, SweepStore
from jc1_lab.sinks import mlflow as tracking

settings, created = Settings(home=sys.argv[1]), "9999-12-01T00:00:00+00:00"
store = SweepStore(settings.home / "sweeps" / "long-one")
store.put("plan", {"created": created, "plan": {}})
store.add_trial(0, {})
run = tracking.begin("long-one", settings.tracking, about={"created": created})
store.put("mlflow", {"uri": "", "run": run})
print(run, flush=True)
input()
"""


def test_a_sweep_whose_process_is_gone_is_interrupted_and_how_one_ended_is_kept(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    code = [sys.executable, "-c", SWEEP, str(tmp_path)]
    with subprocess.Popen(code, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        run = process.stdout.readline().strip()
        (listed,) = list_runs(settings).sweeps
        assert (listed.status, listed.run, listed.folder) == ("RUNNING", run, None)
        process.kill()
    (listed,) = list_runs(settings).sweeps
    folder = tmp_path / "sweeps" / "long-one"
    assert (listed.status, listed.run, listed.trials, listed.folder) == ("INTERRUPTED", run, 1, folder)
    assert "--name long-one --resume" in listed.found
    tracking.fail(run, settings.tracking, "FAILED")
    (listed,) = list_runs(settings).sweeps
    assert (listed.status, listed.folder) == ("FAILED", folder)


def test_a_sweep_that_was_not_tracked_or_had_no_time_for_anything_is_interrupted_too(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    (tmp_path / "sweeps" / "empty").mkdir(parents=True)
    (tmp_path / "sweeps" / "empty" / FILE).touch()
    SweepStore(tmp_path / "sweeps" / "untracked").close()
    with SweepStore(tmp_path / "sweeps" / "under-way"):
        listed = {sweep.name: sweep.status for sweep in list_runs(settings).sweeps}
        with pytest.raises(UnknownRun, match="'under-way' still runs"):
            find("under-way", settings)
    for name in ("under-way", "empty"):
        with pytest.raises(UnknownRun, match=f"--name {name} --resume"):
            find(name, settings)
    assert listed == {"empty": "INTERRUPTED", "untracked": "INTERRUPTED"}
    (tmp_path / "sweeps" / "untracked" / FILE).write_bytes(b"not a database" * 100)
    assert {sweep.status for sweep in list_runs(settings).sweeps} == {"INTERRUPTED", "DAMAGED"}
