"""Migration of a database to the newest schema.

Knows which revision is the newest and how to run the migrations under a lock. Knows nothing about what they do.
Alembic is imported only when there is something to migrate: it would slow every start.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, column, inspect, select, table, text

from jc1.database.connection import reading, writing
from jc1.database.tables import metadata
from jc1.errors import DatabaseUnavailable, InvalidSettings

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0012"
"""The newest revision; a test compares it with the migrations."""

VERSION_TABLE = "jc1_schema"
"""Table of the database's revision; not under Alembic's own name, which another program in the database may use."""

_LOCK = 0x4A4331  # "JC1": any number that nothing else in the PostgreSQL server locks


def upgrade(engine: Engine) -> None:
    """Run the migrations that the database lacks, all or none. Processes that open it together wait for one another.

    Raises `DatabaseUnavailable` when the database was written by a newer JC1, `InvalidSettings` when another program's
    tables are in the way.
    """
    with reading(engine) as connection:
        if stored_revision(connection) == HEAD:
            return
    # Again, under the lock: another process may have migrated meanwhile.
    with writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        revision = stored_revision(connection)
        if revision is None and (foreign := set(inspect(connection).get_table_names()) & set(metadata.tables)):
            raise InvalidSettings(
                f"The database holds another program's table {min(foreign)!r}: give JC1 a database of its own."
            )
        if revision != HEAD:
            _migrate(connection)


def stored_revision(connection: Connection) -> str | None:
    """Return the revision of the database's schema; `None` where it has none yet."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    revision: str | None = connection.execute(select(column("version_num")).select_from(table(VERSION_TABLE))).scalar()
    return revision


def migration_config() -> Config:
    """Return the configuration by which Alembic finds the migrations, without a file of its own."""
    from alembic.config import Config

    config = Config()
    folder = Path(__file__).with_name("migrations")
    config.set_main_option("path_separator", "os")
    # Alembic's configuration interpolates percent signs.
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
