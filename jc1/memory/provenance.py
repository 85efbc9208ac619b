"""Provenance of replies: the records that a reply repeats, which it never outlives.

A reply always repeats the message it answers and the pictures that were shown with it. Of what else stood in its
prompt, recalled records and earlier turns of its session, it repeats what its words come from, and what a reply among
these repeats. Knows the table of these links, and the two marks that follow from it: a reply is outdated while a source
counts no more or was edited after it, and a turn is while what was said in it, or what its reply repeats, was edited or
excluded. Knows nothing about hiding.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    FromClause,
    Update,
    bindparam,
    delete,
    exists,
    insert,
    or_,
    select,
    tuple_,
    update,
)

from jc1.database.tables import owners, records, repeats, turns
from jc1.memory.base import Record, Sources
from jc1.memory.repetition import repeated
from jc1.sessions import refresh_session

_source, _reply = records.alias("source"), records.alias("reply")


Link = tuple[int | str, str]
"""A source, by its number or its id, and a reply, by its id."""


_NO_MORE = or_(_source.c.forgotten.is_not(None), _source.c.excluded, _source.c.superseded_by.is_not(None))
_KNOWN = select(records.c.seq, records.c.text, records.c.role, records.c.owner)
_ids: BindParameter[Any] = bindparam("ids", expanding=True)
# By id alone: with the owner, SQLite would look through all that the owner has.
_BY_ID = _KNOWN.where(records.c.id.in_(_ids))
_BY_TURN = _KNOWN.where(
    records.c.owner == bindparam("owner_"),
    records.c.session == bindparam("session_"),
    records.c.turn.in_(bindparam("turns", expanding=True)),
    records.c.document.is_(None),
)
_REPEATED = select(repeats.c.source).where(repeats.c.reply.in_(bindparam("replies", expanding=True)))
_STATES = select(
    _source.c.id, _source.c.seq, _source.c.owner, (_NO_MORE | _source.c.edited.is_not(None)).label("stale")
).where(or_(_source.c.id.in_(_ids), _source.c.seq.in_(bindparam("seqs", expanding=True))))


NewReply = tuple[Record, Sequence[Record], Sources]
"""A reply, the message that it answers and then the pictures shown with that, where these are new too, its sources."""


def links_of(connection: Connection, owner: str, replies: Iterable[NewReply]) -> list[Link]:
    """Return what new replies repeat."""
    links: list[Link] = []
    for reply, answered, sources in replies:
        if answered:
            links += [(record.id, reply.id) for record in answered]
        elif reply.session is not None and reply.turn is not None:
            place = (records.c.session == reply.session) & (records.c.turn == reply.turn) & records.c.document.is_(None)
            there = select(records.c.seq).where(records.c.owner == owner, place, records.c.role == "user")
            links += [(source, reply.id) for source in connection.execute(there).scalars()]
        if sources.records or sources.turns:
            question = answered[0].text if answered else ""
            seqs = find_repeated(connection, owner, reply.session, question, reply.text, sources)
            links += [(source, reply.id) for source in seqs]
    return links


def find_repeated(
    connection: Connection, owner: str, session: str | None, question: str, reply: str, sources: Sources
) -> list[int]:
    """Return the numbers of the records that a reply repeats, besides the message it answers."""
    rows = [row for row in connection.execute(_BY_ID, {"ids": sources.records}) if row.owner == owner]
    if session is not None and sources.turns:
        place = {"owner_": owner, "session_": session, "turns": tuple(sources.turns)}
        rows += connection.execute(_BY_TURN, place).all()
    seqs = repeated(question, reply, {row.seq: row.text for row in rows})
    if not seqs.intersection(row.seq for row in rows if row.role == "assistant"):
        return sorted(seqs)
    further = connection.execute(_REPEATED, {"replies": tuple(seqs)}).scalars()
    return sorted({*seqs, *further})


def link(connection: Connection, owner: str, links: Sequence[Link]) -> bool:
    """Store links between records, those of which one is not there passed over; returns whether a source counts no
    more, or not as it did: then the replies are to be refreshed."""
    if not links:
        return False
    names = {name for pair in links for name in pair}
    ids, seqs = ([name for name in names if isinstance(name, kind)] for kind in (str, int))
    rows = connection.execute(_STATES, {"ids": ids, "seqs": seqs}).all()
    known = {name: row for row in rows if row.owner == owner for name in (row.id, row.seq)}
    pairs = {
        (known[source].seq, known[reply].seq): source for source, reply in links if {source, reply} <= known.keys()
    }
    if pairs:
        connection.execute(
            insert(repeats), [{"owner": owner, "source": source, "reply": reply} for source, reply in pairs]
        )
    return any(known[source].stale for source in pairs.values())


def repeated_by(connection: Connection, ids: Sequence[str]) -> dict[str, list[str]]:
    """Return the ids of the records that are there and that replies, given by their ids, repeat."""
    query = (
        select(_reply.c.id, _source.c.id.label("source"))
        .join_from(repeats, _reply, _reply.c.seq == repeats.c.reply)
        .join(_source, _source.c.seq == repeats.c.source)
        .where(_reply.c.id.in_(ids), _source.c.forgotten.is_(None))
        .order_by(repeats.c.number)
    )
    sources = defaultdict[str, list[str]](list)
    for row in connection.execute(query) if ids else ():
        sources[row.id].append(row.source)
    return sources


def link_turn(connection: Connection, owner: str, session: str, turn: int, sources: Sequence[int]) -> None:
    """Store what the reply of a turn repeats, of which there is no record."""
    if sources:
        place = {"owner": owner, "session": session, "turn": turn}
        connection.execute(insert(repeats), [{**place, "source": source} for source in sources])


def refresh_replies(connection: Connection, owner: str, version: int) -> None:
    """Say anew of the replies that this version changed, and of those to what it changed, whether they are outdated."""
    connection.execute(_REFRESH, {"owner_": owner, "version": version})


def _refresh() -> Update:
    changed = select(records.c.seq).where(
        records.c.owner == bindparam("owner_"), records.c.changed == bindparam("version")
    )
    to_these = select(repeats.c.reply).where(repeats.c.source.in_(changed), repeats.c.reply.is_not(None))
    replies = to_these.union(changed.where(records.c.role == "assistant"))
    unedited = or_(_source.c.edited.is_(None), _source.c.edited <= records.c.created)
    # A source that was deleted for good does not count either, so that links outlive it.
    believed = exists().where(_source.c.seq == repeats.c.source, ~_NO_MORE, unedited).correlate(repeats, records)
    outdated = exists().where(repeats.c.reply == records.c.seq, ~believed).correlate(records)
    return update(records).where(records.c.seq.in_(replies)).values(outdated=outdated, changed=bindparam("version"))


_REFRESH = _refresh()


def refresh_turns(connection: Connection, owner: str, record_id: str) -> None:
    """Say anew of the turn that a record was said in, and of those that repeat it, whether they are outdated."""
    record = select(records.c.seq).where(records.c.id == record_id).scalar_subquery()
    place = _reply.c.session, _reply.c.turn
    in_turn = (_reply.c.owner == owner) & _reply.c.turn.is_not(None) & _reply.c.document.is_(None)
    to_it = select(repeats.c.reply).where(repeats.c.source == record)
    places = {
        (row.session, row.turn)
        for query in (
            select(*place).where(in_turn, or_(_reply.c.seq == record, _reply.c.seq.in_(to_it))),
            select(repeats.c.session, repeats.c.turn).where(repeats.c.source == record, repeats.c.reply.is_(None)),
        )
        for row in connection.execute(query)
    }
    here = (_reply.c.owner == turns.c.owner, _reply.c.session == turns.c.session, _reply.c.turn == turns.c.number)
    without = (repeats.c.owner == turns.c.owner, repeats.c.session == turns.c.session, repeats.c.turn == turns.c.number)
    from_source = repeats.c.source == _source.c.seq
    outdated = or_(
        exists().where(*here, _reply.c.document.is_(None), _reply.c.excluded | _reply.c.edited.is_not(None)),
        exists().where(
            *here, repeats.c.reply == _reply.c.seq, from_source,
            _source.c.excluded | (_source.c.edited > _reply.c.created),
        ),
        exists().where(*without, from_source, _source.c.excluded | (_source.c.edited > turns.c.created)),
    )  # fmt: skip
    connection.execute(
        update(turns)
        .where(turns.c.owner == owner, tuple_(turns.c.session, turns.c.number).in_(places))
        .values(outdated=outdated)
    )
    refresh_session(connection, owner, sorted({session for session, _ in places}))


def replies_to(
    owner: str, selected: Callable[[FromClause], ColumnElement[bool]], *, hidden: bool
) -> ColumnElement[bool]:
    """Return which records repeat what is selected; of what is hidden, those that were hidden with it."""
    repeating = (
        select(repeats.c.reply)
        .join(_source, _source.c.seq == repeats.c.source)
        .join(_reply, _reply.c.seq == repeats.c.reply)
        .where(_source.c.owner == owner, selected(_source))
    )
    together = _source.c.forgotten == _reply.c.forgotten if hidden else _source.c.forgotten.is_(None)
    return records.c.seq.in_(repeating.where(together))


def turns_to(
    connection: Connection, owner: str, selected: Callable[[FromClause], ColumnElement[bool]], *, hidden: bool
) -> list[tuple[str, int]]:
    """Return the turns, by session and number, that repeat what is selected and of whose replies there is no record;
    of what is hidden, those that were hidden with it."""
    of_turn = (turns.c.owner == owner) & (turns.c.session == repeats.c.session) & (turns.c.number == repeats.c.turn)
    together = turns.c.forgotten == _source.c.forgotten if hidden else turns.c.forgotten.is_(None)
    repeating = (
        select(repeats.c.session, repeats.c.turn)
        .join(_source, _source.c.seq == repeats.c.source)
        .join(turns, of_turn)
        .where(_source.c.owner == owner, selected(_source), repeats.c.reply.is_(None), together)
    )
    return [(row.session, row.turn) for row in connection.execute(repeating)]


def delete_records(connection: Connection, owner: str, doomed: ColumnElement[bool], version: int) -> int:
    """Delete an owner's records for good, and return how many they were. Replies that repeat them are outdated."""
    theirs = records.c.owner == owner
    seqs = select(records.c.seq).where(theirs, doomed)
    replies = select(repeats.c.reply).where(repeats.c.source.in_(seqs), repeats.c.reply.is_not(None))
    connection.execute(update(records).where(theirs, records.c.seq.in_(replies)).values(outdated=True, changed=version))
    without_record = repeats.c.source.in_(seqs) & repeats.c.reply.is_(None)
    connection.execute(delete(repeats).where(or_(repeats.c.reply.in_(seqs), without_record)))
    # No row is left to say that it changed.
    connection.execute(update(owners).where(owners.c.owner == owner).values(deleted=version))
    return connection.execute(delete(records).where(theirs, doomed)).rowcount
