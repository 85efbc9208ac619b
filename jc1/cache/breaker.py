"""A circuit breaker: a store that does not answer is left alone for a while, then tried by one call.

Knows failures in a row and a clock. Knows nothing about what is called, or how. (redis-py 8.1 has one for choosing
among several databases only, over a package that it does not bring; hence these lines.)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from jc1.cache.base import State

FAILURES = 3
"""Failures in a row after which the store is left alone."""
OPEN_SECONDS = 5.0
"""Seconds for which it is left alone; then one call tries, and another after the same time if that one fails or never
ends."""


class Breaker:
    """Ask `allows` before each call, and say afterwards how it went. May be used from any thread.

    `clock` gives seconds; a test hands in its own.
    """

    def __init__(
        self, *, failures: int = FAILURES, seconds: float = OPEN_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = failures
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._trying = False
        self._next_try = 0.0

    @property
    def state(self) -> State:
        if self._failures < self._limit:
            return "closed"
        return "half_open" if self._trying else "open"

    def allows(self) -> bool:
        """Return whether a call may be made now: while the store is left alone, one every `seconds`."""
        if self._failures < self._limit:  # without the lock, since nearly every call ends here
            return True
        with self._lock:
            now = self._clock()
            if self._failures < self._limit:
                return True
            if now < self._next_try:
                return False
            self._trying, self._next_try = True, now + self._seconds
            return True

    def succeeded(self) -> bool:
        """Record that the store answered, and return whether it had been left alone until now."""
        if not self._failures:
            return False
        with self._lock:
            closed = self._failures >= self._limit
            self._failures, self._trying = 0, False
            return closed

    def failed(self) -> bool:
        """Record that the store did not answer, and return whether this failure makes it be left alone."""
        with self._lock:
            self._failures += 1
            self._trying, self._next_try = False, self._clock() + self._seconds
            return self._failures == self._limit
