"""Speculation of the transformers engine: drafts from the text so far, or from a smaller model, verified in one pass.

Each token is chosen exactly as without speculation, from the same logits by the same draw; a draft only decides how
many of them one forward pass can yield. So replies are the same, sampled ones too. Prompt lookup is by A. Saxena
(2023), assisted generation by Y. Leviathan and others (https://arxiv.org/abs/2211.17192) with that stricter acceptance.
Knows tokens and caches. Knows nothing about text or requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any, Protocol

import torch

from jc1.engines.speculation import LONGEST_MATCH, SHORTEST_MATCH


class Drafter(Protocol):
    """Guesses what comes next in one reply."""

    def propose(self, token_ids: Sequence[int], count: int) -> list[int]:
        """Return up to `count` tokens that may follow `token_ids`, prompt and reply so far.

        Each call's `token_ids` begin with those of the call before.
        """
        ...


class PromptLookup:
    """Drafts what followed the last tokens when they last occurred; of several matches the longest counts.

    With matches of up to four tokens, of which the last three have occurred here:

        token_ids      7 1 2 3 9 5 1 2 4 8 1 2 3
        occurred         1 2 3               (not 8 1 2 3)
        followed by            9 5 1
        propose(token_ids, 3) == [9, 5, 1]

    Where only `[1, 2]` is looked for, its latest occurrence counts, and `[4, 8, 1]` is drafted. Every match's latest
    place is kept by its tokens, so a proposal costs the same however long the text is.
    """

    def __init__(self) -> None:
        self._next: dict[tuple[int, ...], int] = {}
        """By a run of tokens: the place after its latest occurrence, which another token holds."""
        self._indexed = 0
        """Places whose token is known as the follower of the runs before it."""

    def propose(self, token_ids: Sequence[int], count: int) -> list[int]:
        for place in range(max(1, self._indexed), len(token_ids)):
            before = tuple(token_ids[max(0, place - LONGEST_MATCH) : place])
            for size in range(SHORTEST_MATCH, len(before) + 1):
                self._next[before[-size:]] = place
        self._indexed = len(token_ids)
        last = tuple(token_ids[-LONGEST_MATCH:])
        for size in range(len(last), SHORTEST_MATCH - 1, -1):
            start = self._next.get(last[-size:])
            if start is not None:
                return list(token_ids[start : start + count])
        return []


class DraftModel:
    """Drafts the most likely tokens of a smaller model with the same vocabulary; keeps a KV cache of its own."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._cache: Any = None
        self._length = 0
        """Tokens of the text when it was last asked. The KV cache holds these, and what was drafted but its last."""
        self._drafted: list[int] = []

    def propose(self, token_ids: Sequence[int], count: int) -> list[int]:
        if count < 1:
            return []
        # 1) Take back what was drafted and did not become text. The last token is read anew: its logits are needed.
        guesses = self._drafted[:-1]
        text = token_ids[self._length : self._length + len(guesses)]
        accepted = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(guesses, text, strict=False)))
        cached, length = self._length + len(guesses), min(self._length + accepted, len(token_ids) - 1)
        if length < cached:
            self._cache.crop(length - cached)
        # 2) Read what is new in the text, then one draft after the other.
        new, drafted = list(token_ids[length:]), []
        for _ in range(count):
            ids = torch.tensor([new], device=self._model.device)  # (1, new tokens)
            out = self._model(ids, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
            self._cache = out.past_key_values
            drafted.append(int(out.logits[0, -1].argmax()))  # logits: (1, 1, vocab)
            new = drafted[-1:]
        self._length, self._drafted = len(token_ids), drafted
        return drafted
