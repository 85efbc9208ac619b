"""Counters of a minute: how much of a limit is used, in this process or in a Redis that others count in too.

Knows windows and stores. Knows nothing about who is limited, or to what (`jc1.access.limits`).

A minute begins with the first that is taken in it, so at its end twice a limit can come within seconds: what was not
used is given back to the very minute that it was taken from, which windows that slide have no way to do.

A Redis that does not answer is left alone for a while, as the cache leaves it, and this process counts alone meanwhile.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from jc1.cache.breaker import Breaker

if TYPE_CHECKING:
    from limits.aio.storage import Storage
    from redis.asyncio import ConnectionPool

log = logging.getLogger(__name__)
T = TypeVar("T")

WINDOW_SECONDS = 60
TTL_SECONDS = 1
"""How exactly Redis tells when a minute ends: in its last second nothing is corrected."""
PREFIX = "jc1:limits"
"""Before every key in Redis, which holds the cache of other programs too."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What is left of a limit: `remaining` of `limit`, which is whole again in `reset` seconds."""

    limit: int
    remaining: int
    reset: float


@dataclass(slots=True)
class Taken:
    """What was taken from a minute: nothing where it is not `granted`. `budget` is what there is afterwards."""

    granted: bool
    budget: Budget
    _amount: int
    _storage: Storage
    _key: str
    _ends: float

    async def correct(self, used: int) -> None:
        """Take `used` instead, unless the minute is over: give back what is too much, take what is too little."""
        difference, self._amount = used - self._amount, used
        if not difference or time.monotonic() >= self._ends:
            return
        try:
            await self._storage.incr(self._key, WINDOW_SECONDS, difference)
        except _unanswered() as error:
            log.debug("the counter of %s was not corrected: %s", self._key, type(error).__name__)


class Rates:
    """The counters. `redis_url` is where they are shared; without it they are this process's own."""

    def __init__(self, redis_url: str | None = None, *, breaker: Breaker | None = None) -> None:
        from limits.aio.storage import MemoryStorage

        self._own = MemoryStorage()
        self._pool = None if redis_url is None else _pool(redis_url)
        self._shared = None if self._pool is None else _shared(self._pool)
        self._breaker = breaker or Breaker()

    async def take(self, key: str, limit: int, amount: int) -> Taken:
        """Take an amount from a key's minute; nothing where the limit does not leave as much."""
        return await self._asked(lambda storage: _take(storage, key, limit, amount))

    async def close(self) -> None:
        """Close the connections."""
        if self._pool is not None:
            await self._pool.aclose()

    async def _asked(self, call: Callable[[Storage], Awaitable[T]]) -> T:
        if self._shared is None or not self._breaker.allows():
            return await call(self._own)
        try:
            result = await call(self._shared)
        except _unanswered() as error:
            if self._breaker.failed():
                log.warning("Redis does not answer (%s): this process counts rates alone.", type(error).__name__)
            return await call(self._own)
        if self._breaker.succeeded():
            log.info("Redis answers again: rates are counted there.")
        return result


async def _take(storage: Storage, key: str, limit: int, amount: int) -> Taken:
    # First counted and then compared, so that of several processes never two take the same.
    count = await storage.incr(key, WINDOW_SECONDS, amount)
    granted = count <= limit
    if not granted:
        count = await storage.incr(key, WINDOW_SECONDS, -amount)
    left = max(0.0, await storage.get_expiry(key) - time.time()) if count else 0.0
    budget = Budget(limit, max(0, limit - count), left)
    ends = time.monotonic() + left - TTL_SECONDS
    return Taken(granted, budget, amount if granted else 0, storage, key, ends)


def _pool(url: str) -> ConnectionPool:
    """Return connections like the cache's. Raises `InvalidSettings` like it."""
    from redis.asyncio import ConnectionPool
    from redis.asyncio.retry import Retry

    from jc1.cache.redis import connection_options, readable

    with readable():
        return ConnectionPool.from_url(url, **connection_options(Retry))


def _shared(pool: ConnectionPool) -> Storage:
    from limits.aio.storage import RedisStorage

    # The address is the pool's: this one is only looked at.
    return RedisStorage("async+redis://", implementation="redispy", key_prefix=PREFIX, connection_pool=pool)  # type: ignore[arg-type]


def _unanswered() -> tuple[type[Exception], ...]:
    """Return what is raised where a store does not answer; of Redis, only where that is installed."""
    try:
        from redis.exceptions import RedisError
    except ModuleNotFoundError:
        return (OSError,)
    return (RedisError, OSError)
