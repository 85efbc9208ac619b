"""What MLflow holds of a sweep, read with MLflow's own client; and what happens where MLflow is not well."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jc1 import Settings
from jc1.errors import StorageFull, TrackingUnavailable
from jc1_lab.records.store import SweepStore
from jc1_lab.runs import find, find_trial
from jc1_lab.sinks import mlflow as tracking
from jc1_lab.sinks import mlflow_client as tracking_client
from jc1_lab.sinks.mlflow_client import connected
from tests.experiments.conftest import Tracked
from tests.support.mlflow_server import serving
from tests.support.sweep_results import HOSTILE, REFUSED, WINNER, log, sweep_result, write_folder

if TYPE_CHECKING:
    from mlflow.entities import Run


def parent_and_children(uri: str, run_id: str) -> tuple[Run, dict[str, Run]]:
    with connected(uri) as client:
        parent = client.get_run(run_id)
        children = client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run_id}'")
    return parent, {child.data.tags["jc1.trial"]: child for child in children}


def contents(settings: Settings) -> list[str]:
    with contextlib.closing(sqlite3.connect(settings.home / "mlflow.db")) as database:
        return list(database.iterdump())


def test_the_parent_says_what_was_asked_and_found(tracked: Tracked) -> None:
    parent, _ = parent_and_children(tracked.settings.tracking, tracked.run_id)
    result = tracked.result
    assert (parent.info.run_name, parent.info.status) == (result.name, "FINISHED")
    assert parent.info.end_time - parent.info.start_time == 450_000
    told = {"suite": "memory-qa", "suite.digest": result.suite.digest, "model": "jc1-tiny", "engine": "vllm"}
    assert told.items() <= parent.data.params.items()
    assert parent.data.params["search.kind"] == "grid"
    assert parent.data.params["objective.output_tokens"] == "min"
    assert result.verified
    assert parent.data.metrics["winner_heldout"] == result.verified.heldout.mean
    assert parent.data.metrics["winner_heldout_low"] == result.verified.heldout.low
    assert parent.data.metrics["baseline_search"] == result.baseline.metrics["score"].mean
    assert parent.data.tags["mlflow.source.git.commit"] == result.revision
    assert parent.data.tags["jc1.version.vllm"] == "0.32.0"
    assert json.loads(parent.data.tags["jc1.machine"])["memory_gib"] == 24
    assert parent.data.tags["mlflow.note.content"].startswith("Trial #3")
    (suite,) = parent.inputs.dataset_inputs
    assert (suite.dataset.name, suite.dataset.digest) == ("memory-qa", result.suite.digest[:36])
    assert {tag.key: tag.value for tag in suite.tags}["sha256"] == result.suite.digest


def test_the_parent_has_result_report_space_and_prompts_beside_the_database(tracked: Tracked) -> None:
    parent, _ = parent_and_children(tracked.settings.tracking, tracked.run_id)
    folder = Path(parent.info.artifact_uri.removeprefix("file://"))
    assert folder.is_relative_to(tracked.settings.home / "mlartifacts")
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {"result.json", "report.html", "space.yaml", "prompts.json"} == names
    assert (folder / "report.html").read_bytes() == (tracked.folder / "report.html").read_bytes()
    prompts = json.loads((folder / "prompts.json").read_text())
    assert set(prompts) == {*tracked.result.suite.search, *tracked.result.suite.heldout}
    assert prompts["memory-qa/000"] == {"prompt": HOSTILE, "references": ["Ada"]}


def test_every_trial_is_a_child_with_its_settings_metrics_and_state(tracked: Tracked) -> None:
    _, children = parent_and_children(tracked.settings.tracking, tracked.run_id)
    assert set(children) == {str(trial.number) for trial in tracked.result.trials}
    won, best = children[str(WINNER)], tracked.result.trial(WINNER)
    assert won.data.params["memory.k"] == "8"
    assert won.data.params["system"] == best.settings.system
    score = best.metrics["score"]
    metrics = won.data.metrics
    assert (metrics["score"], metrics["score_low"], metrics["score_high"]) == (score.mean, score.low, score.high)
    assert metrics["output_tokens"] == best.metrics["output_tokens"].mean
    assert best.comparison
    assert metrics["difference"] == best.comparison.difference
    assert metrics["difference_p_adjusted"] == best.comparison.p_adjusted
    assert metrics["total_p99.at_4_at_a_time"] == best.latency[1].total.p99
    tags = won.data.tags
    assert (tags["jc1.state"], tags["jc1.verdict"], tags["jc1.pareto"], tags["jc1.winner"]) == (
        "measured", "better", "true", "true",
    )  # fmt: skip
    refused = children[str(REFUSED)]
    assert refused.data.tags["jc1.state"] == "refused"
    assert "min_p" in refused.data.tags["jc1.reason"]
    assert children["10"].data.tags["jc1.state"] == "stopped"


def test_a_childs_replies_are_a_table_and_its_settings_are_complete(tracked: Tracked, tmp_path: Path) -> None:
    _, children = parent_and_children(tracked.settings.tracking, tracked.run_id)
    won = children[str(WINNER)]
    assert json.loads(won.data.tags["mlflow.loggedArtifacts"]) == [{"path": "replies.json", "type": "table"}]
    with connected(tracked.settings.tracking) as client:
        table = json.loads(Path(client.download_artifacts(won.info.run_id, "replies.json", tmp_path)).read_text())
        settings = json.loads(Path(client.download_artifacts(won.info.run_id, "settings.json", tmp_path)).read_text())
    assert table["columns"][:3] == ["item", "score", "text"]
    rows = [dict(zip(table["columns"], values, strict=True)) for values in table["data"]]
    searched = {row["item"]: row["score"] for row in rows if row["split"] == "search"}
    assert searched == tracked.result.trial(WINNER).scores
    assert sum(row["split"] == "heldout" for row in rows) == len(tracked.result.suite.heldout)
    assert settings["decoding"]["temperature"] == 0
    assert settings["retrieval"]["k"] == 8
    assert settings["engine"]["dtype"] == "bfloat16"
    assert settings["engine"]["speculation"] == "ngram"  # the trial left it to the sweep
    assert settings["engine"]["kv_cache_dtype"] == "auto"  # both left it to JC1
    assert "api_key" not in settings["engine"]


def test_sampled_requests_are_traces_of_their_trials_run_with_a_span_for_each_stage(tracked: Tracked) -> None:
    parent, children = parent_and_children(tracked.settings.tracking, tracked.run_id)
    with connected(tracked.settings.tracking) as client:
        traces = client.search_traces(locations=[parent.info.experiment_id])
    with SweepStore(tracked.folder, read_only=True) as store:
        lines = store.traces()
    assert len(traces) == len(lines) == 6
    (first,) = [trace for trace in traces if trace.data.spans[0].inputs == HOSTILE]
    assert first.info.trace_metadata["mlflow.sourceRun"] == children[str(lines[0]["trial"])].info.run_id
    assert first.info.token_usage == {"input_tokens": 40, "output_tokens": 12, "total_tokens": 52}
    whole, *stages = sorted(first.data.spans, key=lambda span: (span.parent_id is not None, span.start_time_ns))
    assert [stage.name for stage in stages] == ["tokenize", "recall", "prefill", "decode"]
    assert {stage.parent_id for stage in stages} == {whole.span_id}
    assert whole.outputs == lines[0]["text"]
    assert (stages[3].end_time_ns - stages[3].start_time_ns) / 1e9 == pytest.approx(0.2)
    assert stages[0].start_time_ns == whole.start_time_ns


def test_logging_the_same_result_again_changes_nothing(tracked: Tracked) -> None:
    before = contents(tracked.settings)
    log(tracked.result, tracked.folder, tracked.settings.tracking)
    assert contents(tracked.settings) == before


def test_a_run_that_is_gone_is_made_anew(tmp_path: Path) -> None:
    settings = Settings.load({"home": tmp_path})
    folder = write_folder(sweep_result(), tmp_path / "sweep")
    first = log(sweep_result(), folder, settings.tracking)
    with connected(settings.tracking) as client:
        client.delete_run(first)
    again = log(sweep_result().model_copy(update={"mlflow_run": first}), folder, settings.tracking)
    elsewhere = log(sweep_result().model_copy(update={"mlflow_run": "0" * 32}), folder, settings.tracking)
    assert again == elsewhere != first


def test_any_category_has_a_metric_of_its_own(tmp_path: Path) -> None:
    settings = Settings.load({"home": tmp_path})
    names = ["sums/", "sums_", "a//b", "../up", "x" * 260, "x" * 261]
    result = sweep_result()
    odd = result.trial(WINNER).model_copy(update={"categories": {name: i / 8 for i, name in enumerate(names)}})
    trials = [odd if trial.number == WINNER else trial for trial in result.trials]
    folder = write_folder(result, tmp_path / "sweep")
    run = log(result.model_copy(update={"trials": trials}), folder, settings.tracking)
    _, children = parent_and_children(settings.tracking, run)
    told = {name: value for name, value in children[str(WINNER)].data.metrics.items() if name.startswith("category.")}
    assert sorted(told.values()) == [i / 8 for i in range(len(names))]


def test_what_an_interrupted_call_left_is_completed_and_nothing_is_double(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    result = sweep_result()
    folder = write_folder(result, tmp_path / "sweep")
    run_id = tracking.begin(result.name, settings.tracking, about={"created": result.created})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracking, "_log_sweep", interrupted)
        with pytest.raises(KeyboardInterrupt):
            log(result, folder, settings.tracking)
    assert log(result, folder, settings.tracking) == run_id
    parent, children = parent_and_children(settings.tracking, run_id)
    assert parent.info.status == "FINISHED"
    assert len(children) == len(result.trials)
    with connected(settings.tracking) as client:
        assert len(client.search_traces(locations=[parent.info.experiment_id])) == 6
        assert len(client.get_metric_history(children["3"].info.run_id, "score")) == 1


@pytest.mark.parametrize("status", ["KILLED", "RUNNING"])
def test_a_finished_sweep_that_was_interrupted_later_is_finished_again(tmp_path: Path, status: str) -> None:
    settings = Settings(home=tmp_path)
    result = sweep_result()
    folder = write_folder(result, tmp_path / "sweep")
    run_id = log(result, folder, settings.tracking)
    with connected(settings.tracking) as client:
        client.update_run(run_id, status)
    assert log(result, folder, settings.tracking) == run_id
    parent, _ = parent_and_children(settings.tracking, run_id)
    assert parent.info.status == "FINISHED"
    assert parent.info.end_time - parent.info.start_time == 450_000


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_run_begins_running_and_may_fail(tracked: Tracked) -> None:
    uri = tracked.settings.tracking
    run_id = tracking.begin("given up", uri, about={"suite": {"name": "memory-qa"}})
    running, _ = parent_and_children(uri, run_id)
    assert running.info.status == "RUNNING"
    assert json.loads(running.data.tags["jc1.suite"]) == {"name": "memory-qa"}
    tracking.fail(run_id, uri, "KILLED")
    ended, _ = parent_and_children(uri, run_id)
    assert ended.info.status == "KILLED"


def test_nothing_that_the_caller_set_is_changed_and_nothing_is_printed(
    tracked: Tracked, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    before = (mlflow.get_tracking_uri(), dict(os.environ), logging.getLogger("mlflow").level)
    other = sweep_result(name="another", seed=1)
    log(other, tracked.folder, tracked.settings.tracking)
    assert (mlflow.get_tracking_uri(), dict(os.environ), logging.getLogger("mlflow").level) == before
    assert mlflow.active_run() is None
    assert list(Path.cwd().iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_importing_it_is_light_and_turns_telemetry_off() -> None:
    module = "jc1_lab.sinks.mlflow"
    code = f"import sys, os, {module}; print('mlflow' in sys.modules, os.environ['MLFLOW_DISABLE_TELEMETRY'])"
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_DISABLE_TELEMETRY"}
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, cwd=root)
    assert done.stdout == "False true\n", done.stderr


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("scheme", ["http", "postgresql+psycopg", "sqlite"])
def test_a_dead_mlflow_is_told_soon_with_the_next_step_and_without_the_password(
    scheme: str, closed_port: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "damaged.db").write_bytes(b"no database at all" * 100)
    uri = f"{scheme}://ann:s3cret@127.0.0.1:{closed_port}/mlflow"
    uri = f"sqlite:///{tmp_path / 'damaged.db'}" if scheme == "sqlite" else uri
    began = time.monotonic()
    with pytest.raises(TrackingUnavailable, match="JC1_TRACKING_URI") as raised:
        tracking.begin("lost", uri, about={})
    assert time.monotonic() - began < 60
    assert "s3cret" not in str(raised.value) + caplog.text
    assert raised.value.__suppress_context__


def test_a_server_that_takes_the_call_and_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tracking_client._FIRST, "MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(TrackingUnavailable, match="does not answer"),
    ):
        tracking.begin("lost", f"http://127.0.0.1:{silent.getsockname()[1]}", about={})


def test_a_full_disk_is_told_as_such(tracked: Tracked) -> None:
    result = sweep_result(name="too-much")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, hard))
    try:
        with pytest.raises(StorageFull, match="make room"):
            log(result, tracked.folder, tracked.settings.tracking)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    with serving(folder / "m.db", folder, "--artifacts-destination", str(folder / "art")) as address:
        yield address


@pytest.mark.timeout(300)
def test_a_tracking_server_holds_the_same_and_a_run_is_found_there_by_its_id(server: str, tmp_path: Path) -> None:
    result = sweep_result(name="far-away")
    folder = write_folder(result, tmp_path / "sweep")
    run_id = log(result, folder, server)
    assert log(result, folder, server) == run_id
    parent, children = parent_and_children(server, run_id)
    assert len(children) == len(result.trials)
    with connected(server) as client:
        traces = client.search_traces(locations=[parent.info.experiment_id])
    assert sorted(len(trace.data.spans) for trace in traces) == [5] * 6
    settings = Settings(home=tmp_path / "elsewhere", tracking_uri=server)
    result = result.model_copy(update={"mlflow_run": run_id})
    assert find(run_id, settings) == result
    assert find_trial(children["2"].info.run_id, settings) == (result, 2)
