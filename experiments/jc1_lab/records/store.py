"""The store of a sweep: one SQLite file in its folder, `sweep.db`, written by one process at a time.

    documents   JSON by name: the plan, how long phases took, latencies, what was copied of memory
    prompts     what is asked, in order, and what would be right
    trials      the settings behind each trial's number
    records     what each request came to; trial, split, item and repeat are the key, so that none is there twice
    traces      of some trials, how one request went, stage by stage

What was added is there after the process is killed, and nothing half: SQLite's write-ahead log sees to it. A writer
holds the file's lock until it closes it or ends, whatever ends it, and nobody reads beside it. Knows nothing about how
records come about.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import orjson

from jc1.errors import Conflict
from jc1_lab.records.evals import Asked, EvalRecord, Key, Split
from jc1_lab.records.files import translate_disk_full

FILE = "sweep.db"
_TABLES = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS documents (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS prompts (
    position INTEGER PRIMARY KEY, item TEXT NOT NULL UNIQUE, prompt TEXT NOT NULL, "references" TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS trials (number INTEGER PRIMARY KEY, settings TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS records (
    trial INTEGER NOT NULL, split TEXT NOT NULL, item TEXT NOT NULL, repeat INTEGER NOT NULL, seed INTEGER,
    outcome TEXT NOT NULL, finish_reason TEXT, texts TEXT NOT NULL, scores TEXT NOT NULL, drafts TEXT NOT NULL,
    PRIMARY KEY (trial, split, item, repeat)
);
CREATE TABLE IF NOT EXISTS traces (trial INTEGER PRIMARY KEY, trace TEXT NOT NULL);
COMMIT;
"""
_ADD = "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_AS_ADDED = "SELECT * FROM records ORDER BY rowid"
_ORDERED = """
SELECT records.* FROM records LEFT JOIN prompts USING (item) ORDER BY trial, split = 'heldout', position, repeat
"""


class Held(Conflict):
    """Another process writes to the store."""


class SweepStore:
    """The store in `folder`, which is made where it is not there, for writing; with `read_only` it must be there.

    Raises:
        Held: Another process writes to it.
        Conflict: The file is damaged.
        StorageFull: The disk is. This comes from everything that writes, and nothing of that is kept then.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self.folder = folder
        self._read_only = read_only
        self._connection = _connect(folder, read_only)
        self._records = {record.key: record for record in self._select(_AS_ADDED)}

    # documents

    def get(self, name: str) -> Any:
        """Return the document of that name, `None` where there is none."""
        row = self._connection.execute("SELECT value FROM documents WHERE name = ?", (name,)).fetchone()
        return None if row is None else orjson.loads(row[0])

    def put(self, name: str, value: Any) -> None:
        """Keep a document, in place of the one of that name."""
        self._write("INSERT OR REPLACE INTO documents VALUES (?, ?)", name, _json(value))

    # prompts and trials

    def put_prompts(self, prompts: Mapping[str, Asked]) -> None:
        """Keep what is asked, by item, in this order, in place of what was kept before."""
        rows = [(item, one.prompt, _json(one.references)) for item, one in prompts.items()]
        with translate_disk_full(), self._connection:
            self._connection.execute("BEGIN")
            self._connection.execute("DELETE FROM prompts")
            self._connection.executemany('INSERT INTO prompts (item, prompt, "references") VALUES (?, ?, ?)', rows)

    def prompts(self) -> dict[str, Asked]:
        """Return what is asked, by item."""
        rows = self._connection.execute('SELECT item, prompt, "references" FROM prompts ORDER BY position')
        return {item: Asked(prompt, tuple(orjson.loads(references))) for item, prompt, references in rows}

    def settings(self) -> list[dict[str, Any]]:
        """Return the settings of the trials, in the order of their numbers."""
        rows = self._connection.execute("SELECT settings FROM trials ORDER BY number")
        return [orjson.loads(settings) for (settings,) in rows]

    def add_trial(self, number: int, settings: Mapping[str, Any]) -> None:
        """Keep which settings the records of that number have."""
        self._write("INSERT INTO trials VALUES (?, ?)", number, _json(settings))

    # records

    def __contains__(self, key: Key) -> bool:
        return key in self._records

    def __getitem__(self, key: Key) -> EvalRecord:
        return self._records[key]

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[EvalRecord]:
        """Iterate over the records in the order in which they were added."""
        return iter(self._records.values())

    def add(self, record: EvalRecord) -> None:
        """Keep a record. Raises `sqlite3.IntegrityError` where it is there already."""
        columns = (*record.key, record.seed, record.outcome, record.finish_reason)
        lists = map(_json, (record.texts, record.scores, record.drafts))
        self._write(_ADD, *columns, *lists)
        self._records[record.key] = record

    def ordered(self) -> list[EvalRecord]:
        """Return all records: by trial, search before held-out, in the order of the prompts."""
        return self._select(_ORDERED)

    # traces

    def add_trace(self, trial: int, trace: Mapping[str, Any]) -> None:
        """Keep how a request of the trial went, in place of another."""
        self._write("INSERT OR REPLACE INTO traces VALUES (?, ?)", trial, _json(trace))

    def traces(self) -> list[dict[str, Any]]:
        """Return the traces, by trial."""
        return [orjson.loads(trace) for (trace,) in self._connection.execute("SELECT trace FROM traces ORDER BY trial")]

    def close(self) -> None:
        """Give the file back, one file without a log beside it."""
        if not self._read_only:
            with suppress(sqlite3.Error):  # a full disk: the log stays, and is read when it is opened again
                self._connection.execute("PRAGMA journal_mode = DELETE")
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _select(self, statement: str) -> list[EvalRecord]:
        return [_record(*row) for row in self._connection.execute(statement)]

    def _write(self, statement: str, *values: object) -> None:
        with translate_disk_full():
            self._connection.execute(statement, values)


def _record(
    trial: int,
    split: Split,
    item: str,
    repeat: int,
    seed: int | None,
    outcome: str,
    finish_reason: str | None,
    texts: str,
    scores: str,
    drafts: str,
) -> EvalRecord:
    lists = tuple(orjson.loads(texts)), orjson.loads(scores), tuple(orjson.loads(drafts))
    return EvalRecord(trial, split, item, repeat, seed, outcome, finish_reason, *lists)


def _connect(folder: Path, read_only: bool) -> sqlite3.Connection:
    path = folder / FILE
    connection = None
    try:
        with translate_disk_full():
            if read_only:
                connection = _open(f"{path.absolute().as_uri()}?mode=ro")
                connection.execute("SELECT 1 FROM records LIMIT 1")
            else:
                folder.mkdir(parents=True, exist_ok=True)
                connection = _open(path.absolute().as_uri())
                # Before the log, so that the lock is held from here on until the connection ends.
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.executescript(_TABLES)
        return connection
    except BaseException as error:
        if connection is not None:
            connection.close()
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_BUSY:
            raise Held(
                f"Another process runs the sweep {folder.name!r}: wait for it, or give another --name."
            ) from None
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise Conflict(f"{path} is damaged: restore it, or give another --name.") from None
        raise


def _open(uri: str) -> sqlite3.Connection:
    # One phase at a time uses it, from whichever thread that runs in.
    return sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False)


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
