"""Choosing in transformers' `generate`: our sampler in its loop, as a logits processor.

Knows what `generate` hands a processor and takes from it. What is chosen is `jc1.engines.sampling`'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from jc1.engines.sampling.torch import TorchSampler


class Choose:
    """A logits processor that draws each row's token and leaves `generate`, which takes the best, no other choice."""

    def __init__(
        self, sampler: TorchSampler, numbers: Sequence[np.random.Generator], agreed: Callable[[Tensor], Tensor]
    ) -> None:
        self.rounds = 0
        self.prefill = 0.0
        self.tokens: list[int] = []
        self.logits = torch.empty(0)
        self.bad: list[bool] = []
        """Rows whose logits are no numbers."""
        self._sampler = sampler
        self._numbers = numbers
        self._agreed = agreed
        self._began = time.perf_counter()

    def __call__(self, input_ids: Tensor, logits: Tensor) -> Tensor:
        """Choose the next tokens from logits (rows, vocab); return scores that leave `generate` these alone."""
        if self.rounds == 0:
            self.prefill = time.perf_counter() - self._began
        self.rounds += 1
        logits = self._agreed(logits)
        # A row without numbers ends; until then it gets some, so that the others of its batch can go on.
        bad = ~torch.isfinite(logits.amax(dim=1))  # (rows,)
        self.bad = bad.tolist()
        if any(self.bad):
            logits = logits.masked_fill(bad[:, None], 0.0)
        tokens = self._sampler.choose(logits, [generator.random() for generator in self._numbers])  # (rows,)
        self.logits, self.tokens = logits, tokens.tolist()
        return torch.full_like(logits, -torch.inf).scatter_(1, tokens[:, None], 0.0)
