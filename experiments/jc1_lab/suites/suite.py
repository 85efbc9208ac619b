"""Suites: the prompts that settings are measured on, with what a right answer is and what may be remembered.

Knows what a suite holds, where suites come from, and how prompts are put aside. Knows nothing about how files are read
or an answer is scored.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jc1.errors import InvalidSuite
from jc1.memory.base import NewRecord
from jc1.messages import Message

MEMORY_QA = "memory-qa"


@dataclass(frozen=True, slots=True)
class Item:
    """One prompt of a suite: a conversation that ends with the user's message.

    `scorer` names what turns an answer into a score (jc1_lab.scoring.metrics); it is "none" where no answer is
    right. `owner` says whose memories of the suite are searched; `evidence` are those that hold the answer, by session
    and turn.
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

    @classmethod
    def of(
        cls, name: str, items: Iterable[Item], memories: Mapping[str, Sequence[NewRecord]], *, source: str = "python"
    ) -> Suite:
        """A suite of these items, with the memories of the owners that they name and its digest.

        Raises `InvalidSuite` where two items have one id.
        """
        kept = tuple(items)
        twice = next((own for own, count in Counter(item.id for item in kept).items() if count > 1), None)
        if twice is not None:
            raise InvalidSuite(f"Two prompts of {name} have the id {twice!r}: give each its own.", param="suite")
        told = {item.owner: tuple(memories.get(item.owner, ())) for item in kept if item.owner is not None}
        return cls(name, kept, source, digest(kept, told), told)


def load(reference: str, *, limit: int | None = None, seed: int = 0) -> Suite:
    """The suite that `reference` means.

    `memory-qa` is generated from `seed`, `limit` prompts of it (60 unless told). Others are read from a file:
    `gsm8k:PATH`, `spec-bench:PATH`, `locomo:PATH` in their own formats, and a bare path in JC1's (docs/suites.md);
    with `limit`, that many prompts drawn by `seed` from all categories alike, in the order of the file.

    Raises `InvalidSuite`, which tells of a file the first ten lines that cannot be used, by file, line and reason.
    """
    if limit is not None and limit < 1:
        raise InvalidSuite(f"The limit is {limit} prompts: take 1 or more, or none for all.", param="limit")
    if reference == MEMORY_QA:
        from jc1_lab.suites.memory_qa import ITEMS, generate

        return Suite.of(MEMORY_QA, *generate(limit or ITEMS, seed=seed), source=reference)
    from jc1_lab.suites.formats import READERS
    from jc1_lab.suites.prompts import jsonl

    kind, colon, place = reference.partition(":")
    read = READERS.get(kind) if colon else None
    path = Path(place if read else reference).expanduser()
    if not path.is_file():
        known = ", ".join((MEMORY_QA, *(f"{name}:FILE" for name in READERS), "a JSONL file"))
        raise InvalidSuite(f"{str(path)!r} is no file: a suite is {known}.", param="suite")
    items, memories = (read or jsonl)(path)
    if not items:
        raise InvalidSuite(f"{path}: there is no prompt in it: give at least one.", param="suite")
    if limit is not None and limit < len(items):
        drawn = {item.id for item in _drawn(items, limit, f"limit/{seed}")}
        items = [item for item in items if item.id in drawn]
    return Suite.of(kind if read else path.stem, items, memories, source=reference)


def split(suite: Suite, holdout: float, seed: int) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """The prompts to search with and those held out, each in an order of chance.

    `holdout` is the share held out, 0 to below 1, of each category alike as far as whole prompts go; above 0, both
    sides have one prompt at least. It depends on `seed` and the prompts' ids and categories alone, not on their order.

    Raises `InvalidSuite` where there is too little to split.
    """
    if not 0 <= holdout < 1:
        raise InvalidSuite(f"The share held out is {holdout:g}: give 0 to below 1, 0.3 for instance.", param="holdout")
    everything = _drawn(suite.items, len(suite.items), f"split/{seed}")
    if holdout == 0:
        return everything, ()
    if len(everything) < 2:
        raise InvalidSuite("One prompt cannot be split: give a suite of more, or hold out nothing.", param="holdout")
    count = min(max(1, round(holdout * len(everything))), len(everything) - 1)
    heldout = _drawn(suite.items, count, f"split/{seed}")
    aside = {item.id for item in heldout}
    return tuple(item for item in everything if item.id not in aside), heldout


def _drawn(items: Sequence[Item], count: int, salt: str) -> tuple[Item, ...]:
    """`count` items in an order of chance, each category with its share of them: whole ones, and the largest
    remainders get the rest (Hamilton's method)."""

    def order(item: Item) -> str:
        return _hash(f"{salt}/{item.id}")

    by_category: dict[str, list[Item]] = defaultdict(list)
    for item in sorted(items, key=order):
        by_category[item.category].append(item)
    due = {category: count * len(of) / len(items) for category, of in by_category.items()}
    shares = {category: int(exact) for category, exact in due.items()}
    first = sorted(due, key=lambda category: (shares[category] - due[category], _hash(f"{salt}/{category}")))
    for category in first[: count - sum(shares.values())]:
        shares[category] += 1
    chosen = [item for category, of in by_category.items() for item in of[: shares[category]]]
    return tuple(sorted(chosen, key=order))


def digest(items: Sequence[Item], memories: Mapping[str, Sequence[NewRecord]]) -> str:
    """The SHA-256, in hex, of items and memories as JSON: keys sorted, fields left out that have their default."""
    said = {"items": [_plain(item) for item in items], "memories": {o: _plain(told) for o, told in memories.items()}}
    return _hash(json.dumps(said, sort_keys=True, ensure_ascii=False, separators=(",", ":")))


def _plain(value: Any) -> Any:
    """The value in JSON's types."""
    if is_dataclass(value) and not isinstance(value, type):
        told = ((part.name, getattr(value, part.name), part.default) for part in fields(value))
        return {name: _plain(said) for name, said, default in told if default is MISSING or said != default}
    if isinstance(value, frozenset):
        return sorted(_plain(entry) for entry in value)
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return hashlib.sha256(value).hexdigest() if isinstance(value, bytes) else value


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
