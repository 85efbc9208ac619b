"""Every engine draws what the order of the filters says, by chi-square against the reference in `sampling`.

The bigram model's logits are known, so the reference's probabilities are too. Seeds are fixed: a test that passes once
passes always.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2_contingency, chisquare

from jc1.decoding import Decoding
from jc1.engines.base import Engine, EnginePrompt
from jc1.engines.sampling.reference import adjust, count_tokens, filtered
from jc1.engines.settings import EngineSettings
from jc1.messages import Message
from tests.jc1.engines.conftest import REPLY, SIZE, ThreadedEngine

DRAWS = 1536
UNLIKELY = 1e-3
"""A correct engine fails one in a thousand such tests; with fixed seeds, each of these either does or does not."""
SETTINGS: dict[str, dict[str, Any]] = {
    "temperature": {"temperature": 2.0},
    "top_k": {"temperature": 2.0, "top_k": 7},
    "top_p": {"temperature": 2.0, "top_p": 0.5},
    "min_p": {"temperature": 2.0, "min_p": 0.03},
    "all three": {"temperature": 2.0, "top_k": 60, "top_p": 0.8, "min_p": 0.02},
    "penalties": {"temperature": 1.5, "repetition_penalty": 1.5, "presence_penalty": 0.5, "frequency_penalty": 0.5},
    "bias": {"temperature": 2.0, "logit_bias": {5: 4.0, 9: 3.0}, "top_k": 12},
}


def known_logits(folder: Path, last: int) -> np.ndarray:
    """What the bigram model says after the token `last`."""
    from safetensors.numpy import load_file

    head = load_file(str(folder / "model.safetensors"))["lm_head.weight"]
    return head[:, last].astype(np.float64) * SIZE**0.5


async def drawn(
    engine: Engine, prompt: EnginePrompt, settings: Mapping[str, Any], *, tokens: int = 1, seeds: int = 0
) -> Counter[Any]:
    """The first tokens of many replies, whose seeds come after `seeds`."""

    async def batch(seed: int) -> list[tuple[int, ...]]:
        decoding = Decoding.parse({**settings, "n": 64, "seed": seeds + 1000 * seed, "max_tokens": tokens})
        replies: dict[int, tuple[int, ...]] = {}
        async with aclosing(engine.generate(prompt, decoding)) as steps:
            async for step in steps:
                replies[step.index] = (*replies.get(step.index, ()), *step.token_ids)
        return list(replies.values())

    found: Counter[Any] = Counter()
    for some in await asyncio.gather(*(batch(seed) for seed in range(DRAWS // 64))):
        found.update(some)
    return found


def pooled(observed: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same with rare outcomes thrown together, so that each is expected five times."""
    rare = expected < 5
    if not rare.any() or expected[rare].sum() == 0:
        return observed[~rare], expected[~rare]
    return np.append(observed[~rare], observed[rare].sum()), np.append(expected[~rare], expected[rare].sum())


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize("name", ["transformers", pytest.param("vllm", marks=pytest.mark.engines)])
async def test_tokens_are_drawn_as_the_order_of_the_filters_says(
    name: str, settings: dict[str, Any], bigram_model: Path, request: pytest.FixtureRequest
) -> None:
    engine: Engine
    if name == "vllm":
        engine = request.getfixturevalue("vllm_bigram")
    else:
        from jc1.engines.transformers.engine import TransformersEngine

        engine = TransformersEngine(EngineSettings(model=str(bigram_model)))
        await engine.start()
    prompt = EnginePrompt((), tuple(engine.tokenize([Message.user(REPLY)])))
    observed = await drawn(engine, prompt, settings)
    decoding = Decoding.parse(settings)
    scores = adjust(
        known_logits(bigram_model, prompt.token_ids[-1]),
        decoding,
        prompt=count_tokens(prompt.token_ids, SIZE),
        output=count_tokens([], SIZE),
    )
    probabilities = filtered(scores, decoding)
    counts = np.array([observed[(token,)] for token in range(SIZE)], dtype=float)
    assert counts.sum() == DRAWS
    assert counts[probabilities == 0].sum() == 0, "a token that the filters drop was drawn"
    found, expected = pooled(counts[probabilities > 0], probabilities[probabilities > 0] * DRAWS)
    assert len(found) > 3
    assert chisquare(found, expected).pvalue > UNLIKELY
    if name != "vllm":
        await engine.close()


@pytest.mark.engines
async def test_speculation_changes_no_distribution(vllm_tiny: ThreadedEngine, vllm_draft: ThreadedEngine) -> None:
    messages = [Message.user("My cat is called Ada.")]
    prompt = EnginePrompt(tuple(messages), tuple(vllm_tiny.tokenize(messages)))
    settings = {"temperature": 1.3}
    plain = await drawn(vllm_tiny, prompt, settings, tokens=3)
    speculated = await drawn(vllm_draft, prompt, settings, tokens=3, seeds=10**6)
    *_, last = [step async for step in vllm_draft.generate(prompt, Decoding(temperature=1.3, seed=1, max_tokens=20))]
    assert last.speculation["accepted"] > 0
    both = plain + speculated
    common = [reply for reply, count in both.items() if count >= 10]
    table = [[counter[reply] for reply in common] for counter in (plain, speculated)]
    table = [[*row, DRAWS - sum(row)] for row in table]
    assert len(common) > 5
    assert chi2_contingency(np.array(table)).pvalue > UNLIKELY
