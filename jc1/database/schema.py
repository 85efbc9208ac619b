"""Bringing a database to the newest schema.

Knows which revision is the newest and how to run the migrations under a lock. Knows nothing about what they do.
Alembic is imported only when there is something to migrate: it would slow every start.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text

from jc1.database.connection import reading, writing
from jc1.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0001"
"""The newest revision; a test compares it with the migrations."""

_LOCK = 0x4A4331  # "JC1": any number that nothing else in the PostgreSQL server locks


def upgrade(engine: Engine) -> None:
    """Run the migrations that the database lacks, all or none. Processes that open it together wait for one another.

    Raises `DatabaseUnavailable` when the database was written by a newer JC1.
    """
    with reading(engine) as connection:
        if stored_revision(connection) == HEAD:
            return
    with writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        if stored_revision(connection) != HEAD:
            _migrate(connection)


def stored_revision(connection: Connection) -> str | None:
    """The revision of the database's schema; `None` when it is new."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision


def migration_config() -> Config:
    """What Alembic needs to find the migrations, without a file of its own."""
    from alembic.config import Config

    config = Config()
    folder = Path(__file__).with_name("migrations")
    config.set_main_option("path_separator", "os")
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    return config


def _migrate(connection: Connection) -> None:
    from alembic import command
    from alembic.util import CommandError

    config = migration_config()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        revision = stored_revision(connection)
        raise DatabaseUnavailable(
            f"The database has schema {revision!r}, which this version does not know: use a newer JC1."
        ) from error
