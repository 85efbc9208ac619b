"""Conversations of an owner, turn by turn.

Knows what was said and replied, in which order, and that a forgotten turn is shown to nobody. Knows nothing about
prompts or memory: a deleted session's memories stay until they are forgotten.

Long histories are read through the cache, and are never stale. The database is asked for the session's row each time:
when the session began, how often a turn that was there already was changed (`changes`), how many turns there are. What
the cache holds counts only while the first two are the same and its newest turn is still in the database as it was;
later turns are read and added.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Row,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from jc1.cache.namespaces import HISTORY, owned
from jc1.cache.null import NullCache
from jc1.database.connection import reading, upsert, writing
from jc1.database.cursors import cursor_at, read_cursor
from jc1.database.tables import records, repeats, sessions, turns
from jc1.database.vacuum import owe_vacuum
from jc1.database.values import check_limit, check_name
from jc1.errors import UnknownSession
from jc1.texts import as_text

if TYPE_CHECKING:
    from jc1.cache.base import Cache

TITLE = 60
"""Most characters of a session's title."""
NO_END = 2**31 - 1
"""A number that no turn has: PostgreSQL's greatest integer."""
MAX_PAGE = 1000
"""Most turns or sessions that one call returns."""
SAID = turns.c.forgotten.is_(None)
"""Of a turn: that it is not forgotten."""
LONG = 20
"""Turns from which a history is kept in the cache; reading fewer costs no more than asking Redis. 50 turns of 1,000
characters cost 0.95 ms from SQLite and 0.46 ms with LMDB, 2.2 ms from PostgreSQL and 1.1 ms with Redis; 200 turns cost
2.1 and 1.1 ms, 4.6 and 2.1 ms (medians, two busy cores, `experiments.benchmarks.history`)."""
MAX_CACHED = 200
"""Turns of a session that are kept there at most, the newest ones."""
BEHIND = 16
"""By how many turns the cache may be behind before it is written anew: reading them costs less."""
CACHE_SECONDS = 3600.0
"""For how long, after they were last written there."""

_SESSION = select(sessions.c.created, sessions.c.updated, sessions.c.turns, sessions.c.changes).where(
    sessions.c.owner == bindparam("owner"), sessions.c.id == bindparam("session")
)
_TURNS = (
    select(turns.c.number, turns.c.user, turns.c.reply, turns.c.cancelled, turns.c.created, turns.c.outdated)
    .where(
        turns.c.owner == bindparam("owner"),
        turns.c.session == bindparam("session"),
        turns.c.number >= bindparam("first"),
        turns.c.number < bindparam("end"),
        SAID,
    )
    .order_by(turns.c.number.desc())
    .limit(bindparam("limit"))
)
_of_session = (turns.c.owner == sessions.c.owner) & (turns.c.session == sessions.c.id)


