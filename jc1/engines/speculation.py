"""Speculation: what `--speculation` means, and what became of the drafts of one reply.

Knows the words of the setting and how acceptance is counted. Knows nothing about how an engine drafts or verifies.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from jc1.errors import InvalidSettings
from jc1.models import resolve, unreadable

MAX_TOKENS = 32
"""Tokens that may be drafted at a time."""
LONGEST_MATCH, SHORTEST_MATCH = 4, 1
"""How many of the last tokens must have occurred before, at most and at least, for `ngram` to draft what followed them.
Where replies repeat their prompt, 1 accepts fewer of its drafts than 2 and still saves more steps."""


@dataclass(frozen=True, slots=True)
class Speculation:
    """`tokens` are drafted at a time by `method`: `ngram` from the text so far, `draft` by the model `model`.

    Any other method is an engine's own word for one.
    """

    method: str
    tokens: int
    model: str = ""

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read `off` as None, `ngram:4`, `draft:jc1-tiny-draft:3`, `METHOD:k` or `METHOD:MODEL:k`, k tokens at a time.

        Raises:
            InvalidSettings: It is none of these, or k is out of range.
        """
        if text in ("", "off"):
            return None
        method, _, rest = text.partition(":")
        model, _, count = rest.rpartition(":")
        complete = {"ngram": not model, "draft": bool(model)}.get(method, bool(method))
        if not complete or not count.isdecimal() or not 1 <= int(count) <= MAX_TOKENS:
            raise InvalidSettings(
                f"speculation = {text!r} is not usable: say off, ngram:4 or draft:MODEL:3, with 1 to {MAX_TOKENS} "
                "tokens."
            )
        return cls(method, int(count), model)

    def draft_for(self, folder: Path) -> Path | None:
        """Return the folder of the draft for the model in `folder`; None where the method needs no model.

        Raises:
            InvalidSettings: The two have different tokenizers, so that a draft's ids would mean other words.
            EngineUnavailable: A tokenizer cannot be read.
        """
        if self.method != "draft":
            return None
        draft = resolve(self.model).path
        if _vocabulary(draft) != _vocabulary(folder):
            raise InvalidSettings(
                f"The draft {self.model!r} and the model {folder.name!r} have different tokenizers: choose a draft "
                "with the model's own."
            )
        return draft

    def __str__(self) -> str:
        return ":".join(part for part in (self.method, self.model, str(self.tokens)) if part)


def figures(speculation: Speculation, drafted: Sequence[int], accepted: Sequence[int]) -> dict[str, Any]:
    """Return what a trace says of the drafts of one reply.

    Args:
        speculation: The engine's setting.
        drafted: How many tokens were drafted for each verification, in order.
        accepted: How many of them each verification accepted.

    Returns:
        `acceptance` is accepted over drafted tokens; `by_position` the same for the first, second ... token of a draft;
        `mean_accepted_length` counts the token that each verification yields besides the accepted ones. `fired` is
        false where nothing was ever drafted.
    """
    total = sum(drafted)
    # By position i: drafts that were that long, and those of them that were accepted so far.
    drafted_at = [sum(d > i for d in drafted) for i in range(speculation.tokens)]
    accepted_at = [sum(a > i for a in accepted) for i in range(speculation.tokens)]
    return {
        "method": str(speculation),
        "fired": total > 0,
        "drafted": total,
        "accepted": sum(accepted),
        "acceptance": sum(accepted) / total if total else None,
        "by_position": [a / d for a, d in zip(accepted_at, drafted_at, strict=True) if d],
        "mean_accepted_length": 1 + sum(accepted) / len(accepted) if accepted else None,
    }


def _vocabulary(folder: Path) -> object:
    """Return what two tokenizers must have in common to be the same one."""
    for file in (folder / "tokenizer.json", folder / "tokenizer.model"):
        if not file.exists():
            continue
        try:
            return json.loads(file.read_text())["model"]["vocab"] if file.suffix == ".json" else file.read_bytes()
        except (OSError, ValueError, KeyError, TypeError):
            raise unreadable(folder, file.name) from None
    return None
