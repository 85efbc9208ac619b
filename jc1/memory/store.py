"""Memory on this machine: the truth in the database, one derived index for each owner that is in use.

Knows how records are stored, superseded, and kept in step with the indexes. Knows nothing about how an index finds
candidates, how they are ranked, or which model embeds.

An owner's index is built from the stored vectors when it is first needed. Before each search the owner's version in the
database tells whether this or another process has written since; then only what changed is read.
"""

from __future__ import annotations

import builtins
import secrets
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import Connection, Engine, RowMapping, bindparam, delete, func, insert, or_, select, update

from jc1.database.connection import reading, upsert, writing
from jc1.database.tables import owners, records
from jc1.database.values import check_limit, check_name, storable
from jc1.errors import InvalidRequest, RequestTooLarge, UnknownRecord
from jc1.memory.base import MAX_CHARACTERS, NewRecord, Page, Recall, Record, Retrieval
from jc1.memory.kinds import kind_of
from jc1.memory.subjects import Subjects, subjects

if TYPE_CHECKING:
    from jc1.embedding.base import Embedder, Vectors
    from jc1.memory.index import OwnerIndex

MAX_PAGE = 1000
"""Most records of a page."""
INDEXED_RECORDS = 100_000
"""How many records the indexes of all owners may hold together, at about 4 KB each with MiniLM's 384 dimensions."""
EMPTY_INDEX = 30
"""How many records an index itself takes the memory of: owners who have none must not fill it either."""
EMBEDDED_AT_ONCE = 256
"""Texts that are handed to the embedder in one call."""

_SHOWN = [
    records.c[name] for name in ("id", "owner", "text", "role", "kind", "created", "session", "turn", "superseded_by")
]
_VECTOR = np.dtype("<f2")


