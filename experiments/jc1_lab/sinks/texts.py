"""What was asked and replied in a sweep, as its report quotes it.

They come from a sweep's store, or from MLflow (jc1_lab.runs); the report chooses which it quotes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from jc1_lab.records.evals import Asked, EvalRecord
from jc1_lab.records.store import SweepStore


@dataclass(frozen=True, slots=True)
class Texts:
    """Prompts by item, and what each request came to; there may be none of either."""

    prompts: Mapping[str, Asked] = field(default_factory=dict)
    records: Sequence[EvalRecord] = ()

    @classmethod
    def of(cls, store: SweepStore) -> Self:
        """Return the texts of a store, the records in order."""
        return cls(store.prompts(), store.ordered())
