"""Records survive whatever ends the process that writes them."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from jc1.errors import Conflict
from jc1_lab.records.evals import Asked, EvalRecord
from jc1_lab.records.store import FILE, SweepStore

RECORD = EvalRecord(1, "search", "a", 0, seed=7, texts=("fifty", "zwölf"), scores={"score": 1.0}, drafts=(0.5, 0.25))


def in_a_process(folder: Path, code: str) -> subprocess.Popen[str]:
    """A process that has the store in `folder` open as `store`, and runs the code."""
    whole = f"""
import os, resource, signal
from pathlib import Path
from jc1_lab.records.evals import EvalRecord
from jc1_lab.records.store import FILE, SweepStore
folder = Path({str(folder)!r})
store = SweepStore(folder)
{code}
"""
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", whole], stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def test_what_was_added_is_there_when_the_store_is_opened_again(tmp_path: Path) -> None:
    refused = EvalRecord(1, "heldout", "a", 0, outcome="context_length_exceeded")
    with SweepStore(tmp_path) as store:
        store.add(RECORD)
        store.add(refused)
        store.put("plan", {"a": [1, None]})
        store.add_trial(0, {"decoding": {"temperature": 0.1}})
        store.put_prompts({"a": Asked("How much?", ("50",))})
        store.add_trace(1, {"id": "first"})
        store.add_trace(1, {"id": "second"})
    for read_only in (False, True):
        with SweepStore(tmp_path, read_only=read_only) as store:
            assert [*store] == [RECORD, refused]
            assert store[RECORD.key] == RECORD
            assert (2, "search", "a", 0) not in store
            assert (store.get("plan"), store.get("none")) == ({"a": [1, None]}, None)
            assert store.settings() == [{"decoding": {"temperature": 0.1}}]
            assert store.prompts() == {"a": Asked("How much?", ("50",))}
            assert store.traces() == [{"id": "second"}]
    assert [path.name for path in tmp_path.glob("sweep*")] == [FILE]


def test_records_are_ordered_by_trial_search_first_then_as_the_prompts_are(tmp_path: Path) -> None:
    keys = [
        (1, "heldout", "b", 0),
        (1, "search", "a", 1),
        (1, "search", "a", 0),
        (0, "search", "a", 0),
        (1, "search", "c", 0),
    ]
    with SweepStore(tmp_path) as store:
        store.put_prompts({item: Asked(item) for item in ("c", "a", "b")})
        for key in keys:
            store.add(EvalRecord(*key))
        assert [record.key for record in store] == keys
        assert [record.key for record in store.ordered()] == [keys[3], keys[4], keys[2], keys[1], keys[0]]


def test_a_record_is_there_once(tmp_path: Path) -> None:
    with SweepStore(tmp_path) as store:
        store.add(RECORD)
        with pytest.raises(sqlite3.IntegrityError):
            store.add(RECORD)


def test_a_killed_process_leaves_what_it_added_and_nothing_of_the_lock(tmp_path: Path) -> None:
    code = """
for number in range(3):
    store.add(EvalRecord(number, "search", "a", 0))
os.kill(os.getpid(), signal.SIGKILL)
"""
    with in_a_process(tmp_path, code) as process:
        assert process.wait() == -signal.SIGKILL
    with SweepStore(tmp_path) as store:
        assert [record.trial for record in store] == [0, 1, 2]
        store.add(EvalRecord(3, "search", "a", 0))
    with SweepStore(tmp_path, read_only=True) as store:
        assert len(store) == 4


def test_one_process_at_a_time_has_the_store(tmp_path: Path) -> None:
    with SweepStore(tmp_path), pytest.raises(Conflict, match="Another process runs the sweep"):
        SweepStore(tmp_path)
    with in_a_process(tmp_path, "print('open', flush=True); input()") as process:
        assert process.stdout
        assert process.stdout.readline() == "open\n"
        for read_only in (False, True):
            with pytest.raises(Conflict, match="Another process runs the sweep"):
                SweepStore(tmp_path, read_only=read_only)
        process.communicate("done\n")
    SweepStore(tmp_path).close()


def test_a_file_that_is_no_store_is_told(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a database" * 100)
    for read_only in (False, True):
        with pytest.raises(Conflict, match="is damaged"):
            SweepStore(tmp_path, read_only=read_only)


def test_a_full_disk_is_told_and_what_was_kept_stays_whole(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk: the kernel then refuses what goes beyond it."""
    code = """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store.add(EvalRecord(0, "search", "a", 0))
size = os.path.getsize(folder / f"{FILE}-wal")
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, size + 20))
store.add(EvalRecord(1, "search", "a", 0))
"""
    with in_a_process(tmp_path, code) as process:
        assert "StorageFull" in process.communicate()[1]
    with SweepStore(tmp_path) as store:
        assert [record.trial for record in store] == [0]
