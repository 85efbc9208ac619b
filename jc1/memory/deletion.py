"""Forgetting: what a selection takes along, hiding it, showing it again, removing it for good.

Knows the records, their earlier texts, and the session turns that they were said in. Knows nothing about caches,
traces, files or the days in between.

What is selected takes along the replies that repeat it, wherever they were given (`provenance`). A session's turn is
hidden whole, message and reply, where it holds a text that goes.

What is little is written in one transaction, much of it in many short ones, so that others can write meanwhile. A step
that is interrupted has done a part, and goes on when it is asked for again: the order is such that each transaction
leaves a state in which no link between records is lost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    FromClause,
    Row,
    and_,
    delete,
    exists,
    false,
    func,
    or_,
    select,
    tuple_,
    update,
)

from jc1.database.connection import reading, write_in_batches
from jc1.database.tables import edits, records, turns
from jc1.database.vacuum import owe_vacuum
from jc1.database.values import check_name
from jc1.errors import InvalidRequest, NotFound, UnknownRecord, UnknownSession
from jc1.memory.base import ForgetImpact, Purged, Record, Restored, Selection
from jc1.memory.provenance import delete_records, replies_to, turns_to
from jc1.memory.queries import holding
from jc1.memory.repetition import words_of
from jc1.memory.rows import HIDDEN, ROWS, SHOWN, count, next_version, relink_superseded, supersede_changed
from jc1.sessions import SAID, refresh_session, remove_turns
from jc1.texts import as_text

MAX_SELECTED = 1000
"""Most records that are selected by id at once."""
MAX_WORDS = 20
"""Words of a text that another record is looked through for."""
MAX_SHOWN = 20
"""Records that a preview shows, and texts whose like it looks for elsewhere."""


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Rows of both tables; `places` are further turns, by session and number, `texts` those of records chosen by id."""

    records: ColumnElement[bool]
    turns: ColumnElement[bool]
    places: tuple[_Place, ...] = ()
    cascaded: int = 0
    texts: tuple[str, ...] = ()


_Place = tuple[str, int]
_Row = int | _Place
"""A record, by its number in the table, or a turn, by its session and its number there."""
_Selected = Callable[[FromClause], ColumnElement[bool]]
"""Tells of the table of records, or of an alias of it, which rows are selected."""


def selection(what: str | Selection) -> Selection:
    """Return the selection, or one of the record whose id is given."""
    return Selection(records=(what,)) if isinstance(what, str) else what


def preview(connection: Connection, owner: str, what: Selection) -> ForgetImpact:
    """Return what `hide` would hide, and which records that stay hold the same text, or all of its words."""
    chosen = _choose(connection, owner, what, hidden=False)
    impact = _impact(connection, chosen)
    if not chosen.texts:
        return impact
    alike = or_(*(_alike(text) for text in chosen.texts[:MAX_SHOWN]))
    return replace(
        impact, duplicates_kept=_newest(connection, (records.c.owner == owner) & ~HIDDEN & ~chosen.records & alike)
    )


def hide(database: Engine, owner: str, what: Selection, now: datetime) -> ForgetImpact:
    """Hide what is selected. Raises `UnknownRecord`, `UnknownSession` or `NotFound` where there is nothing of it."""
    with reading(database) as connection:
        chosen = _choose(connection, owner, what, hidden=False)
        impact = _impact(connection, chosen)
        rows = _rows(connection, chosen)
    _hide(database, owner, rows, now)
    return impact


def expire(database: Engine, owner: str, before: datetime, now: datetime) -> int:
    """Hide what was said before a time, pinned records excepted; how many records and turns these are."""
    with reading(database) as connection:
        chosen = _with_replies(
            connection, owner, lambda table: ~table.c.pinned & (table.c.created < before), hidden=False
        )
        old = (turns.c.owner == owner) & SAID & (turns.c.created < before)
        rows = _rows(connection, replace(chosen, turns=old))
    _hide(database, owner, rows, now)
    return len(rows)


def restore(database: Engine, owner: str, what: Selection) -> Restored:
    """Show again what is hidden of a selection; a turn only when none of its records stays hidden.

    Raises as `hide` does.
    """
    silent = exists().where(
        records.c.owner == turns.c.owner,
        records.c.session == turns.c.session,
        records.c.turn == turns.c.number,
        HIDDEN,
    )

    def show(connection: Connection, part: Sequence[_Row]) -> Restored:
        version = next_version(connection, owner)
        these = _these(owner, part)
        shown = connection.execute(
            update(records).where(these.records, HIDDEN).values(forgotten=None, changed=version)
        ).rowcount
        turn_count = connection.execute(
            update(turns).where(these.turns, ~SAID, ~silent).values(forgotten=None)
        ).rowcount
        newer_ones = select(records.c.superseded_by).where(these.records)
        relink_superseded(
            connection,
            owner,
            version,
            lambda newer: newer.c.forgotten.is_not(None) & newer.c.id.in_(newer_ones),
            these.records,
        )
        supersede_changed(connection, owner, version)
        refresh_session(connection, owner, _sessions(part))
        return Restored(shown, turn_count)

    with reading(database) as connection:
        rows = _rows(connection, _choose(connection, owner, what, hidden=True))
    # Newest first, turns last: what a record is superseded by is there before it, and its turn comes with its last one.
    done = write_in_batches(database, "restoring memories", rows[::-1], show)
    return Restored(sum(part.records for part in done), sum(part.turns for part in done))


