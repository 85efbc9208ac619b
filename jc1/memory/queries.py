"""Queries that show a person an owner's memory: pages, earlier texts, statistics.

Knows filters, cursors and sums in SQL. Changes nothing, and knows nothing about vectors or ranking.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, LargeBinary, case, cast, func, or_, select

from jc1.database.cursors import cursor_at, read_cursor
from jc1.database.tables import edits, pictures, records
from jc1.errors import InvalidRequest, UnknownRecord
from jc1.memory.base import Edit, Filter, Page, Record, Statistics
from jc1.memory.rows import HIDDEN, SHOWN, count
from jc1.texts import as_text

MAX_CONTAINS = 1000
"""Most characters of a text that is looked for in others."""
MAX_GROUPS = 100
"""Most sessions, documents and the like that statistics name."""


def read(connection: Connection, owner: str, record_id: str) -> Record:
    """Return one record that is not forgotten. Raises `UnknownRecord`."""
    query = select(*SHOWN).where(records.c.owner == owner, records.c.id == as_text(record_id), ~HIDDEN)
    row = connection.execute(query).mappings().first()
    if row is None:
        raise UnknownRecord(record_id)
    return Record(**row)


def page(connection: Connection, owner: str, only: Filter, limit: int, cursor: str | None) -> Page:
    """Return a page of the records that `only` lets through, newest first.

    Args:
        connection: reads of one moment.
        owner: whose records.
        only: which of them.
        limit: records of the page at most.
        cursor: what the page before ended with; `None` begins with the newest.

    Raises:
        InvalidRequest: for a cursor that is none, or a `contains` that is too long.
    """
    theirs = (records.c.owner == owner) & _allowed(only)
    # One more than asked for, to see whether a page follows.
    query = select(*SHOWN).where(theirs).order_by(records.c.created.desc(), records.c.id.desc()).limit(limit + 1)
    if cursor is not None:
        created, last = read_cursor(cursor)
        query = query.where(or_(records.c.created < created, (records.c.created == created) & (records.c.id < last)))
    total = count(connection, records, theirs)
    matches = [Record(**row) for row in connection.execute(query).mappings()]
    shown = tuple(matches[:limit])
    return Page(shown, total, cursor_at(shown[-1].created, shown[-1].id) if len(matches) > limit else None)


def history(connection: Connection, record_id: str) -> tuple[Edit, ...]:
    """Return the earlier texts of a record, oldest first."""
    query = select(edits.c.text, edits.c.replaced).where(edits.c.record == record_id).order_by(edits.c.number)
    return tuple(Edit(row.text, row.replaced) for row in connection.execute(query))


def statistics(connection: Connection, owner: str) -> Statistics:
    """Return counts, dates and sizes of the owner's records; forgotten ones count in `forgotten` and `bytes` alone."""
    theirs = records.c.owner == owner
    shown = theirs & ~HIDDEN
    sums = (
        connection.execute(
            select(
                func.count().label("records"),
                *(
                    func.coalesce(func.sum(case((flag, 1), else_=0)), 0).label(name)
                    for name, flag in {
                        "superseded": records.c.superseded_by.is_not(None),
                        "pinned": records.c.pinned,
                        "excluded": records.c.excluded,
                        "edited": records.c.edited.is_not(None),
                    }.items()
                ),
                func.coalesce(func.sum(func.length(records.c.text)), 0).label("characters"),
                func.min(records.c.created).label("first"),
                func.max(records.c.created).label("last"),
            ).where(shown)
        )
        .mappings()
        .one()
    )

    def by(column: ColumnElement[Any]) -> dict[str, int]:
        number = func.count()
        groups = select(column, number).where(shown, column.is_not(None)).group_by(column)
        most = connection.execute(groups.order_by(number.desc(), column).limit(MAX_GROUPS))
        return {row[0]: row[1] for row in most}

    stored = select(func.sum(_bytes(connection, records.c.text)), func.sum(func.length(records.c.vector))).where(theirs)
    earlier = select(func.sum(_bytes(connection, edits.c.text))).join_from(edits, records).where(theirs)
    seen = select(func.sum(func.length(pictures.c.thumbnail))).join_from(pictures, records).where(theirs)
    parts = (*connection.execute(stored).one(), *(connection.execute(query).scalar() for query in (earlier, seen)))
    return Statistics(
        **sums,
        kinds=by(records.c.kind),
        roles=by(records.c.role),
        sessions=by(records.c.session),
        documents=by(records.c.document),
        forgotten=count(connection, records, theirs & HIDDEN),
        bytes=sum(int(part or 0) for part in parts),
    )


def holding(text: str) -> ColumnElement[bool]:
    """Return the condition that a record's text has `text` in it, whatever the case."""
    return records.c.text.icontains(as_text(text), autoescape=True)


def _allowed(only: Filter) -> ColumnElement[bool]:
    """Return the condition that a record passes the filter. Raises `InvalidRequest`."""
    allowed: ColumnElement[bool] = HIDDEN if only.forgotten else ~HIDDEN
    for column in (records.c.session, records.c.document, records.c.kind, records.c.role):
        wanted: str | None = getattr(only, column.name)
        if wanted is not None:
            allowed &= column == as_text(wanted)
    for flag, value in (
        (records.c.pinned, only.pinned),
        (records.c.excluded, only.excluded),
        (records.c.superseded_by.is_not(None), only.superseded),
    ):
        if value is not None:
            allowed &= flag if value else ~flag
    if only.contains is not None:
        if len(only.contains) > MAX_CONTAINS:
            raise InvalidRequest(
                f"'contains' has {len(only.contains):,} characters and {MAX_CONTAINS:,} are allowed: look for less.",
                param="contains",
            )
        allowed &= holding(only.contains)
    return allowed


def _bytes(connection: Connection, column: ColumnElement[str]) -> ColumnElement[int]:
    """Return the expression for a text's size in bytes."""
    if connection.dialect.name == "postgresql":
        return func.octet_length(column)
    return func.length(cast(column, LargeBinary))
