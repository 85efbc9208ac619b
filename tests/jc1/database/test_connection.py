"""Opening a database: what is made, what is refused, and what each failure is called."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError, OperationalError

from jc1.database import open_database, opening, reading, writing
from jc1.database.errors import translated
from jc1.database.tables import owners
from jc1.errors import DatabaseCorrupt, DatabaseUnavailable, InvalidSettings, Jc1Error, StorageFull
from jc1.sessions import Sessions


def url(path: Path) -> str:
    return f"sqlite:///{path}"


def filled(path: Path, turns: int = 50) -> None:
    database = open_database(url(path))
    for number in range(turns):
        Sessions(database).append("ann", "s", user=f"turn {number} " + "x" * 400, reply="y" * 400)
    database.dispose()


def contents(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_new_file_is_private_durable_and_shared(tmp_path: Path) -> None:
    path = tmp_path / "jc1.db"
    database = open_database(url(path))
    Sessions(database).append("ann", "s", user="hello", reply="hi")
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.glob("jc1.db*")}
    assert modes == dict.fromkeys(("jc1.db", "jc1.db-wal", "jc1.db-shm"), 0o600)
    with database.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    database.dispose()
    full = 2
    assert pragmas == {"journal_mode": "wal", "synchronous": full, "foreign_keys": 1, "busy_timeout": 10_000}


@pytest.mark.parametrize("wrong", ["sqlite://", "sqlite:///:memory:", "mysql://host/db", "no url at all"])
def test_a_url_that_cannot_hold_the_truth_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidSettings):
        open_database(wrong)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match="nowhere"):
        open_database(url(tmp_path / "nowhere" / "jc1.db"))


def test_a_postgres_server_that_is_not_there_is_unavailable_and_its_password_is_not_told() -> None:
    with pytest.raises(DatabaseUnavailable) as caught:
        open_database("postgresql://ann:hunter2@127.0.0.1:1/jc1")
    assert "hunter2" not in str(caught.value)


def overwrite_everything(path: Path) -> None:
    path.write_bytes(b"this was never a database\n" * 200)


def overwrite_a_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096 * 6)
        file.write(os.urandom(4096))


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("damage", [overwrite_everything, overwrite_a_page, cut_short])
def test_a_damaged_file_is_refused_and_left_byte_for_byte(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "jc1.db"
    filled(path)
    assert callable(damage)
    damage(path)
    before = contents(path)
    with pytest.raises(DatabaseCorrupt, match=r"jc1\.db is damaged and was left as it is"):
        open_database(url(path))
    assert contents(path) == before


def test_damage_in_a_file_too_large_to_read_through_is_named_when_it_is_met(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "CHECKED_BYTES", 0)
    path = tmp_path / "jc1.db"
    filled(path)
    with path.open("r+b") as file:
        file.seek(4096 * 40)
        file.write(b"\xff" * 4096 * 10)
    before = contents(path)
    database = open_database(url(path))
    with pytest.raises(DatabaseCorrupt, match="restore a backup"):
        Sessions(database).history("ann", "s")
    database.dispose()
    assert contents(path) == before


def test_a_sound_file_with_writes_still_in_its_log_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "jc1.db"
    writer = open_database(url(path))
    Sessions(writer).append("ann", "s", user="hello", reply="hi")
    assert (tmp_path / "jc1.db-wal").stat().st_size > 0
    reader = open_database(url(path))
    assert [turn.user for turn in Sessions(reader).history("ann", "s")] == ["hello"]
    writer.dispose()
    reader.dispose()


def test_a_database_that_another_program_holds_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "BUSY_SECONDS", 0.05)
    path = tmp_path / "jc1.db"
    database = open_database(url(path))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnavailable, match="locked"):
            Sessions(database).append("ann", "s", user="hello", reply="hi")
    Sessions(database).append("ann", "s", user="hello", reply="hi")
    database.dispose()


def test_what_raises_inside_a_transaction_undoes_it(tmp_path: Path) -> None:
    database = open_database(url(tmp_path / "jc1.db"))

    def write_and_fail() -> None:
        with writing(database) as connection:
            connection.execute(insert(owners).values(owner="ann", version=1))
            raise KeyError

    with pytest.raises(KeyError):
        write_and_fail()
    with reading(database) as connection:
        assert connection.execute(select(owners)).all() == []
    database.dispose()


def test_a_reader_sees_one_moment(tmp_path: Path) -> None:
    database = open_database(url(tmp_path / "jc1.db"))
    with reading(database) as reader:
        assert reader.execute(select(owners)).all() == []
        with writing(database) as writer:
            writer.execute(insert(owners).values(owner="ann", version=1))
        assert reader.execute(select(owners)).all() == []
    database.dispose()


def test_a_mistake_of_our_own_is_not_called_an_outage(tmp_path: Path) -> None:
    database = open_database(url(tmp_path / "jc1.db"))
    with pytest.raises(IntegrityError), writing(database) as connection:
        connection.execute(insert(owners), [{"owner": "ann", "version": 1}] * 2)
    with pytest.raises(OperationalError, match="no such table"), reading(database) as connection:
        connection.execute(text("SELECT * FROM nowhere"))
    database.dispose()


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (sqlite3.SQLITE_FULL, StorageFull),
        (sqlite3.SQLITE_IOERR_WRITE, StorageFull),
        (sqlite3.SQLITE_CORRUPT_INDEX, DatabaseCorrupt),
        (sqlite3.SQLITE_NOTADB, DatabaseCorrupt),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, DatabaseUnavailable),
        (sqlite3.SQLITE_READONLY, DatabaseUnavailable),
        (sqlite3.SQLITE_IOERR_READ, DatabaseUnavailable),
    ],
)
def test_each_way_in_which_sqlite_fails_has_its_name(code: int, meaning: type[Jc1Error]) -> None:
    error = sqlite3.OperationalError("what SQLite says")
    error.sqlite_errorcode = code
    with pytest.raises(meaning) as caught, translated():
        raise error
    assert "what SQLite says" not in caught.value.message


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (psycopg.errors.DiskFull, StorageFull),
        (psycopg.errors.DataCorrupted, DatabaseCorrupt),
        (psycopg.errors.DeadlockDetected, DatabaseUnavailable),
        (psycopg.errors.AdminShutdown, DatabaseUnavailable),
    ],
)
def test_each_way_in_which_postgres_fails_has_its_name(error: type[psycopg.Error], meaning: type[Jc1Error]) -> None:
    with pytest.raises(meaning) as caught, translated():
        raise OperationalError("SELECT 1", {}, error("what PostgreSQL says"))
    assert "what PostgreSQL says" not in caught.value.message


def test_processes_that_open_a_new_database_at_once_all_find_it_ready(tmp_path: Path) -> None:
    script = (
        "import sys; from jc1.database import open_database; from jc1.sessions import Sessions\n"
        "sys.stdin.read()\n"
        "print(Sessions(open_database(sys.argv[1])).append('ann', 's', user='hello', reply='hi').number)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, url(tmp_path / "jc1.db")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    numbers = []
    for process in processes:
        assert process.stdout is not None
        numbers.append(int(process.stdout.read()))
        process.stdout.close()
        assert process.wait() == 0
    assert sorted(numbers) == [1, 2, 3, 4]


FILL = """
import sys
from jc1.database import open_database
from jc1.errors import StorageFull
from jc1.sessions import Sessions

