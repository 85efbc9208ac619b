"""What a person changes about one record: its text, and whether it is pinned or excluded.

Knows how the earlier text is kept and what becomes of what the record superseded. Knows nothing about embedding.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import Connection, func, insert, select, update

from jc1.database.tables import edits, records
from jc1.memory.base import Record
from jc1.memory.provenance import refresh_turns
from jc1.memory.queries import read
from jc1.memory.rows import extract_subjects, next_version, relink_superseded, supersede_changed
from jc1.memory.supersession.kinds import kind_of


def edit(connection: Connection, owner: str, record_id: str, text: str, vector: bytes, embedder: str) -> Record:
    """Give a record another text, which was checked, with its stored vector and the fingerprint of what made that.

    The record's time stays, so an edited statement is superseded by what was said after it, as before.
    Raises `UnknownRecord`.
    """
    version = next_version(connection, owner)
    record = read(connection, owner, record_id)
    if text == record.text:
        return record
    now = datetime.now(UTC)
    last = select(func.coalesce(func.max(edits.c.number), 0)).where(edits.c.record == record_id)
    number: int = connection.execute(last).scalar_one()
    connection.execute(insert(edits).values(record=record_id, number=number + 1, text=record.text, replaced=now))
    relink_superseded(connection, owner, version, lambda newer: newer.c.id == record_id, records.c.id != record_id)
    # A kind that was not decided by the wording stays: a part of a document is a statement, even where it asks, and so
    # is what stands in a picture.
    decided = record.document is None and record.picture is None and record.kind == kind_of(record.role, record.text)
    changed = replace(record, text=text, kind=kind_of(record.role, text) if decided else record.kind)
    connection.execute(
        update(records)
        .where(records.c.id == record_id)
        .values(
            text=text,
            kind=changed.kind,
            edited=now,
            superseded_by=None,
            subject=extract_subjects(changed).key,
            vector=vector,
            embedder=embedder,
            changed=version,
        )
    )
    supersede_changed(connection, owner, version)
    refresh_turns(connection, owner, record_id)
    return read(connection, owner, record_id)


def mark(connection: Connection, owner: str, record_id: str, pinned: bool | None, excluded: bool | None) -> Record:
    """Set what is not `None`. What an excluded record had superseded counts again. Raises `UnknownRecord`."""
    version = next_version(connection, owner)
    record = read(connection, owner, record_id)
    marked = replace(
        record,
        pinned=record.pinned if pinned is None else pinned,
        excluded=record.excluded if excluded is None else excluded,
    )
    flags = {"pinned": marked.pinned, "excluded": marked.excluded}
    connection.execute(update(records).where(records.c.id == record_id).values(**flags, changed=version))
    if marked.excluded and not record.excluded:
        relink_superseded(connection, owner, version, lambda newer: newer.c.id == record_id, records.c.id != record_id)
    if marked.excluded != record.excluded:
        supersede_changed(connection, owner, version)
        refresh_turns(connection, owner, record_id)
    return read(connection, owner, record_id)
