"""What every test gets: a home of its own, no settings from outside, no network use by libraries.

Knows the environment. Fixtures of one package stand in that package's own conftest.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from jc1.embedding.base import Embedder
    from tests.support.cli import Run
    from tests.support.redis_server import RedisServer

pytest_plugins = ("tests.support.speech", "tests.support.scheduling", "tests.support.durations", "tests.support.skips")

# Read by the libraries when they are imported, so set before any test module is.
os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    GRADIO_ANALYTICS_ENABLED="False",
    MLFLOW_DISABLE_TELEMETRY="true",
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
    ANONYMIZED_TELEMETRY="False",
    VLLM_NO_USAGE_STATS="1",
    DO_NOT_TRACK="1",
    TOKENIZERS_PARALLELISM="false",
)
for _name in [name for name in os.environ if name.startswith("JC1_")]:
    del os.environ[_name]

# An example may take as long as a busy machine makes it take.
hypothesis.settings.register_profile("jc1", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("jc1")


ENGINE_SECONDS = 300
"""How long a test may take that starts an engine with processes of its own, or several."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("engines") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(ENGINE_SECONDS))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return JC1_HOME, new for this test and not yet made. The working folder is new too: it holds no `jc1.toml`."""
    folder = tmp_path / "home"
    monkeypatch.setenv("JC1_HOME", str(folder))
    working = tmp_path / "work"
    working.mkdir()
    monkeypatch.chdir(working)
    return folder


@pytest.fixture
def jc1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return what runs `jc1` in this process with the echo engine; the working folder is `tmp_path`, above the home."""
    from tests.support.cli import run

    monkeypatch.chdir(tmp_path)
    return run


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    """Return the real one, loaded once for all tests that do not ask for one of their own."""
    from jc1.embedding.openvino import OpenVinoEmbedder

    return OpenVinoEmbedder()


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """Yield one server for all tests that do not end it."""
    from tests.support.redis_server import running

    with running() as server:
        yield server


@pytest.fixture
def redis_server(shared_redis: RedisServer) -> RedisServer:
    """Return a server that holds nothing."""
    with shared_redis.client() as client:
        client.flushall()
    return shared_redis


@pytest.fixture(scope="session")
def chromium() -> str:
    """Return the path of the browser."""
    found = shutil.which("google-chrome") or shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    return found


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    # The services that Chromium calls by itself are off: what is left are the page's own requests.
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=options, timeout=90_000)
        yield launched
        launched.close()
