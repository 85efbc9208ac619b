"""A workbench with the echo engine behind the API: in this process, or behind a real server on a free port."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from openai import OpenAI
from sqlalchemy import Engine

from jc1 import Settings, Workbench
from jc1.access.idempotency import Idempotency
from jc1.access.keys import Keys
from jc1.access.usage import Usage
from jc1.database.idempotency import IdempotencyRepository
from jc1.database.keys import KeyRepository
from jc1.database.presets import PresetRepository
from jc1.database.usage import UsageRepository
from jc1.embedding.base import Embedder
from jc1.engines.echo import EchoEngine
from jc1.memory.store import DatabaseMemory
from jc1.presets import Presets
from jc1.sessions import Sessions
from jc1.speech.piper import Piper
from jc1.speech.whisper import Whisper
from jc1.telemetry import Telemetry
from jc1_api.app import create_app
from jc1_api.connections import Caps, capped, capped_sockets
from tests.support.database import new_database
from tests.support.speech import lend


@pytest.fixture
def settings(home: Path) -> Settings:
    """Return settings with the echo engine and a home that is there."""
    made = Settings(home=home, engine="echo")
    made.prepare_home()
    return made


@pytest.fixture
def database(settings: Settings) -> Engine:
    """Return the database behind the workbench."""
    return new_database(settings.home / "jc1.db")


@pytest.fixture
def workbench(settings: Settings, database: Engine, embedder: Embedder) -> Workbench:
    """Return a workbench that is not started: the app does that."""
    return echo_workbench(settings, database, embedder)


def echo_workbench(settings: Settings, database: Engine, embedder: Embedder) -> Workbench:
    """Return a workbench with the echo engine over a database."""
    return Workbench(
        settings,
        engine=EchoEngine(),
        memory=DatabaseMemory(database, embedder),
        sessions=Sessions(database),
        presets=Presets(PresetRepository(database)),
        keys=Keys(KeyRepository(database)),
        usage=Usage(UsageRepository(database)),
        idempotency=Idempotency(IdempotencyRepository(database)),
        telemetry=Telemetry(keep=settings.traces),
        embedder=embedder,
    )


@pytest.fixture
async def client(workbench: Workbench) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client that calls the app in this process, without a network."""
    app = create_app(workbench)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as calls,
    ):
        yield calls


@dataclass
class Server:
    """A running server and the workbench in it."""

    port: int
    workbench: Workbench
    loop: asyncio.AbstractEventLoop
    app: FastAPI
    caps: Caps | None = None
    """What its connections may take, where that is limited as `jc1 serve` does."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def engine(self) -> EchoEngine:
        assert isinstance(self.workbench.engine, EchoEngine)
        return self.workbench.engine

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Return when the condition holds in the server's loop; fail after a minute."""

        async def poll() -> None:
            async with asyncio.timeout(60):
                while not condition():  # noqa: ASYNC110 - few conditions come with an event
                    await asyncio.sleep(0.002)

        asyncio.run_coroutine_threadsafe(poll(), self.loop).result()


@contextmanager
def serving(workbench: Workbench, port: int = 0, **options: Any) -> Iterator[Server]:
    """Serve the API over `workbench` from a thread; `options` are uvicorn's."""
    listener = socket.create_server(("127.0.0.1", port))
    options = {"ws": "none", "timeout_graceful_shutdown": 5, **options}
    app = create_app(workbench)
    config = uvicorn.Config(app, log_config=None, **options)
    started = threading.Event()
    found: list[asyncio.AbstractEventLoop] = []

    class Told(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            found.append(asyncio.get_running_loop())
            started.set()

    server = Told(config)
    thread = threading.Thread(target=asyncio.run, args=(server.serve([listener]),))
    thread.start()
    assert started.wait(60)
    try:
        yield Server(listener.getsockname()[1], workbench, found[0], app)
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


@pytest.fixture
def server(workbench: Workbench) -> Iterator[Server]:
    """Yield a real server: uvicorn, a socket, HTTP."""
    with serving(workbench) as running:
        yield running


@pytest.fixture
def slow_server(workbench: Workbench) -> Iterator[Server]:
    """Yield a server whose replies take 50 ms a token and more than a minute in all."""
    workbench.engine = EchoEngine(delay=0.05)
    with serving(workbench) as running:
        yield running


@pytest.fixture(scope="session")
def speech_server(
    tmp_path_factory: pytest.TempPathFactory, embedder: Embedder, whisper: Whisper, piper: Piper
) -> Iterator[Server]:
    """Yield a server that hears and speaks, with models that all tests share. It has no keys, and gets none."""
    settings = Settings(home=tmp_path_factory.mktemp("speech") / "home", engine="echo", max_audio_seconds=60)
    settings.prepare_home()
    workbench = echo_workbench(settings, new_database(settings.home / "jc1.db"), embedder)
    caps = Caps(60, on_error=workbench.telemetry.count_error)
    with serving(lend(workbench, whisper, piper), http=capped(caps), ws=capped_sockets(caps)) as running:
        running.caps = caps
        yield running


@pytest.fixture
def openai(server: Server) -> Iterator[OpenAI]:
    """Yield the official client, as its users make it."""
    with OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def bearer(token: str) -> dict[str, str]:
    """Return the header that shows a key."""
    return {"authorization": f"Bearer {token}"}
