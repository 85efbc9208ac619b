"""Do two engines give the same tokens? Greedy replies, compared by token ids.

A near-tie is no plain difference: where the reference's two most likely tokens are closer than `NEAR_TIE`,
rounding may decide either way, and that is reported rather than hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

from jc1.decoding import Decoding
from jc1.engines.base import Engine, EnginePrompt
from jc1.messages import Message

NEAR_TIE = 1e-4
"""Difference of two log probabilities (natural) under which either token may come out first."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two replies part: which prompt, at which token, and by how much the reference preferred its own."""

    prompt: int
    position: int
    reference: int | None
    other: int | None
    gap: float

    @property
    def near_tie(self) -> bool:
        return self.gap < NEAR_TIE


async def differences(
    reference: Engine, other: Engine, conversations: Sequence[Sequence[Message]], *, max_tokens: int = 48
) -> list[Difference]:
    """Return the first difference of each conversation's greedy replies; both engines get the reference's token ids."""
    result = []
    for number, messages in enumerate(conversations):
        prompt = EnginePrompt(tuple(messages), tuple(reference.tokenize(messages)))
        expected, gaps = await _greedy(reference, prompt, max_tokens, gaps=True)
        given, _ = await _greedy(other, prompt, max_tokens)
        if expected == given:
            continue
        length = min(len(expected), len(given))
        at = next((i for i in range(length) if expected[i] != given[i]), length)
        result.append(
            Difference(
                number,
                at,
                expected[at] if at < len(expected) else None,
                given[at] if at < len(given) else None,
                gaps[at] if at < len(gaps) else float("inf"),
            )
        )
    return result


async def _greedy(
    engine: Engine, prompt: EnginePrompt, max_tokens: int, *, gaps: bool = False
) -> tuple[list[int], list[float]]:
    """Return a reply's token ids and, with `gaps`, each token's lead in log probability over the next best one."""
    tokens: list[int] = []
    leads: list[float] = []
    decoding = Decoding(max_tokens=max_tokens, logprobs=2 if gaps else None)
    async with aclosing(engine.generate(prompt, decoding)) as steps:
        async for step in steps:
            tokens += step.token_ids
            leads += [entry.top[0].logprob - entry.top[1].logprob for entry in step.logprobs or ()]
    return tokens, leads