@dataclass(slots=True)
class _Slot:
    """An owner's index, the version it is in step with, and who may touch it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    index: OwnerIndex | None = None
    version: int = 0


class LocalMemory:
    """`Memory` in a database, searched by FAISS and FTS5.

    `database` is what `open_database` returned; several processes may have it open. `close` gives its connections back.
    The indexes of all owners together hold at most `capacity` records, or one owner's alone.
    """

    def __init__(self, database: Engine, embedder: Embedder, *, capacity: int = INDEXED_RECORDS) -> None:
        self._database = database
        self._embedder = embedder
        self._capacity = capacity
        self._slots: OrderedDict[str, _Slot] = OrderedDict()
        self._slots_lock = threading.Lock()

    def search(
        self, owner: str, query: str, retrieval: Retrieval, *, already_read: tuple[str, Container[int]] | None = None
    ) -> Recall:
        """The records that answer `query`, best first: every statement before any question or reply.

        An owner with fewer than `k` records gets all of them, ranked. Of a query, the first 10,000 characters count.
        Raises `InvalidRequest` for an empty query and `EmbedderUnavailable`.
        """
        from jc1.memory.ranking import search
        from jc1.stopwords import remove_stopwords

        check_name(owner, "owner")
        if not query.strip():
            raise InvalidRequest("The query is empty: say what to look for.", param="query")
        query = storable(query[:MAX_CHARACTERS])
        began = time.perf_counter()
        vector = self._embedder.embed([query])[0]
        embedded = time.perf_counter()
        words = remove_stopwords(query) if retrieval.stopwords else query
        slot = self._slot(owner)
        with slot.lock:
            index = self._refreshed(owner, slot)
            read = frozenset(index.in_session(*already_read)) if already_read else frozenset()
            receipts = search(index, vector, words, retrieval, excluded=read)
        self._evict()
        return Recall(receipts, {"embed": embedded - began, "recall": time.perf_counter() - embedded})

    def add(self, owner: str, new: Sequence[NewRecord]) -> tuple[Record, ...]:
        """Store the records in one transaction, in order; a newer statement supersedes the older on its subject.

        Raises `InvalidRequest` for an empty text, `RequestTooLarge` for one of more than 10,000 characters.
        """
        check_name(owner, "owner")
        now = datetime.now(UTC)
        # A microsecond apart, so that their order is not lost.
        added = [_record(owner, item, now + timedelta(microseconds=i)) for i, item in enumerate(new)]
        if not added:
            return ()
        blobs = self._embedded([record.text for record in added])
        told = [subjects(r.text) if r.role == "user" and r.kind == "statement" else Subjects() for r in added]
        with writing(self._database) as connection:
            version = _next_version(connection, owner)
            connection.execute(
                insert(records),
                [
                    {
                        **{column.name: getattr(record, column.name) for column in _SHOWN},
                        "subject": about.key,
                        "changed": version,
                        "vector": blob,
                        "embedder": self._embedder.fingerprint,
                    }
                    for record, about, blob in zip(added, told, blobs, strict=True)
                ],
            )
            superseded: dict[str, str] = {}
            for record, about in zip(added, told, strict=True):
                superseded.update(_supersede(connection, record, about, version))
        return tuple(replace(record, superseded_by=superseded.get(record.id)) for record in added)

    def get(self, owner: str, record_id: str) -> Record:
        """One record. Raises `UnknownRecord`."""
        check_name(owner, "owner")
        query = select(*_SHOWN).where(records.c.owner == owner, records.c.id == storable(record_id))
        with reading(self._database) as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            raise UnknownRecord(record_id)
        return Record(**row)

    def list(self, owner: str, *, limit: int = 50, cursor: str | None = None) -> Page:
        """A page of at most 1,000 of the owner's records, newest first, superseded ones included."""
        check_name(owner, "owner")
        check_limit(limit, MAX_PAGE)
        theirs = records.c.owner == owner
        query = select(*_SHOWN).where(theirs).order_by(records.c.created.desc(), records.c.id.desc()).limit(limit + 1)
        if cursor is not None:
            created, last = _read_cursor(cursor)
            query = query.where(
                or_(records.c.created < created, (records.c.created == created) & (records.c.id < last))
            )
        with reading(self._database) as connection:
            total = connection.execute(select(func.count()).select_from(records).where(theirs)).scalar_one()
            found = [Record(**row) for row in connection.execute(query).mappings()]
        shown = tuple(found[:limit])
        return Page(shown, total, _cursor(shown[-1]) if len(found) > limit else None)

    def forget(self, owner: str, record_id: str) -> None:
        """Delete one record. What only it had superseded counts again. Raises `UnknownRecord`."""
        check_name(owner, "owner")
        mine = (records.c.owner == owner) & (records.c.id == storable(record_id))
        with writing(self._database) as connection:
            version = _next_version(connection, owner)
            row = connection.execute(select(records.c.superseded_by).where(mine)).first()
            if row is None:
                raise UnknownRecord(record_id)
            connection.execute(
                update(records)
                .where(records.c.owner == owner, records.c.superseded_by == storable(record_id))
                .values(superseded_by=row.superseded_by, changed=version)
            )
            connection.execute(delete(records).where(mine))

    def close(self) -> None:
        """Give back indexes and connections."""
        with self._slots_lock:
            slots = [*self._slots.values()]
            self._slots.clear()
        for slot in slots:
            _drop(slot)
        self._database.dispose()

    def _slot(self, owner: str) -> _Slot:
        with self._slots_lock:
            slot = self._slots.setdefault(owner, _Slot())
            self._slots.move_to_end(owner)
            return slot

    def _evict(self) -> None:
        """Drop the indexes that were not used for longest while all together hold more than the capacity."""
        dropped = []
        with self._slots_lock:
            sizes = {owner: EMPTY_INDEX + len(slot.index or ()) for owner, slot in self._slots.items()}
            while sum(sizes.values()) > self._capacity and len(self._slots) > 1:
                owner, slot = self._slots.popitem(last=False)
                del sizes[owner]
                dropped.append(slot)
        for slot in dropped:
            _drop(slot)

    def _refreshed(self, owner: str, slot: _Slot) -> OwnerIndex:
        """The owner's index, in step with the database. The slot's lock is held."""
        from jc1.memory.index import OwnerIndex, Row

        if slot.index is None:
            slot.index, slot.version = OwnerIndex(self._embedder.dimension), 0
        index = slot.index
        theirs = records.c.owner == owner
        recalled = records.c.superseded_by.is_(None)
        with reading(self._database) as connection:
            version = connection.execute(select(owners.c.version).where(owners.c.owner == owner)).scalar() or 0
            if version == slot.version:
                return index
            changed = connection.execute(
                select(records.c.seq, *_SHOWN, records.c.vector, records.c.embedder).where(
                    theirs, records.c.changed > slot.version
                )
            )
            rows = changed.mappings().all()
            stored = connection.execute(select(func.count()).select_from(records).where(theirs, recalled)).scalar_one()
            known = {row["seq"] for row in rows} | index.records.keys()
            superseded = {row["seq"] for row in rows if row["superseded_by"] is not None}
            gone: set[int] = set()
            if len(known - superseded) != stored:
                # Something was deleted, and no row is left to say what.
                gone = known - set(connection.execute(select(records.c.seq).where(theirs)).scalars())
        fresh = [row for row in rows if row["seq"] not in superseded]
        vectors = self._vectors(fresh)
        index.remove(gone | superseded)
        index.put([Row(row["seq"], _shown(row), vector) for row, vector in zip(fresh, vectors, strict=True)])
        slot.version = version
        return index

    def _vectors(self, rows: Sequence[RowMapping]) -> Sequence[Vectors]:
        """The rows' stored vectors; those that another embedder made are made, and stored, anew."""
        stale = [row for row in rows if row["embedder"] != self._embedder.fingerprint]
        blobs = {row["seq"]: row["vector"] for row in rows}
        if stale:
            made = self._embedded([row["text"] for row in stale])
            blobs.update((row["seq"], blob) for row, blob in zip(stale, made, strict=True))
            with writing(self._database) as connection:
                connection.execute(
                    update(records)
                    .where(records.c.seq == bindparam("row"))
                    .values(vector=bindparam("blob"), embedder=self._embedder.fingerprint),
                    [{"row": row["seq"], "blob": blobs[row["seq"]]} for row in stale],
                )
        return [_vector(blobs[row["seq"]]) for row in rows]

    def _embedded(self, texts: Sequence[str]) -> Sequence[bytes]:
        """The vectors of the texts, as they are stored."""
        blobs: builtins.list[bytes] = []
        for start in range(0, len(texts), EMBEDDED_AT_ONCE):
            vectors = self._embedder.embed(texts[start : start + EMBEDDED_AT_ONCE])  # (texts, dimension)
            blobs.extend(vector.tobytes() for vector in vectors.astype(_VECTOR))
        return blobs


