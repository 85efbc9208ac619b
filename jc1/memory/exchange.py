"""Export and import: an owner's records as JSON, one a line.

Knows the lines, and how a whole file becomes rows. Knows nothing about where a file comes from, and never holds more of
it than a batch and its ids.
"""

from __future__ import annotations

import base64
import hashlib
import json
from codecs import BOM_UTF8
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from datetime import datetime
from itertools import islice
from typing import IO, Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from sqlalchemy import ColumnElement, Connection, Engine, bindparam, exists, insert, or_, select, update

from jc1.database.connection import reading, write_in_batches
from jc1.database.tables import MAX_PLACE, edits, records
from jc1.database.vacuum import owe_vacuum
from jc1.database.values import check_name
from jc1.errors import InvalidRequest, RequestTooLarge, Unavailable
from jc1.memory import pictures
from jc1.memory.base import MAX_CHARACTERS, Edit, Imported, Kind, Record, Role, SeenPicture
from jc1.memory.passages import embedding_texts
from jc1.memory.pictures import JPEG, MAX_THUMBNAIL
from jc1.memory.provenance import delete_records, link, refresh_replies, repeated_by
from jc1.memory.rows import (
    HIDDEN,
    ROWS,
    SHOWN,
    count,
    extract_subjects,
    next_version,
    relink_superseded,
    supersede_changed,
)
from jc1.texts import LINE_ENDS, checked

MAX_LINE = 16_000_000
"""Most bytes of a line."""
MAX_LINES = 250_000
"""Most lines of a file, empty ones too: a person's records of decades."""
BATCH = 256
"""Lines that are checked, embedded or stored before progress is told."""

Embed = Callable[[Sequence[Sequence[str]]], Sequence[bytes]]
"""From the passages of texts to their vectors, as they are stored."""
Progress = Callable[[int, int], None]
"""Told how many records of how many are stored, and 0 of those read so far while the file is checked. What it raises
ends the import."""


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty")
    return text


def _jpeg(text: str) -> str:
    """Return base64 that holds a thumbnail. Raises `ValueError` for what does not."""
    data = base64.b64decode(text, validate=True)
    if not data.startswith(JPEG) or len(data) > MAX_THUMBNAIL:
        raise ValueError(f"is no JPEG of at most {MAX_THUMBNAIL:,} bytes")
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


class _Picture(_Model):
    """A picture that a record tells of. `thumbnail` is a JPEG in base64."""

    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    width: Annotated[int, Field(gt=0, lt=2**31)]
    height: Annotated[int, Field(gt=0, lt=2**31)]
    source: Annotated[str, StringConstraints(max_length=MAX_PLACE), AfterValidator(checked)]
    thumbnail: Annotated[str, StringConstraints(max_length=2 * MAX_THUMBNAIL), AfterValidator(_jpeg)]

    def seen(self) -> SeenPicture:
        """Return the picture as it is kept."""
        return SeenPicture(self.sha256, self.width, self.height, self.source, base64.b64decode(self.thumbnail))


class Line(_Model):
    """A record as a line holds it: every field but the owner, what it said before, and its picture."""

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
    picture: _Picture | None = None
    superseded_by: Id | None = None
    pinned: bool = False
    excluded: bool = False
    edited: AwareDatetime | None = None
    repeats: tuple[Id, ...] = ()
    history: tuple[_Edit, ...] = ()

    def record(self, owner: str, record_id: str) -> Record:
        """Return the record that this becomes. What supersedes it is linked when all are there."""
        values = {**dict(self), "id": record_id, "superseded_by": None}
        values["picture"] = None if self.picture is None else self.picture.sha256
        del values["history"], values["repeats"]
        return Record(owner=owner, **values)

    def earlier(self) -> tuple[Edit, ...]:
        """Return the record's history."""
        return tuple(Edit(edit.text, edit.replaced) for edit in self.history)


@dataclass(frozen=True, slots=True)
class _Item:
    """A line, its stored vector, and the key of its subjects."""

    line: Line
    vector: bytes
    subject: str | None


def export_lines(connection: Connection, owner: str) -> Iterator[str]:
    """Yield the owner's records in the order in which they were stored, each a line of JSON."""
    query = select(*SHOWN).where(records.c.owner == owner, ~HIDDEN).order_by(records.c.seq)
    for rows in connection.execution_options(yield_per=ROWS).execute(query).mappings().partitions():
        page = [Record(**row) for row in rows]
        earlier = _histories(connection, [record.id for record in page if record.edited is not None])
        sources = repeated_by(connection, [record.id for record in page if record.role == "assistant"])
        seen = pictures.of(connection, [record.id for record in page if record.picture is not None])
        for record in page:
            values = {
                **asdict(record),
                "picture": _exported(seen[record.id]) if record.id in seen else None,
                "repeats": sources.get(record.id, ()),
                "history": [asdict(edit) for edit in earlier.get(record.id, ())],
            }
            del values["owner"], values["outdated"]
            yield json.dumps(values, ensure_ascii=False, default=datetime.isoformat).translate(LINE_ENDS) + "\n"


