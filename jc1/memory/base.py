"""What a memory is: the record, the receipt that explains why it was recalled, and the protocol every store honours.

Knows nothing about how records are stored, indexed or ranked.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from jc1.messages import Role

MAX_CHARACTERS = 10_000
"""Longest text of a record. Its vector tells only of the beginning that the embedder reads (256 tokens with MiniLM);
its words are indexed to the end."""

Kind = Literal["statement", "question", "reply"]
"""What a record is. Questions and replies are kept, but never outrank statements."""


def shortened(text: str) -> str:
    """`text`, cut where a record ends."""
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1].rstrip() + "…"


@dataclass(frozen=True, slots=True)
class Record:
    """One remembered text of one owner, with its source.

    `created` is timezone-aware UTC. `session` and `turn` say where it was said (`None` when it was added by hand), and
    `speaker` by whom, where that is more than a role. A part of a `document` (its title) has its number in it as `turn`
    and its `place`, page and heading. `superseded_by` names the newer statement on the same subject, if there is one.
    A `pinned` record is in every recall, an `excluded` one in none. `edited` is when its text was last changed.
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


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A text to be remembered. `kind` is decided from role and wording when it is `None`, `created` is now."""

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

    `score` decided the `rank`, which counts from 1: it is the sum of `parts`, what each signal of jc1/memory/ranking.py
    added. `dense_score` is the cosine to the query and `lexical_score` the BM25 score of the record's own words (higher
    is better), each with the record's rank by it among the candidates, from 1; `None` where no word is shared. A
    neighbour brought in by widening names the record it came with in `widened_from`, and has no score unless it was a
    candidate itself.
    """

    record: Record
    rank: int
    score: float
    parts: Mapping[str, float] = field(default_factory=dict)
    dense_score: float | None = None
    dense_rank: int | None = None
    lexical_score: float | None = None
    lexical_rank: int | None = None
    widened_from: str | None = None


@dataclass(frozen=True, slots=True)
class Recall:
    """The receipts of a search, best first, and the seconds that its stages `embed` and `recall` took."""

    receipts: tuple[Receipt, ...]
    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Page:
    """Some of an owner's records, newest first, how many there are in all, and where the next page begins."""

    records: tuple[Record, ...]
    total: int
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Retrieval:
    """How memories are searched. `k` records, each widened by `window` turns either side; `stopwords` removes them
    from the query of the lexical search. `weights` stand in for those of jc1/memory/ranking.py, by the same names."""

    k: int = 8
    window: int = 0
    stopwords: bool = True
    weights: Mapping[str, float] = field(default_factory=dict)


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
        """Store the records in one transaction, in order; a newer statement supersedes the older on its subject."""

    def documents(self, owner: str, *, limit: int = 50) -> tuple[Document, ...]:
        """The owner's documents, the one that was stored last first."""

    def parts(self, owner: str, title: str, session: str) -> frozenset[int]:
        """The numbers of the parts of one version of a document that are stored, from 1."""

    def settle(self, owner: str, title: str, session: str, parts: int) -> int:
        """Make a version, whose `parts` are all stored, the only one of its title; returns how many records of others
        were deleted for good. Raises `Conflict` where a part is not there: somebody stored another version."""

    def get(self, owner: str, record_id: str) -> Record:
        """One record. Raises `UnknownRecord`."""

    def list(self, owner: str, *, limit: int = 50, cursor: str | None = None) -> Page:
        """A page of the owner's records, newest first, superseded ones included."""

    def forget(self, owner: str, record_id: str) -> None:
        """Delete one record from database and index. Raises `UnknownRecord`."""

    def close(self) -> None:
        """Give back indexes and connections."""
