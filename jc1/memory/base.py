"""What a memory is: the record, the receipt that explains why it was recalled, and the protocol every store honours.

Knows nothing about how records are stored, indexed or ranked.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import IO, Literal, Protocol

from jc1.errors import InvalidRequest
from jc1.messages import Role

MAX_CHARACTERS = 100_000
"""Longest text of a record: about 100 passages, which take the default embedder six seconds of one core."""

Kind = Literal["statement", "question", "reply"]
"""What a record is. Questions and replies are kept, but never outrank statements."""


@dataclass(frozen=True, slots=True)
class Record:
    """One remembered text of one owner, with its source.

    `created` is timezone-aware UTC. `session` and `turn` say where it was said (`None` when it was added by hand), and
    `speaker` by whom, where that is more than a role. A part of a `document` (its title) has its number in it as `turn`
    and its `place`, page and heading. `superseded_by` names the newer statement on the same subject, if there is one.
    A `pinned` record is in every recall, an `excluded` one in none. `edited` is when its text was last changed. A reply
    is `outdated`, and in no recall, while something that it repeats counts no more or was edited since.
    """

    id: str
    owner: str
    text: str
    role: Role
    kind: Kind
    created: datetime
    session: str | None = None
    turn: int | None = None
    speaker: str | None = None
    document: str | None = None
    place: str | None = None
    superseded_by: str | None = None
    pinned: bool = False
    excluded: bool = False
    edited: datetime | None = None
    outdated: bool = False


@dataclass(frozen=True, slots=True)
class Sources:
    """What stood in the prompt of a reply: `records` by id, and the numbers of its session's `turns`."""

    records: tuple[str, ...] = ()
    turns: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A text to be remembered. `kind` is decided from role and wording when it is `None`, `created` is now. Of a reply,
    `sources` are what it may repeat."""

    text: str
    role: Role = "user"
    kind: Kind | None = None
    created: datetime | None = None
    session: str | None = None
    turn: int | None = None
    speaker: str | None = None
    document: str | None = None
    place: str | None = None
    pinned: bool = False
    sources: Sources | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """One version of a document among an owner's records: how many parts are stored and how many are `missing`.

    Parts are missing while it is stored, where that was interrupted, and where they were forgotten. `characters` are
    those of its texts, `created` is when the first of its parts was stored, and `session` what they are kept under.
    """

    title: str
    session: str | None
    parts: int
    missing: int
    characters: int
    created: datetime


@dataclass(frozen=True, slots=True)
class Receipt:
    """Why a record was recalled.

    `score` decided the `rank`, which counts from 1: it is the sum of `parts`, what each signal of `index.ranking`
    added. `dense_score` is the cosine to the query and `lexical_score` the BM25 score of the record's own words (higher
    is better), each with the record's rank by it among the candidates, from 1; `None` where no word is shared. A
    neighbour brought in by widening names the record it came with in `expanded_from`, and has no score unless it was a
    candidate itself. Of a record that is too long to be read whole, `passage` is the part that answers best.
    """

    record: Record
    rank: int
    score: float
    parts: Mapping[str, float] = field(default_factory=dict)
    dense_score: float | None = None
    dense_rank: int | None = None
    lexical_score: float | None = None
    lexical_rank: int | None = None
    expanded_from: str | None = None
    passage: str | None = None

    @property
    def quoted(self) -> Record:
        """The record as a prompt holds it: of a long one, the passage."""
        return self.record if self.passage is None else replace(self.record, text=self.passage)


@dataclass(frozen=True, slots=True)
class Recall:
    """The receipts of a search, best first, and the seconds that its stages `embed` and `recall` took."""

    receipts: tuple[Receipt, ...]
    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which of an owner's records are listed: those of which everything that is set here is true.

    `contains` is looked for in the text as it is, whatever the case of its letters (with SQLite, of A to Z).
    `forgotten` lists what is hidden and can still be restored, instead of what is there.
    """

    session: str | None = None
    document: str | None = None
    kind: Kind | None = None
    role: Role | None = None
    contains: str | None = None
    pinned: bool | None = None
    excluded: bool | None = None
    superseded: bool | None = None
    forgotten: bool = False


EVERY = Filter()
"""Every record that is not forgotten."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some of an owner's records, newest first, how many there are in all, and where the next page begins."""

    records: tuple[Record, ...]
    total: int
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Retrieval:
    """How memories are searched. `k` records, each widened by `window` turns either side; `stopwords` removes them
    from the query of the lexical search. `weights` stand in for those of `index.ranking`, by the same names."""

    k: int = 8
    window: int = 0
    stopwords: bool = True
    weights: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Edit:
    """What a record said before it was edited, and until when."""

    text: str
    replaced: datetime


@dataclass(frozen=True, slots=True)
class Selection:
    """What is forgotten or restored: records by id, what a session said, a document's parts, or everything.

    One of the four. Raises `InvalidRequest` for none or two.
    """

    records: tuple[str, ...] = ()
    session: str | None = None
    document: str | None = None
    everything: bool = False

    def __post_init__(self) -> None:
        chosen = (bool(self.records), self.session is not None, self.document is not None, self.everything)
        if sum(chosen) != 1:
            raise InvalidRequest("Say what is meant, in one way: records by id, a session, a document, or everything.")


