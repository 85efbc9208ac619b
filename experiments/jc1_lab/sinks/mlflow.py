"""Sweeps in MLflow: a parent run for the sweep, a child for each trial, with all that its stock pages show.

Knows what is written, under which names. Knows nothing about how to find it again (jc1_lab.runs).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import jc1_lab.sinks.mlflow_client as connection
from jc1_lab.records.evals import EvalRecord
from jc1_lab.records.results import RESULT, SweepResult, Trial
from jc1_lab.records.store import SweepStore
from jc1_lab.sinks import mlflow_fields as fields
from jc1_lab.sinks.folder import REPORT
from jc1_lab.sinks.report import headline
from jc1_lab.sinks.traces import log_traces

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from jc1.settings import Settings
    from jc1_lab.sweep.plan import Plan

EXPERIMENT = "jc1"
"""The MLflow experiment that holds every sweep."""
SWEEP, CREATED, TRIAL, LOGGED = "jc1.sweep", "jc1.created", "jc1.trial", "jc1.logged"
"""Tags: a sweep's name and when it began, a trial's number, and the digest of the result that is wholly written."""
PARENT = "mlflow.parentRunId"
PROMPTS, REPLIES = "prompts.json", "replies.json"
"""Artifacts: what was asked, of the sweep's run, and what came back, a table of each trial's."""
_PAGE = 1000
_BATCH = 100
"""Parameters, and tags, that MLflow takes in one call."""
_VALUE, _TAG = 6000, 8000
"""Most characters of a parameter and a tag."""


class MlflowSink:
    """Writes a sweep to the MLflow that the settings name. What it raises is as `begin` says."""

    def __init__(self, settings: Settings) -> None:
        self._uri = settings.tracking
        self._shown = settings.shown()["tracking_uri"]
        self._run = ""

    def begin(self, plan: Plan, created: str, store: SweepStore) -> str:
        """Open the run, or find the one of before again where it is still there."""
        previous = store.get("mlflow")
        if previous and previous["uri"] == self._shown and exists(previous["run"], self._uri):
            self._run = str(previous["run"])
        else:
            about = plan.model_dump(mode="json", exclude={"suite": {"search", "heldout"}}) | {"created": created}
            self._run = begin(plan.name, self._uri, about=about)
            self._keep(store)
        return self._run

    def fail(self, status: Literal["KILLED", "FAILED"]) -> None:
        fail(self._run, self._uri, status)

    def finish(self, result: SweepResult, store: SweepStore) -> None:
        self._run = finish(result, store, self._uri)
        self._keep(store)

    def _keep(self, store: SweepStore) -> None:
        store.put("mlflow", {"uri": self._shown, "run": self._run})


def begin(name: str, uri: str, *, about: Mapping[str, Any]) -> str:
    """Open a parent run for a sweep, with status RUNNING, and return its id.

    `about` is what is known already, kept as tags `jc1.*`. It should hold `created`, in ISO 8601 and as the result will
    have it: by that and the name `finish` finds the run where the result does not name it. Raises `PackageMissing`,
    `StorageFull` and `TrackingUnavailable`.
    """
    created = str(about.get("created") or datetime.now(UTC).isoformat())
    tags = {f"jc1.{key}": fields.text(value)[:_TAG] for key, value in about.items()} | {SWEEP: name, CREATED: created}
    with connection.connected(uri) as client:
        experiment = _experiment(client, uri)
        return str(client.create_run(experiment, _milliseconds(created), tags, run_name=name).info.run_id)


def exists(run_id: str, uri: str) -> bool:
    """Tell whether the run is still there. Raises what `begin` raises."""
    with connection.connected(uri) as client:
        return _run(client, run_id) is not None


def fail(run_id: str, uri: str, status: Literal["FAILED", "KILLED"] = "FAILED") -> None:
    """End a parent run that will not be finished. Raises what `begin` raises."""
    with connection.connected(uri) as client:
        client.set_terminated(run_id, status)


def finish(result: SweepResult, store: SweepStore, uri: str) -> str:
    """Write a sweep and its trials, end their runs, and return the parent's id.

    The parent is `result.mlflow_run` if it is still there, or the run of that name and time, or a new one. Logging the
    same result twice changes nothing, and what an interrupted call left is completed. `store` has its texts and traces,
    and its folder the report. Raises what `begin` raises.
    """
    digest = sha256(result.model_dump_json(exclude={"mlflow_run"}).encode()).hexdigest()
    with connection.connected(uri) as client:
        # 1) The run, and whether all of this is in it
        experiment = _experiment(client, uri)
        parent = _parent(client, experiment, result)
        run_id = str(parent.info.run_id)
        if parent.data.tags.get(LOGGED) == digest:
            if parent.info.status != "FINISHED":  # a resumed sweep was interrupted with nothing left to do
                client.set_terminated(run_id, "FINISHED", end_time=_milliseconds(result.finished))
            return run_id
        # 2) The trials, in the runs that an interrupted call left, and in new ones
        known = {run.data.tags[TRIAL]: run for run in pages(client, experiment, children_of(run_id))}
        records: dict[int, list[EvalRecord]] = {}
        for record in store.ordered():
            records.setdefault(record.trial, []).append(record)
        runs = {
            trial.number: _log_trial(client, experiment, result, run_id, trial, known, records.get(trial.number, []))
            for trial in result.trials
        }
        log_traces(uri, experiment, runs, store.traces())
        # 3) The sweep itself; the digest comes last, so that it stands for everything before it
        _log_sweep(client, result, store, parent)
        client.set_terminated(run_id, "FINISHED", end_time=_milliseconds(result.finished))
        client.set_tag(run_id, LOGGED, digest)
        return run_id


def _experiment(client: MlflowClient, uri: str) -> str:
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment:
        return str(experiment.experiment_id)
    return str(client.create_experiment(EXPERIMENT, artifact_location=connection.artifact_location(uri)))


def _parent(client: MlflowClient, experiment: str, result: SweepResult) -> Run:
    if result.mlflow_run and (run := _run(client, result.mlflow_run)):
        return run
    of_that_time = f"tags.`{SWEEP}` = {_quoted(result.name)} AND tags.`{CREATED}` = {_quoted(result.created)}"
    runs = client.search_runs([experiment], of_that_time, max_results=1)
    return runs[0] if runs else client.create_run(
        experiment,
        start_time=_milliseconds(result.created),
        run_name=result.name,
        tags={SWEEP: result.name, CREATED: result.created},
    )  # fmt: skip


def _run(client: MlflowClient, run_id: str) -> Run | None:
    """Return the run; `None` where it was deleted, or the database is another one now."""
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return run if run.info.lifecycle_stage == "active" else None


def children_of(run_id: str) -> str:
    """Return the filter that lets the runs of a sweep's trials through."""
    return f"tags.`{PARENT}` = '{run_id}'"


