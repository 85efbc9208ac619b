"""Sweeps in MLflow: a parent run for the sweep, a child for each trial, with all that its stock pages show.

Knows what is written, under which names. Knows nothing about how to find it again (jc1_lab.runs).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import jc1_lab.sinks.mlflow_client as connection
from jc1_lab.records.results import SCORE, Comparison, Interval, SweepResult, Trial
from jc1_lab.records.rows import EvalRecord, read_table
from jc1_lab.records.trials import TrialSettings
from jc1_lab.sinks.traces import log_traces

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

EXPERIMENT = "jc1"
"""The MLflow experiment that holds every sweep."""
SWEEP, CREATED, TRIAL, LOGGED = "jc1.sweep", "jc1.created", "jc1.trial", "jc1.logged"
"""Tags: a sweep's name and when it began, a trial's number, and the digest of the result that is wholly written."""
PARENT = "mlflow.parentRunId"
RESULT = "result.json"
TABLE = "prompts.json"
TEXTS = ("table.jsonl", "prompts.json")
"""Files of a sweep's folder that its run has too."""
_PAGE = 1000
_BATCH = 100
"""Parameters, and tags, that MLflow takes in one call."""
_NAME, _VALUE, _TAG = 250, 6000, 8000
"""Most characters of a name, a parameter and a tag."""


def begin(name: str, uri: str, *, about: Mapping[str, Any]) -> str:
    """Open a parent run for a sweep, with status RUNNING, and return its id.

    `about` is what is known already, kept as tags `jc1.*`. It should hold `created`, in ISO 8601 and as the result will
    have it: by that and the name `finish` finds the run where the result does not name it. Raises `PackageMissing`,
    `StorageFull` and `TrackingUnavailable`.
    """
    created = str(about.get("created") or datetime.now(UTC).isoformat())
    tags = {f"jc1.{key}": _text(value)[:_TAG] for key, value in about.items()} | {SWEEP: name, CREATED: created}
    with connection.connected(uri) as client:
        experiment = _experiment(client, uri)
        return client.create_run(experiment, _milliseconds(created), tags, run_name=name).info.run_id


def fail(run_id: str, uri: str, status: Literal["FAILED", "KILLED"] = "FAILED") -> None:
    """End a parent run that will not be finished. Raises what `begin` raises."""
    with connection.connected(uri) as client:
        client.set_terminated(run_id, status)


def finish(result: SweepResult, folder: Path, uri: str) -> str:
    """Write a sweep and its trials, end their runs, and return the parent's id.

    The parent is `result.mlflow_run` if it is still there, or the run of that name and time, or a new one. Logging the
    same result twice changes nothing, and what an interrupted call left is completed. `folder` is the sweep's
    (`table.jsonl`, `traces.jsonl`). Raises what `begin` raises.
    """
    digest = sha256(result.model_dump_json(exclude={"mlflow_run"}).encode()).hexdigest()
    with connection.connected(uri) as client:
        experiment = _experiment(client, uri)
        parent = _parent(client, experiment, result)
        run_id = parent.info.run_id
        if parent.data.tags.get(LOGGED) == digest:
            if parent.info.status != "FINISHED":  # a resumed sweep was interrupted with nothing left to do
                client.set_terminated(run_id, "FINISHED", end_time=_milliseconds(result.finished))
            return run_id
        known = {run.data.tags[TRIAL]: run for run in pages(client, experiment, f"tags.`{PARENT}` = '{run_id}'")}
        tables: dict[int, list[EvalRecord]] = {}
        for row in read_table(folder / "table.jsonl"):
            tables.setdefault(row.trial, []).append(row)
        runs = {
            trial.number: _log_trial(client, experiment, result, run_id, trial, known, tables.get(trial.number, []))
            for trial in result.trials
        }
        log_traces(uri, experiment, runs, [*map(json.loads, (folder / "traces.jsonl").read_bytes().splitlines())])
        _log_sweep(client, result, folder, parent)
        client.set_terminated(run_id, "FINISHED", end_time=_milliseconds(result.finished))
        client.set_tag(run_id, LOGGED, digest)
        return run_id


def _experiment(client: MlflowClient, uri: str) -> str:
    found = client.get_experiment_by_name(EXPERIMENT)
    if found:
        return found.experiment_id
    return client.create_experiment(EXPERIMENT, artifact_location=connection.artifact_location(uri))


def _parent(client: MlflowClient, experiment: str, result: SweepResult) -> Run:
    if result.mlflow_run and (run := _run(client, result.mlflow_run)):
        return run
    of_that_time = f"tags.`{SWEEP}` = {_quoted(result.name)} AND tags.`{CREATED}` = {_quoted(result.created)}"
    found = client.search_runs([experiment], of_that_time, max_results=1)
    return found[0] if found else client.create_run(
        experiment,
        start_time=_milliseconds(result.created),
        run_name=result.name,
        tags={SWEEP: result.name, CREATED: result.created},
    )  # fmt: skip


def _run(client: MlflowClient, run_id: str) -> Run | None:
    """The run; `None` where it was deleted, or the database is another one now."""
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return run if run.info.lifecycle_stage == "active" else None


def pages(client: MlflowClient, experiment: str, only: str) -> Iterator[Run]:
    """Every run of an experiment that a filter lets through, newest first."""
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
    rows: list[EvalRecord],
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
    files = {"settings.json": _json(result.resolve(settings).model_dump())}
    if rows:
        files[TABLE] = _table(rows)
        # What `log_table` of MLflow sets: its pages then show the rows side by side with those of other runs.
        tags["mlflow.loggedArtifacts"] = json.dumps([{"path": TABLE, "type": "table"}])
    _log(client, run, _flat(settings), _trial_metrics(trial), tags, result.finished)
    _put(client, run.info.run_id, files)
    client.set_terminated(run.info.run_id, "FINISHED", end_time=_milliseconds(result.finished))
    return run.info.run_id


