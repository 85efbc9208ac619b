"""A sweep in a folder and in MLflow, made once for all tests that only read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from jc1 import Settings
from jc1_lab.records.results import SweepResult
from jc1_lab.records.store import SweepStore
from jc1_lab.sinks import mlflow as tracking
from jc1_lab.sinks.folder import FolderSink
from tests.support.sweep_results import log, sweep_result, write_folder


@dataclass(frozen=True)
class Tracked:
    """A sweep that was logged: its home, its folder, and the parent's run id."""

    settings: Settings
    result: SweepResult
    folder: Path
    run_id: str


@pytest.fixture(scope="session")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    """Return a sweep that was logged into SQLite under a home. Tests leave it as it is."""
    settings = Settings(home=tmp_path_factory.mktemp("tracked"))
    result = sweep_result()
    run_id = tracking.begin(result.name, settings.tracking, about={"created": result.created, "suite": "memory-qa"})
    result = result.model_copy(update={"mlflow_run": run_id})
    folder = write_folder(result, settings.home / "sweeps" / result.name)
    with SweepStore(folder) as store:
        FolderSink().finish(result, store)
    assert log(result, folder, settings.tracking) == run_id
    return Tracked(settings, result, folder, run_id)
