"""A sweep as MLflow's own pages show it, in a real browser: served as docs/runs.md says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jc1 import Settings
from jc1_lab.records.store import SweepStore
from jc1_lab.sinks.folder import FolderSink
from jc1_lab.sinks.mlflow_client import connected
from tests.support.mlflow_server import serving
from tests.support.sweep_results import HOSTILE, WINNER, log, sweep_result, write_folder

if TYPE_CHECKING:
    from playwright.sync_api import Browser

WAIT = 60_000
"""Milliseconds; MLflow's pages load their parts one after the other."""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_mlflows_pages_show_a_sweep_with_its_trials_figures_and_traces(browser: Browser, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    settings = Settings(home=tmp_path / "served")
    result = sweep_result()
    folder = write_folder(result, settings.home / "sweeps" / result.name)
    with SweepStore(folder) as store:
        FolderSink().finish(result, store)
    run = log(result, folder, settings.tracking)
    with connected(settings.tracking) as client:
        experiment = client.get_run(run).info.experiment_id
    asked: list[str] = []
    with serving(settings.home / "mlflow.db", tmp_path) as address:
        page = browser.new_context(viewport={"width": 1400, "height": 1400}).new_page()
        page.set_default_timeout(WAIT)
        page.on("request", lambda it: it.url.startswith((address, "data:", "blob:")) or asked.append(it.url))
        runs = f"{address}/#/experiments/{experiment}/runs"

        page.goto(f"{runs}/{run}")
        expect(page.get_by_role("heading", name=result.name)).to_be_visible(timeout=WAIT)
        page.get_by_role("button", name="Load more").click()
        children = page.get_by_role("link", name=re.compile(r"^\d\d "))
        expect(children).to_have_count(len(result.trials), timeout=WAIT)
        expect(page.get_by_text("winner_heldout", exact=True)).to_be_attached(timeout=WAIT)
        expect(page.get_by_text("objective.output_tokens", exact=True)).to_be_attached(timeout=WAIT)

        page.goto(f"{runs}/{run}/artifacts/report.html")
        report = page.frame_locator("iframe")
        expect(report.locator("h1")).to_contain_text(f"Trial #{WINNER}", timeout=WAIT)
        expect(report.locator(".figure")).to_have_count(7, timeout=WAIT)
        for figure in report.locator(".figure").all():
            expect(figure.locator(".main-svg").first).to_be_attached(timeout=WAIT)

        page.goto(f"{address}/#/experiments/{experiment}/traces")
        expect(page.get_by_text(HOSTILE[:40])).to_be_visible(timeout=WAIT)
        expect(page.get_by_text("Question 5?")).to_be_visible(timeout=WAIT)
        page.context.close()
    assert asked == []
