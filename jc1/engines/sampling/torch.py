"""The filters of `sampling` on torch tensors: the same order and the same draws, for all replies of a request at once.

Knows the arithmetic of one step of many rows on any device. Knows nothing about models or text. Tested row by row
against the reference.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from jc1.decoding import Decoding
from jc1.engines.guides import Following


class TorchSampler:
    """Chooses the next tokens of several replies with equal settings, one a row, step after step.

    `prompts` has the tokens that each row has read, `guides` what each is kept to. `uniforms` are given from outside,
    one a row and step, so that a seed means the same on every device.
    """

    def __init__(
        self,
        decoding: Decoding,
        *,
        vocab: int,
        prompts: Sequence[Sequence[int]],
        end_tokens: Sequence[int],
        device: torch.device,
        guides: Sequence[Following | None] = (),
    ) -> None:
        rows = len(prompts)
        self._vocab = vocab
        self._guides = guides
        self._decoding = decoding
        self._written = 0
        self._end_tokens = torch.tensor(list(end_tokens), dtype=torch.long, device=device)
        self._bias: Tensor | None = None
        if decoding.logit_bias:
            self._bias = torch.zeros(vocab, dtype=torch.float64, device=device)
            self._bias[list(decoding.logit_bias)] = torch.tensor(
                list(decoding.logit_bias.values()), dtype=torch.float64, device=device
            )
        # Counting costs a row of the vocabulary each: only for those who pay the penalty.
        self._seen: Tensor | None = None
        if decoding.repetition_penalty != 1.0:
            self._seen = torch.zeros(rows, vocab, dtype=torch.bool, device=device)
            for row, prompt in enumerate(prompts):
                self._seen[row, list(prompt)] = True
        self._counts: Tensor | None = None
        if decoding.frequency_penalty or decoding.presence_penalty:
            self._counts = torch.zeros(rows, vocab, dtype=torch.float64, device=device)

    def choose(self, logits: Tensor, uniforms: Sequence[float]) -> Tensor:
        """Return the next tokens, shape (rows,), from the model's logits, shape (rows, vocab)."""
        scores = self.adjusted(logits)
        # The first of equals, as in the reference; greedy needs no probabilities.
        greedy = self._decoding.temperature == 0
        tokens = scores.argmax(dim=1) if greedy else draw(filtered(scores, self._decoding), uniforms)
        self._written += 1
        for guide, token in zip(self._guides, tokens.tolist() if any(self._guides) else (), strict=False):
            if guide is not None:
                guide.take(token)
        if self._seen is not None:
            self._seen.scatter_(1, tokens[:, None], True)
        if self._counts is not None:
            self._counts.scatter_add_(1, tokens[:, None], torch.ones_like(tokens[:, None], dtype=torch.float64))
        return tokens

    def adjusted(self, logits: Tensor) -> Tensor:
        """Apply steps 1 and 2; return the scores, shape (rows, vocab)."""
        decoding = self._decoding
        scores = logits.double()  # (rows, vocab)
        # 1) What is added, and what may not come yet.
        if self._bias is not None:
            scores = scores + self._bias
        if self._written < decoding.min_tokens:
            scores = scores.index_fill(1, self._end_tokens, -torch.inf)
        for row, guide in enumerate(self._guides):
            if guide is not None:
                scores[row] = self._guided(scores[row], guide)
        # 2) Penalties.
        if self._seen is not None:
            penalty = decoding.repetition_penalty
            penalised = torch.where(scores > 0, scores / penalty, scores * penalty)
            scores = torch.where(self._seen, penalised, scores)
        if self._counts is not None:
            scores = scores - decoding.frequency_penalty * self._counts - decoding.presence_penalty * (self._counts > 0)
        return scores

    def _guided(self, scores: Tensor, guide: Following) -> Tensor:
        """Return one row's scores, shape (vocab,), without the tokens that its guide rules out."""
        if guide.over:  # whatever `min_tokens` says
            return torch.full_like(scores, -torch.inf).index_fill(0, self._end_tokens, 0.0)
        allowed = torch.from_numpy(guide.allowed(self._vocab)).to(scores.device)
        if allowed[self._end_tokens].any():
            allowed[self._end_tokens] = True
        return scores.masked_fill(~allowed, -torch.inf)


def filtered(scores: Tensor, decoding: Decoding) -> Tensor:
    """Apply steps 3 to 5; return unnormalised probabilities, shape (rows, vocab): 1 for the best, 0 if dropped."""
    # 3) Temperature.
    if decoding.temperature == 0:
        return torch.zeros_like(scores).scatter_(1, scores.argmax(dim=1, keepdim=True), 1.0)
    best = scores.amax(dim=1, keepdim=True)  # (rows, 1)
    probabilities = torch.exp((scores - best) / decoding.temperature)
    # 4) min_p.
    probabilities = probabilities.masked_fill(probabilities < decoding.min_p, 0.0)
    # 5) top_k, then top_p over what that leaves.
    if not decoding.top_k and decoding.top_p == 1:
        return probabilities
    ranked, order = torch.sort(probabilities, dim=1, descending=True, stable=True)  # both (rows, vocab)
    if decoding.top_k:
        ranked[:, decoding.top_k :] = 0.0
    if decoding.top_p < 1:
        shares = ranked / ranked.sum(dim=1, keepdim=True)
        before = shares.cumsum(dim=1) - shares  # mass of the more likely ones
        ranked = ranked.masked_fill(before >= decoding.top_p, 0.0)
    return torch.zeros_like(probabilities).scatter_(1, order, ranked)


def draw(probabilities: Tensor, uniforms: Sequence[float]) -> Tensor:
    """Apply step 6; return for each row the token in whose share its number in [0, 1) falls, shape (rows,)."""
    cumulative = probabilities.cumsum(dim=1)  # (rows, vocab)
    numbers = torch.tensor(list(uniforms), dtype=torch.float64, device=probabilities.device)[:, None]  # (rows, 1)
    tokens = torch.searchsorted(cumulative, numbers * cumulative[:, -1:], right=True)  # (rows, 1)
    # Rounding may put a number at the very end; the last token that is left takes it.
    last = (probabilities > 0).long().cumsum(dim=1).argmax(dim=1, keepdim=True)
    return torch.minimum(tokens, last).squeeze(1)
