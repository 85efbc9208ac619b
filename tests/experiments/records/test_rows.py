"""Rows survive whatever ends the process that writes them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jc1.errors import Conflict
from jc1_lab.records.rows import EvalRecord, RowFile, read_table, write_table

ROW = EvalRecord(1, "search", "a", 0, seed=7, texts=("fifty", "zwölf"), scores={"score": 1.0}, drafts=(0.5, 0.25))


def test_rows_are_there_again_when_the_file_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with RowFile(path) as rows:
        rows.add(ROW)
        rows.add(EvalRecord(1, "heldout", "a", 0, outcome="context_length_exceeded"))
    with RowFile(path) as rows:
        assert next(iter(rows)) == ROW == rows[ROW.key]
        assert len(rows) == 2
        assert (2, "search", "a", 0) not in rows


def test_half_a_line_is_cut_off_and_the_next_row_stands_whole(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with RowFile(path) as rows:
        rows.add(ROW)
    with path.open("ab") as file:
        file.write(b'{"trial": 1, "split": "sea')
    other = EvalRecord(2, "search", "b", 1)
    with RowFile(path) as rows:
        assert [*rows] == [ROW]
        rows.add(other)
    with RowFile(path) as rows:
        assert [*rows] == [ROW, other]


def test_two_processes_do_not_write_the_same_rows(tmp_path: Path) -> None:
    with RowFile(tmp_path / "rows.jsonl"), pytest.raises(Conflict, match="Another process"):
        RowFile(tmp_path / "rows.jsonl")


def test_a_full_disk_is_told_and_what_was_kept_stays_whole(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk: the kernel then refuses what goes beyond it."""
    code = f"""
import resource, signal
from pathlib import Path
from jc1_lab.records.rows import EvalRecord, RowFile
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
rows = RowFile(Path({str(tmp_path / "rows.jsonl")!r}))
rows.add(EvalRecord(0, "search", "a", 0))
size = Path({str(tmp_path / "rows.jsonl")!r}).stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, size + 20))
rows.add(EvalRecord(1, "search", "a", 0))
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=_environment())
    assert "StorageFull" in ended.stderr
    with RowFile(tmp_path / "rows.jsonl") as rows:
        assert [row.trial for row in rows] == [0]


def test_the_same_rows_make_the_same_table(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_table([ROW, EvalRecord(2, "search", "b", 1)], tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert read_table(tmp_path / "one") == [ROW, EvalRecord(2, "search", "b", 1)]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
