"""Speculation of the transformers engine: drafts from the text so far, or from a smaller model, verified in one pass.

Each token is chosen exactly as without speculation, from the same logits by the same draw; a draft only decides how
many of them one forward pass can yield. So replies are the same, sampled ones too. Prompt lookup is by A. Saxena
(2023), assisted generation by Y. Leviathan and others (https://arxiv.org/abs/2211.17192) with that stricter acceptance.
Knows tokens and caches. Knows nothing about text or requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from jc1.engines.speculation import LONGEST_MATCH, SHORTEST_MATCH


class Drafter(Protocol):
    """Guesses what comes next in one reply."""

    def propose(self, token_ids: Sequence[int], count: int) -> list[int]:
        """Up to `count` tokens that may follow `token_ids`, prompt and reply so far."""
        ...


class PromptLookup:
    """What followed the last tokens when they last occurred."""

    def propose(self, token_ids: Sequence[int], count: int) -> list[int]:
        tokens = list(token_ids)
        for size in range(LONGEST_MATCH, SHORTEST_MATCH - 1, -1):
            last = tokens[-size:]
            for start in range(len(tokens) - size - 1, -1, -1):
                if tokens[start : start + size] == last:
                    return tokens[start + size : start + size + count]
        return []


class DraftModel:
    """The most likely tokens of a smaller model with the same vocabulary; keeps its own KV cache for one reply."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._cache: Any = None
        self._read: list[int] = []

    def propose(self, token_ids: Sequence[int], count: int) -> list[int]:
        tokens = list(token_ids)
        kept = next((i for i, (a, b) in enumerate(zip(self._read, tokens, strict=False)) if a != b), len(self._read))
        kept = min(kept, len(tokens) - 1)
        if self._cache is not None and kept < len(self._read):
            self._cache.crop(kept - len(self._read))
        new, drafted = tokens[kept:], []
        for _ in range(count):
            ids = torch.tensor([new], device=self._model.device)
            out = self._model(ids, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
            self._cache = out.past_key_values
            drafted.append(int(out.logits[0, -1].argmax()))
            self._read = [*tokens, *drafted[:-1]]
            new = drafted[-1:]
        return drafted
