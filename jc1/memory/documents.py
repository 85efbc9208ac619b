"""Documents among an owner's records: which there are, what of them is stored, and how one version replaces another.

Knows the columns that make a record a part: `document` is the title, `session` the version, `turn` the part's number
from 1. Knows nothing about files, formats or indexes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, Engine, func, or_, select

from jc1.database.connection import reading, write_in_batches
from jc1.database.cursors import cursor_at, read_cursor
from jc1.database.tables import records
from jc1.database.vacuum import owe_vacuum
from jc1.errors import Conflict
from jc1.memory.base import Document
from jc1.memory.provenance import delete_records
from jc1.memory.rows import next_version

_SESSION = re.compile(r"document:[0-9a-f]+/(?P<parts>\d+)")
_SHOWN = records.c.forgotten.is_(None)


def session_of(digest: str, parts: int) -> str:
    """Return the name that the parts of one version of a document share: what it holds, how many it has."""
    return f"document:{digest}/{parts}"


def stored(connection: Connection, owner: str, limit: int, cursor: str | None) -> tuple[Document, ...]:
    """Return the owner's documents, the one whose first part was stored last first, from after that of the cursor."""
    began = func.min(records.c.created)
    named = records.c.document + func.coalesce(records.c.session, "")
    query = (
        select(
            records.c.document,
            records.c.session,
            func.count().label("parts"),
            func.sum(func.length(records.c.text)).label("characters"),
            began.label("created"),
        )
        .where(records.c.owner == owner, records.c.document.is_not(None), _SHOWN)
        .group_by(records.c.document, records.c.session)
        .order_by(began.desc(), named)
        .limit(limit)
    )
    if cursor is not None:
        created, last = read_cursor(cursor)
        query = query.having(or_(began < created, (began == created) & (named > last)))
    return tuple(
        Document(row.document, row.session, row.parts, _missing(row.session, row.parts), row.characters, row.created)
        for row in connection.execute(query)
    )


def cursor_of(document: Document) -> str:
    """Return what continues a list of documents after one."""
    return cursor_at(document.created, document.title + (document.session or ""))


def numbers(connection: Connection, owner: str, title: str, session: str) -> frozenset[int]:
    """Return the numbers of the parts of one version that are there and not forgotten."""
    query = select(records.c.turn).where(_of(owner, title), records.c.session == session, _SHOWN)
    return frozenset(connection.execute(query).scalars())


def commit_version(database: Engine, owner: str, title: str, session: str, parts: int) -> int:
    """Delete what there is of other versions, forgotten or not, and parts that are there twice; returns how many were
    deleted. Raises `Conflict` where a part is missing.
    """
    mine = records.c.session == session
    first = select(func.min(records.c.seq)).where(_of(owner, title), mine, _SHOWN).group_by(records.c.turn)

    def complete_version(connection: Connection) -> frozenset[int]:
        seqs = frozenset(connection.execute(first).scalars())
        if len(seqs) != parts:
            raise Conflict(f"Another version of {title!r} was stored at the same time: store it again.", param="title")
        return seqs

    def remove(connection: Connection, seqs: Sequence[int]) -> int:
        version = next_version(connection, owner)
        # Asked again in each transaction: of two versions that commit at once, one must not delete the other's parts
        # while the other deletes its own.
        doomed = set(seqs) - complete_version(connection)
        owe_vacuum(connection)
        return delete_records(connection, owner, (records.c.document == title) & records.c.seq.in_(doomed), version)

    with reading(database) as connection:
        stay = complete_version(connection)
        there = connection.execute(select(records.c.seq).where(_of(owner, title))).scalars()
        others = [seq for seq in there if seq not in stay]
    return sum(write_in_batches(database, "storing a document", others, remove))


def _of(owner: str, title: str) -> ColumnElement[bool]:
    return (records.c.owner == owner) & (records.c.document == title)


def _missing(session: str | None, parts: int) -> int:
    """Return how many parts of a version are missing; of what was not stored as a document, none is known of."""
    named = _SESSION.fullmatch(session or "")
    return max(0, int(named["parts"]) - parts) if named else 0
