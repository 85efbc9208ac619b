"""Export and import: an owner's records as JSON, one a line.

Knows the lines, and how a whole file becomes rows in one transaction. Knows nothing about where a file comes from, and
never holds more of it than a batch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from itertools import islice
from tempfile import TemporaryFile
from typing import IO, Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from sqlalchemy import Connection, Engine, bindparam, delete, exists, insert, or_, select, update

from jc1.database.connection import writing
from jc1.database.tables import MAX_PLACE, edits, records
from jc1.database.vacuum import owe_vacuum
from jc1.database.values import check_name
from jc1.errors import InvalidRequest
from jc1.memory.base import MAX_CHARACTERS, Edit, Imported, Kind, Record
from jc1.memory.rows import (
    HIDDEN,
    ROWS,
    SHOWN,
    embedding_text,
    extract_subjects,
    next_version,
    relink_superseded,
    supersede_changed,
)
from jc1.messages import Role
from jc1.texts import checked

MAX_LINE = 16_000_000
"""Most bytes of a line."""

Embed = Callable[[Sequence[str]], Sequence[bytes]]
"""From texts to their vectors, as they are stored."""


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty")
    return text


def _name(text: str) -> str:
    try:
        return check_name(text, "name")
    except InvalidRequest as error:
        raise ValueError(error.message) from None


Text = Annotated[str, StringConstraints(max_length=MAX_CHARACTERS), AfterValidator(checked), AfterValidator(_not_blank)]
Name = Annotated[str, AfterValidator(_name)]
Id = Annotated[str, StringConstraints(pattern=r"^mem_[A-Za-z0-9_-]{1,36}$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Edit(_Model):
    text: Text
    replaced: AwareDatetime


class Line(_Model):
    """A record as a line holds it: every field but the owner, and what it said before."""

    id: Id
    text: Text
    role: Role
    kind: Kind
    created: AwareDatetime
    session: Name | None = None
    turn: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    speaker: Name | None = None
    document: Name | None = None
    place: Annotated[str, StringConstraints(max_length=MAX_PLACE), AfterValidator(checked)] | None = None
    superseded_by: Id | None = None
    pinned: bool = False
    excluded: bool = False
    edited: AwareDatetime | None = None
    history: tuple[_Edit, ...] = ()

    def record(self, owner: str, record_id: str) -> Record:
        """The record that this becomes. What supersedes it is linked when all are there."""
        values = {**dict(self), "id": record_id, "superseded_by": None}
        del values["history"]
        return Record(owner=owner, **values)

    def earlier(self) -> tuple[Edit, ...]:
        """The record's history."""
        return tuple(Edit(edit.text, edit.replaced) for edit in self.history)


def export_lines(connection: Connection, owner: str) -> Iterator[str]:
    """The owner's records in the order in which they were stored, each a line of JSON."""
    query = select(*SHOWN).where(records.c.owner == owner, ~HIDDEN).order_by(records.c.seq)
    for rows in connection.execution_options(yield_per=ROWS).execute(query).mappings().partitions():
        found = [Record(**row) for row in rows]
        earlier = _histories(connection, [record.id for record in found if record.edited is not None])
        for record in found:
            values = {**asdict(record), "history": [asdict(edit) for edit in earlier.get(record.id, ())]}
            del values["owner"]
            yield json.dumps(values, ensure_ascii=False, default=datetime.isoformat) + "\n"


def import_lines(
    database: Engine,
    owner: str,
    file: IO[bytes],
    embed: Embed,
    embedder: str,
    progress: Callable[[int, int], None] | None = None,
) -> Imported:
    """Take in a file's records: all are checked, then embedded, then stored in one transaction.

    Raises `InvalidRequest` naming the first line that is wrong, before anything is embedded or stored.
    """
    start = file.tell()
    total = sum(1 for _ in _lines(file, start))
    with TemporaryFile() as vectors:
        done = 0
        for lines in _batches(_lines(file, start)):
            vectors.writelines(embed([embedding_text(line.speaker, line.text) for line in lines]))
            done += len(lines)
            if progress is not None:
                progress(done, total)
        size = vectors.tell() // total if total else 0
        vectors.seek(0)
        with writing(database) as connection:
            version = next_version(connection, owner)
            found_some = connection.execute(select(records.c.id).where(records.c.owner == owner, ~HIDDEN).limit(1))
            joins = found_some.first() is not None
            outcome = Imported()
            for lines in _batches(_lines(file, start)):
                blobs = [vectors.read(size) for _ in lines]
                new = _store(connection, owner, lines, blobs, embedder, version)
                outcome = Imported(outcome.added + new.added, outcome.same + new.same, outcome.kept + new.kept)
            for lines in _batches(line for line in _lines(file, start) if line.superseded_by is not None):
                _link(connection, owner, lines, version)
            if joins:
                supersede_changed(connection, owner, version)
    return outcome


def _lines(file: IO[bytes], start: int) -> Iterator[Line]:
    file.seek(start)
    for number, line in enumerate(iter(lambda: file.readline(MAX_LINE + 1), b""), start=1):
        if len(line) > MAX_LINE:
            raise InvalidRequest(f"Line {number} is longer than {MAX_LINE:,} bytes: it holds no record of JC1's.")
        if line.strip():
            yield _parsed(line, number)


