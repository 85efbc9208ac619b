"""Those who listen to finished requests: a bounded queue for each, and a request waits for none of them.

Knows how a trace reaches listeners in their event loops, and that one who reads too slowly is dropped. Knows nothing
about what they do with it.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager, suppress

from jc1.errors import Overloaded
from jc1.trace import Trace

MAX_WAITING = 200
"""Most traces that wait to be read by one listener."""


class Listener:
    """One reader of traces, of one owner or of all, in the loop in which it was made."""

    def __init__(self, owner: str | None) -> None:
        self.owner = owner
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Trace] = deque()
        self._news = asyncio.Event()
        self._ended = False
        self._slow = False

    def tell(self, trace: Trace) -> None:
        """Hand over a trace, from any thread."""
        self._call(self._put, trace)

    def end(self) -> None:
        """Let `traces` end once what waits is read, from any thread."""
        self._call(self._end)

    async def traces(self) -> AsyncGenerator[Trace, None]:
        """Yield traces as they come. Raises `Overloaded` where more waited than `MAX_WAITING`."""
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if self._slow:
                raise Overloaded("This reader is too slow, and missed requests: connect again, and read faster.")
            if self._ended:
                return
            self._news.clear()
            await self._news.wait()

    def _call(self, change: Callable[..., None], *args: Trace) -> None:
        with suppress(RuntimeError):  # its loop is closed, and so nobody listens
            self._loop.call_soon_threadsafe(change, *args)

    def _put(self, trace: Trace) -> None:
        if len(self._waiting) == MAX_WAITING:
            self._waiting.clear()
            self._slow = True
        elif not self._slow:
            self._waiting.append(trace)
        self._news.set()

    def _end(self) -> None:
        self._ended = True
        self._news.set()


class Listeners:
    """All who listen. May be used from any thread."""

    def __init__(self) -> None:
        self._all: set[Listener] = set()
        self._ended = False
        self._lock = threading.Lock()

    @contextmanager
    def listening(self, owner: str | None) -> Iterator[Listener]:
        """Yield a listener that is told of every request that finishes while the body runs; None is every owner's."""
        listener = Listener(owner)
        with self._lock:
            self._all.add(listener)
            if self._ended:
                listener.end()
        try:
            yield listener
        finally:
            with self._lock:
                self._all.discard(listener)

    def tell(self, trace: Trace) -> None:
        """Tell those whom a finished request concerns."""
        for listener in self._current():
            if listener.owner in (None, trace.owner):
                listener.tell(trace)

    def end(self) -> None:
        """End all who listen, and at once who comes later: nothing finishes here any more."""
        with self._lock:
            self._ended = True
        for listener in self._current():
            listener.end()

    def _current(self) -> list[Listener]:
        with self._lock:
            return list(self._all)