if len(sys.argv) > 2:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
database = open_database(sys.argv[1])
sessions = Sessions(database)
stored = 0
try:
    while stored < 5000:
        stored = sessions.append("ann", "s", user="x" * 1000, reply="y" * 1000).number
except StorageFull as error:
    print(error.message)
assert len(sessions.history("ann", "s", limit=1000)) == stored
database.dispose()
database = open_database(sys.argv[1])
assert len(Sessions(database).history("ann", "s", limit=1000)) == stored
print(stored)
"""


def test_a_disk_that_takes_no_more_is_named_and_loses_nothing(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", FILL, url(tmp_path / "jc1.db"), str(1_000_000)],
        capture_output=True,
        text=True,
        check=True,
    )
    message, stored = run.stdout.splitlines()
    assert message.startswith("The disk is full")
    assert int(stored) > 20
    assert StorageFull.code == "storage_full"


def test_a_full_file_system_is_named_and_loses_nothing(tmp_path: Path) -> None:
    mount = f"mount -t tmpfs -o size=1m tmpfs {tmp_path}"
    alone = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*alone, mount], capture_output=True).returncode != 0:
        pytest.skip("this machine lets nobody mount a small file system; the test with a file size limit has run")
    run = subprocess.run(
        [*alone, f'{mount} && exec "$0" -c "$1" "$2"', sys.executable, FILL, url(tmp_path / "jc1.db")],
        capture_output=True,
        text=True,
        check=True,
    )
    message, stored = run.stdout.splitlines()
    assert message.startswith("The disk is full")
    assert int(stored) > 20


def test_a_new_database_on_a_full_file_system_says_that_the_disk_is_full(tmp_path: Path) -> None:
    mount = f"mount -t tmpfs -o size=64k tmpfs {tmp_path}"
    alone = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*alone, mount], capture_output=True).returncode != 0:
        pytest.skip("this machine lets nobody mount a small file system")
    script = (
        "import sys; from jc1.database import open_database; from jc1.errors import StorageFull\n"
        "try: open_database(sys.argv[1])\n"
        "except StorageFull as error: print(error.message)"
    )
    fill = f"cat /dev/zero > {tmp_path / 'filler'} 2>/dev/null"
    run = subprocess.run(
        [*alone, f'{mount} && {{ {fill}; exec "$@"; }}', "sh", sys.executable, "-c", script, url(tmp_path / "jc1.db")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.startswith("The disk is full")


def test_no_statement_is_written_from_text_that_a_user_sent(tmp_path: Path) -> None:
    database = open_database(url(tmp_path / "jc1.db"))
    nasty = "'; DROP TABLE turns; --"
    Sessions(database).append(nasty, nasty, user=nasty, reply=nasty)
    with reading(database) as connection:
        assert connection.execute(text("SELECT count(*) FROM turns")).scalar() == 1
    assert Sessions(database).history(nasty, nasty)[0].user == nasty
    database.dispose()
