"""What the commands of `jc1 memory` share: options, the opened memory, printed records.

Knows Typer and records. Knows no command.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jc1.cli.options import open_stores, print_table

if TYPE_CHECKING:
    from jc1.memory.base import Record
    from jc1.workbench import Stores

Session = Annotated[str | None, typer.Option(help="What was said in this session.")]
Document = Annotated[str | None, typer.Option(help="The parts of this document.")]


@contextmanager
def opened_memory(home: Path | None, owner: str | None) -> Iterator[tuple[Stores, str]]:
    """Open the stores for the body; yield them, and whose memory is meant."""
    with open_stores(home) as stores:
        yield stores, owner or stores.settings.owner


def fields_of(record: Record) -> dict[str, Any]:
    """Return the record for JSON: all of its fields but the owner."""
    from dataclasses import asdict

    return {name: value for name, value in asdict(record).items() if name != "owner"}


def number(count: int, what: str) -> str:
    """Return a count with its noun, in the plural where it is not one."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def print_records(records: tuple[Record, ...]) -> None:
    """Print records as a table: when they were stored, their kind, text and state."""
    rows = [[r.id, r.created.strftime("%Y-%m-%d %H:%M"), r.kind, r.text, _state(r)] for r in records]
    print_table(["id", "when (UTC)", "kind", "text", ""], rows)


def _state(record: Record) -> str:
    marks = {
        "superseded": record.superseded_by is not None,
        "pinned": record.pinned,
        "excluded": record.excluded,
        "edited": record.edited is not None,
        "outdated": record.outdated,
    }
    return ", ".join(name for name, holds in marks.items() if holds)