def purge(database: Engine, owner: str, what: Selection | None, before: datetime | None) -> Purged:
    """Delete what is hidden of a selection, or all that is hidden; only what was hidden by `before`, if given."""

    def remove(connection: Connection, part: Sequence[_Row]) -> Purged:
        version = next_version(connection, owner)
        these = _these(owner, part)
        doomed = tuple(connection.execute(select(records.c.id).where(these.records, HIDDEN)).scalars())
        relink_superseded(connection, owner, version, lambda newer: newer.c.id.in_(doomed), records.c.id.not_in(doomed))
        earlier = connection.execute(delete(edits).where(edits.c.record.in_(doomed))).rowcount
        delete_records(connection, owner, records.c.id.in_(doomed), version)
        owe_vacuum(connection)
        return Purged(doomed, earlier, remove_turns(connection, owner, these.turns & ~SAID))

    with reading(database) as connection:
        chosen = _choose(connection, owner, what or Selection(everything=True), hidden=True)
        if before is not None:
            chosen = _Chosen(
                chosen.records & (records.c.forgotten <= before), chosen.turns & (turns.c.forgotten <= before)
            )
        rows = _rows(connection, chosen)
    done = write_in_batches(database, "purging memories", rows, remove)
    return Purged(
        tuple(chain.from_iterable(part.records for part in done)),
        sum(part.edits for part in done),
        sum(part.turns for part in done),
    )


def _hide(database: Engine, owner: str, rows: Sequence[_Row], now: datetime) -> None:
    def hide(connection: Connection, part: Sequence[_Row]) -> None:
        version = next_version(connection, owner)
        these = _these(owner, part)
        connection.execute(update(records).where(these.records, ~HIDDEN).values(forgotten=now, changed=version))
        connection.execute(update(turns).where(these.turns, SAID).values(forgotten=now))
        # Hidden rows keep their links among each other, so that restoring them together restores these too.
        relink_superseded(connection, owner, version, lambda newer: newer.c.seq.in_(_seqs(part)), ~HIDDEN)
        supersede_changed(connection, owner, version)
        refresh_session(connection, owner, _sessions(part))

    write_in_batches(database, "forgetting memories", rows, hide)


def _rows(connection: Connection, chosen: _Chosen) -> Sequence[_Row]:
    """Return the turns and then the records that are chosen, oldest first: what supersedes a record comes after it."""
    turn_keys = select(turns.c.session, turns.c.number).where(chosen.turns).order_by(turns.c.created, turns.c.number)
    record_keys = select(records.c.seq).where(chosen.records).order_by(records.c.created, records.c.seq)
    keys = dict.fromkeys((*((row.session, row.number) for row in connection.execute(turn_keys)), *chosen.places))
    return [*keys, *connection.execute(record_keys).scalars()]


def _these(owner: str, part: Sequence[_Row]) -> _Chosen:
    keys = [row for row in part if not isinstance(row, int)]
    return _Chosen(
        (records.c.owner == owner) & records.c.seq.in_(_seqs(part)),
        (turns.c.owner == owner) & tuple_(turns.c.session, turns.c.number).in_(keys),
    )


def _seqs(part: Sequence[_Row]) -> Sequence[int]:
    """Return the records among these rows."""
    return [row for row in part if isinstance(row, int)]


def _sessions(part: Sequence[_Row]) -> Sequence[str]:
    """Return the sessions of the turns among these rows."""
    return list(dict.fromkeys(row[0] for row in part if not isinstance(row, int)))


