"""Counters of hits, misses and errors. Knows kinds of namespaces; knows nothing about metrics, which read them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import product
from typing import Literal

from jc1.cache.namespaces import KINDS

Result = Literal["hit", "miss", "error"]
RESULTS: tuple[Result, ...] = ("hit", "miss", "error")
"""`error`: the store did not answer, or was left alone because it had not answered before."""
OTHER = "other"
"""Label of every kind of namespace that is not JC1's own, so that the labels are a closed set."""


class Lookups:
    """Counters by kind of namespace and result. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, Result], int] = dict.fromkeys(product((*KINDS, OTHER), RESULTS), 0)

    def count(self, namespace: str, values: Sequence[bytes | None]) -> None:
        """Count one lookup for each value: a hit, or a miss where it is `None`."""
        missed = values.count(None)
        kind = _kind(namespace)
        with self._lock:
            self._counts[kind, "hit"] += len(values) - missed
            self._counts[kind, "miss"] += missed

    def failed(self, namespace: str, lookups: int) -> None:
        """Count lookups that could not be made."""
        with self._lock:
            self._counts[_kind(namespace), "error"] += lookups

    def totals(self) -> dict[tuple[str, Result], int]:
        """Return the counts so far, by kind and result."""
        with self._lock:
            return dict(self._counts)


def _kind(namespace: str) -> str:
    kind = namespace.partition("/")[0]
    return kind if kind in KINDS else OTHER
