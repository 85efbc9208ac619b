"""Nothing that was acknowledged is lost: not by kill -9, not on a full disk."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import random
import signal
import subprocess
import sys
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from jc1.database import open_database
from jc1.memory.base import NewRecord, Retrieval
from jc1.memory.store import DatabaseMemory
from tests.jc1.memory.conftest import HashingEmbedder

FORKS = multiprocessing.get_context("forkserver")
"""Processes that are forked from one that has imported what they need: starting and importing would be most of it."""
FORKS.set_forkserver_preload(["jc1.database.schema", "jc1.memory.store", __name__])
WRITERS = 3


def write(url: str, name: str, acknowledge: Connection) -> None:
    """Store records for ever, and send the text of each that was acknowledged."""
    memory = DatabaseMemory(open_database(url), HashingEmbedder())
    for number in itertools.count():
        batch = [NewRecord(f"{name} walrus {number}.{i}") for i in range(1 + number % 3)]
        for record in memory.add("ann", batch):
            acknowledge.send(record.text)


def kill_while_writing(url: str, name: str, acknowledged: int) -> list[str]:
    """Start writers, kill all with SIGKILL after some acknowledgements, and return all that they acknowledged."""
    writers, ends = [], []
    for n in range(WRITERS):
        receives, sends = FORKS.Pipe(duplex=False)
        writers.append(FORKS.Process(target=write, args=(url, f"{name} {n}", sends)))
        writers[-1].start()
        sends.close()
        ends.append(receives)
    texts: list[str] = [end.recv() for end in ends]  # all of them write by now
    texts += [ends[0].recv() for _ in range(acknowledged)]
    for writer in writers:
        writer.kill()
    for end in ends:
        with end, contextlib.suppress(EOFError):  # what was cut short was not acknowledged
            while True:
                texts.append(end.recv())
    for writer in writers:
        writer.join()
        assert writer.exitcode == -signal.SIGKILL
    return texts


def listed(memory: DatabaseMemory) -> list[str]:
    """The texts of all records in the database."""
    texts: list[str] = []
    cursor = None
    while True:
        page = memory.list("ann", limit=1000, cursor=cursor)
        texts += [record.text for record in page.records]
        if (cursor := page.next_cursor) is None:
            return texts


@pytest.mark.parametrize(
    "rounds", [3, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])], ids=["few", "many"]
)
def test_every_acknowledged_record_is_there_after_kill_9_and_the_index_agrees(tmp_path: Path, rounds: int) -> None:
    """Ten rounds a database, and then a new one: what is stored is read again after every kill."""
    chance = random.Random(rounds)
    acknowledged: list[str] = []
    for number in range(rounds):
        url = f"sqlite:///{tmp_path / f'{number // 10}.db'}"
        if number % 10 == 0:
            acknowledged = []
        acknowledged += kill_while_writing(url, f"round{number}", chance.randint(1, 20))
        with closing(DatabaseMemory(open_database(url), HashingEmbedder())) as memory:
            stored = listed(memory)
            assert set(acknowledged) <= set(stored)
            assert len(stored) == len(set(stored))
            found = memory.search("ann", acknowledged[-1], Retrieval(k=len(stored))).receipts
            assert sorted(receipt.record.text for receipt in found) == sorted(stored)
            assert acknowledged[-1] in {receipt.record.text for receipt in found[:20]}


FILL = """
import resource, sys
from jc1.database import open_database
from jc1.errors import StorageFull
from jc1.memory.base import NewRecord, Retrieval
from jc1.memory.store import DatabaseMemory
from tests.jc1.memory.conftest import HashingEmbedder

if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
memory = DatabaseMemory(open_database(sys.argv[1]), HashingEmbedder())
stored = 0
try:
    while stored < 5000:
        memory.add("ann", [NewRecord(f"walrus {stored} " + "x" * 3000)])
        stored += 1
except StorageFull as error:
    print(error.code)
print(stored)
for opened in (memory, DatabaseMemory(open_database(sys.argv[1]), HashingEmbedder())):
    recall = opened.search("ann", "walrus", Retrieval(k=5000))
    print(len(recall.receipts), opened.list("ann").total)
    opened.close()
"""


def test_a_full_disk_is_named_and_what_was_stored_is_still_recalled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    python = [sys.executable, "-c", FILL, f"sqlite:///{tmp_path / 'jc1.db'}"]
    mount = f"mount -t tmpfs -o size=1m tmpfs {tmp_path}"
    alone = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*alone, mount], capture_output=True).returncode == 0:
        command = [*alone, f'{mount} && exec "$@"', "sh", *python]
    else:  # nobody but root may mount here: a limit on the size of files stands for the full disk
        command = [*python, "1000000"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    code, stored, *seen = run.stdout.splitlines()
    assert code == "storage_full"
    assert int(stored) > 10
    assert seen == [f"{stored} {stored}"] * 2
