"""Suites: where the prompts that settings are measured on come from, and how some are held out.

Knows references to suites, limits and splits. Knows nothing about how files are read or an answer is scored.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from jc1.errors import InvalidSuite
from jc1_lab.records.items import Item, Suite
from jc1_lab.suites.formats import READERS
from jc1_lab.suites.prompts import jsonl

MEMORY_QA = "memory-qa"


def load(reference: str, *, limit: int | None = None, seed: int = 0) -> Suite:
    """Return the suite that `reference` means.

    `memory-qa` is generated from `seed`, `limit` prompts of it (60 unless told). Others are read from a file:
    `gsm8k:PATH`, `spec-bench:PATH`, `locomo:PATH` in their own formats, and a bare path in JC1's (docs/suites.md); with
    `limit`, that many prompts drawn by `seed` from all categories alike, in the order of the file.

    Raises `InvalidSuite`, which tells of a file the first ten lines that cannot be used, by file, line and reason.
    """
    if limit is not None and limit < 1:
        raise InvalidSuite(f"The limit is {limit} prompts: take 1 or more, or none for all.", param="limit")
    if reference == MEMORY_QA:
        from jc1_lab.suites import memory_qa  # its lists of words are read only where they are asked for

        items, memories = memory_qa.generate(limit or memory_qa.ITEMS, seed=seed)
        return Suite.of(MEMORY_QA, items, memories, source=reference)
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
    """Return the prompts to search with and those held out, each in an order of chance.

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
    """Draw `count` items in an order of chance, each category with its share of them: whole ones, and the largest
    remainders get the rest (Hamilton's method)."""

    def order(item: Item) -> str:
        return _hash(f"{salt}/{item.id}")

    by_category: dict[str, list[Item]] = defaultdict(list)
    for item in sorted(items, key=order):
        by_category[item.category].append(item)
    # Whole parts first; what is left goes to the categories that lost most by the rounding.
    due = {category: count * len(of) / len(items) for category, of in by_category.items()}
    shares = {category: int(exact) for category, exact in due.items()}
    first = sorted(due, key=lambda category: (shares[category] - due[category], _hash(f"{salt}/{category}")))
    for category in first[: count - sum(shares.values())]:
        shares[category] += 1
    chosen = [item for category, of in by_category.items() for item in of[: shares[category]]]
    return tuple(sorted(chosen, key=order))


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()
