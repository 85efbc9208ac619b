"""The shared cache: one Redis server, used by every process that names it.

Knows keys, lifetimes, and what to do while the server is down; connections are redis-py's. Knows nothing about what the
bytes mean.

Layout. A key is `jc1:namespace 0x00 key`, so a database of the server may hold other programs' keys too. Each value
expires by itself: after its lifetime, or after 30 days where it has none.

Outages. Time limits are short, and only a connection that was lost is tried once more: a call that fails is a miss, and
after three in a row the breaker leaves the server alone, so that a dead one costs each call nothing and one call in
five seconds a quarter of a second.

What was removed stays removed. Where a `delete` or `clear` fails, the namespace is owed: it is removed whole before
anything else is asked of the server, and until that has succeeded nothing is found. That holds within one process.
Another process that still reaches the server may find the value until this one has made up for it or, where this one
ends before, until the lifetime is over; and a server that comes back with an older snapshot brings back what was in it.
So nothing may rest on a value's absence: what can become stale is kept here together with its version, which is
compared with the database at each lookup.
"""

from __future__ import annotations

import logging
import math
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from jc1.cache.base import State
from jc1.cache.breaker import Breaker
from jc1.cache.lookups import Lookups
from jc1.cache.namespaces import prefix
from jc1.errors import InvalidSettings

logger = logging.getLogger(__name__)
T = TypeVar("T")

CONNECT_SECONDS = CALL_SECONDS = 0.25
"""Seconds that the server may take to be reached, and to answer. The URL may say otherwise:
`?socket_connect_timeout=1&socket_timeout=1`."""
LONGEST_SECONDS = 30 * 24 * 3600
"""Lifetime in seconds of what has none of its own: the server need not be told to evict."""
SCANNED = 1000
"""Keys that the server looks at in one step of `clear`."""

_ROOT = b"jc1:"


class RedisCache:
    """A `Cache` on a Redis server, which need not be there.

    Arguments:
        url: `redis://`, `rediss://` (TLS) or `unix://`, as redis-py reads it.
        breaker: decides when the server is left alone; a test hands in its own.

    Raises `InvalidSettings` for a URL that cannot be read.
    """

    def __init__(self, url: str, *, breaker: Breaker | None = None) -> None:
        self.lookups = Lookups()
        self._client = _client(url)
        self._breaker = breaker or Breaker()
        self._closed = False
        self._owed: set[bytes] = set()
        """Prefixes of keys whose removal failed and is owed."""
        self._owing = threading.Lock()
        """Held while debts are made or paid: nothing is read meanwhile."""
        self._warned: set[str] = set()

    @property
    def state(self) -> State:
        return self._breaker.state

    def get(self, namespace: str, key: bytes) -> bytes | None:
        return self.get_many(namespace, [key])[0]

    def get_many(self, namespace: str, keys: Sequence[bytes]) -> list[bytes | None]:
        start = _ROOT + prefix(namespace)
        if not keys:
            return []
        values: list[bytes | None] | None = self._attempt(lambda: self._client.mget([start + key for key in keys]))
        if values is None:
            self.lookups.failed(namespace, len(keys))
            return [None] * len(keys)
        self.lookups.count(namespace, values)
        return values

    def put_many(self, namespace: str, items: Mapping[bytes, bytes], *, ttl: float | None = None) -> None:
        start = _ROOT + prefix(namespace)
        if not items:
            return
        milliseconds = math.ceil(min(LONGEST_SECONDS, LONGEST_SECONDS if ttl is None else ttl) * 1000)

        def write() -> None:
            if milliseconds <= 0:
                self._client.unlink(*(start + key for key in items))
                return
            with self._client.pipeline(transaction=False) as pipeline:
                for key, value in items.items():
                    pipeline.set(start + key, value, px=milliseconds)
                pipeline.execute()

        self._attempt(write)

    def delete(self, namespace: str, key: bytes) -> None:
        start = _ROOT + prefix(namespace)
        if self._attempt(lambda: self._client.unlink(start + key)) is None:
            self._owe(start)

    def clear(self, namespace: str) -> None:
        start = _ROOT + prefix(namespace)
        if self._attempt(lambda: self._remove_all(start)) is None:
            self._owe(start)

    def vacuum(self) -> bool:
        """Return whether nothing is owed a removal: the server's files are its administrator's."""
        return not self._owed

    def close(self) -> None:
        """Close the connections, after a last try to remove what is owed a removal."""
        if self._owed and not self._closed:
            try:
                self._pay()
            except (RedisError, OSError) as error:
                logger.warning(
                    "The cache did not answer (%s) when it was closed: what was to be removed from it stays until its "
                    "lifetime is over.",
                    type(error).__name__,
                )
        self._closed = True
        self._client.close()

    def _attempt(self, operation: Callable[[], T]) -> T | None:
        """Return the operation's result, or `None` where the cache is closed or the server does not do it."""
        if self._closed or not self._breaker.allows():
            return None
        try:
            # First, since what was removed must not be found.
            if self._owed:
                self._pay()
            result = operation()
        except ResponseError as error:
            self._answered()
            self._refused(error)
            return None
        except (RedisError, OSError) as error:
            if self._breaker.failed():
                logger.warning("The cache does not answer (%s): JC1 goes on without it.", type(error).__name__)
            return None
        self._answered()
        return result

    def _owe(self, start: bytes) -> None:
        with self._owing:
            self._owed.add(start)

    def _pay(self) -> None:
        """Remove every namespace that is owed a removal."""
        with self._owing:
            for start in tuple(self._owed):
                self._remove_all(start)
                self._owed.discard(start)

    def _remove_all(self, start: bytes) -> bool:
        """Remove every key that begins with `start`, and return true, since `None` stands for failure.

        The server looks at all of its keys, `SCANNED` at a time.
        """
        # SCAN takes a glob, so its special characters are escaped.
        pattern = re.sub(rb"([*?\[\]\\])", rb"\\\1", start) + b"*"
        cursor = None
        while cursor != 0:
            cursor, keys = self._client.scan(cursor or 0, match=pattern, count=SCANNED)
            if keys:
                self._client.unlink(*keys)
        return True

    def _answered(self) -> None:
        if self._breaker.succeeded():
            logger.info("The cache answers again.")

    def _refused(self, error: ResponseError) -> None:
        # The server's own words may quote keys, so the log gets the kind of error alone.
        kind = type(error).__name__
        if kind not in self._warned:
            self._warned.add(kind)
            logger.warning("The cache refuses what it is asked (%s): see the Redis server's log.", kind)


def _client(url: str) -> Any:
    """Return a client that connects when it is first used.

    Raises `InvalidSettings`, without the URL: it may hold a password.
    """
    with readable():
        client = Redis.from_url(url, **connection_options(Retry))
        client.connection_pool.make_connection()
    return client


def connection_options(retry: type[Any]) -> dict[str, Any]:
    """Return how connections are made and for how long they are waited for; `retry` is redis-py's class of the kind."""
    return {
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": CALL_SECONDS,
        "retry": retry(NoBackoff(), 1, supported_errors=(ConnectionLost,)),
        "protocol": 2,  # one round trip less to connect, and nothing here needs the newer one
        "driver_info": None,
    }


@contextmanager
def readable() -> Iterator[None]:
    """Raise `InvalidSettings` where redis-py cannot read a URL in the body."""
    try:
        yield
    except (ValueError, TypeError, RedisError):
        raise InvalidSettings(
            "redis_url cannot be read: write redis://host:6379/0, rediss://... for TLS, or unix:///path/to/socket."
        ) from None
