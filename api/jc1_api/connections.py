"""Connections: how much of one may be taken in before its request is whole, for how long, and by how many at once.

Knows bytes, seconds and descriptors, below HTTP's meaning: what a request says is the gate's (`jc1_api.middleware`),
which sees it only when its head is there. uvicorn, over httptools, reads heads of any size and waits for ever.

A connection is unfinished from its beginning, or the end of an answer, until its request is there to its last byte.
Unfinished ones cost a caller nothing and this server a descriptor each: where too many are open, the oldest of them
makes room, so that a quick request gets through however many slow ones were begun.
"""

from __future__ import annotations

import asyncio
import json
import resource
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal

from fastapi.responses import JSONResponse
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from jc1.errors import Jc1Error, Overloaded
from jc1_api.errors import HeadersTooLarge, RequestTimeout, Stopping, error_body

MAX_HEAD_BYTES = 65_536
"""Request line and headers together; h11 and nginx allow about as much."""
SLOWEST_BYTES_A_SECOND = 50_000
"""Bodies may take longer than `body_seconds` where they are large: as long as they come at this rate."""
UNREAD_SECONDS = 60.0
"""How long an answer waits for a client that reads nothing."""
HALF_CLOSED_SECONDS = 2.0
"""How long an answer may take to begin for a client that has closed its side of the connection. Most likely it
has gone, and its reply is to be cancelled; or it has nothing more to say. Both look alike until something is sent."""
LINGER_SECONDS = 1.0
"""How long a client that is cut off may take to read why: what it sends meanwhile is thrown away."""
RESERVED_DESCRIPTORS = 128
"""Of the process's descriptors, those for files, databases and models, but never more than half of them."""
MOST_CONNECTIONS = 10_000
OVERLOADED_RETRY_SECONDS = 5
KEEP_ALIVE_SECONDS = 75
"""How long a connection may be open and say nothing, as nginx has it: proxies keep theirs for less."""

Phase = Literal["idle", "head", "body", "whole"]


def most_connections() -> int:
    """Return how many connections the process has descriptors for, beside those that it needs itself."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(1, min(MOST_CONNECTIONS, max(soft - RESERVED_DESCRIPTORS, soft // 2)))


@dataclass
class Caps:
    """What the connections of one server may take.

    Attributes:
        body_seconds: Until when a request has to be whole.
        on_error: Is told the code of each error that is an answer.
        most: How many may be open.
        open: How many are.
        unfinished: Those of them that are, the oldest first.
    """

    body_seconds: float
    on_error: Callable[[str], None]
    most: int = field(default_factory=most_connections)
    open: int = 0
    unfinished: OrderedDict[Connection, None] = field(default_factory=OrderedDict)


def capped(caps: Caps) -> type[Connection]:
    """Return the protocol of a server's connections, for `uvicorn.Config(http=...)`."""
    return type("CappedConnection", (Connection,), {"caps": caps})


def capped_sockets(caps: Caps) -> type[Socket]:
    """Return the protocol of a server's WebSockets, for `uvicorn.Config(ws=...)`; they count among its connections."""
    return type("CappedSocket", (Socket,), {"caps": caps})


class Socket(WebSocketsSansIOProtocol):
    """One WebSocket. uvicorn pings it, and ends one that answers no ping; what goes over it is the route's."""

    caps: Caps

    def connection_lost(self, exc: Exception | None) -> None:
        self.caps.open -= 1
        super().connection_lost(exc)

    def drain(self) -> None:
        """Do nothing: who opened it ends it when the server stops."""


