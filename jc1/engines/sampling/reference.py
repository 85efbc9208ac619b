"""The order of the filters, on plain numpy: from one step's logits to the next token.

The reference for every engine. The echo engine runs on it, and the filters of the other engines are tested against it.
Knows the arithmetic of one step of one reply. Knows nothing about models, text, batches or speed.

Penalties follow the CTRL paper (`repetition_penalty`: https://arxiv.org/abs/1909.05858, section 4.1) and OpenAI's API
reference (`frequency_penalty`, `presence_penalty`); `top_p` is nucleus sampling (https://arxiv.org/abs/1904.09751);
`min_p` is from https://arxiv.org/abs/2407.01082.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jc1.decoding import Decoding
from jc1.errors import InvalidDecoding

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


def check_bias(decoding: Decoding, vocab: int) -> None:
    """Raise `InvalidDecoding` when `logit_bias` names a token that a vocabulary of `vocab` does not hold."""
    if decoding.logit_bias and (token := max(decoding.logit_bias)) >= vocab:
        raise InvalidDecoding(
            f"'logit_bias' names token {token}: this model's ids end at {vocab - 1}.", param="logit_bias"
        )


def count_tokens(token_ids: Sequence[int], vocab: int) -> Counts:
    """Return how often each token of a vocabulary of `vocab` appears: shape (vocab,)."""
    return np.bincount(np.asarray(token_ids, dtype=np.int64), minlength=vocab).astype(np.int64)


def adjust(
    logits: ArrayLike, decoding: Decoding, *, prompt: Counts, output: Counts, end_tokens: Iterable[int] = ()
) -> Floats:
    """Apply steps 1 and 2 of `jc1.decoding`: bias, the ban on ending early, the three penalties.

    Args:
        logits: The model's, shape (vocab,); they are not changed.
        decoding: The request's.
        prompt: How often each token was read, shape (vocab,).
        output: How often each token was written so far, shape (vocab,).
        end_tokens: Ids that would end the reply.

    Returns:
        New logits, shape (vocab,).
    """
    scores = np.array(logits, dtype=np.float64)  # a copy, (vocab,)
    # 1) What is added, and what may not come yet.
    for token, bias in decoding.logit_bias.items():
        scores[token] += bias
    if output.sum() < decoding.min_tokens:
        scores[list(end_tokens)] = -np.inf
    # 2) Penalties. Above 1 that on repetition always lowers a logit: it divides positive and multiplies negative ones.
    if decoding.repetition_penalty != 1.0:
        penalised = np.where(scores > 0, scores / decoding.repetition_penalty, scores * decoding.repetition_penalty)
        scores = np.where(prompt + output > 0, penalised, scores)
    scores -= decoding.frequency_penalty * output + decoding.presence_penalty * (output > 0)
    return scores


def filtered(scores: ArrayLike, decoding: Decoding) -> Floats:
    """Apply steps 3 to 5; return the probabilities, shape (vocab,), from which a token is drawn: 0 if dropped.

    Where tokens are equally likely, those with the lowest ids stay. Temperature 0 leaves one token.
    """
    scores = np.asarray(scores, dtype=np.float64)
    best = int(np.argmax(scores))
    # 3) Temperature.
    if decoding.temperature == 0:
        certain: Floats = np.zeros(scores.size)
        certain[best] = 1.0
        return certain
    # The largest exponent is 0 before the division, so that no temperature can overflow.
    with np.errstate(over="ignore"):
        probabilities = np.exp((scores - scores[best]) / decoding.temperature)
    # 4) min_p, before anything is normalised: the best one's is exp(0) = 1 here.
    probabilities[probabilities < decoding.min_p] = 0.0
    # 5) top_k, then top_p over what that leaves.
    if decoding.top_k or decoding.top_p < 1:
        order = np.argsort(-probabilities, kind="stable")  # (vocab,), ids from the most likely on
        if decoding.top_k:
            probabilities[order[decoding.top_k :]] = 0.0
        if decoding.top_p < 1:
            ranked = probabilities[order] / probabilities.sum()
            before = np.cumsum(ranked) - ranked  # mass of the more likely ones: the token that reaches p stays
            probabilities[order[before >= decoding.top_p]] = 0.0
    total: Floats = probabilities / probabilities.sum()
    return total


def draw(probabilities: Floats, uniform: float) -> int:
    """Apply step 6; return the token in whose share of the probabilities, laid end to end by id, `uniform` falls."""
    cumulative = np.cumsum(probabilities)  # (vocab,)
    token = int(np.searchsorted(cumulative, uniform * cumulative[-1], side="right"))
    # Rounding may put the number at the very end; the last token that is left takes it.
    return min(token, int(np.flatnonzero(probabilities)[-1]))


def uniforms(seed: int | None, choice: int) -> np.random.Generator:
    """Return the source of one reply's draws, one number a token.

    Replies of one request differ by their `choice` index. It runs on the host on every engine, so that a seed means the
    same on CPU and GPU.
    """
    return np.random.default_rng(None if seed is None else [seed, choice])


def log_probabilities(logits: ArrayLike) -> Floats:
    """Return the model's log probabilities (natural) before step 1, shape (vocab,): the ones that are reported."""
    scores = np.asarray(logits, dtype=np.float64)
    shifted = scores - scores.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))


def most_likely(logprobs: Floats, count: int) -> list[int]:
    """Return the ids of the `count` most likely tokens, best first; equals by lowest id."""
    return [int(token) for token in np.argsort(-logprobs, kind="stable")[:count]]
