"""Memory on this machine: the truth in the database, one derived index for each owner that is in use.

Knows how records are stored, and which module serves a call: `indexes` keeps the indexes, `rows` has the rules of
superseding, `queries`, `editing`, `deletion` and `exchange` what a person governs. Knows nothing about how an index
finds candidates, how they are ranked, or which model embeds.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Container, Generator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import IO, TYPE_CHECKING

from sqlalchemy import Engine, insert, select

from jc1.database.connection import reading, writing
from jc1.database.tables import MAX_PLACE, owners, records, sessions
from jc1.database.vacuum import vacuum
from jc1.database.values import check_limit, check_name
from jc1.errors import InvalidRequest, RequestTooLarge
from jc1.memory import deletion, documents, editing, exchange, pictures, provenance, queries
from jc1.memory.base import (
    EVERY,
    MAX_CHARACTERS,
    Document,
    Edit,
    Filter,
    ForgetImpact,
    Forgotten,
    Imported,
    NewRecord,
    Page,
    Purged,
    Recall,
    Record,
    Restored,
    Retrieval,
    SeenPicture,
    Selection,
    Sources,
    Statistics,
)
from jc1.memory.index.vectors import FaissStore
from jc1.memory.indexes import INDEXED_RECORDS, Indexes
from jc1.memory.passages import embedding_texts
from jc1.memory.rows import SHOWN, extract_subjects, next_version, supersede
from jc1.memory.stored_vectors import encode
from jc1.memory.supersession.kinds import kind_of
from jc1.texts import as_text

if TYPE_CHECKING:
    from jc1.embedding.base import Embedder
    from jc1.memory.index.vectors import VectorStore

MAX_PAGE = 1000
"""Most records of a page."""
QUERY_CHARACTERS = 10_000
"""How much of a query counts."""
MAX_ADDED = 1000
"""Most records that one call adds: they are stored in one transaction, which others wait for."""
UNDO_DAYS = 7
"""For how long what was forgotten can be restored, where nothing else is said."""


class DatabaseMemory:
    """Records of many owners in a database, searched through an index for each owner.

    Every call names the owner and can reach that owner's records only. The calls block and may be made from any thread.
    They raise `InvalidRequest` for a name or text that cannot be one, `DatabaseUnavailable`, `DatabaseCorrupt` or
    `StorageFull`, and those that embed `EmbedderUnavailable`. What `add` returned is durable.

    `database` is what `open_database` returned; several processes may have it open. `close` gives its connections back.
    The vectors are searched in `vectors`, in FAISS where it is not given; `close` closes that too.
    The indexes of all owners together hold at most `capacity` records, or one owner's alone. What is forgotten can be
    restored for `undo_days`.
    """

    def __init__(
        self,
        database: Engine,
        embedder: Embedder,
        *,
        vectors: VectorStore | None = None,
        capacity: int = INDEXED_RECORDS,
        undo_days: int = UNDO_DAYS,
    ) -> None:
        self._database = database
        self._embedder = embedder
        self._indexes = Indexes(database, embedder, vectors or FaissStore(embedder.dimension), capacity)
        self._undo = timedelta(days=undo_days)

    def search(
        self, owner: str, query: str, retrieval: Retrieval, *, already_read: tuple[str, Container[int]] | None = None
    ) -> Recall:
        """Return the records that answer `query`, best first: every statement before any question or reply.

        `already_read` is a session and those of its turns that stand in the prompt as history: their records are left
        out. Superseded, excluded and outdated records are never among those found.
        An owner with fewer than `k` records gets all of them, ranked, questions if `retrieval` says so. Of a query, the
        first 10,000 characters count.
        Raises `InvalidRequest` for an empty query and `EmbedderUnavailable`.
        """
        from jc1.memory.index.ranking import search
        from jc1.stopwords import remove_stopwords

        check_name(owner, "owner")
        if not query.strip():
            raise InvalidRequest("The query is empty: say what to look for.", param="query")
        query = as_text(query[:QUERY_CHARACTERS])
        began = time.perf_counter()
        vector = self._embedder.embed([query])[0]
        embedded = time.perf_counter()
        words = remove_stopwords(query) if retrieval.stopwords else query
        with self._indexes.of(owner) as index:
            # What was edited is not what stands there, and what stands in a picture never does.
            read = frozenset(
                seq
                for seq in (index.in_session(*already_read) if already_read else ())
                if not index.records[seq].edited and index.records[seq].picture is None
            )
            receipts = search(index, vector, query, words, retrieval, excluded=read)
        return Recall(receipts, {"embed": embedded - began, "recall": time.perf_counter() - embedded})

    def add(self, owner: str, new: Sequence[NewRecord]) -> tuple[Record, ...]:
        """Store the records in one transaction, in order; a newer statement supersedes the older on its subject.

        Raises `InvalidRequest` for an empty text, `RequestTooLarge` for one of more than 100,000 characters, or for
        more than 1,000 of them.
        """
        check_name(owner, "owner")
        if len(new) > MAX_ADDED:
            raise RequestTooLarge(f"{len(new):,} records at once, and {MAX_ADDED:,} are allowed: add them in parts.")
        now = datetime.now(UTC)
        # A microsecond apart, so that their order is not lost.
        added = [_record(owner, item, now + timedelta(microseconds=i)) for i, item in enumerate(new)]
        if not added:
            return ()
        blobs = encode(self._embedder, [embedding_texts(record.speaker, record.text) for record in added])
        subjects = [extract_subjects(record) for record in added]
        replies = _replies(new, added)
        seen = [
            (record.id, pictures.check(item.picture))
            for record, item in zip(added, new, strict=True)
            if item.picture is not None
        ]
        with reading(self._database) as connection:
            links = provenance.links_of(connection, owner, replies)
        with writing(self._database) as connection:
            version = next_version(connection, owner)
            connection.execute(
                insert(records),
                [
                    {
                        **{column.name: getattr(record, column.name) for column in SHOWN},
                        "subject": about.key,
                        "changed": version,
                        "vector": blob,
                        "embedder": self._embedder.fingerprint,
                    }
                    for record, about, blob in zip(added, subjects, blobs, strict=True)
                ],
            )
            pictures.store(connection, seen)
            superseded: dict[str, str] = {}
            for record, about in zip(added, subjects, strict=True):
                superseded.update(supersede(connection, record, about, version))
            if provenance.link(connection, owner, links) or superseded:
                provenance.refresh_replies(connection, owner, version)
        return tuple(replace(record, superseded_by=superseded.get(record.id)) for record in added)

    def note_reply(self, owner: str, session: str, turn: int, question: str, reply: str, sources: Sources) -> None:
        """Store which records the reply of a turn repeats, where the turn itself is not remembered."""
        check_name(owner, "owner")
        with reading(self._database) as connection:
            repeated = provenance.find_repeated(connection, owner, session, question, reply, sources)
        if repeated:
            with writing(self._database) as connection:
                provenance.link_turn(connection, owner, session, turn, repeated)

    def documents(self, owner: str, *, limit: int = 50, cursor: str | None = None) -> tuple[Document, ...]:
        """Return at most 1,000 of the owner's documents, the one that was stored last first, from after that of the
        cursor."""
        check_name(owner, "owner")
        check_limit(limit, MAX_PAGE)
        with reading(self._database) as connection:
            return documents.stored(connection, owner, limit, cursor)

    def parts(self, owner: str, title: str, session: str) -> frozenset[int]:
        """Return the numbers of the parts of one version of a document that are stored, from 1."""
        check_name(owner, "owner")
        with reading(self._database) as connection:
            return documents.numbers(connection, owner, check_name(title, "title"), check_name(session, "session"))

    def commit_version(self, owner: str, title: str, session: str, parts: int) -> int:
        """Make a version, whose `parts` are all stored, the only one of its title; returns how many records of others
        were deleted for good. Raises `Conflict` where a part is not there: somebody stored another version."""
        check_name(owner, "owner")
        return documents.commit_version(
            self._database, owner, check_name(title, "title"), check_name(session, "session"), parts
        )

    def get(self, owner: str, record_id: str) -> Record:
        """Return one record. Raises `UnknownRecord`."""
        check_name(owner, "owner")
        with reading(self._database) as connection:
            return queries.read(connection, owner, record_id)

    def picture(self, owner: str, record_id: str) -> SeenPicture:
        """Return what is kept of the picture that a record tells of. Raises `UnknownRecord` and `NoPicture`."""
        check_name(owner, "owner")
        with reading(self._database) as connection:
            return pictures.read(connection, owner, record_id)

    def list(self, owner: str, *, limit: int = 50, cursor: str | None = None, only: Filter = EVERY) -> Page:
        """Return a page of at most 1,000 of the owner's records, newest first, superseded ones included."""
        check_name(owner, "owner")
        check_limit(limit, MAX_PAGE)
        with reading(self._database) as connection:
            return queries.page(connection, owner, only, limit, cursor)

    def history(self, owner: str, record_id: str) -> tuple[Edit, ...]:
        """Return the record's earlier texts, oldest first. Raises `UnknownRecord`."""
        check_name(owner, "owner")
        with reading(self._database) as connection:
            return queries.history(connection, queries.read(connection, owner, record_id).id)

    def statistics(self, owner: str) -> Statistics:
        """Return the owner's records in figures."""
        check_name(owner, "owner")
        with reading(self._database) as connection:
            return queries.statistics(connection, owner)

    def edit(self, owner: str, record_id: str, text: str) -> Record:
        """Change what a record says. The old text becomes its history; kind, vector and what supersedes what follow the
        new text, while its time stays. Raises `UnknownRecord`, and as `add` does for the text."""
        text = _checked(text)
        before = self.get(owner, record_id)
        (vector,) = encode(self._embedder, [embedding_texts(before.speaker, text)])
        with writing(self._database) as connection:
            return editing.edit(connection, owner, before.id, text, vector, self._embedder.fingerprint)

    def mark(self, owner: str, record_id: str, *, pinned: bool | None = None, excluded: bool | None = None) -> Record:
        """Pin or exclude a record, or undo that; `None` leaves it. Raises `UnknownRecord`."""
        check_name(owner, "owner")
        with writing(self._database) as connection:
            return editing.mark(connection, owner, record_id, pinned, excluded)

    def preview(self, owner: str, what: str | Selection) -> ForgetImpact:
        """Return what `forget` would hide; nothing is changed. Raises as it does."""
        check_name(owner, "owner")
        with reading(self._database) as connection:
            return deletion.preview(connection, owner, deletion.selection(what))

    def forget(self, owner: str, what: str | Selection) -> Forgotten:
        """Hide a record or a selection, with the session turns that hold its text; what only a hidden record had
        superseded counts again. Raises `UnknownRecord`, `UnknownSession` or `NotFound`."""
        check_name(owner, "owner")
        now = datetime.now(UTC)
        impact = deletion.hide(self._database, owner, deletion.selection(what), now)
        return Forgotten(impact, now + self._undo)

    def restore(self, owner: str, what: str | Selection) -> Restored:
        """Show again what was forgotten and is not purged yet. Raises as `forget` does."""
        check_name(owner, "owner")
        return deletion.restore(self._database, owner, deletion.selection(what))

    def purge(self, owner: str, what: str | Selection | None = None, *, before: datetime | None = None) -> Purged:
        """Remove for good what was forgotten: of a selection, or all; only what was forgotten by `before`, if given.
        Raises as `forget` does. `vacuum` then sees to the files."""
        check_name(owner, "owner")
        purged = deletion.purge(self._database, owner, None if what is None else deletion.selection(what), before)
        if purged != Purged():
            self._indexes.drop(owner)  # its postings know the words
        return purged

    def expire(self, owner: str, before: datetime) -> int:
        """Forget what was said before a time, pinned records excepted; how many records and turns that are."""
        check_name(owner, "owner")
        return deletion.expire(self._database, owner, before, datetime.now(UTC))

    def vacuum(self, elsewhere: Callable[[], bool]) -> bool:
        """Rewrite the files where a deletion since the last time asks for it, those that `elsewhere` sees to as well,
        and return whether no file holds what was deleted. False where others kept them busy: call it again."""
        return vacuum(self._database, elsewhere)

    def owners(self) -> tuple[str, ...]:
        """Return everybody who has, or had, records or sessions: for the daily purge alone."""
        query = select(owners.c.owner).union(select(sessions.c.owner))
        with reading(self._database) as connection:
            return tuple(sorted(connection.execute(query).scalars()))

    def export_lines(self, owner: str) -> Generator[str]:
        """Yield the owner's records as lines of JSON, as they are at one moment; without vectors and what is forgotten.
        Close the iterator where it is left early."""
        check_name(owner, "owner")
        return self._exported(owner)

    def import_lines(
        self, owner: str, file: IO[bytes], *, progress: Callable[[int, int], None] | None = None
    ) -> Imported:
        """Take in what `export_lines` gave. Nothing is stored where a line is wrong.

        The records are stored some at a time, so that others can write meanwhile. Where that is interrupted, what is
        stored stays, and importing the file again goes on: what is there already is passed over.

        `file` is read twice, from where it stands at the call. `progress` is told how many records of how many are
        stored, and 0 of those read so far while they are checked; what it raises ends the import. Raises
        `InvalidRequest` naming the line, and `RequestTooLarge` for a file of more than 250,000 lines.
        """
        check_name(owner, "owner")
        job = exchange.Import(self._database, owner, file, partial(encode, self._embedder), self._embedder.fingerprint)
        return job.run(progress or (lambda done, total: None))

    def holds(self, owner: str) -> bool:
        """Return whether the owner's index is built, so that a search need not build it."""
        return self._indexes.holds(owner)

    def close(self) -> None:
        """Give back indexes and connections."""
        self._indexes.close()
        self._database.dispose()

    def _exported(self, owner: str) -> Generator[str]:
        with reading(self._database) as connection:
            yield from exchange.export_lines(connection, owner)


