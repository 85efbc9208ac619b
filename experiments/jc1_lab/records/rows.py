"""Rows: what one request of a sweep came to, kept in a file as soon as it is known.

Knows how rows are written so that none is lost or doubled when the process is killed. Knows nothing about where they
come from or what is made of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import orjson

from jc1_lab.sweep.lines import Lines, write_whole

Split = Literal["search", "heldout"]
Key = tuple[int, str, str, int]
"""Trial, split, item and repeat."""
OK = "ok"


@dataclass(frozen=True, slots=True)
class EvalRecord:
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
        self._lines = Lines(path)
        self._rows = {row.key: row for row in map(_row, map(orjson.loads, self._lines.read()))}

    def __contains__(self, key: Key) -> bool:
        return key in self._rows

    def __getitem__(self, key: Key) -> EvalRecord:
        return self._rows[key]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[EvalRecord]:
        return iter(self._rows.values())

    def add(self, row: EvalRecord) -> None:
        """Keep a row. Raises `StorageFull` where the disk is, and keeps nothing of it then."""
        self._lines.add(orjson.dumps(asdict(row), option=orjson.OPT_APPEND_NEWLINE))
        self._rows[row.key] = row

    def close(self) -> None:
        self._lines.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def write_table(rows: Iterable[EvalRecord], path: Path) -> None:
    """Put the rows into a file of their own, in the order given, whole or not at all: the same rows, the same bytes."""
    write_whole(path, (orjson.dumps(asdict(row), option=orjson.OPT_APPEND_NEWLINE) for row in rows))


def read_table(path: Path) -> list[EvalRecord]:
    """The rows that `write_table` wrote."""
    return [_row(orjson.loads(line)) for line in path.read_bytes().splitlines()]


def _row(values: dict[str, Any]) -> EvalRecord:
    return EvalRecord(**{**values, "texts": tuple(values["texts"]), "drafts": tuple(values["drafts"])})
