"""Admission: how many requests run, who waits, and whose turn is next.

Knows numbers and callers. Knows nothing about what runs, or about rates (`jc1.access.limits`).

Some run at the same time; some more wait, in a queue for each caller, and the queues are served in turn: of two
hundred requests that one key sends at once, another key's request waits behind one. Where no more may wait, the newest
request of the longest queue is turned away, so that a flood cannot keep others from waiting either.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from jc1.errors import Overloaded

RETRY_SECONDS = 1
"""`retry-after` of a request that was turned away; clients wait longer with each time."""


class Admission:
    """Lets `max_running` requests run and `max_waiting` wait. All calls come from one event loop."""

    def __init__(self, max_running: int, max_waiting: int) -> None:
        self.max_running = max_running
        self.max_waiting = max_waiting
        self.running = 0
        self.waiting_tokens = 0
        """About how many tokens of prompts wait."""
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        """Requests that wait, by caller; the first queue is next. None is empty."""

    @property
    def waiting(self) -> int:
        """Return how many requests wait."""
        return sum(map(len, self._queues.values()))

    @property
    def saturation(self) -> float:
        """Return which share of the places is taken, those to wait included: at 1 the next request is turned away."""
        return (self.running + self.waiting) / (self.max_running + self.max_waiting)

    @asynccontextmanager
    async def turn(self, caller: str, tokens: Callable[[], int] = lambda: 0) -> AsyncIterator[None]:
        """Run the body when it is the caller's turn. Raises `Overloaded` where too many wait already.

        `tokens` tells how many the request's prompt has; only one that has to wait is asked.
        """
        if self.running < self.max_running:  # then nobody waits
            self.running += 1
        else:
            await self._wait(caller, tokens())
        try:
            yield
        finally:
            self._next()

    async def _wait(self, caller: str, tokens: int) -> None:
        if self.waiting >= self.max_waiting:
            self._turn_one_away(caller)
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(caller, deque()).append(place)
        self.waiting_tokens += tokens
        try:
            await place
        except asyncio.CancelledError:
            if place.cancelled():
                self._leave(caller, place)
            elif place.exception() is None:  # its turn came at the very moment when it was cancelled
                self._next()
            raise
        finally:
            self.waiting_tokens -= tokens

    def _turn_one_away(self, caller: str) -> None:
        """Make room: turn away the newest request of the longest queue, or the new one where its queue is as long."""
        longest = max(self._queues, key=lambda name: len(self._queues[name]), default=caller)
        if len(self._queues.get(longest, ())) <= len(self._queues.get(caller, ())) + 1:
            raise _overloaded()
        place = self._queues[longest].pop()
        if not place.cancelled():
            place.set_exception(_overloaded())

    def _next(self) -> None:
        """Hand the place that is free to the first that waits: one of each caller in turn."""
        while self._queues:
            caller, queue = self._queues.popitem(last=False)
            place = queue.popleft()
            if queue:
                self._queues[caller] = queue
            if not place.cancelled():  # one that is cancelled at this moment
                place.set_result(None)
                return
        self.running -= 1

    def _leave(self, caller: str, place: asyncio.Future[None]) -> None:
        queue = self._queues.get(caller, deque())
        if place in queue:
            queue.remove(place)
            if not queue:
                del self._queues[caller]


def _overloaded() -> Overloaded:
    return Overloaded(
        "Too many requests wait already: send it again in a moment.", headers={"retry-after": str(RETRY_SECONDS)}
    )
