"""What the cache saves when a session's history is read: milliseconds with it and without it, in turns.

Prints medians for histories of several lengths, in turns of 1,000 characters: `again` reads what was read before,
`grown` reads after one more turn, as a conversation does. Short histories are kept here too, which JC1 itself does not
do.
"""

from __future__ import annotations

import tempfile
import uuid
from functools import partial
from pathlib import Path
from statistics import median

import jc1.sessions
from experiments.benchmarks.harness import Figures, main, seconds
from jc1.cache.base import Cache
from jc1.cache.lmdb import LmdbCache
from jc1.cache.null import NullCache
from jc1.cache.redis import RedisCache
from jc1.database import open_database
from jc1.sessions import Sessions

USER, REPLY = "u" * 200, "r" * 800
LENGTHS = (10, 20, 50, 200)
"""Turns of the histories that are measured, where none are named."""


def measure(database: str = "", redis: str = "", turns: list[int] | None = None, repetitions: int = 200) -> Figures:
    """Measure histories of so many turns, in a database and beside a running Redis server, both by their URLs: a new
    SQLite file, and no Redis, unless they are given."""
    jc1.sessions.LONG = 1
    owner = f"benchmark {uuid.uuid4().hex}"
    with tempfile.TemporaryDirectory() as folder:
        opened = open_database(database or f"sqlite:///{folder}/jc1.db")
        caches: dict[str, Cache] = {"none": NullCache(), "lmdb": LmdbCache(Path(folder) / "cache")}
        if redis:
            caches["redis"] = RedisCache(redis)
        sessions = {name: Sessions(opened, cache=cache) for name, cache in caches.items()}
        results: Figures = {"database": opened.dialect.name}
        for length in turns or LENGTHS:
            results[f"{length}_turns_ms"] = _measured(sessions, owner, length, repetitions)
        for info in sessions["none"].list(owner, limit=1000):
            sessions["none"].delete(owner, info.id)
        for cache in caches.values():
            cache.close()
        opened.dispose()
    return results


def _measured(sessions: dict[str, Sessions], owner: str, turns: int, repetitions: int) -> dict[str, dict[str, float]]:
    again: dict[str, list[float]] = {name: [] for name in sessions}
    grown: dict[str, list[float]] = {name: [] for name in sessions}
    for name, one in sessions.items():
        for _ in range(turns):
            one.append(owner, f"{turns} {name}", user=USER, reply=REPLY)
        one.history(owner, f"{turns} {name}")
    for _ in range(repetitions):
        for name, one in sessions.items():
            again[name].append(seconds(partial(one.history, owner, f"{turns} {name}")))
    for _ in range(min(repetitions, 50)):
        for name, one in sessions.items():
            one.append(owner, f"{turns} {name}", user=USER, reply=REPLY)
            grown[name].append(seconds(partial(one.history, owner, f"{turns} {name}")))
    return {
        "again": {name: round(median(times) * 1e3, 2) for name, times in again.items()},
        "grown": {name: round(median(times) * 1e3, 2) for name, times in grown.items()},
    }


if __name__ == "__main__":
    main(measure, packages=("sqlalchemy", "lmdb", "redis"))