class Connection(HttpToolsProtocol):
    """One connection. `phase` is `whole` from the last byte of a request until the end of its answer."""

    caps: Caps

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.phase: Phase = "idle"
        self._head_bytes = 0
        self._received = 0
        self._began = 0.0
        self._reading = self._refused = self._counted_out = False
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    # The transport's calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.caps.open += 1
        self._enter("idle")
        oldest = next(iter(self.caps.unfinished))
        if self.caps.open > self.caps.most and oldest is not self:
            oldest.refuse(_full(), linger=0)  # its descriptor is wanted

    def connection_lost(self, exc: Exception | None) -> None:
        self._count_out()
        for timer in (self._deadline, self._unread):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        before = self.phase
        super().data_received(data)
        self._received += len(data)
        # The parser keeps an unfinished header to itself. A piece that began in a body counts as the body's.
        if self.phase == "head" and before != "body" and not self._refused:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.refuse(HeadersTooLarge(MAX_HEAD_BYTES))

    def eof_received(self) -> bool:  # type: ignore[override]
        """Return whether the connection stays for an answer, which uvicorn's does not."""
        if self.phase != "whole":
            return False
        super().shutdown()  # ends after the answer
        self.loop.call_later(HALF_CLOSED_SECONDS, self._leave)
        return True

    def _leave(self) -> None:
        if not self.cycle.response_started:
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(UNREAD_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()

    # The parser's calls

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._reading = True
        if self.phase != "whole":  # else it is a request behind the one that is being answered
            self._enter("head")

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        app = self.app
        if size > MAX_HEAD_BYTES:
            self.app = self._refusing(HeadersTooLarge(MAX_HEAD_BYTES))
        elif self.caps.open > self.caps.most:
            self.app = self._refusing(_full())
        super().on_headers_complete()
        self.app = app
        if self.phase == "head":
            self._enter("body")

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self.parser.should_upgrade() and self._should_upgrade():
            return  # no answer of this protocol's will come
        self._reading = False
        self._enter("idle" if self.cycle.response_complete else "whole")

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if not self.cycle.response_complete:  # a request that came behind the one that is answered now
            self._enter("body" if self.cycle.more_body else "whole")
        elif self.phase == "whole":  # else its body has still to come to its end
            self._enter("head" if self._reading else "idle")

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to a `Socket`, which counts it from now on: this protocol hears of it no more."""
        self.caps.unfinished.pop(self, None)
        if self._deadline is not None:
            self._deadline.cancel()
        super().handle_websocket_upgrade()

    # What becomes of it

    def drain(self) -> None:
        """Turn away a request that is not whole, and end after an answer. One that is new may still ask, to be told."""
        if self.phase in ("head", "body"):
            self.refuse(Stopping())
        elif self.cycle is not None:
            super().shutdown()

    def shutdown(self) -> None:
        """End now, or after the answer that is being given."""
        if self.phase in ("head", "body"):
            self.refuse(Stopping())
        else:
            super().shutdown()

    def refuse(self, error: Jc1Error, linger: float = LINGER_SECONDS) -> None:
        """Say why and end: whatever still comes is thrown away. A client that has said nothing is told nothing."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._count_out()
        cycle: RequestResponseCycle | None = self.cycle
        begun = self.phase == "body" and cycle is not None and cycle.response_started
        if self.phase == "idle" or begun:
            self.transport.close()
        else:
            self.caps.on_error(error.code)
            self.transport.write(_raw(error))
            if linger:
                self.transport.write_eof()
                self.loop.call_later(linger, self.transport.close)
            else:
                self.transport.close()
        self.flow.resume_reading()
        if cycle is not None and not cycle.response_complete:
            # The app, which waits for the rest of the body, hears that none will come.
            cycle.disconnected = True
            cycle.message_event.set()

    def _refusing(self, error: Jc1Error) -> Any:
        """Return an application that answers with an error, and ends the connection."""

        async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
            self.caps.on_error(error.code)
            headers = {**error.headers, "connection": "close"}
            await JSONResponse(error_body(error), error.status, headers)(scope, receive, send)

        return refuse

    def _count_out(self) -> None:
        """Count the connection no more, once."""
        self.caps.unfinished.pop(self, None)
        self.caps.open -= not self._counted_out
        self._counted_out = True

    def _enter(self, phase: Phase) -> None:
        """Go on to a phase: with its deadline, and its place among the unfinished."""
        body_of_this_head = (self.phase, phase) == ("head", "body")
        self.phase = phase
        if body_of_this_head:
            return  # with the head's deadline
        if self._deadline is not None:
            self._deadline.cancel()
        self._head_bytes = self._received = 0
        self._began = time.monotonic()
        if phase == "whole":
            self.caps.unfinished.pop(self, None)
            return
        self.caps.unfinished[self] = None
        seconds = KEEP_ALIVE_SECONDS if phase == "idle" else self.caps.body_seconds
        self._deadline = self.loop.call_later(seconds, self._expire)

    def _expire(self) -> None:
        if self.phase == "idle":
            self.refuse(RequestTimeout(KEEP_ALIVE_SECONDS))
            return
        granted = self.caps.body_seconds + self._received / SLOWEST_BYTES_A_SECOND
        left = self._began + granted - time.monotonic()
        if self.flow.read_paused:  # it is this server that is slow
            left = max(left, self.caps.body_seconds)
        if left > 0:
            self._deadline = self.loop.call_later(left, self._expire)
        else:
            self.refuse(RequestTimeout(granted))


def _full() -> Overloaded:
    headers = {"retry-after": str(OVERLOADED_RETRY_SECONDS)}
    return Overloaded("Too many connections are open: send it again in a moment.", headers=headers)


def _raw(error: Jc1Error) -> bytes:
    """Return a whole answer for a request of which too little is there to hand it to an application."""
    body = json.dumps(error_body(error)).encode()
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",
        **error.headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n{head}\r\n".encode() + body
