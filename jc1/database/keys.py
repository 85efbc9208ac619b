"""Keys and signing secrets as rows.

Knows how they are stored, and that a row of a key is never deleted. Knows nothing about what a key allows, or how one
is shown and compared.
"""

from __future__ import annotations

import builtins
import secrets as random
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, insert, or_, select, update

from jc1.database.connection import reading, upsert, writing
from jc1.database.tables import api_keys, secrets

SECRET_BYTES = 32


class KeyRepository:
    """The rows behind `jc1.access.keys`, by the names of their columns. Calls block, and may come from any thread."""

    def __init__(self, database: Engine) -> None:
        self._database = database

    def any(self) -> bool:
        """Return whether a key was ever made."""
        with reading(self._database) as connection:
            return connection.execute(select(api_keys.c.id).limit(1)).first() is not None

    def add(self, values: Mapping[str, Any]) -> None:
        """Store a new key."""
        with writing(self._database, "a new key") as connection:
            connection.execute(insert(api_keys).values(**values))

    def get(self, key_id: str) -> dict[str, Any] | None:
        """Return a key's row; None where there is none."""
        with reading(self._database) as connection:
            row = connection.execute(select(api_keys).where(api_keys.c.id == key_id)).mappings().first()
        return None if row is None else dict(row)

    def list(self) -> builtins.list[dict[str, Any]]:
        """Return the rows of all keys, the newest first."""
        query = select(api_keys).order_by(api_keys.c.created.desc(), api_keys.c.id)
        with reading(self._database) as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def rotate(self, key_id: str, digest: bytes, grace: datetime | None) -> bool:
        """Put a digest in the place of the key's, which is kept until `grace`. Return False for a revoked key."""
        # One statement: of two at the same moment the second keeps the first one's digest.
        earlier = api_keys.c.digest if grace else None
        with writing(self._database, "the rotation of a key") as connection:
            done = connection.execute(
                update(api_keys)
                .where(api_keys.c.id == key_id, api_keys.c.revoked.is_(None))
                .values(earlier=earlier, grace=grace, digest=digest)
            )
        return done.rowcount == 1

    def revoke(self, key_id: str, moment: datetime) -> None:
        """Store when a key was revoked; one that was earlier stays so."""
        with writing(self._database, "the revocation of a key") as connection:
            connection.execute(
                update(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked.is_(None)).values(revoked=moment)
            )

    def touch(self, key_id: str, moment: datetime, step: timedelta) -> None:
        """Store when a key was last used, unless what is stored is less than a `step` ago."""
        stored = api_keys.c.last_used
        stale = or_(stored.is_(None), stored <= moment - step)
        with writing(self._database, "a key's last use") as connection:
            connection.execute(update(api_keys).where(api_keys.c.id == key_id, stale).values(last_used=moment))

    def secret(self, name: str) -> bytes:
        """Return the signing secret of that name, made at random when it is first asked for."""
        query = select(secrets.c.value).where(secrets.c.name == name)
        with reading(self._database) as connection:
            value: bytes | None = connection.execute(query).scalar()
        if value is not None:
            return value
        with writing(self._database, "a new secret") as connection:
            new = upsert(connection, secrets).values(name=name, value=random.token_bytes(SECRET_BYTES))
            connection.execute(new.on_conflict_do_nothing(index_elements=["name"]))
            return bytes(connection.execute(query).scalar_one())
