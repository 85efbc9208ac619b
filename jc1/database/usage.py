"""Usage as rows: one for each key, model and day.

Knows how counts are added up and read. Knows nothing about when, or what they limit (`jc1.access.usage`).
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from datetime import date
from typing import Any

from sqlalchemy import Engine, func, select

from jc1.database.connection import reading, upsert, writing
from jc1.database.tables import usage

COUNTS = ("requests", "prompt_tokens", "completion_tokens", "refused")


class UsageRepository:
    """The rows behind `jc1.access.usage`, by the names of their columns. Calls block, and may come from any thread."""

    def __init__(self, database: Engine) -> None:
        self._database = database

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Add counts to what is stored of the same key, model and day; of several processes all are kept."""
        with writing(self._database, "usage") as connection:
            for row in rows:
                new = upsert(connection, usage).values(**row)
                sums = {name: usage.c[name] + new.excluded[name] for name in COUNTS}
                connection.execute(new.on_conflict_do_update(index_elements=["key", "model", "day"], set_=sums))

    def tokens(self, key: str, day: date) -> int:
        """Return how many tokens a key has read and written on a day, of all models."""
        total = func.coalesce(func.sum(usage.c.prompt_tokens + usage.c.completion_tokens), 0)
        with reading(self._database) as connection:
            return int(connection.execute(select(total).where(usage.c.key == key, usage.c.day == day)).scalar_one())

    def list(self, since: date, key: str | None) -> builtins.list[dict[str, Any]]:
        """Return the rows since a day, that one included, of one key or of all: the newest first."""
        query = select(usage).where(usage.c.day >= since).order_by(usage.c.day.desc(), usage.c.key, usage.c.model)
        if key is not None:
            query = query.where(usage.c.key == key)
        with reading(self._database) as connection:
            return [dict(row) for row in connection.execute(query).mappings()]