def _exported(picture: SeenPicture) -> dict[str, object]:
    return {**asdict(picture), "thumbnail": base64.b64encode(picture.thumbnail).decode()}


class Import:
    """One file's way into an owner's records: all of it is checked, then its records are stored some at a time.

    Each transaction leaves what a shorter file would have left, links included, so that a file whose import was
    interrupted is imported again to go on where it ended.
    """

    def __init__(self, database: Engine, owner: str, file: IO[bytes], embed: Embed, embedder: str) -> None:
        self._database = database
        self._owner = owner
        self._file = file
        self._start = file.tell()
        self._embed = embed
        self._embedder = embedder
        self._joins = False
        """Whether there are records that the file does not hold: then its statements supersede, or are superseded."""
        self._waiting: dict[str, list[str]] = defaultdict(list)
        """By the id of what the file says superseded them: records that are stored as the file has them."""
        self._messages: dict[tuple[str | None, int | None], str] = {}
        """By session and turn: the user's last message there."""

    def run(self, progress: Progress) -> Imported:
        """Check, embed and store. Raises `InvalidRequest` or `RequestTooLarge` before anything is stored."""
        ids: set[str] = set()
        total = done = 0
        for lines in self._batches():
            ids.update(line.id for line in lines)
            total += len(lines)
            progress(0, total)
        self._joins = self._others_than(ids)
        stored: list[Imported] = []
        for lines in self._batches():
            try:
                stored += write_in_batches(self._database, "an import", self._items(lines), self._store)
            except Unavailable as error:
                raise type(error)(
                    f"{error.message} Of {total:,} records {done:,} are in: import the file again to go on."
                ) from error
            done += len(lines)
            progress(done, total)
        return Imported(*(sum(counts) for counts in zip(*map(astuple, stored), strict=True)))

    def _items(self, lines: Sequence[Line]) -> Sequence[_Item]:
        vectors = self._embed([embedding_texts(line.speaker, line.text) for line in lines])
        return [
            _Item(line, vector, extract_subjects(line.record(self._owner, line.id)).key)
            for line, vector in zip(lines, vectors, strict=True)
        ]

    def _batches(self) -> Iterator[list[Line]]:
        lines = _lines(self._file, self._start)
        while batch := list(islice(lines, BATCH)):
            yield batch

    def _others_than(self, ids: Collection[str]) -> bool:
        """Return whether the owner has records besides those of the file."""
        theirs = (records.c.owner == self._owner) & ~HIDDEN
        with reading(self._database) as connection:
            total = count(connection, records, theirs)
            known = 0
            names = iter(ids)
            while total and (some := list(islice(names, ROWS))):
                final = set(_ids(connection, self._owner, some).values())
                known += count(connection, records, theirs & records.c.id.in_(final))
        return total > known

    def _store(self, connection: Connection, items: Sequence[_Item]) -> Imported:
        """Insert those records that are not there; one that is forgotten comes back as the file has it."""
        version = next_version(connection, self._owner)
        ids = _ids(connection, self._owner, [item.line.id for item in items])
        theirs = (records.c.owner == self._owner) & records.c.id.in_(set(ids.values()))
        stored = [Record(**row) for row in connection.execute(select(*SHOWN).where(theirs, ~HIDDEN)).mappings()]
        histories = _histories(connection, [record.id for record in stored])
        known = {record.id: (_unlinked(record), histories.get(record.id, ())) for record in stored}
        new: dict[str, tuple[Record, _Item]] = {}
        same = 0
        for item in items:
            record = item.line.record(self._owner, ids[item.line.id])
            content = (record, item.line.earlier())
            if record.id not in known:
                known[record.id] = content
                new[item.line.id] = (record, item)
            elif known[record.id] == content:
                same += 1
            else:
                continue
            if item.line.superseded_by is not None:
                self._waiting[item.line.superseded_by].append(item.line.id)
        _delete_hidden(connection, self._owner, theirs, version)
        _insert(connection, new.values(), self._embedder, version)
        self._link(connection, [item.line for _, item in new.values()], version)
        self._link_replies(connection, [item.line for _, item in new.values()])
        if self._joins:
            supersede_changed(connection, self._owner, version)
        refresh_replies(connection, self._owner, version)
        return Imported(len(new), same, len(items) - len(new) - same)

    def _link(self, connection: Connection, added: Sequence[Line], version: int) -> None:
        """Say what superseded what, where the older or the newer one was added, and the newer one is, as always,
        newer."""
        links = {line.id: line.superseded_by for line in added if line.superseded_by is not None}
        links |= {older: line.id for line in added for older in self._waiting.pop(line.id, ())}
        if not links:
            return
        ids = _ids(connection, self._owner, {*links, *links.values()})
        newer = records.alias()
        fits = exists().where(
            newer.c.id == bindparam("new"),
            newer.c.owner == self._owner,
            newer.c.forgotten.is_(None),
            newer.c.document.is_(None),
            or_(
                newer.c.created > records.c.created,
                (newer.c.created == records.c.created) & (newer.c.seq > records.c.seq),
            ),
        )
        mine = (records.c.owner == self._owner) & (records.c.id == bindparam("old")) & records.c.superseded_by.is_(None)
        connection.execute(
            update(records).where(mine, fits).values(superseded_by=bindparam("new"), changed=version),
            [{"old": ids[old], "new": ids[new]} for old, new in links.items()],
        )

    def _link_replies(self, connection: Connection, added: Sequence[Line]) -> None:
        """Say what the replies that were added repeat: what the file says, and the message of their turn."""
        links: list[tuple[str, str]] = []
        for line in added:
            place = (line.session, line.turn)
            if line.role == "user" and line.turn is not None and line.document is None and line.picture is None:
                self._messages[place] = line.id
            elif line.role == "assistant":
                links += [(source, line.id) for source in line.repeats]
                links += [(self._messages[place], line.id)] if place in self._messages else []
        for start in range(0, len(links), ROWS):
            part = links[start : start + ROWS]
            ids = _ids(connection, self._owner, {name for names in part for name in names})
            link(connection, self._owner, [(ids[source], ids[reply]) for source, reply in part])