def _record(owner: str, new: NewRecord, now: datetime) -> Record:
    """The record that `new` will be, checked."""
    text = storable(new.text).strip()
    kind = new.kind or kind_of(new.role, text)
    if not text:
        raise InvalidRequest("The text is empty: write what is to be remembered.", param="text")
    if len(text) > MAX_CHARACTERS:
        raise RequestTooLarge(
            f"The text has {len(text):,} characters and a memory holds {MAX_CHARACTERS:,}: store it in parts.",
            param="text",
        )
    if new.created is not None and new.created.tzinfo is None:
        raise InvalidRequest("The time has no zone: give it one, UTC for instance.", param="created")
    return Record(
        id=f"mem_{secrets.token_hex(10)}",
        owner=owner,
        text=text,
        role=new.role,
        kind=kind,
        created=(new.created or now).astimezone(UTC),
        session=None if new.session is None else check_name(new.session, "session"),
        turn=new.turn,
    )


def _next_version(connection: Connection, owner: str) -> int:
    """Raise the owner's version. First in every transaction that writes records: others of this owner then wait."""
    version: int = connection.execute(
        upsert(connection, owners)
        .values(owner=owner, version=1)
        .on_conflict_do_update(index_elements=["owner"], set_={"version": owners.c.version + 1})
        .returning(owners.c.version)
    ).scalar_one()
    return version


def _supersede(connection: Connection, record: Record, told: Subjects, version: int) -> dict[str, str]:
    """Mark what `record` supersedes, or `record` itself where a newer one was there first (an import of old records).

    Returns what superseded what, by record id.
    """
    alike = (records.c.owner == record.owner) & records.c.superseded_by.is_(None) & (records.c.id != record.id)
    found: dict[str, str] = {}
    if keys := told.superseded_keys:
        older = alike & records.c.subject.in_(keys) & (records.c.created <= record.created)
        query = select(records.c.id, records.c.subject, records.c.text).where(older)
        rows = [row for row in connection.execute(query) if told.former.casefold() in row.text.casefold()]
        # Of two cats one was renamed, and nobody knows which.
        several = {row.id for row in rows if subjects(row.text).several}
        meant = {(row.subject, row.text.casefold()) for row in rows if row.id in several}
        alone = {subject for subject, count in Counter(subject for subject, _ in meant).items() if count == 1}
        found.update((row.id, record.id) for row in rows if row.id not in several or row.subject in alone)
    if told.key is not None:
        newer = alike & (records.c.subject == told.key) & (records.c.created > record.created)
        first = select(records.c.id, records.c.text).where(newer).order_by(records.c.created).limit(1)
        if (row := connection.execute(first).first()) and told.key in subjects(row.text).superseded_keys:
            found[record.id] = row.id
    for old, new in found.items():
        connection.execute(update(records).where(records.c.id == old).values(superseded_by=new, changed=version))
    return found


def _shown(row: RowMapping) -> Record:
    values: dict[str, Any] = {column.name: row[column.name] for column in _SHOWN}
    return Record(**values)


def _vector(blob: bytes) -> Vectors:
    """A stored vector, of length one again after its rounding to 16 bits."""
    vector = np.frombuffer(blob, dtype=_VECTOR).astype(np.float32)
    length = float(np.linalg.norm(vector))
    return vector / np.float32(length) if length else vector


def _cursor(record: Record) -> str:
    # With a Z, since the + of an offset is a space in an address.
    return f"{record.created.astimezone(UTC).isoformat().replace('+00:00', 'Z')}_{record.id}"


def _read_cursor(cursor: str) -> tuple[datetime, str]:
    created, _, last = cursor.partition("_")
    try:
        moment = datetime.fromisoformat(created).astimezone(UTC) if created.endswith("Z") else None
    except (ValueError, OverflowError):
        moment = None
    if moment is None or not last:
        raise InvalidRequest("The cursor is not one: pass on the one that the page before ended with.", param="cursor")
    return moment, storable(last)


def _drop(slot: _Slot) -> None:
    with slot.lock:
        if slot.index is not None:
            slot.index.close()
            slot.index = None
