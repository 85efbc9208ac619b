"""Suites: the prompts that settings are measured on, with what a right answer is and what may be remembered.

Knows what a suite holds. Knows nothing about how an answer is scored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jc1.memory.base import NewRecord
from jc1.messages import Message


@dataclass(frozen=True, slots=True)
class Item:
    """One prompt of a suite: a conversation that ends with the user's message.

    `scorer` names what turns an answer into a score (experiments/scoring.py). `owner` says whose memories of the suite
    are searched; `evidence` are those that hold the answer, by session and turn.
    """

    id: str
    messages: tuple[Message, ...]
    references: tuple[str, ...] = ()
    scorer: str = "exact"
    owner: str | None = None
    evidence: frozenset[tuple[str, int]] = frozenset()
    category: str = ""


@dataclass(frozen=True, slots=True)
class Suite:
    """Items under a name. `memories` are the records of each owner that the items name, in the order in which they are
    remembered; `digest` is the SHA-256, in hex, of what items and memories say, whatever file they came from."""

    name: str
    items: tuple[Item, ...]
    source: str
    digest: str
    memories: Mapping[str, tuple[NewRecord, ...]] = field(default_factory=dict)