@dataclass(frozen=True, slots=True)
class Turn:
    """One exchange: what the user said and the reply. `number` counts from 1; `cancelled` replies may be cut short.
    What an `outdated` turn tells was edited or excluded in memory since: it is shown, and in no prompt."""

    session: str
    number: int
    user: str
    reply: str
    cancelled: bool
    created: datetime
    outdated: bool = False


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session as a list shows it: its title is the beginning of its first user message."""

    id: str
    title: str
    turns: int
    created: datetime
    updated: datetime

    @property
    def cursor(self) -> str:
        """Return what continues a list after it."""
        return cursor_at(self.updated, self.id)


class Sessions:
    """The conversations of all owners; every call names the owner and reaches that owner's only.

    Calls block and may be made from any thread. They raise `InvalidRequest` for a name that cannot be one,
    `DatabaseUnavailable`, `DatabaseCorrupt` or `StorageFull`; what `append` returned is durable.

    Arguments:
        database: what `open_database` returned; several processes may have it open.
        cache: keeps long histories; processes may share it.
        on_delete: called with the owner whose session was deleted, so that what was derived from it goes too.
    """

    def __init__(
        self, database: Engine, *, cache: Cache | None = None, on_delete: Callable[[str], None] | None = None
    ) -> None:
        self._database = database
        self._cache = cache or NullCache()
        self._on_delete = on_delete

    def history(self, owner: str, session: str, *, limit: int = 200, before: int | None = None) -> tuple[Turn, ...]:
        """Return the last `limit` turns, of those `before` a number, oldest first, cancelled ones too; none for a
        session that is not there yet."""
        check_name(owner, "owner")
        check_name(session, "session")
        check_limit(limit, MAX_PAGE)
        names = {"owner": owner, "session": session}
        if before is not None:
            with reading(self._database) as connection:
                return _read(connection, owner, session, first=1, end=before, limit=limit)
        cached = self._cached(owner, session)
        with reading(self._database) as connection:
            row = connection.execute(_SESSION, names).first()
            if row is None:
                return ()
            if cached is not None and not cached.counts(row, limit):
                cached = None
            if cached is not None:
                newest = cached.turns[-1]
                if (newest.number, newest.created) == (row.turns, row.updated):
                    return cached.turns[-limit:]
                newer = _read(connection, owner, session, first=newest.number, limit=MAX_CACHED)
                cached = cached.grown(newer)
                if cached is not None and len(newer) <= BEHIND:
                    return cached.turns[-limit:]
            if cached is None:
                read = _read(connection, owner, session, first=1, limit=limit)
                cached = _CachedHistory(row.created, row.changes, begins=len(read) < limit, turns=read)
        self._keep(owner, session, cached)
        return cached.turns[-limit:]

    def append(self, owner: str, session: str, *, user: str, reply: str, cancelled: bool = False) -> Turn:
        """Add a turn, and the session itself with the first one.

        Turns count from 1, or from where the memories of an earlier session of that name end.
        """
        check_name(owner, "owner")
        check_name(session, "session")
        user, reply, now = as_text(user), as_text(reply), datetime.now(UTC)
        of_session = (records.c.owner == owner) & (records.c.session == session)
        first = select(func.coalesce(func.max(records.c.turn), 0) + 1).where(of_session).scalar_subquery()
        with writing(self._database) as connection:
            number: int = connection.execute(
                upsert(connection, sessions)
                .values(owner=owner, id=session, title=_title(user), turns=first, created=now, updated=now)
                .on_conflict_do_update(
                    index_elements=["owner", "id"],
                    set_={
                        "turns": sessions.c.turns + 1,
                        "updated": now,
                        "title": case((sessions.c.title == "", _title(user)), else_=sessions.c.title),
                    },
                )
                .returning(sessions.c.turns)
            ).scalar_one()
            connection.execute(
                insert(turns).values(
                    owner=owner,
                    session=session,
                    number=number,
                    user=user,
                    reply=reply,
                    cancelled=cancelled,
                    created=now,
                )
            )
        return Turn(session, number, user, reply, cancelled, now)

    def list(self, owner: str, *, limit: int = 50, cursor: str | None = None) -> tuple[SessionInfo, ...]:
        """Return the owner's sessions, most recently used first, from after the one whose `cursor` is given."""
        shown = select(func.count()).where(_of_session, SAID).correlate(sessions).scalar_subquery()
        query = (
            select(sessions.c.id, sessions.c.title, shown.label("shown"), sessions.c.created, sessions.c.updated)
            .where(sessions.c.owner == check_name(owner, "owner"), exists().where(_of_session, SAID))
            .order_by(sessions.c.updated.desc(), sessions.c.id)
            .limit(check_limit(limit, MAX_PAGE))
        )
        if cursor is not None:
            updated, last = read_cursor(cursor)
            same = (sessions.c.updated == updated) & (sessions.c.id > last)
            query = query.where(or_(sessions.c.updated < updated, same))
        with reading(self._database) as connection:
            rows: builtins.list[SessionInfo] = [
                SessionInfo(row.id, row.title, row.shown, row.created, row.updated) for row in connection.execute(query)
            ]
        return tuple(rows)

    def delete(self, owner: str, session: str) -> None:
        """Delete a session with its turns. Raises `UnknownSession`."""
        query = delete(sessions).where(
            sessions.c.owner == check_name(owner, "owner"), sessions.c.id == check_name(session, "session")
        )
        with writing(self._database) as connection:
            if connection.execute(query).rowcount == 0:
                raise UnknownSession(session)
            _drop_links(connection, owner)
            owe_vacuum(connection)
        self._uncache(owner, session)
        if self._on_delete is not None:
            self._on_delete(owner)

    def _uncache(self, owner: str, session: str) -> None:
        """Remove a session's turns from the cache."""
        self._cache.delete(owned(HISTORY, owner), _key(session))

    def _cached(self, owner: str, session: str) -> _CachedHistory | None:
        stored = self._cache.get(owned(HISTORY, owner), _key(session))
        return None if stored is None else _CachedHistory.loads(session, stored)

    def _keep(self, owner: str, session: str, cached: _CachedHistory) -> None:
        if len(cached.turns) < LONG:
            return
        self._cache.put_many(owned(HISTORY, owner), {_key(session): cached.dumps()}, ttl=CACHE_SECONDS)
        # Whoever deleted or changed turns meanwhile removed them from the cache too early.
        with reading(self._database) as connection:
            row = connection.execute(_SESSION, {"owner": owner, "session": session}).first()
        if row is None or (row.created, row.changes) != (cached.created, cached.changes):
            self._uncache(owner, session)


