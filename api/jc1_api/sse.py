"""Server-sent events, and cancellation by disconnect: a client that goes away takes its work with it.

Knows how an event is written, and how a disconnect or the server's end becomes a cancellation. Knows nothing about what
is cancelled, or what events say.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from concurrent.futures import Executor
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

import orjson
from fastapi.responses import Response
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from jc1.errors import EngineUnavailable, Jc1Error
from jc1.texts import LINE_ENDS
from jc1_api.errors import error_body

T = TypeVar("T")

COMMENT, COMMENT_SECONDS = b": waiting\n\n", 10.0
"""What a stream sends that has nothing to say, and how often."""

_LINE_ENDS = {chr(end).encode(): escaped.encode() for end, escaped in LINE_ENDS.items()}


def event(value: dict[str, Any], name: str | None = None) -> bytes:
    """Return a JSON value as one server-sent event, with its name where the format names its events."""
    data = orjson.dumps(value)
    for end, escaped in _LINE_ENDS.items():
        data = data.replace(end, escaped)
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + data + b"\n\n"


def openai_failure(error: Jc1Error) -> bytes:
    """Return the event of a chat completion that broke off."""
    return event(error_body(error))


@asynccontextmanager
async def until_disconnect(receive: Receive) -> AsyncIterator[None]:
    """Cancel the body when the client disconnects, once: what it does to clean up is left to end.

    The request's own body must have been read.

    Raises:
        ClientDisconnect: The client went away.
        EngineUnavailable: The server stops and waits no longer.
    """
    task = asyncio.current_task()
    assert task is not None
    disconnected = False

    async def watch() -> None:
        nonlocal disconnected
        while (await receive())["type"] != "http.disconnect":
            pass
        disconnected = True
        task.cancel()

    watcher = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        task.uncancel()
        if disconnected:
            raise ClientDisconnect from None
        raise EngineUnavailable("The server is stopping: send the request again when it is back.") from None
    finally:
        watcher.cancel()


async def while_connected(receive: Receive, executor: Executor, work: Callable[[Callable[..., None]], T]) -> T:
    """Return the result of `work`, done in a thread of the executor once it is its turn there.

    `work` is handed a function that it calls from time to time, with whatever arguments: it raises once the client has
    gone, and the work has ended when this returns. Raises as `until_disconnect` does.
    """
    disconnected = threading.Event()

    def check(*_: object) -> None:
        if disconnected.is_set():
            raise ClientDisconnect

    async with until_disconnect(receive):
        job = executor.submit(work, check)
        done = asyncio.wrap_future(job)
        try:
            return await asyncio.shield(done)
        finally:
            disconnected.set()
            job.cancel()  # where it waits for its turn still
            await asyncio.wait([done])


class EventStream(Response):
    """Server-sent events from a generator of whole chunks, which is closed when the client goes away.

    The generator turns its errors into chunks: once the response has begun there is no status to change. What it
    cannot see is that the server stops and waits no longer: that is an event of its own, by `failed`. While nothing
    comes a comment does, every `heartbeat` seconds (`COMMENT_SECONDS`), so that nothing on the way takes the connection
    for dead, and a client that has gone is noticed: until something is sent it looks like one that only listens.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        chunks: AsyncGenerator[bytes, None],
        headers: Mapping[str, str] | None = None,
        *,
        failed: Callable[[Jc1Error], bytes] = openai_failure,
        heartbeat: float | None = None,
    ) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no", **(headers or {})})
        del self.headers["content-length"]
        self._chunks = chunks
        self._failed = failed
        self._heartbeat = COMMENT_SECONDS if heartbeat is None else heartbeat

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            async with until_disconnect(receive), aclosing(self._chunks), _commenting(send, self._heartbeat) as sending:
                async for chunk in self._chunks:
                    await sending({"type": "http.response.body", "body": chunk, "more_body": True})
        except ClientDisconnect:
            return
        except EngineUnavailable as stopping:
            await send({"type": "http.response.body", "body": self._failed(stopping), "more_body": True})
        await send({"type": "http.response.body", "body": b""})


class ByteStream(Response):
    """A file from a generator of its pieces, which is closed when the client goes away.

    An error cuts the connection, so that nobody takes for whole what is not.
    """

    def __init__(
        self, pieces: AsyncGenerator[bytes, None], media_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(headers={"cache-control": "no-store", **(headers or {})}, media_type=media_type)
        del self.headers["content-length"]
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            async with until_disconnect(receive), aclosing(self._pieces):
                async for piece in self._pieces:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
        except ClientDisconnect:
            return
        await send({"type": "http.response.body", "body": b""})


async def begun(events: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """Return a stream of which the first event is there: what went wrong until then is raised here."""
    try:
        first = [await anext(events)]
    except StopAsyncIteration:
        first = []

    async def whole() -> AsyncGenerator[T, None]:
        async with aclosing(events):
            for event in first:
                yield event
            async for event in events:
                yield event

    return whole()


@asynccontextmanager
async def _commenting(send: Send, heartbeat: float) -> AsyncIterator[Send]:
    """Yield what sends; while it is not called, comments are sent."""
    quiet = True

    async def sending(message: Message) -> None:
        nonlocal quiet
        quiet = False
        await send(message)

    async def comment() -> None:
        nonlocal quiet
        while True:
            await asyncio.sleep(heartbeat)
            if quiet:
                await send({"type": "http.response.body", "body": COMMENT, "more_body": True})
            quiet = True

    comments = asyncio.create_task(comment())
    try:
        yield sending
    finally:
        comments.cancel()
