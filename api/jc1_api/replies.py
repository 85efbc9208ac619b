"""Replies of the guarded pipeline as answers: whole, or a stream that begins with its first token.

Knows how a model's name stands for a preset, what comes before the first token, how a stream that breaks off ends, and
that a client that goes away meanwhile takes its request with it. What is written is the wire format's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from jc1.access.guarded import Admitted, GuardedEvent
from jc1.errors import InvalidRequest, Jc1Error, UnknownModel
from jc1.reply import Event, Recalled, Reply, last
from jc1.trace import Trace
from jc1.workbench import Workbench
from jc1_api.errors import named_as_sent, unexpected
from jc1_api.sse import EventStream, until_disconnect

PATIENCE_SECONDS = 10.0
"""How long a stream waits for its first token before it begins without one."""


class WireFormat(Protocol):
    """One reply as its client reads it: whole, or chunk by chunk while it is written."""

    def whole(self, reply: Reply) -> dict[str, Any]:
        """Return a whole reply as JSON."""

    def opening(self, trace: Trace) -> Iterator[bytes]:
        """Yield the chunks that come before all events."""

    def take(self, happened: Event) -> Iterator[bytes]:
        """Yield the chunks of the next event; one for what is due at the same time."""

    def failed(self, error: Jc1Error, trace: Trace) -> bytes:
        """Return the chunk with which a stream that breaks off ends."""


@dataclass(slots=True)
class Begun:
    """A stream up to its first token: until then an error is an HTTP status. `headers` go out with it.

    `rest` is the stream from there on. Where the first token takes longer than `PATIENCE_SECONDS`, it is in there too:
    what stands between would take the silence for a dead connection.
    """

    trace: Trace
    rest: AsyncGenerator[GuardedEvent, None]
    first: list[Event] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)


async def answer(
    events: AsyncGenerator[GuardedEvent, None],
    form: WireFormat,
    request: Request,
    *,
    stream: bool | None,
    names: Mapping[str, str],
) -> Response:
    """Return the answer that is made of a reply's events.

    Until the first token errors are raised, and blame fields by the names that were sent: `names`, from ours to theirs.
    """
    with named_as_sent(names):
        if stream:
            start = await _begun(events, request)
            return EventStream(
                written(start, form), start.headers, failed=lambda error: form.failed(error, start.trace)
            )
        reply, headers = await whole(events, request)
        return JSONResponse(form.whole(reply), headers=headers)


async def whole(events: AsyncGenerator[GuardedEvent, None], request: Request) -> tuple[Reply, dict[str, str]]:
    """Return the reply that the events end with, and the headers that go out with it."""
    async with until_disconnect(request.receive):
        headers = _admitted(await anext(events), events, request).headers
        return await last(events), headers


async def written(start: Begun, form: WireFormat) -> AsyncGenerator[bytes, None]:
    """Yield a reply that has begun as chunks. An error is a chunk, the last. Closing this closes the events."""
    async with aclosing(start.rest):
        try:
            for chunk in form.opening(start.trace):
                yield chunk
            async for happened in _chained(start):
                for chunk in form.take(happened):
                    yield chunk
        except Jc1Error as error:
            yield form.failed(error, start.trace)
        except Exception as error:
            yield form.failed(unexpected(error, f"a stream of {type(form).__name__}"), start.trace)


async def _begun(events: AsyncGenerator[GuardedEvent, None], request: Request) -> Begun:
    """Return the events up to the first that is part of the reply, or none where that takes long."""
    async with until_disconnect(request.receive):
        start = _admitted(await anext(events), events, request)
        first = asyncio.create_task(_until_reply(events))
        try:
            done, _ = await asyncio.wait({first}, timeout=PATIENCE_SECONDS)
        except asyncio.CancelledError:
            await _cancelled(first)
            raise
    if done:
        start.first = first.result()
    else:
        start.rest = _resumed(first, events)
    return start


async def _until_reply(events: AsyncGenerator[GuardedEvent, None]) -> list[Event]:
    first: list[Event] = []
    async for event in events:
        assert not isinstance(event, Admitted)
        first.append(event)
        if not isinstance(event, Recalled):
            break
    return first


async def _resumed(
    first: asyncio.Task[list[Event]], events: AsyncGenerator[GuardedEvent, None]
) -> AsyncGenerator[GuardedEvent, None]:
    """Yield what a task still waits for, and then what follows."""
    async with aclosing(events):
        try:
            for early in await first:
                yield early
        finally:
            await _cancelled(first)
        async for event in events:
            yield event


async def _cancelled(task: asyncio.Task[list[Event]]) -> None:
    """Cancel a task, and return when it has ended, as it may have before."""
    task.cancel()
    await asyncio.wait({task})


def _admitted(event: GuardedEvent, events: AsyncGenerator[GuardedEvent, None], request: Request) -> Begun:
    """Return the start of a reply whose trace is what the answer is known by, also when it becomes an error."""
    assert isinstance(event, Admitted)
    request.state.request_id = event.trace.id
    return Begun(event.trace, events, headers=dict(event.headers))


async def _chained(start: Begun) -> AsyncGenerator[Event, None]:
    """Yield the events that were taken from a stream already, and then its rest."""
    for event in start.first:
        yield event
    async for later in start.rest:
        assert not isinstance(later, Admitted)
        yield later


def preset_of(model: str, preset: str | None, workbench: Workbench) -> str | None:
    """Return the preset that `model` (as `model@preset`) or `preset` names. Raises `UnknownModel` for another model."""
    served = workbench.engine.model
    if model == served:
        return preset
    if not model.startswith(f"{served}@"):
        raise UnknownModel(f"No model {model!r} here: {served!r} is served, see /v1/models.", param="model")
    if preset is not None:
        raise InvalidRequest(f"{model!r} and 'preset' both name a preset: send one.", param="preset")
    if named := model.removeprefix(f"{served}@"):
        return named
    raise UnknownModel(f"{model!r} names no preset: see /v1/models.", param="model")