def _parsed(line: bytes, number: int) -> Line:
    try:
        parsed = Line.model_validate_json(line)
        for moment in (parsed.created, parsed.edited, *(edit.replaced for edit in parsed.history)):
            _ = moment and moment.astimezone().utctimetuple()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise InvalidRequest(
            f"Line {number} is no exported record{f', {where!r}' if where else ''}: {reason}. Nothing was imported."
        ) from None
    except OverflowError:
        raise InvalidRequest(f"Line {number} has a time that no calendar has. Nothing was imported.") from None
    return parsed


def _batches(lines: Iterable[Line]) -> Iterator[list[Line]]:
    lines = iter(lines)
    while batch := list(islice(lines, ROWS)):
        yield batch


def _store(
    connection: Connection, owner: str, lines: Sequence[Line], vectors: Sequence[bytes], embedder: str, version: int
) -> Imported:
    """Insert those records of a batch that are not there; one that is forgotten comes back as the file has it."""
    ids = _ids(connection, owner, [line.id for line in lines])
    theirs = (records.c.owner == owner) & records.c.id.in_(set(ids.values()))
    found = [Record(**row) for row in connection.execute(select(*SHOWN).where(theirs, ~HIDDEN)).mappings()]
    histories = _histories(connection, [record.id for record in found])
    known = {record.id: (_unlinked(record), histories.get(record.id, ())) for record in found}
    new: list[tuple[Record, tuple[Edit, ...], bytes]] = []
    same = 0
    for line, vector in zip(lines, vectors, strict=True):
        record = line.record(owner, ids[line.id])
        content = (record, line.earlier())
        if record.id not in known:
            known[record.id] = content
            new.append((*content, vector))
        elif known[record.id] == content:
            same += 1
    hidden = connection.execute(select(records.c.id).where(theirs, HIDDEN)).scalars().all()
    if hidden:
        relink_superseded(connection, owner, version, lambda newer: newer.c.id.in_(hidden), records.c.id.not_in(hidden))
        connection.execute(delete(records).where(records.c.id.in_(hidden)))
        owe_vacuum(connection)
    if new:
        rows = [
            {**asdict(record), "subject": extract_subjects(record).key, "changed": version, "vector": vector}
            for record, _, vector in new
        ]
        connection.execute(insert(records).values(embedder=embedder), rows)
    if earlier := [
        {"record": record.id, "number": number, "text": edit.text, "replaced": edit.replaced}
        for record, history, _ in new
        for number, edit in enumerate(history, start=1)
    ]:
        connection.execute(insert(edits), earlier)
    return Imported(len(new), same, len(lines) - len(new) - same)


def _link(connection: Connection, owner: str, lines: Sequence[Line], version: int) -> None:
    """Say of the records that were added what superseded them, where that is there and newer, as it always is."""
    names = {name for line in lines for name in (line.id, line.superseded_by) if name is not None}
    ids = _ids(connection, owner, names)
    newer = records.alias()
    fits = exists().where(
        newer.c.id == bindparam("new"),
        newer.c.owner == owner,
        newer.c.forgotten.is_(None),
        newer.c.document.is_(None),
        or_(
            newer.c.created > records.c.created,
            (newer.c.created == records.c.created) & (newer.c.seq > records.c.seq),
        ),
    )
    mine = (records.c.owner == owner) & (records.c.changed == version) & (records.c.id == bindparam("old"))
    links = [{"old": ids[line.id], "new": ids[line.superseded_by]} for line in lines if line.superseded_by is not None]
    connection.execute(update(records).where(mine, fits).values(superseded_by=bindparam("new")), links)


def _ids(connection: Connection, owner: str, ids: Iterable[str]) -> dict[str, str]:
    """The id that a file's id has, or will have, with this owner: another one where somebody else has that id.

    The other one follows from owner and id, so that importing a file twice finds it again.
    """
    final: dict[str, str] = {}
    open_ = {name: name for name in ids}
    while open_:
        others = select(records.c.id).where(records.c.id.in_(set(open_.values())), records.c.owner != owner)
        taken = set(connection.execute(others).scalars())
        final.update({name: now for name, now in open_.items() if now not in taken})
        open_ = {name: _derived(owner, now) for name, now in open_.items() if now in taken}
    return final


def _derived(owner: str, record_id: str) -> str:
    digest = hashlib.sha256(f"{owner}\0{record_id}".encode()).hexdigest()
    return f"mem_{digest[:20]}"


def _histories(connection: Connection, ids: Sequence[str]) -> dict[str, tuple[Edit, ...]]:
    """The earlier texts of those records that have any."""
    found: dict[str, tuple[Edit, ...]] = {}
    query = select(edits).where(edits.c.record.in_(ids)).order_by(edits.c.record, edits.c.number)
    for row in connection.execute(query):
        found[row.record] = (*found.get(row.record, ()), Edit(row.text, row.replaced))
    return found


def _unlinked(record: Record) -> Record:
    return replace(record, superseded_by=None)