@dataclass(frozen=True, slots=True)
class _CachedHistory:
    """A history as the cache keeps it: when its session began, how often it was changed, its newest turns.

    `begins` is true where the first turn is among them.
    """

    created: datetime
    changes: int
    begins: bool
    turns: tuple[Turn, ...]

    def counts(self, row: Row[*tuple[Any, ...]], limit: int) -> bool:
        """Tell whether it is about the session in `row`, unchanged, and goes back for `limit` turns."""
        return (self.created, self.changes) == (row.created, row.changes) and (self.begins or limit <= len(self.turns))

    def grown(self, newer: tuple[Turn, ...]) -> _CachedHistory | None:
        """Return it with later turns; `None` where `newer` does not begin with the newest turn, as it is kept."""
        return replace(self, turns=self.turns + newer[1:]) if newer[:1] == self.turns[-1:] else None

    def dumps(self) -> bytes:
        rows = [
            (turn.number, turn.user, turn.reply, turn.cancelled, turn.created, turn.outdated)
            for turn in self.turns[-MAX_CACHED:]
        ]
        return orjson.dumps([self.created, self.changes, self.begins and len(self.turns) <= MAX_CACHED, rows])

    @classmethod
    def loads(cls, session: str, stored: bytes) -> _CachedHistory | None:
        try:
            created, changes, begins, rows = orjson.loads(stored)
            read = tuple(
                Turn(session, number, user, reply, cancelled, datetime.fromisoformat(at), outdated)
                for number, user, reply, cancelled, at, outdated in rows
            )
            return cls(datetime.fromisoformat(created), changes, begins, read) if read else None
        except (ValueError, TypeError):
            return None


def _key(session: str) -> bytes:
    return b"2:" + session.encode()  # the number is that of the layout


def _read(
    connection: Connection, owner: str, session: str, *, first: int, end: int = NO_END, limit: int
) -> tuple[Turn, ...]:
    """Return the last `limit` turns from number `first` on, before `end`, oldest first."""
    values = {"owner": owner, "session": session, "first": first, "end": min(end, NO_END), "limit": limit}
    rows = connection.execute(_TURNS, values).all()
    return tuple(Turn(session, *row) for row in reversed(rows))


def refresh_session(connection: Connection, owner: str, names: Sequence[str]) -> None:
    """Tell every process that turns of these sessions were hidden or shown again, and make their title that of the
    first turn that is not forgotten, `""` without one."""
    first = select(turns.c.user).where(_of_session, SAID).order_by(turns.c.number).limit(1).correlate(sessions)
    for name in names:
        here = (sessions.c.owner == owner) & (sessions.c.id == name)
        text = connection.execute(select(first.scalar_subquery()).where(here)).scalar()
        connection.execute(
            update(sessions).where(here).values(title=_title(text or ""), changes=sessions.c.changes + 1)
        )


def remove_turns(connection: Connection, owner: str, these: ColumnElement[bool]) -> int:
    """Delete turns, and the sessions that are left without any; return how many turns they were."""
    removed = connection.execute(delete(turns).where(turns.c.owner == owner, these)).rowcount
    if removed:
        connection.execute(delete(sessions).where(sessions.c.owner == owner, ~exists().where(_of_session)))
        _drop_links(connection, owner)
    return removed


def _drop_links(connection: Connection, owner: str) -> None:
    """Delete what turns that are gone repeated; a later turn may have the number of one of these."""
    there = exists().where(
        turns.c.owner == repeats.c.owner, turns.c.session == repeats.c.session, turns.c.number == repeats.c.turn
    )
    connection.execute(delete(repeats).where(repeats.c.owner == owner, repeats.c.session.is_not(None), ~there))


def _title(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= TITLE else flat[: TITLE - 1].rstrip() + "…"