@dataclass(frozen=True, slots=True)
class ForgetImpact:
    """What forgetting a selection hides.

    `records` counts all that go; `cascaded` of them were not selected: the replies to a selected message, and those
    that repeat it. With them go their `edits` (earlier texts) and the session `turns` that hold the texts, message and
    reply. `first` shows the newest 20 of them. `duplicates_kept` are up to 20 records that stay and hold a selected
    record's text, or its words.
    """

    records: int
    cascaded: int
    edits: int
    turns: int
    first: tuple[Record, ...] = ()
    duplicates_kept: tuple[Record, ...] = ()


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was hidden, and until when at least it can be restored."""

    impact: ForgetImpact
    until: datetime


@dataclass(frozen=True, slots=True)
class Restored:
    """How many records and session turns are shown again."""

    records: int
    turns: int


@dataclass(frozen=True, slots=True)
class Purged:
    """What was removed for good: records by id, and how many earlier texts and session turns."""

    records: tuple[str, ...] = ()
    edits: int = 0
    turns: int = 0


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a file's records: `added`; `same` as one that is there; `kept`, where the one that is there says
    something else and stays as it is."""

    added: int = 0
    same: int = 0
    kept: int = 0


@dataclass(frozen=True, slots=True)
class Statistics:
    """An owner's records in figures. Forgotten ones count in `forgotten` and `bytes` alone.

    `sessions` and `documents` hold the 100 with most records. `bytes` are those of texts, earlier texts and vectors.
    """

    records: int
    kinds: Mapping[str, int]
    roles: Mapping[str, int]
    sessions: Mapping[str, int]
    documents: Mapping[str, int]
    superseded: int
    pinned: int
    excluded: int
    edited: int
    forgotten: int
    characters: int
    bytes: int
    first: datetime | None
    last: datetime | None


class Memory(Protocol):
    """Records of many owners. Every call names the owner and can reach that owner's records only.

    The calls block and may be made from any thread. They raise `InvalidRequest` for a name or text that cannot be one,
    `DatabaseUnavailable`, `DatabaseCorrupt` or `StorageFull`, and those that embed `EmbedderUnavailable`. What `add`
    returned is durable.
    """

    def search(
        self, owner: str, query: str, retrieval: Retrieval, *, already_read: tuple[str, Container[int]] | None = None
    ) -> Recall:
        """The records that answer `query`. Superseded ones are never among them. `already_read` is a session and
        those of its turns that stand in the prompt as history: their records are left out."""

    def add(self, owner: str, new: Sequence[NewRecord]) -> tuple[Record, ...]:
        """Store at most 1,000 records in one transaction, in order; a newer statement supersedes the older on its
        subject."""

    def note_reply(self, owner: str, session: str, turn: int, question: str, reply: str, sources: Sources) -> None:
        """Store which records the reply of a turn repeats, where the turn itself is not remembered."""

    def documents(self, owner: str, *, limit: int = 50) -> tuple[Document, ...]:
        """The owner's documents, the one that was stored last first."""

    def parts(self, owner: str, title: str, session: str) -> frozenset[int]:
        """The numbers of the parts of one version of a document that are stored, from 1."""

    def commit_version(self, owner: str, title: str, session: str, parts: int) -> int:
        """Make a version, whose `parts` are all stored, the only one of its title; returns how many records of others
        were deleted for good. Raises `Conflict` where a part is not there: somebody stored another version."""

    def get(self, owner: str, record_id: str) -> Record:
        """One record. Raises `UnknownRecord`."""

    def list(self, owner: str, *, limit: int = 50, cursor: str | None = None, only: Filter = EVERY) -> Page:
        """A page of the owner's records, newest first, superseded ones included. Its total counts what `only` lets
        through."""

    def history(self, owner: str, record_id: str) -> tuple[Edit, ...]:
        """The record's earlier texts, oldest first. Raises `UnknownRecord`."""

    def statistics(self, owner: str) -> Statistics:
        """The owner's records in figures."""

    def edit(self, owner: str, record_id: str, text: str) -> Record:
        """Change what a record says. The old text becomes its history; kind, vector and what supersedes what follow
        the new text, while its time stays. Raises `UnknownRecord`."""

    def mark(self, owner: str, record_id: str, *, pinned: bool | None = None, excluded: bool | None = None) -> Record:
        """Pin or exclude a record, or undo that; `None` leaves it. Raises `UnknownRecord`."""

    def preview(self, owner: str, what: str | Selection) -> ForgetImpact:
        """What `forget` would hide; nothing is changed. Raises as it does."""

    def forget(self, owner: str, what: str | Selection) -> Forgotten:
        """Hide a record, given by its id, or a selection, with the session turns that hold its text; what only a
        hidden record had superseded counts again. Raises `UnknownRecord`, `UnknownSession` or `NotFound`."""

    def restore(self, owner: str, what: str | Selection) -> Restored:
        """Show again what was forgotten and is not purged yet. Raises as `forget` does."""

    def purge(self, owner: str, what: str | Selection | None = None, *, before: datetime | None = None) -> Purged:
        """Remove for good what was forgotten: of a selection, or all; only what was forgotten by `before`, if given.
        Raises as `forget` does. `vacuum` then sees to the files."""

    def expire(self, owner: str, before: datetime) -> int:
        """Forget what was said before a time, pinned records excepted; how many records and turns that are."""

    def vacuum(self, elsewhere: Callable[[], bool]) -> bool:
        """Rewrite the files where a deletion since the last time asks for it, those that `elsewhere` sees to as well,
        and return whether no file holds what was deleted. False where others kept them busy: call it again."""

    def owners(self) -> tuple[str, ...]:
        """Everybody who has, or had, records or sessions: for the daily purge alone."""

    def export_lines(self, owner: str) -> Generator[str]:
        """The owner's records as JSON, one a line, as they are at one moment; without vectors and what is forgotten.
        Close the iterator where it is left early."""

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

    def close(self) -> None:
        """Give back indexes and connections."""
