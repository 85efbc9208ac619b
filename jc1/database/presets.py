"""Saved presets and aliases as rows.

Knows versions, where an alias points and where it pointed. Knows nothing about what a preset means or how a reference
is resolved.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from datetime import UTC, datetime
from types import EllipsisType
from typing import Any

from sqlalchemy import Engine, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from jc1.database.connection import reading, upsert, writing
from jc1.database.tables import alias_moves, preset_aliases, presets
from jc1.errors import Conflict


class PresetRepository:
    """The rows behind `jc1.presets`. Calls block and may be made from any thread; versions count from 1."""

    def __init__(self, database: Engine) -> None:
        self._database = database

    def save(self, name: str, body: Mapping[str, Any]) -> int:
        """Store `body` (plain JSON values) as the next version of `name`, and return that version.

        Raises `Conflict` where another version was saved at the same moment.
        """
        try:
            with writing(self._database) as connection:
                newest = select(func.max(presets.c.version)).where(presets.c.name == name)
                version: int = (connection.execute(newest).scalar() or 0) + 1
                connection.execute(
                    insert(presets).values(name=name, version=version, body=dict(body), created=datetime.now(UTC))
                )
        except IntegrityError:
            # PostgreSQL lets two writers find the same newest version; the second is refused.
            raise Conflict(f"Another version of {name!r} was saved at the same moment: try again.") from None
        return version

    def get(self, name: str, version: int | None = None) -> tuple[int, dict[str, Any]] | None:
        """Return version and body, of the newest version unless one is named; `None` where there is none."""
        query = select(presets.c.version, presets.c.body).where(presets.c.name == name)
        query = (
            query.order_by(presets.c.version.desc()) if version is None else query.where(presets.c.version == version)
        )
        with reading(self._database) as connection:
            row = connection.execute(query.limit(1)).first()
        return None if row is None else (row.version, row.body)

    def list(self) -> builtins.list[tuple[str, int, dict[str, Any]]]:
        """Return name, version and body of everything saved, by name, then version."""
        query = select(presets.c.name, presets.c.version, presets.c.body).order_by(presets.c.name, presets.c.version)
        with reading(self._database) as connection:
            return [(row.name, row.version, row.body) for row in connection.execute(query)]

    def set_alias(
        self, alias: str, name: str, version: int, *, expected: tuple[str, int] | EllipsisType | None = ...
    ) -> None:
        """Point `alias` at a version; that it points there already is no move.

        Raises `Conflict` where `expected` is given and the alias points elsewhere now; `None` expects no such alias.
        """
        target = {"name": name, "version": version}
        of_alias = alias_moves.c.alias == alias
        with writing(self._database) as connection:
            # First, so that others who move the alias wait, and what they did is seen below.
            connection.execute(
                upsert(connection, preset_aliases)
                .values(alias=alias, **target)
                .on_conflict_do_update(index_elements=["alias"], set_=target)
            )
            standing = select(alias_moves.c.name, alias_moves.c.version).where(of_alias, alias_moves.c.undone.is_(None))
            row = connection.execute(standing.order_by(alias_moves.c.number.desc()).limit(1)).first()
            last = None if row is None else (row.name, row.version)
            if expected is not ... and last != expected:
                there = f"{last[0]}@{last[1]}" if last else "nothing"
                raise Conflict(f"The alias {alias!r} was pointed at {there} meanwhile: try again.", param="alias")
            if last == (name, version):
                return
            newest = connection.execute(select(func.max(alias_moves.c.number)).where(of_alias)).scalar() or 0
            connection.execute(
                insert(alias_moves).values(alias=alias, number=newest + 1, **target, moved=datetime.now(UTC))
            )

    def undo_alias(self, alias: str) -> tuple[str, int] | None:
        """Undo the last move of `alias`, and return the name and version that it points at now.

        Return `None` where that was the first move, which leaves no such alias.
        """
        of_alias = alias_moves.c.alias == alias
        with writing(self._database) as connection:
            connection.execute(select(preset_aliases).where(preset_aliases.c.alias == alias).with_for_update())
            standing = select(alias_moves).where(of_alias, alias_moves.c.undone.is_(None))
            rows = connection.execute(standing.order_by(alias_moves.c.number.desc()).limit(2)).all()
            if rows:
                connection.execute(
                    update(alias_moves)
                    .where(of_alias, alias_moves.c.number == rows[0].number)
                    .values(undone=datetime.now(UTC))
                )
            if len(rows) < 2:
                connection.execute(delete(preset_aliases).where(preset_aliases.c.alias == alias))
                return None
            before = rows[1]
            connection.execute(
                update(preset_aliases)
                .where(preset_aliases.c.alias == alias)
                .values(name=before.name, version=before.version)
            )
        return before.name, before.version

    def moves(self, alias: str) -> builtins.list[tuple[str, int, datetime | None, datetime | None]]:
        """Return name and version that `alias` was pointed at, when, and when that was undone; newest first."""
        query = select(alias_moves).where(alias_moves.c.alias == alias).order_by(alias_moves.c.number.desc())
        with reading(self._database) as connection:
            return [(row.name, row.version, row.moved, row.undone) for row in connection.execute(query)]

    def aliases(self) -> dict[str, tuple[str, int]]:
        """Return name and version behind each alias."""
        query = select(preset_aliases).order_by(preset_aliases.c.alias)
        with reading(self._database) as connection:
            return {row.alias: (row.name, row.version) for row in connection.execute(query)}
