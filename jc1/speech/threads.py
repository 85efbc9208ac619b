"""Stepping through what blocks: one place where hearing and speaking leave the event loop.

Knows threads, and when what nobody waits for stops. Knows nothing about what is stepped through.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from typing import TypeVar, cast

T = TypeVar("T")


async def steps(begin: Callable[[], Iterator[T]]) -> AsyncGenerator[T, None]:
    """Yield what the iterator that `begin` makes yields, each step taken in a thread.

    Whoever closes this, or is cancelled, does not wait: the step under way ends by itself, no other begins, and the
    iterator is closed behind it.
    """
    iterator: Iterator[T] | None = None
    stepping = threading.Lock()
    left = False
    end = object()

    def step() -> T | object:
        nonlocal iterator
        with stepping:
            if left:
                return end
            iterator = iterator or begin()
            return next(iterator, end)

    def close() -> None:
        with stepping:
            if isinstance(iterator, Generator):
                iterator.close()

    try:
        while (item := await asyncio.to_thread(step)) is not end:
            yield cast("T", item)
    finally:
        left = True
        if stepping.locked() or iterator is not None:
            asyncio.get_running_loop().run_in_executor(None, close)
