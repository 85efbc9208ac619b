"""The schema: migrations and tables agree, and a database is only ever brought forward."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text

from jc1.database import open_database, reading, writing
from jc1.database.schema import HEAD, VERSION_TABLE, migration_config, stored_revision, upgrade
from jc1.database.tables import metadata
from jc1.errors import DatabaseUnavailable, InvalidSettings


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path / 'jc1.db'}")
    yield engine
    engine.dispose()


def test_the_migrated_schema_is_the_one_that_the_tables_describe(database: Engine) -> None:
    with reading(database) as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, metadata) == []


def test_the_migrations_hold_the_checks_that_the_tables_describe(database: Engine) -> None:
    found = {check["name"] for check in inspect(database).get_check_constraints("records")}
    assert found == {"ck_records_role", "ck_records_kind"}


def test_head_is_the_last_migration() -> None:
    assert ScriptDirectory.from_config(migration_config()).get_current_head() == HEAD


def test_every_migration_can_be_undone_and_done_again(database: Engine) -> None:
    config = migration_config()
    with writing(database) as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    with reading(database) as connection:
        assert stored_revision(connection) is None
        assert set(inspect(connection).get_table_names()) <= {VERSION_TABLE, "sqlite_sequence"}
    upgrade(database)
    with reading(database) as connection:
        assert stored_revision(connection) == HEAD


def test_a_database_of_a_newer_version_is_refused_and_left_alone(database: Engine) -> None:
    with writing(database) as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(DatabaseUnavailable, match=r"'9999'.*newer JC1"):
        upgrade(database)
    with reading(database) as connection:
        assert stored_revision(connection) == "9999"


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as theirs:
        theirs.execute("CREATE TABLE sessions (cookie TEXT)")
    with pytest.raises(InvalidSettings, match="'sessions'"):
        open_database(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as theirs:
        assert theirs.execute("SELECT name FROM sqlite_master").fetchall() == [("sessions",)]


def test_opening_a_database_that_is_up_to_date_does_not_import_alembic(database: Engine) -> None:
    script = "import sys; from jc1.database import open_database as o; o(sys.argv[1]); print('alembic' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", script, str(database.url)], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
