"""Conversations of an owner, turn by turn.

Knows what was said and replied, in which order, and that a forgotten turn is shown to nobody. Knows nothing about
prompts or memory: a deleted session's memories stay until they are forgotten.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Connection, Engine, case, delete, exists, func, insert, select, update

from jc1.database.connection import reading, upsert, writing
from jc1.database.tables import sessions, turns
from jc1.database.values import check_limit, check_name, storable
from jc1.errors import UnknownSession

TITLE = 60
"""Most characters of a session's title."""
MAX_PAGE = 1000
"""Most turns or sessions that one call returns."""
SAID = turns.c.forgotten.is_(None)
"""Of a turn: that it is not forgotten."""

_of_session = (turns.c.owner == sessions.c.owner) & (turns.c.session == sessions.c.id)


@dataclass(frozen=True, slots=True)
class Turn:
    """One exchange: what the user said and the reply. `number` counts from 1; `cancelled` replies may be cut short."""

    session: str
    number: int
    user: str
    reply: str
    cancelled: bool
    created: datetime


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session as a list shows it: its title is the beginning of its first user message."""

    id: str
    title: str
    turns: int
    created: datetime
    updated: datetime


class Sessions:
    """The conversations of all owners; every call names the owner and reaches that owner's only.

    Calls block and may be made from any thread. They raise `InvalidRequest` for a name that cannot be one,
    `DatabaseUnavailable`, `DatabaseCorrupt` or `StorageFull`; what `append` returned is durable.
    """

    def __init__(self, database: Engine) -> None:
        self._database = database

    def history(self, owner: str, session: str, *, limit: int = 200) -> tuple[Turn, ...]:
        """The last `limit` turns, oldest first, cancelled ones included; none for a session that is not there yet."""
        query = (
            select(turns)
            .where(turns.c.owner == check_name(owner, "owner"), turns.c.session == check_name(session, "session"), SAID)
            .order_by(turns.c.number.desc())
            .limit(check_limit(limit, MAX_PAGE))
        )
        with reading(self._database) as connection:
            rows = connection.execute(query).all()
        return tuple(
            Turn(row.session, row.number, row.user, row.reply, row.cancelled, row.created) for row in reversed(rows)
        )

    def append(self, owner: str, session: str, *, user: str, reply: str, cancelled: bool = False) -> Turn:
        """Add a turn, and the session itself with the first one."""
        check_name(owner, "owner")
        check_name(session, "session")
        user, reply, now = storable(user), storable(reply), datetime.now(UTC)
        with writing(self._database) as connection:
            number: int = connection.execute(
                upsert(connection, sessions)
                .values(owner=owner, id=session, title=_title(user), turns=1, created=now, updated=now)
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

    def list(self, owner: str, *, limit: int = 50) -> tuple[SessionInfo, ...]:
        """The owner's sessions, most recently used first."""
        said = select(func.count()).where(_of_session, SAID).correlate(sessions).scalar_subquery()
        query = (
            select(sessions.c.id, sessions.c.title, said.label("said"), sessions.c.created, sessions.c.updated)
            .where(sessions.c.owner == check_name(owner, "owner"), exists().where(_of_session, SAID))
            .order_by(sessions.c.updated.desc(), sessions.c.id)
            .limit(check_limit(limit, MAX_PAGE))
        )
        with reading(self._database) as connection:
            rows: builtins.list[SessionInfo] = [
                SessionInfo(row.id, row.title, row.said, row.created, row.updated) for row in connection.execute(query)
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


def retitle(connection: Connection, owner: str, names: Sequence[str]) -> None:
    """Give these sessions the title of their first turn that is not forgotten, `""` without one."""
    first = select(turns.c.user).where(_of_session, SAID).order_by(turns.c.number).limit(1).correlate(sessions)
    for name in names:
        here = (sessions.c.owner == owner) & (sessions.c.id == name)
        said = connection.execute(select(first.scalar_subquery()).where(here)).scalar()
        connection.execute(update(sessions).where(here).values(title=_title(said or "")))


def remove_turns(connection: Connection, owner: str, these: ColumnElement[bool]) -> int:
    """Delete turns, and the sessions that are left without any; how many turns they were."""
    removed = connection.execute(delete(turns).where(turns.c.owner == owner, these)).rowcount
    if removed:
        connection.execute(delete(sessions).where(sessions.c.owner == owner, ~exists().where(_of_session)))
    return removed


def _title(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= TITLE else flat[: TITLE - 1].rstrip() + "…"
