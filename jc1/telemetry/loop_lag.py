"""How late the event loop is: all replies of a process wait while one piece of work holds it.

Knows how to measure. Knows nothing about what holds the loop, or where the figures go.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

INTERVAL_SECONDS = 0.5


@asynccontextmanager
async def measuring_lag(observe: Callable[[float], None], interval: float = INTERVAL_SECONDS) -> AsyncIterator[None]:
    """Tell `observe` every `interval` seconds, while the body runs, by how many seconds the loop was late."""
    loop = asyncio.get_running_loop()
    due = loop.time() + interval
    timer: asyncio.TimerHandle

    def wake() -> None:
        nonlocal due, timer
        now = loop.time()
        observe(max(0.0, now - due))
        due = now + interval
        timer = loop.call_at(due, wake)

    timer = loop.call_at(due, wake)
    try:
        yield
    finally:
        timer.cancel()
