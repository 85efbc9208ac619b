"""Conversations of an owner, turn by turn.

Knows what was said and replied, in which order. Knows nothing about prompts or memory: a deleted session's memories
stay until they are forgotten.
"""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Engine, delete, insert, select

from jc1.database.connection import reading, upsert, writing
from jc1.database.tables import sessions, turns
from jc1.database.values import check_limit, check_name, storable
from jc1.errors import UnknownSession

TITLE = 60
"""Most characters of a session's title."""
MAX_PAGE = 1000
"""Most turns or sessions that one call returns."""


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
            .where(turns.c.owner == check_name(owner, "owner"), turns.c.session == check_name(session, "session"))
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
                    index_elements=["owner", "id"], set_={"turns": sessions.c.turns + 1, "updated": now}
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
        query = (
            select(sessions)
            .where(sessions.c.owner == check_name(owner, "owner"))
            .order_by(sessions.c.updated.desc(), sessions.c.id)
            .limit(check_limit(limit, MAX_PAGE))
        )
        with reading(self._database) as connection:
            rows: builtins.list[SessionInfo] = [
                SessionInfo(row.id, row.title, row.turns, row.created, row.updated) for row in connection.execute(query)
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


def _title(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= TITLE else flat[: TITLE - 1].rstrip() + "…"
