"""What the cache saves when a session's history is read: milliseconds with it and without it, in turns.

Prints medians for histories of several lengths, in turns of 1,000 characters: `again` reads what was read before,
`grown` reads after one more turn, as a conversation does. Short histories are kept here too, which JC1 itself does not
do.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import uuid
from pathlib import Path
from statistics import median
from typing import Any

import jc1.sessions
from experiments.benchmarks.report import report
from jc1.cache.base import Cache
from jc1.cache.lmdb import LmdbCache
from jc1.cache.null import NullCache
from jc1.cache.redis import RedisCache
from jc1.database import open_database
from jc1.sessions import Sessions

USER, REPLY = "u" * 200, "r" * 800


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--database", metavar="URL", help="SQLAlchemy URL; a new SQLite file by default")
    parser.add_argument("--redis", metavar="URL", help="a running Redis server to measure too")
    parser.add_argument("--turns", type=int, nargs="*", default=[10, 20, 50, 200], help="lengths of histories")
    parser.add_argument("--repetitions", type=int, default=200, help="how often each thing is measured")
    arguments = parser.parse_args()

    jc1.sessions.LONG = 1
    owner = f"benchmark {uuid.uuid4().hex}"
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(arguments.database or f"sqlite:///{folder}/jc1.db")
        caches: dict[str, Cache] = {"none": NullCache(), "lmdb": LmdbCache(Path(folder) / "cache")}
        if arguments.redis:
            caches["redis"] = RedisCache(arguments.redis)
        sessions = {name: Sessions(database, cache=cache) for name, cache in caches.items()}
        results: dict[str, Any] = {"database": database.dialect.name}
        for turns in arguments.turns:
            results[f"{turns}_turns_ms"] = _measured(sessions, owner, turns, arguments.repetitions)
        for info in sessions["none"].list(owner, limit=1000):
            sessions["none"].delete(owner, info.id)
        for cache in caches.values():
            cache.close()
        database.dispose()
    report("history", results, packages=("sqlalchemy", "lmdb", "redis"))


def _measured(sessions: dict[str, Sessions], owner: str, turns: int, repetitions: int) -> dict[str, dict[str, float]]:
    again: dict[str, list[float]] = {name: [] for name in sessions}
    grown: dict[str, list[float]] = {name: [] for name in sessions}
    for name, one in sessions.items():
        for _ in range(turns):
            one.append(owner, f"{turns} {name}", user=USER, reply=REPLY)
        one.history(owner, f"{turns} {name}")
    for _ in range(repetitions):
        for name, one in sessions.items():
            again[name].append(_seconds(one, owner, f"{turns} {name}"))
    for _ in range(min(repetitions, 50)):
        for name, one in sessions.items():
            one.append(owner, f"{turns} {name}", user=USER, reply=REPLY)
            grown[name].append(_seconds(one, owner, f"{turns} {name}"))
    return {
        "again": {name: round(median(seconds) * 1e3, 2) for name, seconds in again.items()},
        "grown": {name: round(median(seconds) * 1e3, 2) for name, seconds in grown.items()},
    }


def _seconds(sessions: Sessions, owner: str, session: str) -> float:
    began = time.perf_counter()
    sessions.history(owner, session)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
