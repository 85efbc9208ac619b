"""What one request of a sweep came to.

Where records are kept is jc1_lab.records.store's, what is made of them jc1_lab.sweep.analysis'.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Split = Literal["search", "heldout"]
Key = tuple[int, Split, str, int]
"""Trial, split, item and repeat."""
OK = "ok"


@dataclass(frozen=True, slots=True)
class EvalRecord:
    """One request: which trial asked which item for the which time, and what came back.

    `outcome` is `ok` or the code of the error that refused it. `texts` are the choices, `scores` the metrics of the
    first. `drafts` holds, of a reply that speculation helped to write, the share of accepted drafts at each position.
    Nothing in a record depends on the clock.
    """

    trial: int
    split: Split
    item: str
    repeat: int
    seed: int | None = None
    outcome: str = OK
    finish_reason: str | None = None
    texts: tuple[str, ...] = ()
    scores: dict[str, float] = field(default_factory=dict)
    drafts: tuple[float, ...] = ()

    @property
    def key(self) -> Key:
        return (self.trial, self.split, self.item, self.repeat)


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt as a person reads it: the last message, and the answers that are right."""

    prompt: str
    references: tuple[str, ...] = ()
