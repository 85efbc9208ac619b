"""The HTTP server: uvicorn with capped connections, and an end that lets what was begun come to its own.

Knows how the server stops. What it serves, and where, is `jc1_api.main`'s.
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING

import uvicorn

from jc1_api.connections import KEEP_ALIVE_SECONDS, Caps, capped, capped_sockets

if TYPE_CHECKING:
    from fastapi import FastAPI

    from jc1.settings import Settings

DRAIN_SECONDS = 30
"""How long replies that are being written when the server is told to stop may take to end."""
CLOSE_SECONDS = 2
"""How long connections may take to close when nothing is being answered on them any more."""
MESSAGE_BYTES = 100_000
"""Most bytes of a WebSocket's message: more than a frame of sound may have."""
CANCEL_SECONDS = 1
"""How long a cancelled reply may take to tell its client so."""


def config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """Return how uvicorn serves the app."""
    caps = Caps(settings.body_seconds, on_error=app.state.workbench.telemetry.count_error)
    return uvicorn.Config(
        app,
        # Run by `jc1_api.main`, so that an error at the start is the caller's to tell and not a traceback in a log.
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        # Anybody can send these headers. They hold where one of these proxies did, and say nothing from elsewhere.
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        http=capped(caps),
        ws=capped_sockets(caps),
        ws_max_size=MESSAGE_BYTES,
        ws_per_message_deflate=False,  # sound does not shrink, and what unpacks to much takes time
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=CLOSE_SECONDS,
    )


class Server(uvicorn.Server):
    """uvicorn's server, which stops in this order: no longer ready, nothing new, what was begun ends, port closed."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what the server does."""
        # 1) Not ready: /health/ready says so, and the gate turns new requests away, while the port is still open.
        self._app.state.stopping = True
        _end_heartbeats(self._app)
        self._app.state.workbench.telemetry.live.end()
        await self._app.state.talks.aclose()
        for connection in list(self.server_state.connections):
            connection.drain()  # type: ignore[union-attr]
        # 2) What was begun ends, unless that takes too long or a second signal comes.
        await self._end_of(set(self.server_state.tasks))
        # 3) The port and the connections close.
        await super().shutdown(sockets)
        # 4) What is left is cancelled, and stores how far it came: by uvicorn, unless a second signal cut it short.
        if tasks := set(self.server_state.tasks):
            for task in tasks if self.force_exit else ():
                task.cancel()
            await asyncio.wait(tasks, timeout=CANCEL_SECONDS)

    async def _end_of(self, tasks: set[asyncio.Task[None]]) -> None:
        until = time.monotonic() + DRAIN_SECONDS
        while tasks and not self.force_exit and time.monotonic() < until:
            # In steps, since a second signal wakes nobody.
            _, tasks = await asyncio.wait(tasks, timeout=0.1)


def _end_heartbeats(app: FastAPI) -> None:
    """End the streams that every open page holds while it is open: the drain would wait for them in vain."""
    for route in app.routes:
        stop = getattr(getattr(route, "app", None), "stop_event", None)
        if isinstance(stop, asyncio.Event):
            stop.set()
