"""The shared cache: one Redis server, used by every process that names it.

Knows keys, lifetimes, connections, and what to do while the server is down. Knows nothing about what the bytes mean.

A lookup takes 20 microseconds over a socket of this machine. redis-py's client would take 50, so its connections are
used without it: they know the protocol, TLS and passwords, and this module keeps those that are idle.

Layout. A key is `jc1:namespace 0x00 key`, so a database of the server may hold other programs' keys too. Each value
expires by itself: after its lifetime, or after 30 days where it has none.

Outages. Time limits are short and nothing is tried twice: a call that fails is a miss, and after three in a row the
breaker leaves the server alone, so that a dead one costs each call nothing and one call in five seconds a quarter of a
second.

What was removed stays removed. A `delete` or `clear` that fails is owed: it is made up for before anything else is
asked of the server, and until that has succeeded nothing is found. So are writes that were sent and not confirmed, as
nobody knows whether they arrived. That holds within one process. Another process that still reaches the server may find
the value until this one has made up for it or, where this one ends before, until the lifetime is over; and a server
that comes back with an older snapshot brings back what was in it. So nothing may rest on a value's absence: what can
become stale is kept here together with its version, which is compared with the database at each lookup.
"""

from __future__ import annotations

import itertools
import logging
import math
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from redis.connection import Connection, parse_url
from redis.exceptions import RedisError, ResponseError

from jc1.cache.base import State, prefix
from jc1.cache.breaker import Breaker
from jc1.cache.lookups import Lookups
from jc1.errors import InvalidSettings

logger = logging.getLogger(__name__)
T = TypeVar("T")

