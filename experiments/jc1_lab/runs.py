"""Finding sweeps again: in their folders under the home folder, and in MLflow.

Knows where results lie and what a reference means. Knows nothing about what is in them, nor how they came there
(jc1_lab.sinks.mlflow).
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pydantic import ValidationError

from jc1.errors import Conflict, Jc1Error, PackageMissing, TrackingUnavailable, UnknownRun
from jc1_lab.records.evals import Asked
from jc1_lab.records.results import RESULT, SweepResult
from jc1_lab.records.store import FILE, Held, SweepStore
from jc1_lab.sinks import mlflow as tracking
from jc1_lab.sinks.mlflow_client import connected, sqlite_path
from jc1_lab.sinks.mlflow_fields import records
from jc1_lab.sinks.texts import Texts

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from jc1.settings import Settings

RUNNING, INTERRUPTED = "RUNNING", "INTERRUPTED"
"""What MLflow says of a run that nobody ended, and what that means where no process is at it any more."""
_RUN_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Listed:
    """A sweep in a list. `folder` is `None` where only MLflow has it, `run` is empty where MLflow does not.

    `status` is `FINISHED` of a folder with a result, else that of the run (`RUNNING`, `FAILED`, `KILLED`), and
    `INTERRUPTED` where nothing says that it ended and its folder shows that no process is at it. `found` says in a
    sentence what came of it.
    """

    name: str
    created: str
    status: str
    trials: int
    found: str
    folder: Path | None = None
    run: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """Sweeps, newest first. `problem` says why MLflow could not be read, where it could not."""

    sweeps: list[Listed]
    problem: str = ""


def folder_of(name: str, settings: Settings) -> Path:
    """Return the folder of the sweep of that name. Raises `UnknownRun` for what is no name."""
    if not name or Path(name).name != name or name.startswith("."):
        raise UnknownRun(f"{name!r} is neither a sweep's name nor an MLflow run id: see `jc1 runs list`.")
    return settings.home / "sweeps" / name


def list_runs(settings: Settings) -> Listing:
    """Return every sweep, from folders and from MLflow. An MLflow that does not answer is a `problem`, no error."""
    sweeps = {(sweep.name, sweep.created): sweep for sweep in _in_folders(settings)}
    try:
        for sweep in _in_mlflow(settings):
            own = sweeps.get((sweep.name, sweep.created))
            if own is None:
                sweeps[sweep.name, sweep.created] = sweep
            elif own.status == INTERRUPTED and sweep.status != RUNNING:
                sweeps[sweep.name, sweep.created] = replace(own, status=sweep.status)  # how it ended
        problem = ""
    except (PackageMissing, TrackingUnavailable) as error:
        problem = error.message
    return Listing(sorted(sweeps.values(), key=lambda sweep: sweep.created, reverse=True), problem)


def find(reference: str, settings: Settings) -> SweepResult:
    """Return the sweep of that name, or of that MLflow run, parent or child.

    Raises `UnknownRun`, and `TrackingUnavailable` or `PackageMissing` where MLflow is needed and not there.
    """
    return _find(reference, settings)[0]


def find_trial(reference: str, settings: Settings) -> tuple[SweepResult, int]:
    """Return the sweep and the number of the trial meant: `NAME/NUMBER` and a child's run id mean that trial, else it
    is the winner. Raises what `find` raises."""
    name, slash, digits = reference.rpartition("/")
    if slash:
        result = find(name, settings)
        if not digits.isdecimal() or int(digits) not in {trial.number for trial in result.trials}:
            raise UnknownRun(f"Sweep {name!r} has no trial {digits!r}: see `jc1 runs show {name}`.")
        return result, int(digits)
    result, trial = _find(reference, settings)
    chosen = result.winner if trial is None else trial
    if chosen is None:
        raise UnknownRun(f"Sweep {result.name!r} has no winner: name a trial as {result.name}/NUMBER.")
    return result, chosen


def texts(result: SweepResult, settings: Settings) -> Texts:
    """Return what was asked and replied: from the sweep's own folder, else what MLflow has of winner and baseline.

    Another sweep may have taken the name since: then its folder is not read. Raises what `find` raises.
    """
    folder = folder_of(result.name, settings)
    if _created(folder) == result.created and (folder / FILE).exists():
        with SweepStore(folder, read_only=True) as store:
            return Texts.of(store)
    if not result.mlflow_run:
        return Texts()
    with connected(settings.tracking) as client:
        return _texts_in_mlflow(client, result)


def _texts_in_mlflow(client: MlflowClient, result: SweepResult) -> Texts:
    run = client.get_run(result.mlflow_run)
    children = {
        int(child.data.tags[tracking.TRIAL]): child.info.run_id
        for child in tracking.pages(client, run.info.experiment_id, tracking.children_of(result.mlflow_run))
    }
    prompts = _artifact(client, result.mlflow_run, tracking.PROMPTS)
    quoted = {0, 0 if result.winner is None else result.winner} & children.keys()
    tables = {number: _artifact(client, children[number], tracking.REPLIES) for number in sorted(quoted)}
    return Texts(
        {item: Asked(one["prompt"], tuple(one["references"])) for item, one in json.loads(prompts or "{}").items()},
        [record for number, table in tables.items() if table for record in records(table, number)],
    )


def _artifact(client: MlflowClient, run: str, name: str) -> str:
    """Return what the artifact holds; nothing where there is none."""
    if name not in {file.path for file in client.list_artifacts(run)}:
        return ""
    with TemporaryDirectory() as folder:
        return Path(client.download_artifacts(run, name, folder)).read_text(encoding="utf-8")


def _created(folder: Path) -> str:
    """Return when the sweep of that folder began; empty where there is none, or it cannot be read."""
    try:
        return SweepResult.read(folder).created
    except (OSError, ValidationError):
        return ""


def _find(reference: str, settings: Settings) -> tuple[SweepResult, int | None]:
    """Return the sweep, and the trial where a child's run was named."""
    folder = folder_of(reference, settings)
    if (folder / RESULT).exists():
        return _read(folder), None
    if not _RUN_ID.fullmatch(reference):
        raise UnknownRun(_unknown(reference, folder))
    if not _has_mlflow(settings):
        raise UnknownRun(f"No MLflow run {reference!r}: nothing was tracked here yet. See `jc1 runs list`.")
    with connected(settings.tracking) as client:
        return _from_mlflow(client, reference)


