"""Which request the code that runs now belongs to, and where that request stands in a trace of several services.

Knows ids, and W3C's headers `traceparent` and `tracestate` (https://www.w3.org/TR/trace-context-2/). Knows nothing of
how a request is recorded (`jc1.telemetry`) or logged (`jc1.telemetry.logs`).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
STATE_CHARACTERS = 512
"""How much of `tracestate` is passed on: what the specification asks for at least."""
_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_STATE = re.compile(r"[\x20-\x7e]+")


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A span of a distributed trace: the one that a request comes from, or the one that it goes on from."""

    trace_id: str
    span_id: str
    sampled: bool = True
    state: str = ""
    """What other tracing systems want passed on."""

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers that tell a server which span it is asked by."""
        headers = {TRACEPARENT: f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"}
        return {**headers, TRACESTATE: self.state} if self.state else headers


def read_context(headers: Mapping[str, str | None]) -> TraceContext | None:
    """Return where a request comes from; None where it does not say so, or not as W3C has it."""
    parent = headers.get(TRACEPARENT)
    match = _PARENT.fullmatch(parent or "")
    if match is None or (parent is not None and parent.startswith("00") and match[4]):
        return None
    state = headers.get(TRACESTATE) or ""
    kept = state if len(state) <= STATE_CHARACTERS and _STATE.fullmatch(state) else ""
    return TraceContext(match[1], match[2], bool(int(match[3], 16) & 1), kept)


@dataclass(slots=True)
class Current:
    """The request that is being answered."""

    request: str = field(default_factory=lambda: f"req_{uuid.uuid4().hex}")
    """The id that its answer carries, before and without a trace."""
    parent: TraceContext | None = None
    trace: str | None = None
    """The id of its trace, once it has one."""
    key: str | None = None
    """The id of the key that it showed."""


_current: ContextVar[Current | None] = ContextVar("jc1_current_request", default=None)


def current() -> Current | None:
    """Return the request that the code that runs now belongs to; None outside of any. Threads and tasks inherit it."""
    return _current.get()


@contextmanager
def answering(request: Current) -> Iterator[Current]:
    """Let all that the body does belong to a request."""
    token = _current.set(request)
    try:
        yield request
    finally:
        _current.reset(token)
