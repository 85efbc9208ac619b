"""What a memory is: the record, the receipt that explains why it was recalled, and what becomes of records.

Knows nothing about how records are stored, indexed or ranked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from jc1.errors import InvalidRequest

MAX_CHARACTERS = 100_000
"""Longest text of a record: about 100 passages, which take the default embedder six seconds of one core."""

Role = Literal["system", "user", "assistant"]
"""Who said what is remembered. What tools say is not."""
Kind = Literal["statement", "question", "reply"]
"""What a record is. Questions and replies are kept, but never outrank statements."""


@dataclass(frozen=True, slots=True)
class Record:
    """One remembered text of one owner, with its source.

    `created` is timezone-aware UTC. `session` and `turn` say where it was said (`None` when it was added by hand), and
    `speaker` by whom, where that is more than a role. A part of a `document` (its title) has its number in it as `turn`
    and its `place`, page and heading. What tells of a `picture` has the SHA-256 of its file. `superseded_by` names the
    newer statement on the same subject, if there is one. A `pinned` record is in every recall, an `excluded` one in
    none. `edited` is when its text was last changed. A reply is `outdated`, and in no recall, while something that it
    repeats counts no more or was edited since.
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
    picture: str | None = None
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
class SeenPicture:
    """What is kept of a picture: its file's SHA-256 in hexadecimal, its size in pixels, upright, its `source` (the
    file's name, or where it was fetched; empty where neither is known), and a `thumbnail`, a JPEG of few bytes."""

    sha256: str
    width: int
    height: int
    source: str
    thumbnail: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A text to be remembered. `kind` is decided from role and wording when it is `None`, `created` is now. Of a reply,
    `sources` are what it may repeat. A text that tells of a `picture` is kept with it."""

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
    picture: SeenPicture | None = None


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
        """Return the record as a prompt holds it: of a long one, the passage."""
        return self.record if self.passage is None else replace(self.record, text=self.passage)


@dataclass(frozen=True, slots=True)
class Recall:
    """The receipts of a search, best first, and the seconds that its stages `embed` and `recall` took."""

    receipts: tuple[Receipt, ...]
    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which of an owner's records are listed: those of which everything that is set here is true.

    `contains` is looked for in the text as it is, whatever the case of its letters.
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
    from the query of the lexical search. `weights` stand in for those of `index.ranking`, by the same names. Earlier
    questions are left out unless `questions` is true: they tell nothing, and a small model takes one for an answer.
    Pinned ones are recalled either way."""

    k: int = 8
    window: int = 0
    stopwords: bool = True
    questions: bool = False
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

    `sessions` and `documents` hold the 100 with most records. `bytes` are those of texts, earlier texts, vectors
    and thumbnails.
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
