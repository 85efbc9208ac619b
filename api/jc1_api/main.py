"""The composition root: settings become a workbench, the workbench an application with a page, and that a process.

Knows how the parts are put together, started and stopped. Knows nothing about what any of them does.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import signal
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING

from jc1 import interrupts
from jc1.access.browser import check_listen, is_loopback
from jc1.errors import InvalidSettings, PortInUse
from jc1.telemetry.logs import log_to_stderr

if TYPE_CHECKING:
    from fastapi import FastAPI

    from jc1.settings import Settings

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def build(settings: Settings) -> FastAPI:
    """Return the whole application: API at `/v1`, page at `/ui`, one workbench behind both, opened, not yet started."""
    from fastapi.responses import RedirectResponse

    from jc1.workbench import Workbench
    from jc1_api.app import create_app

    workbench = Workbench.open(settings)
    app = create_app(workbench)

    # The page takes longest to load: stores that cannot be opened are reported before.
    from jc1_ui.app import PATH, mount

    @app.get("/", include_in_schema=False)
    async def root() -> RedirectResponse:
        return RedirectResponse(PATH)

    return mount(app, workbench)


def serve(settings: Settings) -> None:
    """Serve until Ctrl-C or SIGTERM, then let running replies end, close the stores and return.

    The port is taken before anything slow is loaded: a caller that comes early waits instead of being turned away.

    Raises:
        InvalidSettings: The address cannot be listened on, or other machines reach it and there is no key.
        PortInUse: It is taken.
        Jc1Error: What `Workbench.open` and `Workbench.start` raise.
    """
    settings.prepare_home()
    check_listen(settings.host, any_keys=not is_loopback(settings.host) and _any_keys(settings))
    with _listen(settings.host, settings.port) as listener:
        log_to_stderr(settings.log_level, settings.log_format)
        # What is loaded now stays: looking through it for garbage takes a fifth of the start, and pauses replies later.
        gc.disable()
        _run(build(settings), listener, settings)


def _any_keys(settings: Settings) -> bool:
    """Return whether there is a key that opens anything."""
    from jc1.access.keys import Keys
    from jc1.database import open_database
    from jc1.database.keys import KeyRepository

    database = open_database(settings.database_url)
    try:
        return Keys(KeyRepository(database)).any_valid()
    finally:
        database.dispose()


def _run(app: FastAPI, listener: socket.socket, settings: Settings) -> None:
    from jc1_api.server import Server, config

    host, port = listener.getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    class Announced(Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            gc.freeze()
            gc.enable()
            print(f"JC1 is ready: chat at {address}/ui, API at {address}/docs. Ctrl-C stops it.", flush=True)

    server = Announced(config(app, settings), app)

    async def run() -> None:
        async with AsyncExitStack() as stack:
            with interrupts.at_once():
                await stack.enter_async_context(app.router.lifespan_context(app))
            with _obeyed_once():
                await server.serve([listener])

    with interrupts.as_usual(), asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(run())


@contextmanager
def _obeyed_once() -> Iterator[None]:
    """Let signals pass while the body runs: uvicorn raises the one that stopped it once more when it has drained."""
    before = {number: signal.signal(number, lambda *_: None) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _listen(host: str, port: int) -> socket.socket:
    host = host.strip("[]")
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(host, port) from None
        raise InvalidSettings(
            f"{host}:{port} cannot be listened on ({error.strerror}): choose another with --host and --port."
        ) from None
