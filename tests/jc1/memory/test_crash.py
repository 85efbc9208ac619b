"""Nothing that was acknowledged is lost: not by kill -9, not on a full disk."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from jc1.database import open_database
from jc1.memory.base import Retrieval
from jc1.memory.store import LocalMemory
from tests.jc1.memory.conftest import HashingEmbedder

WRITER = """
import sys
from jc1.database import open_database
from jc1.memory.base import NewRecord
from jc1.memory.store import LocalMemory
from tests.jc1.memory.conftest import HashingEmbedder

memory = LocalMemory(open_database(sys.argv[1]), HashingEmbedder())
number = 0
while True:
    batch = [NewRecord(f"{sys.argv[2]} walrus {number + i}") for i in range(1 + number % 3)]
    for record in memory.add("ann", batch):
        print(record.text, flush=True)
    number += len(batch)
"""


def kill_while_writing(url: str, name: str, acknowledged: int) -> list[str]:
    """Start a writer, kill it with SIGKILL after some acknowledgements, and return all that it acknowledged."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, url, name], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    lines = [writer.stdout.readline() for _ in range(acknowledged)]
    writer.kill()
    lines += writer.stdout.readlines()
    writer.stdout.close()
    writer.wait()
    # A line that was cut short was not acknowledged.
    return [line.rstrip("\n") for line in lines if line.endswith("\n")]


@pytest.mark.parametrize(
    "rounds", [4, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])], ids=["few", "many"]
)
def test_every_acknowledged_record_is_there_after_kill_9(
    tmp_path: Path, rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    url = f"sqlite:///{tmp_path / 'jc1.db'}"
    chance = random.Random(rounds)
    acknowledged: list[str] = []
    for number in range(rounds):
        acknowledged += kill_while_writing(url, f"round{number}", chance.randint(1, 20))
        database = open_database(url)
        memory = LocalMemory(database, HashingEmbedder())
        stored: list[str] = []
        cursor = None
        while True:
            page = memory.list("ann", limit=1000, cursor=cursor)
            stored += [record.text for record in page.records]
            if (cursor := page.next_cursor) is None:
                break
        assert set(acknowledged) <= set(stored)
        assert len(stored) == len(set(stored))
        last = acknowledged[-1]
        assert last in {receipt.record.text for receipt in memory.search("ann", last, Retrieval(k=20)).receipts}
        memory.close()


FILL = """
import resource, sys
from jc1.database import open_database
from jc1.errors import StorageFull
from jc1.memory.base import NewRecord, Retrieval
from jc1.memory.store import LocalMemory
from tests.jc1.memory.conftest import HashingEmbedder

if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
memory = LocalMemory(open_database(sys.argv[1]), HashingEmbedder())
stored = 0
try:
    while stored < 5000:
        memory.add("ann", [NewRecord(f"walrus {stored} " + "x" * 3000)])
        stored += 1
except StorageFull as error:
    print(error.code)
print(stored)
for opened in (memory, LocalMemory(open_database(sys.argv[1]), HashingEmbedder())):
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
