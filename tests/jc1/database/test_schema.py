"""The schema: migrations and tables agree, and a database is only ever brought forward."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, insert, inspect, select, text

from jc1.database import open_database, reading, writing
from jc1.database.presets import PresetRepository
from jc1.database.schema import HEAD, VERSION_TABLE, migration_config, stored_revision, upgrade
from jc1.database.tables import metadata, presets
from jc1.errors import DatabaseUnavailable, InvalidSettings
from jc1.memory.store import DatabaseMemory
from jc1.sessions import Sessions
from tests.jc1.memory.conftest import HashingEmbedder

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
FIRST_ROWS = {
    "owners": {"owner": "ann", "version": 3},
    "records": {
        "id": "mem_1",
        "owner": "ann",
        "text": "I moved to Lyon. 🙂",
        "role": "user",
        "kind": "statement",
        "created": MOMENT,
        "session": "s",
        "turn": 1,
        "superseded_by": None,
        "subject": "i live",
        "changed": 3,
        "vector": b"\x00\x3c",
        "embedder": "e/1",
    },
    "sessions": {"owner": "ann", "id": "s", "title": "I moved", "turns": 1, "created": MOMENT, "updated": MOMENT},
    "turns": {
        "owner": "ann",
        "session": "s",
        "number": 1,
        "user": "I moved to Lyon. 🙂",
        "reply": "Fine.",
        "cancelled": False,
        "created": MOMENT,
    },
    "presets": {"name": "short", "version": 1, "body": '{"decoding": {}}', "created": MOMENT},
    "preset_aliases": {"alias": "champion", "name": "short", "version": 1},
}
"""A row of every table of revision 0001. Its columns are named here: the tables of today have others."""
CARRIED_OVER = {
    "alias_moves": {
        "alias": "champion", "number": 1, "name": "short", "version": 1, "moved": None, "undone": None,
    },
}  # fmt: skip
"""What later migrations make of these rows in tables of their own."""


def migrated(connection: Connection, direction: Callable[[Config, str], None], revision: str) -> None:
    """Migrate to a revision, up or down."""
    config = migration_config()
    config.attributes["connection"] = connection
    direction(config, revision)


def fill_first_version(connection: Connection) -> None:
    """Write a row into every table of revision 0001."""
    for table, row in FIRST_ROWS.items():
        shown = {k: v if not isinstance(v, datetime) or connection.dialect.name != "sqlite" else
                 v.strftime("%Y-%m-%d %H:%M:%S.%f") for k, v in row.items()}  # fmt: skip
        names = ", ".join(f'"{name}"' for name in row)
        values = ", ".join(f":{name}" for name in row)
        connection.execute(text(f'INSERT INTO "{table}" ({names}) VALUES ({values})'), shown)


def check_first_rows(database: Engine) -> None:
    """The rows are there, as today's tables read them, and nothing about them is changed by what is new."""
    with reading(database) as connection:
        assert stored_revision(connection) == HEAD
        for table in metadata.sorted_tables:
            found = [dict(row) for row in connection.execute(select(table)).mappings()]
            if table.name not in FIRST_ROWS:
                if table.name == "vacuums_owed":
                    assert len(found) == 1  # nobody knows what was deleted before
                    continue
                assert found == [CARRIED_OVER[table.name]] if table.name in CARRIED_OVER else found == []
                continue
            (row,) = found
            first = FIRST_ROWS[table.name]
            body = {"body": {"decoding": {}}} if table.name == "presets" else {}
            assert {name: row[name] for name in first} == {**first, **body}
            new = {name: value for name, value in row.items() if name not in first and name != "seq"}
            assert not any(new.values())
    store = DatabaseMemory(database, HashingEmbedder())
    (record,) = store.list("ann").records
    assert (record.id, record.created, record.pinned, record.edited) == ("mem_1", MOMENT, False, None)
    assert [turn.reply for turn in Sessions(database).history("ann", "s")] == ["Fine."]
    assert PresetRepository(database).aliases() == {"champion": ("short", 1)}


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


def test_rows_of_the_first_version_are_kept_by_every_migration_since(database: Engine) -> None:
    with writing(database) as connection:
        migrated(connection, command.downgrade, "base")
        migrated(connection, command.upgrade, "0001")
        fill_first_version(connection)
    upgrade(database)
    check_first_rows(database)
    with writing(database) as connection:
        migrated(connection, command.downgrade, "0001")
    upgrade(database)
    check_first_rows(database)


def test_an_alias_of_an_earlier_version_is_what_a_promotion_goes_back_to(database: Engine) -> None:
    with writing(database) as connection:
        migrated(connection, command.downgrade, "base")
        migrated(connection, command.upgrade, "0001")
        fill_first_version(connection)
    upgrade(database)
    rows = PresetRepository(database)
    rows.set_alias("champion", "short", 2)
    assert rows.undo_alias("champion") == ("short", 1)


def test_what_presets_remember_of_a_comparison_gets_todays_name(database: Engine) -> None:
    with writing(database) as connection:
        migrated(connection, command.downgrade, "0005")
        body = {"decoding": {}, "measured": {"difference": {"low": 0.1, "detectable": 0.2}}}
        connection.execute(insert(presets).values(name="won", version=1, body=body, created=MOMENT))
    upgrade(database)
    with reading(database) as connection:
        (found,) = connection.execute(select(presets.c.body)).scalars()
    assert found == {"decoding": {}, "measured": {"difference": {"low": 0.1, "mde": 0.2}}}


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