def _unknown(name: str, folder: Path) -> str:
    if _under_way(folder):
        return f"Sweep {name!r} still runs: its result is there when it ends."
    if folder.exists():
        return f"Sweep {name!r} is not finished: `jc1 sweep ... --name {name} --resume` goes on with it."
    return f"No sweep {name!r} and no MLflow run of that id: see `jc1 runs list`."


def _from_mlflow(client: MlflowClient, run_id: str) -> tuple[SweepResult, int | None]:
    from mlflow.exceptions import MlflowException

    try:
        tags = client.get_run(run_id).data.tags
        trial = int(tags[tracking.TRIAL]) if tracking.TRIAL in tags else None
        parent = tags.get(tracking.PARENT, run_id)
        with TemporaryDirectory() as folder:
            client.download_artifacts(parent, RESULT, folder)
            # A run that was made anew has what the result says of the one before it.
            return _read(Path(folder)).model_copy(update={"mlflow_run": parent}), trial
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
    except FileNotFoundError:
        pass
    raise UnknownRun(f"No finished sweep under the MLflow run {run_id!r}: see `jc1 runs list`.")


def _read(folder: Path) -> SweepResult:
    try:
        return SweepResult.read(folder)
    except (OSError, ValidationError):
        raise UnknownRun(f"{folder / RESULT} cannot be read as a sweep's result: restore it, or sweep again.") from None


def _in_folders(settings: Settings) -> Iterator[Listed]:
    for folder in sorted((settings.home / "sweeps").glob("*/")):
        listed = _finished(folder) if (folder / RESULT).exists() else _begun(folder)
        if listed is not None:
            yield listed


def _finished(folder: Path) -> Listed:
    from jc1_lab.sinks.report import headline

    try:
        result = _read(folder)
    except Jc1Error as error:
        return _damaged(folder, error)
    trials = len(result.trials)
    return Listed(result.name, result.created, "FINISHED", trials, headline(result), folder, result.mlflow_run)


def _under_way(folder: Path) -> bool:
    """Return whether a process is at the sweep of that folder."""
    if not (folder / FILE).exists():
        return False
    try:
        SweepStore(folder, read_only=True).close()
    except Held:
        return True
    except (Conflict, sqlite3.OperationalError):  # damaged, or without its tables yet
        pass
    return False


def _begun(folder: Path) -> Listed | None:
    """Return the sweep that a process left in its folder before it had a result; None where there is none, or one is at
    it: MLflow tells of that."""
    if not (folder / FILE).exists():
        return None
    try:
        with SweepStore(folder, read_only=True) as store:
            plan, trials, run = store.get("plan") or {}, len(store.settings()), store.get("mlflow") or {}
    except Held:
        return None
    except Conflict as error:
        return _damaged(folder, error)
    except sqlite3.OperationalError:  # it had no time to make the tables
        plan, trials, run = {}, 0, {}
    advice = _unknown(folder.name, folder)
    return Listed(folder.name, plan.get("created", ""), INTERRUPTED, trials, advice, folder, run.get("run", ""))


def _damaged(folder: Path, error: Jc1Error) -> Listed:
    return Listed(folder.name, "", "DAMAGED", 0, error.message, folder)


def _in_mlflow(settings: Settings) -> Iterator[Listed]:
    if not _has_mlflow(settings):
        return
    with connected(settings.tracking) as client:
        experiment = client.get_experiment_by_name(tracking.EXPERIMENT)
        # A child has the name of its sweep, but not when that began.
        only = f"tags.`{tracking.CREATED}` LIKE '%'"
        for run in tracking.pages(client, experiment.experiment_id, only) if experiment else ():
            tags = run.data.tags
            yield Listed(
                tags[tracking.SWEEP],
                tags[tracking.CREATED],
                run.info.status,
                int(run.data.metrics.get("trials", 0)),
                tags.get("mlflow.note.content", ""),
                None,
                run.info.run_id,
            )


def _has_mlflow(settings: Settings) -> bool:
    """Tell whether there is a store to read: looking must not make one."""
    path = sqlite_path(settings.tracking)
    return path is None or path.exists()
