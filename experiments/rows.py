"""Rows: what one request of a sweep came to, kept in a file as soon as it is known.

Knows how rows are written so that none is lost or doubled when the process is killed. Knows nothing about where they
come from or what is made of them.
"""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import orjson

from jc1.errors import Conflict, StorageFull

Split = Literal["search", "heldout"]
Key = tuple[int, str, str, int]
"""Trial, split, item and repeat."""
OK = "ok"


@dataclass(frozen=True, slots=True)
class Row:
    """One request: which trial asked which item for the which time, and what came back.

    `outcome` is `ok` or the code of the error that refused it. `texts` are the choices, `scores` the metrics of the
    first. `drafts` holds, of a reply that speculation helped to write, the share of accepted drafts at each position.
    Nothing in a row depends on the clock.
    """

    trial: int
    split: Split
    item: str
    repeat: int
    seed: int | None = None
    outcome: str = OK
    finish_reason: str | None = None
    texts: tuple[str, ...] = ()
    scores: dict[str, float] = field(default_factory=dict)
    drafts: tuple[float, ...] = ()

    @property
    def key(self) -> Key:
        return (self.trial, self.split, self.item, self.repeat)


class RowFile:
    """The rows of one sweep, one JSON object a line. One process at a time writes; a line is whole or not there.

    Raises `Conflict` where another process has it open.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("a+b", buffering=0)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise Conflict(
                f"Another process runs the sweep {path.parent.name!r}: wait for it, or give another --name."
            ) from None
        self._rows = {row.key: row for row in self._whole_lines()}

    def _whole_lines(self) -> Iterator[Row]:
        """The rows that are there; half a line, left by a killed process, is cut off."""
        self._file.seek(0)
        whole = 0
        for line in self._file.read().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            yield _row(orjson.loads(line))
            whole += len(line)
        self._file.truncate(whole)

    def __contains__(self, key: Key) -> bool:
        return key in self._rows

    def __getitem__(self, key: Key) -> Row:
        return self._rows[key]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows.values())

    def add(self, row: Row) -> None:
        """Keep a row. Raises `StorageFull` where the disk is, and keeps nothing of it then."""
        line = orjson.dumps(asdict(row), option=orjson.OPT_APPEND_NEWLINE)
        end = self._file.seek(0, 2)
        try:
            written = self._file.write(line)
        except OSError as error:
            written = 0
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
        if written < len(line):
            self._file.truncate(end)
            raise StorageFull("The disk is full: free some space, then continue the sweep with --resume.")
        self._rows[row.key] = row

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def write_table(rows: Iterable[Row], path: Path) -> None:
    """Put the rows into a file of their own, in the order given, whole or not at all: the same rows, the same bytes."""
    beside = path.with_suffix(".part")
    with beside.open("wb") as file:
        for row in rows:
            file.write(orjson.dumps(asdict(row), option=orjson.OPT_APPEND_NEWLINE))
    beside.replace(path)


def read_table(path: Path) -> list[Row]:
    """The rows that `write_table` wrote."""
    return [_row(orjson.loads(line)) for line in path.read_bytes().splitlines()]


def _row(values: dict[str, Any]) -> Row:
    return Row(**{**values, "texts": tuple(values["texts"]), "drafts": tuple(values["drafts"])})
