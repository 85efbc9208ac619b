"""Replies as routes take them from the guarded pipeline: whole, or begun, and the headers that go out with them.

Knows what comes before the first token, and that a client that goes away meanwhile takes its request with it. Knows
nothing about wire formats.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

from starlette.types import Receive

from jc1.access.guarded import Admitted, GuardedEvent
from jc1.reply import Done, Event, Reply, Token
from jc1_api.sse import until_disconnect


@dataclass(slots=True)
class Begun:
    """A stream up to its first token: until then an error is an HTTP status. `headers` go out with it."""

    first: list[Event] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)


async def whole(events: AsyncGenerator[GuardedEvent, None], receive: Receive) -> tuple[Reply, dict[str, str]]:
    """Return the reply that the events end with, and the headers that go out with it."""
    headers: dict[str, str] = {}
    async with until_disconnect(receive), aclosing(events):
        async for event in events:
            if isinstance(event, Admitted):
                headers = headers_of(event)
            elif isinstance(event, Done):
                return event.reply, headers
    raise AssertionError("a stream ends with Done or raises")


async def begun(events: AsyncGenerator[GuardedEvent, None], receive: Receive) -> Begun:
    """Return the events up to the first token; the rest stays in `events`."""
    start = Begun()
    async with until_disconnect(receive):
        async for event in events:
            if isinstance(event, Admitted):
                start.headers = headers_of(event)
                continue
            start.first.append(event)
            if isinstance(event, Token | Done):
                break
    return start


def headers_of(event: Admitted) -> dict[str, str]:
    """Return the headers of the answer to a request that was let in."""
    return {"x-request-id": event.trace_id, **event.headers}