CONNECT_SECONDS = CALL_SECONDS = 0.25
"""How long the server may take to be reached, and to say the next thing. The URL may say otherwise:
`?socket_connect_timeout=1&socket_timeout=1`."""
LONGEST_SECONDS = 30 * 24 * 3600
"""The lifetime of what has none of its own: the server need not be told to evict."""
MOST_OWED = 10_000
"""Keys that are owed a removal at most; beyond, their whole namespaces are."""
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
        self._options = _options(url)
        self._breaker = breaker or Breaker()
        self._idle: deque[Connection] = deque()
        self._process = os.getpid()
        self._closed = False
        self._lock = threading.Lock()
        """Held while what is owed changes."""
        self._paying = threading.Lock()
        self._owed: dict[tuple[bytes, bool], int] = {}
        """What is owed a removal: a key, or where true all keys that begin so; and which debt in a row that is."""
        self._debts = itertools.count()
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
        places = [start + key for key in keys]
        found: list[bytes | None] | None = self._attempt(lambda connection: _ask(connection, b"MGET", *places))
        if found is None:
            self.lookups.failed(namespace, len(keys))
            return [None] * len(keys)
        self.lookups.count(namespace, found)
        return found

    def put_many(self, namespace: str, items: Mapping[bytes, bytes], *, ttl: float | None = None) -> None:
        start = _ROOT + prefix(namespace)
        if not items:
            return
        places = [start + key for key in items]
        milliseconds = math.ceil(min(LONGEST_SECONDS, LONGEST_SECONDS if ttl is None else ttl) * 1000)
        commands: list[tuple[bytes | int, ...]]
        if milliseconds > 0:
            commands = [
                (b"SET", place, value, b"PX", milliseconds) for place, value in zip(places, items.values(), strict=True)
            ]
        else:
            commands = [(b"UNLINK", *places)]

        def write(connection: Connection) -> None:
            try:
                connection.send_packed_command(connection.pack_commands(commands))
                for _ in commands:
                    connection.read_response()
            except (RedisError, OSError):
                self._owe(places)
                raise

        self._attempt(write)

    def delete(self, namespace: str, key: bytes) -> None:
        place = _ROOT + prefix(namespace) + key
        if self._attempt(lambda connection: _ask(connection, b"UNLINK", place)) is None:
            self._owe([place])

    def clear(self, namespace: str) -> None:
        start = _ROOT + prefix(namespace)
        if self._attempt(lambda connection: _remove_all(connection, start)) is None:
            self._owe([start], whole=True)

    def vacuum(self) -> bool:
        """Return whether nothing is owed a removal: the server's files are its administrator's."""
        return not self._owed

    def close(self) -> None:
        """Close the connections, once what is owed was tried a last time."""
        if self._owed and not self._closed:
            try:
                connection = self._connection()
                try:
                    self._pay(connection)
                finally:
                    connection.disconnect()
            except (RedisError, OSError) as error:
                logger.warning(
                    "The cache did not answer (%s) when it was closed: what was to be removed from it stays until its "
                    "lifetime is over.",
                    type(error).__name__,
                )
        self._closed = True
        self._drop_idle()

    def _attempt(self, operation: Callable[[Connection], T]) -> T | None:
        """What the operation returns, or `None` where the cache is closed or the server does not do it."""
        if self._closed or not self._breaker.allows():
            return None
        try:
            connection = self._connection()
            try:
                if self._owed:
                    self._pay(connection)
                result = operation(connection)
            except BaseException:
                connection.disconnect()  # part of an answer may still be under way
                raise
        except ResponseError as error:
            self._answered()
            self._refused(error)
            return None
        except (RedisError, OSError) as error:
            self._drop_idle()  # whatever happened to one has happened to all
            if self._breaker.failed():
                logger.warning("The cache does not answer (%s): JC1 goes on without it.", type(error).__name__)
            return None
        self._give_back(connection)
        self._answered()
        return result

    def _connection(self) -> Connection:
        """A connection that nobody uses. It connects when it is first used."""
        if self._process != os.getpid():  # forked: these sockets are the parent's
            self._process = os.getpid()
            self._idle = deque()
        try:
            return self._idle.pop()
        except IndexError:
            return _made(self._options)

    def _give_back(self, connection: Connection) -> None:
        self._idle.append(connection)
        if self._closed:
            self._drop_idle()

    def _drop_idle(self) -> None:
        while True:
            try:
                self._idle.pop().disconnect()
            except IndexError:
                return

    def _owe(self, places: Iterable[bytes], *, whole: bool = False) -> None:
        with self._lock:
            self._owed.update(((place, whole), next(self._debts)) for place in places)
            if len(self._owed) > MOST_OWED:
                starts = {place.partition(b"\0")[0] + b"\0" for place, _ in self._owed}
                self._owed = {(start, True): next(self._debts) for start in starts}

    def _pay(self, connection: Connection) -> None:
        """Remove what is owed a removal. Others wait: nothing is read before that is done."""
        with self._paying:
            with self._lock:
                owed = dict(self._owed)
            for place, whole in owed:
                if whole:
                    _remove_all(connection, place)
            if keys := [place for place, whole in owed if not whole]:
                _ask(connection, b"UNLINK", *keys)
            with self._lock:
                for debt, number in owed.items():
                    if self._owed.get(debt) == number:  # else it was owed again meanwhile
                        del self._owed[debt]

    def _answered(self) -> None:
        if self._breaker.succeeded():
            logger.info("The cache answers again.")

    def _refused(self, error: ResponseError) -> None:
        # The server's own words may quote keys, so the log gets the kind of error alone.
        kind = type(error).__name__
        if kind not in self._warned:
            self._warned.add(kind)
            logger.warning("The cache refuses what it is asked (%s): see the Redis server's log.", kind)


def _options(url: str) -> dict[str, Any]:
    """What a connection needs to know. Raises `InvalidSettings`, without the URL: it may hold a password."""
    defaults = {
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": CALL_SECONDS,
        "protocol": 2,  # one round trip less to connect, and nothing here needs the newer one
        "driver_info": None,
    }
    try:
        options = {**defaults, **parse_url(url)}
        _made(options)
    except (ValueError, TypeError, RedisError):
        raise InvalidSettings(
            "redis_url cannot be read: write redis://host:6379/0, rediss://... for TLS, or unix:///path/to/socket."
        ) from None
    return options


def _made(options: Mapping[str, Any]) -> Connection:
    kind = options.get("connection_class", Connection)
    made: Connection = kind(**{name: value for name, value in options.items() if name != "connection_class"})
    return made


def _ask(connection: Connection, *command: bytes | int) -> Any:
    connection.send_command(*command)
    return connection.read_response()


def _remove_all(connection: Connection, start: bytes) -> bool:
    """Remove every key that begins with `start`. The server looks at all of its keys, a thousand at a time."""
    pattern = re.sub(rb"([*?\[\]\\])", rb"\\\1", start) + b"*"
    cursor: bytes | int = 0
    while True:
        cursor, keys = _ask(connection, b"SCAN", cursor, b"MATCH", pattern, b"COUNT", SCANNED)
        if keys:
            _ask(connection, b"UNLINK", *keys)
        if int(cursor) == 0:
            return True