def _checked(text: str) -> str:
    """Return the text as a record holds it. Raises `InvalidRequest` or `RequestTooLarge` where it cannot be one's."""
    text = as_text(text).strip()
    if not text:
        raise InvalidRequest("The text is empty: write what is to be remembered.", param="text")
    if len(text) > MAX_CHARACTERS:
        raise RequestTooLarge(
            f"The text has {len(text):,} characters and a memory holds {MAX_CHARACTERS:,}: store it in parts.",
            param="text",
        )
    return text


def _record(owner: str, new: NewRecord, now: datetime) -> Record:
    """Return the record that `new` will be, checked."""
    text = _checked(new.text)
    if new.created is not None and new.created.tzinfo is None:
        raise InvalidRequest("The time has no zone: give it one, UTC for instance.", param="created")
    return Record(
        id=f"mem_{secrets.token_hex(10)}",
        owner=owner,
        text=text,
        role=new.role,
        kind=new.kind or kind_of(new.role, text),
        created=(new.created or now).astimezone(UTC),
        session=None if new.session is None else check_name(new.session, "session"),
        turn=new.turn,
        speaker=None if new.speaker is None else check_name(new.speaker, "speaker"),
        document=None if new.document is None else check_name(new.document, "document"),
        place=None if new.place is None else as_text(new.place)[:MAX_PLACE],
        picture=None if new.picture is None else new.picture.sha256,
        pinned=new.pinned,
    )


def _replies(new: Sequence[NewRecord], added: Sequence[Record]) -> list[provenance.NewReply]:
    """Return the replies among the records, each with the message it answers and the pictures shown with that, where
    these are there, and its sources."""
    replies: list[provenance.NewReply] = []
    messages: dict[tuple[str | None, int | None], list[Record]] = {}
    for item, record in zip(new, added, strict=True):
        place = record.session, record.turn
        if record.picture is not None:
            messages.setdefault(place, []).append(record)
        elif record.role == "user":
            messages[place] = [record]
        elif record.role == "assistant" and record.document is None:
            replies.append((record, messages.get(place, ()), item.sources or Sources()))
    return replies
