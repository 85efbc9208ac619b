"""Records as rows: their columns, an owner's version, and which statement supersedes which.

Knows the rules that hold for rows whoever writes them. Knows nothing about indexes, embedders or who asks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import fields

from sqlalchemy import ColumnElement, Connection, FromClause, and_, func, or_, select, update

from jc1.database.connection import upsert
from jc1.database.tables import owners, records
from jc1.memory.base import Record
from jc1.memory.provenance import refresh_replies
from jc1.memory.supersession.subjects import Subjects, subjects

SHOWN = [records.c[field.name] for field in fields(Record)]
"""The columns that make a `Record`."""
HIDDEN = records.c.forgotten.is_not(None)
ROWS = 1000
"""Rows that are read or written at a time."""


def extract_subjects(record: Record) -> Subjects:
    """Return what the record is about, if it is one that may supersede another.

    That is what the user states, not what a document or somebody else says.
    """
    tells = record.role == "user" and record.kind == "statement" and record.document is None and record.speaker is None
    return subjects(record.text) if tells else Subjects()


def next_version(connection: Connection, owner: str) -> int:
    """Raise the owner's version. First in every transaction that writes records: others of this owner then wait."""
    version: int = connection.execute(
        upsert(connection, owners)
        .values(owner=owner, version=1)
        .on_conflict_do_update(index_elements=["owner"], set_={"version": owners.c.version + 1})
        .returning(owners.c.version)
    ).scalar_one()
    return version


def supersede(connection: Connection, record: Record, statement: Subjects, version: int) -> dict[str, str]:
    """Mark what `record` supersedes, or `record` itself where a newer one was there first (an import of old records).

    Of two records of one time the one that was stored later is the newer. Returns what superseded what, by record id.
    """
    if not statement.superseded_keys and statement.key is None:
        return {}
    same_time = records.c.created == record.created
    seq = select(records.c.seq).where(records.c.id == record.id).scalar_subquery()
    counts = ~HIDDEN & ~records.c.excluded & records.c.superseded_by.is_(None)
    alike = (records.c.owner == record.owner) & counts & (records.c.id != record.id)
    links: dict[str, str] = {}
    if keys := statement.superseded_keys:
        before = or_(records.c.created < record.created, and_(same_time, records.c.seq < seq))
        older = alike & records.c.subject.in_(keys) & before
        query = select(records.c.id, records.c.subject, records.c.text).where(older)
        rows = [row for row in connection.execute(query) if statement.previous_value.casefold() in row.text.casefold()]
        # Of two cats one was renamed, and nobody knows which.
        ambiguous = {row.id for row in rows if subjects(row.text).multi_valued}
        meant = {(row.subject, row.text.casefold()) for row in rows if row.id in ambiguous}
        alone = {subject for subject, count in Counter(subject for subject, _ in meant).items() if count == 1}
        links.update((row.id, record.id) for row in rows if row.id not in ambiguous or row.subject in alone)
    if statement.key is not None:
        after = or_(records.c.created > record.created, and_(same_time, records.c.seq > seq))
        newer = alike & (records.c.subject == statement.key) & after
        query = select(records.c.id, records.c.text).where(newer).order_by(records.c.created, records.c.seq).limit(1)
        if (row := connection.execute(query).first()) and statement.key in subjects(row.text).superseded_keys:
            links[record.id] = row.id
    for old, new in links.items():
        connection.execute(update(records).where(records.c.id == old).values(superseded_by=new, changed=version))
    return links


def supersede_changed(connection: Connection, owner: str, version: int) -> None:
    """Let every statement that this version changed and that counts `supersede`, oldest first; then refresh replies."""
    query = select(records.c.id).where(
        (records.c.owner == owner) & (records.c.changed == version) & ~HIDDEN & records.c.superseded_by.is_(None),
        ~records.c.excluded,
        (records.c.role == "user") & (records.c.kind == "statement"),
    )
    ids = connection.execute(query.order_by(records.c.created, records.c.seq)).scalars().all()
    superseded: set[str] = set()
    for start in range(0, len(ids), ROWS):
        rows = select(*SHOWN).where(records.c.id.in_(ids[start : start + ROWS]))
        page = connection.execute(rows.order_by(records.c.created, records.c.seq)).mappings().all()
        for record in (Record(**row) for row in page):
            if record.id not in superseded:
                superseded.update(supersede(connection, record, extract_subjects(record), version))
    refresh_replies(connection, owner, version)


def relink_superseded(
    connection: Connection,
    owner: str,
    version: int,
    removed: Callable[[FromClause], ColumnElement[bool]],
    pointing: ColumnElement[bool],
) -> None:
    """Let what rows that are `gone` had superseded count again, or be superseded by what superseded those.

    `gone` tells of an alias of the table which rows these are, `pointing` which of those that point there are changed.
    """
    newer = records.alias()
    pointed = select(newer.c.id).where(newer.c.owner == owner, removed(newer))
    heir = select(newer.c.superseded_by).where(newer.c.id == records.c.superseded_by).scalar_subquery()
    step = (
        update(records)
        .where(records.c.owner == owner, pointing, records.c.superseded_by.in_(pointed))
        .values(superseded_by=heir, changed=version)
    )
    # Every step follows one link further; a link always leads to a newer record, so there is an end.
    while connection.execute(step).rowcount:
        pass


def count(connection: Connection, table: FromClause, where: ColumnElement[bool]) -> int:
    """Count the rows of a table that meet a condition."""
    number: int = connection.execute(select(func.count()).select_from(table).where(where)).scalar_one()
    return number