def pages(client: MlflowClient, experiment: str, only: str) -> Iterator[Run]:
    """Yield every run of an experiment that a filter lets through, newest first."""
    token: str | None = None
    while True:
        page = client.search_runs([experiment], only, max_results=_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _log_trial(
    client: MlflowClient,
    experiment: str,
    result: SweepResult,
    parent: str,
    trial: Trial,
    known: Mapping[str, Run],
    records: Sequence[EvalRecord],
) -> str:
    """Write one trial's run, and return its id."""
    settings = trial.settings
    run = known.get(str(trial.number)) or client.create_run(
        experiment,
        start_time=_milliseconds(result.created),
        run_name=f"{trial.number:02d} {trial.label}"[:250],
        tags={PARENT: parent, TRIAL: str(trial.number), SWEEP: result.name},
    )
    tags = {
        "jc1.label": trial.label,
        "jc1.state": trial.state,
        "jc1.pareto": str(trial.pareto).lower(),
        "jc1.winner": str(trial.number == result.winner).lower(),
        "jc1.verdict": trial.comparison.verdict if trial.comparison else "baseline" if trial.number == 0 else "",
        "jc1.reason": trial.reason,
    }
    files = {"settings.json": fields.as_json(result.resolve(settings).model_dump())}
    if records:
        files[REPLIES] = fields.table(records)
        # What `log_table` of MLflow sets: its pages then show the rows side by side with those of other runs.
        tags["mlflow.loggedArtifacts"] = json.dumps([{"path": REPLIES, "type": "table"}])
    _log(client, run, fields.parameters(settings), fields.trial_metrics(trial), tags, result.finished)
    _put(client, run.info.run_id, files)
    client.set_terminated(run.info.run_id, "FINISHED", end_time=_milliseconds(result.finished))
    return str(run.info.run_id)


def _log_sweep(client: MlflowClient, result: SweepResult, store: SweepStore, parent: Run) -> None:
    import yaml
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.entities import DatasetInput, InputTag

    run_id = parent.info.run_id
    dataset = MetaDataset(
        CodeDatasetSource({"suite": result.suite.source}),
        name=result.suite.name,
        # MLflow takes 36 characters; the whole digest is a tag of the dataset.
        digest=result.suite.digest[:36],
    )
    about = [InputTag("mlflow.data.context", "evaluation"), InputTag("sha256", result.suite.digest)]
    client.log_inputs(run_id, [DatasetInput(dataset._to_mlflow_entity(), about)])
    parameters = {
        "suite": result.suite.name,
        "suite.digest": result.suite.digest,
        "baseline": result.baseline_name,
        **{f"search.{name}": value for name, value in result.search.items()},
        **{f"objective.{name}": value for name, value in result.objectives.items()},
        **result.settings,
    }
    tags = {
        SWEEP: result.name,
        CREATED: result.created,
        "mlflow.note.content": headline(result),
        "mlflow.source.git.commit": result.revision,
        "jc1.machine": fields.text(result.machine),
        **{f"jc1.version.{name}": version for name, version in result.versions.items()},
    }
    _log(client, parent, parameters, fields.sweep_metrics(result), tags, result.finished)
    files = {
        RESULT: result.model_dump_json(indent=1),
        "space.yaml": yaml.safe_dump(result.space, sort_keys=False, allow_unicode=True),
        PROMPTS: fields.as_json({item: asdict(prompt) for item, prompt in store.prompts().items()}),
    }
    _put(client, run_id, files)
    if (store.folder / REPORT).exists():
        client.log_artifact(run_id, str(store.folder / REPORT))


def _log(
    client: MlflowClient,
    run: Run,
    parameters: Mapping[str, Any],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    when: str,
) -> None:
    """Write all in few calls. A metric has the time of the result, so that the same again is the same."""
    from mlflow.entities import Metric, Param, RunTag

    timestamp = _milliseconds(when)
    named = fields.names(parameters)
    params = [
        Param(named[key], fields.text(value)[:_VALUE])
        for key, value in parameters.items()
        if named[key] not in run.data.params
    ]
    measured = [Metric(name, metrics[key], timestamp, 0) for key, name in fields.names(metrics).items()]
    labels = [RunTag(key, value[:_TAG]) for key, value in tags.items() if value]
    client.log_batch(run.info.run_id, measured, params[:_BATCH], labels[:_BATCH])
    for start in range(_BATCH, max(len(params), len(labels)), _BATCH):
        client.log_batch(run.info.run_id, (), params[start : start + _BATCH], labels[start : start + _BATCH])


def _put(client: MlflowClient, run_id: str, files: Mapping[str, str]) -> None:
    with TemporaryDirectory() as folder:
        for name, text in files.items():
            Path(folder, name).write_text(text, encoding="utf-8")
        client.log_artifacts(run_id, folder)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _milliseconds(moment: str) -> int:
    return round(datetime.fromisoformat(moment).timestamp() * 1000)
