"""Idempotency keys as rows: one for each owner and key.

Knows that of two requests with one key the first has it. Knows nothing about what requests are, or for how long a key
holds (`jc1.access.idempotency`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Engine, and_, delete, or_, select, update

from jc1.database.connection import upsert, writing
from jc1.database.tables import idempotency

TASK = "an idempotency key"


@dataclass(frozen=True, slots=True)
class Claim:
    """Who has a key: the digest of its request, and what that made, None while it is under way."""

    request: bytes
    made: str | None


class IdempotencyRepository:
    """The rows behind `jc1.access.idempotency`. Calls block, and may come from any thread."""

    def __init__(self, database: Engine) -> None:
        self._database = database

    def claim(
        self, owner: str, key: str, request: bytes, now: datetime, *, oldest: datetime, abandoned: datetime
    ) -> Claim | None:
        """Store that a request began, and return None; or return who has the key already.

        Rows from before `oldest` are removed, and before `abandoned` those of requests that never ended.
        """
        dead = and_(idempotency.c.made.is_(None), idempotency.c.created < abandoned)
        with writing(self._database, TASK) as connection:
            connection.execute(delete(idempotency).where(or_(idempotency.c.created < oldest, dead)))
            new = upsert(connection, idempotency).values(owner=owner, key=key, request=request, created=now)
            done = connection.execute(new.on_conflict_do_nothing(index_elements=["owner", "key"]))
            if done.rowcount == 1:
                return None
            columns = select(idempotency.c.request, idempotency.c.made).where(_row(owner, key))
            return Claim(*connection.execute(columns).one())

    def finish(self, owner: str, key: str, made: str) -> None:
        """Store what the request made."""
        with writing(self._database, TASK) as connection:
            connection.execute(update(idempotency).where(_row(owner, key)).values(made=made))

    def give_up(self, owner: str, key: str) -> None:
        """Let the key go: its request made nothing."""
        with writing(self._database, TASK) as connection:
            connection.execute(delete(idempotency).where(_row(owner, key)))


def _row(owner: str, key: str) -> ColumnElement[bool]:
    return and_(idempotency.c.owner == owner, idempotency.c.key == key)