def _choose(connection: Connection, owner: str, what: Selection, *, hidden: bool) -> _Chosen:
    """Return the rows that a selection takes, of those that are hidden or of those that are not."""
    mine = (records.c.owner == owner) & (HIDDEN if hidden else ~HIDDEN)
    their_turns = (turns.c.owner == owner) & (~SAID if hidden else SAID)
    if what.everything:
        return _Chosen(mine, their_turns)
    if what.session is not None:
        session = check_name(what.session, "session")
        chosen = _with_replies(connection, owner, lambda table: table.c.session == session, hidden=hidden)
        elsewhere = tuple(place for place in chosen.places if place[0] != session)
        chosen = replace(chosen, turns=their_turns & (turns.c.session == session), places=elsewhere)
        if not count(connection, records, chosen.records) and not count(connection, turns, chosen.turns):
            raise UnknownSession(session)
        return chosen
    if what.document is not None:
        document = check_name(what.document, "document")
        chosen = _with_replies(connection, owner, lambda table: table.c.document == document, hidden=hidden)
        if not count(connection, records, chosen.records):
            raise NotFound(f"No document {document!r}: the statistics of the memory name the documents.")
        return chosen
    if len(what.records) > MAX_SELECTED:
        raise InvalidRequest(
            f"{len(what.records):,} records are selected and {MAX_SELECTED:,} are allowed: do it in parts.",
            param="records",
        )
    ids = [as_text(some) for some in dict.fromkeys(what.records)]
    selected = connection.execute(select(*SHOWN).where(mine, records.c.id.in_(ids))).all()
    if missing := set(ids) - {row.id for row in selected}:
        raise UnknownRecord(next(some for some in ids if some in missing))
    chosen = _with_replies(connection, owner, lambda table: table.c.id.in_(ids), hidden=hidden)
    places = (*_places(connection, selected, their_turns), *chosen.places)
    return replace(chosen, places=tuple(dict.fromkeys(places)), texts=tuple(row.text for row in selected))


def _with_replies(connection: Connection, owner: str, selected: _Selected, *, hidden: bool) -> _Chosen:
    """Return the records that are selected and the replies that repeat them, with the turns of these replies.

    Of what is hidden, only what was hidden together belongs together.
    """
    mine = (records.c.owner == owner) & (HIDDEN if hidden else ~HIDDEN)
    their_turns = (turns.c.owner == owner) & (~SAID if hidden else SAID)
    these = mine & selected(records)
    replies = mine & selected(records).is_not(True) & replies_to(owner, selected, hidden=hidden)
    along = connection.execute(select(*SHOWN).where(replies)).all()
    places = (*_places(connection, along, their_turns), *turns_to(connection, owner, selected, hidden=hidden))
    return _Chosen(these | replies, false(), tuple(dict.fromkeys(places)), len(along))


def _places(connection: Connection, rows: Sequence[Row[Any]], their_turns: ColumnElement[bool]) -> list[_Place]:
    """Return the turns in which these records were said.

    One that holds none of their texts, today's and earlier ones, has only its number in common, say after an import.
    """
    earlier = select(records.c.session, records.c.turn, records.c.document, edits.c.text).join_from(edits, records)
    texts = defaultdict[_Place, set[str]](set)
    for start in range(0, len(rows), ROWS):
        part = rows[start : start + ROWS]
        before = connection.execute(earlier.where(records.c.id.in_([row.id for row in part])))
        for row in (*part, *before):
            if turn := _turn(row):
                # A text that was once too long for a record ends there with a mark of its own.
                texts[turn].add(row.text.removesuffix("…").rstrip())
    result: list[_Place] = []
    places = list(texts)
    for start in range(0, len(places), ROWS):
        there = tuple_(turns.c.session, turns.c.number).in_(places[start : start + ROWS])
        result += [
            (row.session, row.number)
            for row in connection.execute(select(turns).where(their_turns, there))
            if any(text in row.user or text in row.reply for text in texts[row.session, row.number])
        ]
    return result


def _turn(row: Row[Any]) -> tuple[str, int] | None:
    """Return the session and number of the turn in which a record was said, if it was in one."""
    return None if row.document is not None or row.session is None or row.turn is None else (row.session, row.turn)


def _impact(connection: Connection, chosen: _Chosen) -> ForgetImpact:
    earlier = select(func.count()).select_from(edits.join(records)).where(chosen.records)
    return ForgetImpact(
        records=count(connection, records, chosen.records),
        cascaded=chosen.cascaded,
        edits=connection.execute(earlier).scalar_one(),
        turns=count(connection, turns, chosen.turns) + len(chosen.places),
        first=_newest(connection, chosen.records),
    )


def _alike(text: str) -> ColumnElement[bool]:
    """Return the condition that a record has `text` in it, or in another order the words of it that say something."""
    words = words_of(text)[:MAX_WORDS]
    return or_(holding(text), and_(*map(holding, words))) if len(words) > 1 else holding(text)


def _newest(connection: Connection, these: ColumnElement[bool]) -> tuple[Record, ...]:
    newest = select(*SHOWN).where(these).order_by(records.c.created.desc(), records.c.id.desc()).limit(MAX_SHOWN)
    return tuple(Record(**row) for row in connection.execute(newest).mappings())
