"""A browser in front of a real server."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Future
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from jc1 import Settings, Workbench
from jc1.decoding import Decoding
from jc1.engines.base import Engine, EnginePrompt, Step
from jc1.engines.echo import EchoEngine, echoed
from jc1_api.main import build

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

PATIENCE = 90
"""Seconds that a machine may take for what is done in one on a quiet one."""


class MeteredEngine(EchoEngine):
    """The echo engine; a message that begins with "Slowly" gets only as many tokens as were let through."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.gate = asyncio.Semaphore(0)

    async def generate(self, prompt: EnginePrompt, decoding: Decoding) -> AsyncGenerator[Step, None]:
        metered = echoed(prompt.messages).startswith(b"Slowly")
        async with aclosing(super().generate(prompt, decoding)) as steps:
            async for step in steps:
                if metered:
                    await self.gate.acquire()
                yield step


async def until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds; raise `TimeoutError` when it does not in time."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - few conditions come with an event
            await asyncio.sleep(0.005)


@dataclass
class Server:
    """The whole application on a free port, and the workbench in it."""

    url: str
    workbench: Workbench
    loop: asyncio.AbstractEventLoop

    def let_through(self, tokens: int) -> None:
        """Let a metered reply go on by some tokens."""
        assert isinstance(self.workbench.engine, MeteredEngine)
        for _ in range(tokens):
            self.loop.call_soon_threadsafe(self.workbench.engine.gate.release)

    def wait_until_idle(self) -> None:
        """Return when the engine has nothing to do."""
        self.wait_until(lambda: self.workbench.engine.active == 0)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait from the test's thread."""
        asyncio.run_coroutine_threadsafe(until(condition), self.loop).result()


@contextmanager
def serving(settings: Settings, engine: Engine | None = None) -> Iterator[Server]:
    """Serve from a thread, as `jc1 serve` does; `engine` takes the place of the settings' own."""
    listener = socket.create_server(("127.0.0.1", 0))
    running: Future[tuple[Workbench, uvicorn.Server, asyncio.AbstractEventLoop]] = Future()

    async def run() -> None:
        app = build(settings)  # In the loop: Gradio makes one of its own otherwise, and leaves it open.
        workbench: Workbench = app.state.workbench
        workbench.engine = engine or workbench.engine
        config = uvicorn.Config(app, log_config=None, access_log=False, ws="none", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        serve = asyncio.create_task(server.serve([listener]))
        await until(lambda: server.started or serve.done())
        running.set_result((workbench, server, asyncio.get_running_loop()))
        await serve

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    workbench, server, loop = running.result(PATIENCE)
    try:
        assert server.started
        yield Server(f"http://127.0.0.1:{listener.getsockname()[1]}", workbench, loop)
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield one server for a module: a test says what no other test says."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), engine="echo")
    with serving(settings, MeteredEngine(context_length=2000)) as running:
        yield running


Open = Callable[..., "Page"]


@pytest.fixture
def open_page(browser: Browser, server: Server) -> Iterator[Open]:
    """Yield what opens the page of `server` as another visitor each time.

    A page that reached beyond the server, got an error from it or wrote one to its console fails the test.
    """
    with visitors(browser, server.url) as opener:
        yield opener


@contextmanager
def visitors(browser: Browser, url: str, expected: str = "$never") -> Iterator[Open]:
    """Yield what opens pages, each as another visitor.

    They may write no error to the console that does not match `expected`.
    """
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def open_as_new_visitor(**options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}} | options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE * 1000)
        context.on("request", lambda it: it.url.startswith((url, "data:", "blob:")) or wrong.append(f"asks {it.url}"))
        context.on("response", lambda it: it.status < 400 or wrong.append(f"got {it.status} for {it.url}"))
        context.on("weberror", lambda it: wrong.append(f"threw {it.error}"))
        context.on(
            "console",
            lambda it: it.type != "error" or re.search(expected, it.text) or wrong.append(f"wrote {it.text}"),
        )
        return opened(context.new_page(), url)

    try:
        yield open_as_new_visitor
    except BaseException as error:
        error.add_note(f"What the pages did wrong: {wrong}")
        raise
    finally:
        for context in contexts:
            context.close()
    assert wrong == []


def opened(page: Page, url: str) -> Page:
    """Open the page and wait until one can write."""
    page.goto(f"{url}/ui/")
    page.locator("#jc1-prompt textarea:enabled").wait_for()
    return page
