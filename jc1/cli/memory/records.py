"""`jc1 memory`'s commands about single records: list, search, show, add, edit, mark and count them.

Knows how arguments become calls and how results are printed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jc1.cli.memory.shared import Document, Session, fields_of, opened_memory, print_records
from jc1.cli.options import Home, Json, Owner, print_json, print_table

if TYPE_CHECKING:
    from jc1.memory.base import Receipt

Id = Annotated[str, typer.Argument(metavar="ID", help="The record's id, as `list` shows it.")]
Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of records, as `list` shows them.")]


def list_(
    owner: Owner = None,
    limit: Annotated[int, typer.Option(help="Most records to show.")] = 20,
    cursor: Annotated[str | None, typer.Option(help="Where the page before this one ended.")] = None,
    session: Session = None,
    document: Document = None,
    kind: Annotated[str | None, typer.Option(help="statement, question or reply.")] = None,
    contains: Annotated[str | None, typer.Option(help="Those whose text has this in it.")] = None,
    pinned: Annotated[bool | None, typer.Option("--pinned/--not-pinned", help="Those that are, or are not.")] = None,
    excluded: Annotated[
        bool | None, typer.Option("--excluded/--not-excluded", help="Those that are, or are not.")
    ] = None,
    superseded: Annotated[
        bool | None, typer.Option("--superseded/--not-superseded", help="Those that are, or are not.")
    ] = None,
    forgotten: Annotated[bool, typer.Option("--forgotten", help="Those that can still be restored.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show what is remembered, newest first."""
    from typing import get_args

    from jc1.memory.base import Filter, Kind

    if kind is not None and kind not in get_args(Kind):
        raise typer.BadParameter(f"{kind!r} is none: use {', '.join(get_args(Kind))}.", param_hint="--kind")
    known: Any = kind
    only = Filter(
        session=session,
        document=document,
        kind=known,
        contains=contains,
        pinned=pinned,
        excluded=excluded,
        superseded=superseded,
        forgotten=forgotten,
    )
    with opened_memory(home, owner) as (stores, whose):
        page = stores.memory.list(whose, limit=limit, cursor=cursor, only=only)
        if as_json:
            print_json({"records": [fields_of(r) for r in page.records], "total": page.total, "next": page.next_cursor})
            return
        print_records(page.records)
        more = f", more with --cursor {page.next_cursor}" if page.next_cursor else ""
        print(f"{len(page.records)} of {page.total} records{more}")


def search(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    owner: Owner = None,
    k: Annotated[int, typer.Option(help="Most records to show.")] = 8,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Search as chat does, with the scores that chat would see."""
    from jc1.memory.base import Retrieval

    with opened_memory(home, owner) as (stores, whose):
        recall = stores.memory.search(whose, query, Retrieval(k=k, questions=True))
        if as_json:
            print_json([_hit(receipt) for receipt in recall.receipts])
            return
        rows = [
            [str(r.rank), f"{r.score:.2f}", _score(r.dense_score), _score(r.lexical_score), r.quoted.text, r.record.id]
            for r in recall.receipts
        ]
        print_table(["#", "score", "dense", "lexical", "text", "id"], rows)


def show(record_id: Id, owner: Owner = None, home: Home = None, as_json: Json = False) -> None:
    """Show one record: its text, source and state, and what it said before."""
    from dataclasses import asdict

    with opened_memory(home, owner) as (stores, whose):
        record = stores.memory.get(whose, record_id)
        history = stores.memory.history(whose, record_id)
    shown = fields_of(record)
    if as_json:
        print_json({**shown, "history": [asdict(edit) for edit in history]})
        return
    rows = [[name, str(value)] for name, value in shown.items() if value is not None]
    earlier = [[f"until {edit.replaced:%Y-%m-%d %H:%M}", edit.text] for edit in history]
    print_table(["field", "value"], [*rows, *earlier])


def add(
    text: Annotated[str, typer.Argument(help="What to remember.")],
    pin: Annotated[bool, typer.Option("--pin", help="Recall it for every question.")] = False,
    owner: Owner = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Remember a text."""
    from jc1.memory.base import NewRecord

    with opened_memory(home, owner) as (stores, whose):
        (record,) = stores.memory.add(whose, [NewRecord(text, pinned=pin)])
        if as_json:
            print_json(fields_of(record))
        else:
            print(record.id)


def edit(
    record_id: Id,
    text: Annotated[str, typer.Argument(help="What it says from now on.")],
    owner: Owner = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Change what a record says; `show` still tells what it said."""
    with opened_memory(home, owner) as (stores, whose):
        record = stores.memory.edit(whose, record_id, text)
        if as_json:
            print_json(fields_of(record))
        else:
            print(f"edited: {record.id}")


def pin(ids: Ids, owner: Owner = None, home: Home = None) -> None:
    """Recall records for every question."""
    _mark(home, owner, ids, "pinned", pinned=True)


def unpin(ids: Ids, owner: Owner = None, home: Home = None) -> None:
    """Recall records when they match, as others."""
    _mark(home, owner, ids, "unpinned", pinned=False)


def exclude(ids: Ids, owner: Owner = None, home: Home = None) -> None:
    """Recall records never, and keep them listed."""
    _mark(home, owner, ids, "excluded", excluded=True)


def include(ids: Ids, owner: Owner = None, home: Home = None) -> None:
    """Recall excluded records again."""
    _mark(home, owner, ids, "included", excluded=False)


def stats(owner: Owner = None, home: Home = None, as_json: Json = False) -> None:
    """Count what is remembered."""
    from dataclasses import asdict

    with opened_memory(home, owner) as (stores, whose):
        figures = asdict(stores.memory.statistics(whose))
    if as_json:
        print_json(figures)
        return
    rows = []
    for name, value in figures.items():
        if isinstance(value, dict):
            rows += [[f"{name}: {key}", f"{number:,}"] for key, number in value.items()]
        else:
            rows.append([name, f"{value:,}" if isinstance(value, int) else f"{value or ''}"])
    print_table(["what", "how many"], rows)


def _mark(home: Path | None, owner: str | None, ids: list[str], done: str, **flags: bool) -> None:
    with opened_memory(home, owner) as (stores, whose):
        for record_id in ids:
            print(f"{done}: {stores.memory.mark(whose, record_id, **flags).id}")


def _hit(receipt: Receipt) -> dict[str, Any]:
    scores = {"rank": receipt.rank, "score": receipt.score}
    return {**scores, "dense": receipt.dense_score, "lexical": receipt.lexical_score, **fields_of(receipt.record)}


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
