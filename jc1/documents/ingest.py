"""Storing a document's parts in memory: each once, in batches, and then in the place of the version before.

Knows the order of the steps, which is what lets an interrupted ingestion be run again: parts are added where they are
missing, and the version before goes only when none is. Until then both are recalled. Knows nothing about formats.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from jc1.documents.parts import Part
from jc1.memory.base import NewRecord
from jc1.memory.documents import session_of

if TYPE_CHECKING:
    from jc1.memory.store import DatabaseMemory

BATCH = 32
"""Parts that are stored in one transaction: 3 s of embedding with MiniLM on two busy cores without AMX. So much is lost
when it is interrupted, and so often progress is reported."""


@dataclass(frozen=True, slots=True)
class Ingested:
    """The result of storing a document: counts of its parts and their characters, of parts that were `added`, and of
    records of an earlier version that were `removed`."""

    title: str
    session: str
    parts: int
    characters: int
    added: int
    removed: int


def title_of(name: str) -> str:
    """Return the title of a file of which no other is given: its name without folders."""
    return PurePosixPath(name.replace("\\", "/")).name


def ingest(
    memory: DatabaseMemory,
    owner: str,
    title: str,
    parts: Sequence[Part],
    progress: Callable[[int], None] = lambda stored: None,
) -> Ingested:
    """Store a document's parts as records of `owner`, and remove those of another version of the same title.

    What is stored already is left as it is, edits, pins and all.

    Raises what `DatabaseMemory.add` does, and `Conflict` where another version of the title was stored meanwhile.
    """
    # 1) What an earlier, interrupted run has stored
    session = session_of(_digest(title, parts), len(parts))
    there = memory.parts(owner, title, session)
    missing = [(number, part) for number, part in enumerate(parts, start=1) if number not in there]
    progress(len(there))
    # 2) The rest, a batch a transaction
    for start in range(0, len(missing), BATCH):
        batch = missing[start : start + BATCH]
        memory.add(
            owner,
            [
                NewRecord(part.text, kind="statement", session=session, turn=number, document=title, place=part.place)
                for number, part in batch
            ],
        )
        progress(len(there) + start + len(batch))
    # 3) Now that all are there, the version before goes
    removed = memory.commit_version(owner, title, session, len(parts))
    return Ingested(title, session, len(parts), sum(len(part.text) for part in parts), len(missing), removed)


def _digest(title: str, parts: Sequence[Part]) -> str:
    """Return the digest of this version: the same file under the same title gives the same, wherever it lies."""
    content = json.dumps([title, [(part.text, part.place) for part in parts]])
    return hashlib.sha256(content.encode()).hexdigest()[:32]
