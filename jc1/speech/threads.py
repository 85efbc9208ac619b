"""Stepping through what blocks: one place where hearing and speaking leave the event loop.

Knows threads, which are speech's own, and when what nobody waits for stops. Knows nothing about what is stepped
through.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar, cast

from jc1.hardware import available_cores

T = TypeVar("T")


async def apart(work: Callable[[], T]) -> T:
    """Return what `work` returns, done in one of speech's own threads.

    Models compute one call after the other, so many recordings at once would hold every thread of the loop's own pool,
    and with them memory and sessions.
    """
    return await asyncio.get_running_loop().run_in_executor(_pool(), work)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(2 * available_cores() + 2, thread_name_prefix="jc1-speech")


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
        while (item := await apart(step)) is not end:
            yield cast("T", item)
    finally:
        left = True
        if stepping.locked() or iterator is not None:
            asyncio.get_running_loop().run_in_executor(_pool(), close)
