"""Usage: what each key asked for, by model and day, counted as it happens and stored a second later.

Knows counts and days. Knows nothing about what they limit (`jc1.access.limits`), or about rows (`jc1.database.usage`).

Counts are collected in memory, and a thread writes them once a second and at the end: a request never waits for that.
A process that is killed loses what it counted since, a second's worth at most.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from jc1.errors import Jc1Error

if TYPE_CHECKING:
    from jc1.database.usage import UsageRepository

log = logging.getLogger(__name__)

NO_KEY = ""
"""Under which it is counted what was asked without keys."""
FLUSH_SECONDS = 1.0
FRESH = timedelta(seconds=5)
"""How long a process may go on without what others on the same database counted."""
MODEL_LENGTH = 200
TOKENS = ("prompt_tokens", "completion_tokens")


def _now() -> datetime:
    return datetime.now(UTC)


class Usage:
    """The usage of a database; without `rows` it is counted in memory alone. `clock` tells the time.

    `record` and `tokens_today` are for the event loop. The other calls block.
    """

    def __init__(self, rows: UsageRepository | None = None, *, clock: Callable[[], datetime] = _now) -> None:
        self._rows = rows
        self._clock = clock
        self._lock = threading.Lock()
        self._pending: dict[tuple[str, str, date], Counter[str]] = {}
        self._today: dict[str, tuple[datetime, int]] = {}
        """Tokens of a key's day, and when they were read; what is recorded here since is in it."""
        self._writing = threading.Lock()
        self._flush_planned = False
        self._failed = False
        self._closing = threading.Event()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="usage")

    def record(self, key: str, model: str, **counts: int) -> None:
        """Count what was asked with a key: any of `requests`, `prompt_tokens`, `completion_tokens` and `refused`."""
        day = self._clock().date()
        with self._lock:
            self._pending.setdefault((key, model[:MODEL_LENGTH], day), Counter()).update(counts)
            if key in self._today:
                read, tokens = self._today[key]
                self._today[key] = read, tokens + sum(counts.get(name, 0) for name in TOKENS)
            self._plan_flush()

    async def tokens_today(self, key: str) -> int:
        """Return how many tokens a key has read and written today (UTC)."""
        now = self._clock()
        read, tokens = self._today.get(key, (None, 0))
        if read is None or read.date() != now.date() or not timedelta() <= now - read < FRESH:
            tokens = await asyncio.to_thread(self._read_today, key, now)
        return tokens

    def list(self, days: int, key: str | None = None) -> list[dict[str, Any]]:
        """Return what was counted on the last `days` days, today included, of one key or of all: the newest first."""
        self.flush()
        if self._rows is None:
            return []
        return self._rows.list(self._clock().date() - timedelta(days=days - 1), key)

    def flush(self) -> None:
        """Store what was counted so far. What cannot be stored now is kept for the next time."""
        if self._rows is None:
            return
        with self._writing:
            with self._lock:
                counted, self._pending = self._pending, {}
            if not counted:
                return
            names = ("requests", *TOKENS, "refused")
            try:
                self._rows.add(
                    {"key": key, "model": model, "day": day, **{name: counts[name] for name in names}}
                    for (key, model, day), counts in counted.items()
                )
                self._failed = False
            except Jc1Error as error:
                self._keep(counted, error)

    def close(self) -> None:
        """Store what was counted, and end the thread."""
        self._closing.set()
        self._writer.shutdown()
        self.flush()

    def _plan_flush(self) -> None:
        if self._rows is not None and not self._flush_planned and not self._closing.is_set():
            self._flush_planned = True
            self._writer.submit(self._flush_soon)

    def _flush_soon(self) -> None:
        self._closing.wait(FLUSH_SECONDS)
        with self._lock:
            self._flush_planned = False
        self.flush()

    def _keep(self, counted: dict[tuple[str, str, date], Counter[str]], error: Jc1Error) -> None:
        if not self._failed:
            log.warning("usage cannot be stored, and is kept in memory until it can: %s", error.message)
        self._failed = True
        with self._lock:
            for place, counts in counted.items():
                self._pending.setdefault(place, Counter()).update(counts)
            self._plan_flush()

    def _read_today(self, key: str, now: datetime) -> int:
        """Read what is stored of a key's day, and what is not yet."""
        day = now.date()
        with self._writing:  # or what is written meanwhile would count twice, or never
            stored = 0 if self._rows is None else self._rows.tokens(key, day)
            with self._lock:
                pending = sum(
                    counts[name]
                    for (owner, _, when), counts in self._pending.items()
                    if (owner, when) == (key, day)
                    for name in TOKENS
                )
                self._today[key] = now, stored + pending
                return stored + pending