def too_many_lines() -> RequestTooLarge:
    """Return the error for a file of more than `MAX_LINES` lines."""
    return RequestTooLarge(f"The file has more than {MAX_LINES:,} lines: import it in parts.")


def _lines(file: IO[bytes], start: int) -> Iterator[Line]:
    file.seek(start)
    for number, line in enumerate(iter(lambda: file.readline(MAX_LINE + 1), b""), start=1):
        if number > MAX_LINES:
            raise too_many_lines()
        if len(line) > MAX_LINE:
            raise InvalidRequest(f"Line {number} is longer than {MAX_LINE:,} bytes: it holds no record of JC1's.")
        if number == 1:
            line = line.removeprefix(BOM_UTF8)
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


def _delete_hidden(connection: Connection, owner: str, theirs: ColumnElement[bool], version: int) -> None:
    """Delete those of these records that are forgotten."""
    hidden = connection.execute(select(records.c.id).where(theirs, HIDDEN)).scalars().all()
    if hidden:
        relink_superseded(connection, owner, version, lambda newer: newer.c.id.in_(hidden), records.c.id.not_in(hidden))
        delete_records(connection, owner, records.c.id.in_(hidden), version)
        owe_vacuum(connection)


def _insert(connection: Connection, new: Collection[tuple[Record, _Item]], embedder: str, version: int) -> None:
    if new:
        rows = [
            {**asdict(record), "subject": item.subject, "changed": version, "vector": item.vector}
            for record, item in new
        ]
        connection.execute(insert(records).values(embedder=embedder), rows)
        seen = [(record.id, item.line.picture.seen()) for record, item in new if item.line.picture is not None]
        pictures.store(connection, seen)
    if earlier := [
        {"record": record.id, "number": number, "text": edit.text, "replaced": edit.replaced}
        for record, item in new
        for number, edit in enumerate(item.line.earlier(), start=1)
    ]:
        connection.execute(insert(edits), earlier)


def _ids(connection: Connection, owner: str, ids: Iterable[str]) -> dict[str, str]:
    """Return the id that each id of a file has, or will have, with this owner: another one where somebody else has it.

    The other one follows from owner and id, so that importing a file twice finds it again.
    """
    final: dict[str, str] = {}
    open_ = {name: name for name in ids}
    while open_:
        others = select(records.c.id).where(records.c.id.in_(set(open_.values())), records.c.owner != owner)
        foreign = set(connection.execute(others).scalars())
        final.update({name: now for name, now in open_.items() if now not in foreign})
        open_ = {name: _derived(owner, now) for name, now in open_.items() if now in foreign}
    return final


def _derived(owner: str, record_id: str) -> str:
    digest = hashlib.sha256(f"{owner}\0{record_id}".encode()).hexdigest()
    return f"mem_{digest[:20]}"


def _histories(connection: Connection, ids: Sequence[str]) -> dict[str, tuple[Edit, ...]]:
    """Return the earlier texts of those records that have any."""
    histories: dict[str, tuple[Edit, ...]] = {}
    query = select(edits).where(edits.c.record.in_(ids)).order_by(edits.c.record, edits.c.number)
    for row in connection.execute(query):
        histories[row.record] = (*histories.get(row.record, ()), Edit(row.text, row.replaced))
    return histories


def _unlinked(record: Record) -> Record:
    return replace(record, superseded_by=None, outdated=False)
