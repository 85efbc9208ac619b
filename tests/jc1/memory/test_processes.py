"""Two processes on one home: each sees at its next search what the other has written."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from jc1.memory.base import NewRecord, Retrieval
from jc1.memory.store import DatabaseMemory

OTHER = """
import json, sys
from jc1.database import open_database
from jc1.memory.base import NewRecord, Retrieval
from jc1.memory.store import DatabaseMemory
from tests.jc1.memory.conftest import HashingEmbedder

memory = DatabaseMemory(open_database(sys.argv[1]), HashingEmbedder())
for line in sys.stdin:
    call, argument = json.loads(line)
    if call == "add":
        answer = memory.add("ann", [NewRecord(argument)])[0].id
    elif call == "forget":
        answer = memory.forget("ann", argument) and None
    else:
        answer = [receipt.record.text for receipt in memory.search("ann", argument, Retrieval(k=9)).receipts]
    print(json.dumps(answer), flush=True)
"""

Call = Callable[[str, str], Any]


@pytest.fixture
def other(database: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Call]:
    """Makes a call in another process that has the same database open, and returns its answer."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    with subprocess.Popen(
        [sys.executable, "-c", OTHER, str(database.url)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None

        def call(name: str, argument: str) -> Any:
            print(json.dumps([name, argument]), file=stdin, flush=True)
            return json.loads(stdout.readline())

        yield call
        stdin.close()
        assert process.wait() == 0


def recalled(memory: DatabaseMemory, query: str) -> list[str]:
    return [receipt.record.text for receipt in memory.search("ann", query, Retrieval(k=9)).receipts]


def test_each_process_sees_what_the_other_adds_supersedes_and_forgets(memory: DatabaseMemory, other: Call) -> None:
    assert other("search", "Where do I live?") == recalled(memory, "Where do I live?") == []
    memory.add("ann", [NewRecord("I live in Oslo.")])
    assert other("search", "Where do I live?") == ["I live in Oslo."]
    newer = other("add", "I moved to Lyon.")
    assert recalled(memory, "Where do I live?") == ["I moved to Lyon."]
    assert other("search", "Where do I live?") == ["I moved to Lyon."]
    memory.forget("ann", newer)
    assert other("search", "Where do I live?") == recalled(memory, "Where do I live?") == ["I live in Oslo."]
    (walrus,) = memory.add("ann", [NewRecord("The walrus sleeps.")])
    assert other("forget", walrus.id) is None
    assert recalled(memory, "walrus") == other("search", "walrus") == ["I live in Oslo."]