def _log_sweep(client: MlflowClient, result: SweepResult, folder: Path, parent: Run) -> None:
    import yaml
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.entities import DatasetInput, InputTag

    from jc1_lab.sinks.report import headline, html

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
        "jc1.machine": _text(result.machine),
        **{f"jc1.version.{name}": version for name, version in result.versions.items()},
    }
    _log(client, parent, parameters, _sweep_metrics(result), tags, result.finished)
    files = {
        RESULT: result.model_dump_json(indent=1),
        "space.yaml": yaml.safe_dump(result.space, sort_keys=False, allow_unicode=True),
        "report.html": html(result, folder),
    }
    files |= {name: (folder / name).read_text(encoding="utf-8") for name in TEXTS if (folder / name).exists()}
    _put(client, run_id, files)


def _log(
    client: MlflowClient,
    run: Run,
    parameters: Mapping[str, Any],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    when: str,
) -> None:
    """In few calls. A metric has the time of the result, so that the same again is the same."""
    from mlflow.entities import Metric, Param, RunTag

    timestamp = _milliseconds(when)
    named = _names(parameters)
    params = [
        Param(named[key], _text(value)[:_VALUE])
        for key, value in parameters.items()
        if named[key] not in run.data.params
    ]
    measured = [Metric(name, metrics[key], timestamp, 0) for key, name in _names(metrics).items()]
    labels = [RunTag(key, value[:_TAG]) for key, value in tags.items() if value]
    client.log_batch(run.info.run_id, measured, params[:_BATCH], labels[:_BATCH])
    for start in range(_BATCH, max(len(params), len(labels)), _BATCH):
        client.log_batch(run.info.run_id, (), params[start : start + _BATCH], labels[start : start + _BATCH])


def _put(client: MlflowClient, run_id: str, files: Mapping[str, str]) -> None:
    with TemporaryDirectory() as folder:
        for name, text in files.items():
            Path(folder, name).write_text(text, encoding="utf-8")
        client.log_artifacts(run_id, folder)


def _trial_metrics(trial: Trial) -> dict[str, float]:
    found = {"prompts": float(trial.prompts), "failed": float(trial.failed)}
    for name, interval in trial.metrics.items():
        found |= _interval(name, interval)
    if trial.comparison:
        found |= _comparison("difference", trial.comparison)
    found |= {f"category.{name}": mean for name, mean in trial.categories.items()}
    for latency in trial.latency:
        at = f"at {latency.load}".replace(" ", "_")
        for kind in ("ttft", "tpot", "total"):
            if times := getattr(latency, kind):
                found |= {f"{kind}_p50.{at}": times.p50, f"{kind}_p99.{at}": times.p99}
        found[f"tokens_per_second.{at}"] = latency.tokens_per_second
        found[f"requests_per_second.{at}"] = latency.requests_per_second
        if latency.goodput is not None:
            found[f"goodput.{at}"] = latency.goodput
    found |= {f"acceptance.position_{position}": share for position, share in enumerate(trial.acceptance, 1)}
    return found


def _sweep_metrics(result: SweepResult) -> dict[str, float]:
    found = {"trials": float(len(result.trials)), "rows": float(result.rows)}
    if result.mde is not None:
        found["mde"] = result.mde
    found |= {f"seconds.{phase}": seconds for phase, seconds in result.seconds.items()}
    if result.primary in result.baseline.metrics:
        found |= _interval("baseline_search", result.baseline.metrics[result.primary])
    if result.winner is not None and result.primary in (metrics := result.trial(result.winner).metrics):
        found["winner"] = float(result.winner)
        found |= _interval("winner_search", metrics[result.primary])
    if result.verified:
        found |= _interval("winner_heldout", result.verified.heldout)
        found |= _interval("baseline_heldout", result.verified.baseline)
        found |= _comparison("heldout_difference", result.verified.comparison)
    return found


def _interval(name: str, of: Interval) -> dict[str, float]:
    return {name: of.mean, f"{name}_low": of.low, f"{name}_high": of.high}


def _comparison(name: str, of: Comparison) -> dict[str, float]:
    return {
        name: of.difference,
        f"{name}_low": of.low,
        f"{name}_high": of.high,
        f"{name}_p": of.p,
        f"{name}_p_adjusted": of.p_adjusted,
    }


def _table(rows: list[EvalRecord]) -> str:
    """Rows as MLflow keeps a table: columns once, then values."""
    metrics = sorted({name for row in rows for name in row.scores}, key=lambda name: (name != SCORE, name))
    data = [
        [row.item, *(row.scores.get(name) for name in metrics[:1]), "\n---\n".join(row.texts)]
        + [row.scores.get(name) for name in metrics[1:]]
        + [row.outcome, row.split, row.repeat, row.seed]
        for row in rows
    ]
    columns = ["item", *metrics[:1], "text", *metrics[1:], "outcome", "split", "repeat", "seed"]
    return _json({"columns": columns, "data": data})


def _flat(settings: TrialSettings) -> dict[str, Any]:
    return settings.flat() | {"system": settings.system}


def _names(keys: Iterable[str]) -> dict[str, str]:
    """What MLflow takes as names, on every system that it runs on, by key; no two keys have the same."""
    found: dict[str, str] = {}
    for key in keys:
        name = re.sub(r"[^\w\-. ]", "_", key)[:_NAME]
        if name in found.values():
            name = f"{name[: _NAME - 9]}_{sha256(key.encode()).hexdigest()[:8]}"
        found[key] = name
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, default=str)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _milliseconds(moment: str) -> int:
    return round(datetime.fromisoformat(moment).timestamp() * 1000)
