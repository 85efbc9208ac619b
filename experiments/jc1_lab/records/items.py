"""Prompts: what is asked, what a right answer is, what may be remembered, and the suite that they are of.

Knows what a suite holds and its digest. Knows nothing about where suites come from or how an answer is scored.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from jc1.errors import InvalidSuite
from jc1.memory.base import NewRecord
from jc1.messages import Message

NO_SCORER = "none"
"""The scorer of a prompt to which no answer is right: it has no `score`."""
MAX_REPORTED = 10
"""Prompts, or lines of a file, that one error tells of."""


@dataclass(frozen=True, slots=True)
class Item:
    """One prompt of a suite: a conversation that ends with the user's message.

    `scorer` names what turns an answer into a score (jc1_lab.scoring); it is "none" where no answer is right. `owner`
    says whose memories of the suite are searched; `evidence` are those that hold the answer, by session and turn.
    `place` says where the prompt was read, such as file and line, for messages alone.
    """

    id: str
    messages: tuple[Message, ...]
    references: tuple[str, ...] = ()
    scorer: str = "exact"
    owner: str | None = None
    evidence: frozenset[tuple[str, int]] = frozenset()
    category: str = ""
    place: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Suite:
    """Items under a name. `memories` are the records of each owner that the items name, in the order in which they are
    remembered; `digest` is the SHA-256, in hex, of what items and memories say, whatever file they came from."""

    name: str
    items: tuple[Item, ...]
    source: str
    digest: str
    memories: Mapping[str, tuple[NewRecord, ...]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, name: str, items: Iterable[Item], memories: Mapping[str, Sequence[NewRecord]], *, source: str = "python"
    ) -> Suite:
        """Return a suite of these items, with the memories of the owners that they name and its digest.

        Raises `InvalidSuite` where two items have one id.
        """
        prompts = tuple(items)
        twice = next((item_id for item_id, count in Counter(item.id for item in prompts).items() if count > 1), None)
        if twice is not None:
            raise InvalidSuite(f"Two prompts of {name} have the id {twice!r}: give each its own.", param="suite")
        told_by_owner = {item.owner: tuple(memories.get(item.owner, ())) for item in prompts if item.owner is not None}
        return cls(name, prompts, source, digest(prompts, told_by_owner), told_by_owner)


def refuse(problems: Sequence[str], unit: str) -> None:
    """Raise `InvalidSuite` that tells the first of these problems, a line each, and counts the rest; none pass."""
    if not problems:
        return
    more = len(problems) - MAX_REPORTED
    rest = [f"and {more} more {unit}s"] if more > 0 else []
    raise InvalidSuite("\n".join([*problems[:MAX_REPORTED], *rest]), param="suite")


def digest(items: Sequence[Item], memories: Mapping[str, Sequence[NewRecord]]) -> str:
    """Return the SHA-256, in hex, of items and memories as JSON: keys sorted, fields with their default left out."""
    content = {"items": _plain([*items]), "memories": {owner: _plain(theirs) for owner, theirs in memories.items()}}
    return sha256(json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """Return the value in JSON's types."""
    if is_dataclass(value) and not isinstance(value, type):
        parts = ((part.name, getattr(value, part.name), part.default) for part in fields(value) if part.compare)
        return {name: _plain(content) for name, content, default in parts if default is MISSING or content != default}
    if isinstance(value, frozenset):
        return sorted(_plain(entry) for entry in value)
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return sha256(value).hexdigest() if isinstance(value, bytes) else value
