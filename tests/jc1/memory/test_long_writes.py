"""Much that one owner writes at once leaves the database to everybody else, in this process and in others."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert

from jc1.database import writing
from jc1.database.tables import owners, records
from jc1.memory.base import NewRecord, Retrieval, Selection
from jc1.memory.store import DatabaseMemory
from tests.jc1.memory.conftest import HashingEmbedder

MANY = 20_000
LONGEST_WAIT = 1.0
"""Seconds that somebody else's write may wait."""

OTHER = """
import sys, threading, time
from jc1.database import open_database
from jc1.memory.base import NewRecord
from jc1.memory.store import DatabaseMemory
from tests.jc1.memory.conftest import HashingEmbedder

memory = DatabaseMemory(open_database(sys.argv[1]), HashingEmbedder())
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set())).start()
waits = []
print("ready", flush=True)
while not ended.is_set():
    began = time.perf_counter()
    memory.add("eve", [NewRecord("Me too.", kind="reply")])
    waits.append(time.perf_counter() - began)
    time.sleep(0.02)
print(len(waits), max(waits))
"""


@contextmanager
def others_writing(memory: DatabaseMemory, database: Engine) -> Iterator[None]:
    """Bob in this process and Eve in another store what they say, and neither waits long."""
    ended, waits = threading.Event(), list[float]()

    def bob() -> None:
        while not ended.wait(0.02):
            began = time.perf_counter()
            memory.add("bob", [NewRecord("Me too.", kind="reply")])
            waits.append(time.perf_counter() - began)

    thread = threading.Thread(target=bob)
    with subprocess.Popen(
        [sys.executable, "-c", OTHER, str(database.url)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as eve:
        assert eve.stdin is not None
        assert eve.stdout is not None
        assert eve.stdout.readline() == "ready\n"
        thread.start()
        yield
        ended.set()
        thread.join()
        eve.stdin.close()
        count, longest = eve.stdout.read().split()
    for written, waited in ((len(waits), max(waits)), (int(count), float(longest))):
        assert written > 10
        assert waited < LONGEST_WAIT


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nobody_waits_long_while_one_owner_imports_forgets_restores_and_purges_twenty_thousand_records(
    memory: DatabaseMemory, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    line = {"role": "user", "kind": "statement", "created": "2026-01-01T00:00:00Z"}
    texts = ("My cat is called Ada{}.", "I met {} people today.", "The meeting is on day {}.")
    lines = (json.dumps({**line, "id": f"mem_{n}", "text": texts[n % 3].format(n)}) + "\n" for n in range(MANY))
    file = BytesIO("".join(lines).encode())
    everything = Selection(everything=True)
    steps: list[Callable[[], object]] = [
        lambda: memory.import_lines("ann", file),
        lambda: memory.forget("ann", everything),
        lambda: memory.restore("ann", everything),
        lambda: memory.expire("ann", datetime.now(UTC)),
        lambda: memory.purge("ann"),
        lambda: memory.vacuum(lambda: True),
    ]
    for step in steps[:3]:
        with others_writing(memory, database):
            step()
        assert memory.list("ann", limit=1).total in (0, MANY)
    with others_writing(memory, database):
        for step in steps[3:]:
            step()
    assert memory.statistics("ann").forgotten == 0


@pytest.mark.slow
def test_the_first_search_among_sixty_thousand_records_takes_seconds(
    memory: DatabaseMemory, database: Engine, embedder: HashingEmbedder
) -> None:
    rows = [
        {
            "id": f"mem_{n}",
            "owner": "ann",
            "text": f"Sentence {n} tells of day {n % 365} and of number {n % 997}.",
            "role": "user",
            "kind": "statement",
            "created": datetime(2026, 1, 1 + n % 28, tzinfo=UTC),
            "session": f"s{n // 20}",
            "turn": n % 20,
            "changed": 1,
            "vector": bytes(2 * embedder.dimension - 2) + b"\0\x3c",
            "embedder": embedder.fingerprint,
        }
        for n in range(60_000)
    ]
    with writing(database) as connection:
        connection.execute(insert(owners).values(owner="ann", version=1))
        connection.execute(insert(records), rows)
    began = time.process_time()
    assert len(memory.search("ann", "number 4711", Retrieval(k=5)).receipts) == 5
    assert time.process_time() - began < 8, "a tenth of a millisecond of the processor for each record"
