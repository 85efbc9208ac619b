"""The search itself against exhaustive and greedy search on toy vocabularies, and two engines against each other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jc1.decoding import Decoding
from jc1.engines.base import Engine, EnginePrompt, Step
from jc1.engines.echo import EchoEngine
from jc1.engines.sampling.beam import Beam, BeamSearch
from jc1.engines.sampling.reference import log_probabilities
from jc1.engines.settings import EngineSettings
from jc1.messages import Message

LETTERS = (b"a", b"b", b"c")
END = len(LETTERS)
HI = (Message.user("hi"),)


def toy(seed: int) -> np.ndarray:
    """Logits by last two tokens (a third row and column stands for "none yet"), shape (4, 4, 4)."""
    return np.random.default_rng(seed).normal(0.0, 1.5, (4, 4, 4))


def logprobs_after(table: np.ndarray, written: Sequence[int]) -> np.ndarray:
    before, last = [END, END, *written][-2:]
    return log_probabilities(table[before, last])


def every_sequence(table: np.ndarray, limit: int, min_tokens: int) -> list[tuple[tuple[int, ...], float]]:
    """All sequences that end by their end token or at the limit, with the sum of their log probabilities."""
    found = []
    for length in range(limit + 1):
        for letters in itertools.product(range(END), repeat=length):
            total = sum(float(logprobs_after(table, letters[:i])[t]) for i, t in enumerate(letters))
            if length < limit and length >= min_tokens:
                found.append(((*letters, END), total + float(logprobs_after(table, letters)[END])))
            if length == limit:
                found.append((letters, total))
    return found


def search(table: np.ndarray, decoding: Decoding, limit: int) -> tuple[list[Beam], int]:
    """The best beams and how many steps that took."""
    beams, steps = BeamSearch(decoding, limit=limit, end_tokens=(END,)), 0
    while not beams.done:
        ranked = [np.argsort(-logprobs_after(table, beam.token_ids))[: beams.candidates] for beam in beams.live]
        values = [logprobs_after(table, beam.token_ids) for beam in beams.live]
        beams.step([[(int(i), float(v[i])) for i in order] for order, v in zip(ranked, values, strict=True)])
        steps += 1
    return beams.best, steps


@given(
    st.integers(0, 10_000),
    st.sampled_from([-1.0, 0.0, 0.6, 1.0, 2.0]),
    st.integers(1, 4),
    st.integers(0, 3),
)
def test_at_full_width_it_finds_what_exhaustive_search_finds(seed: int, penalty: float, n: int, least: int) -> None:
    table = toy(seed)
    ranked = sorted(every_sequence(table, 3, least), key=lambda found: -found[1] / len(found[0]) ** penalty)
    best, _ = search(table, Decoding(beam_width=27, n=n, length_penalty=penalty, min_tokens=least), 3)
    assert [beam.token_ids for beam in best] == [tokens for tokens, _ in ranked[:n]]
    assert [beam.logprob for beam in best] == pytest.approx([total for _, total in ranked[:n]])


@given(st.integers(0, 10_000), st.integers(2, 6), st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0]))
def test_stopping_early_changes_no_result(seed: int, width: int, penalty: float) -> None:
    class Patient(BeamSearch):
        @property
        def done(self) -> bool:
            return not self.live

    table, decoding = toy(seed), Decoding(beam_width=width, length_penalty=penalty)
    early, _ = search(table, decoding, 8)
    patient = Patient(decoding, limit=8, end_tokens=(END,))
    while not patient.done:
        found = []
        for beam in patient.live:
            values = logprobs_after(table, beam.token_ids)
            found.append([(int(i), float(values[i])) for i in np.argsort(-values)[: patient.candidates]])
        patient.step(found)
    assert early == patient.best


def test_it_does_stop_early() -> None:
    table = toy(1)
    table[:, :, END] += 6.0
    _, steps = search(table, Decoding(beam_width=2, length_penalty=0.0), 50)
    assert steps < 5


@given(st.integers(0, 10_000))
def test_one_live_sequence_is_the_greedy_one_until_that_ends(seed: int) -> None:
    table = toy(seed)
    beams, greedy = BeamSearch(Decoding(), limit=8, end_tokens=(END,)), ()
    for _ in range(7):
        values = logprobs_after(table, greedy)
        order = [int(i) for i in np.argsort(-values)]
        if order[0] == END:
            break
        beams.step([[(i, float(values[i])) for i in order[: beams.candidates]]])
        greedy = (*greedy, order[0])
        assert [beam.token_ids for beam in beams.live] == [greedy]


async def beams_of(engine: Engine, **decoding: object) -> list[Step]:
    await engine.start()
    prompt = EnginePrompt(HI, tuple(engine.tokenize(HI)))
    try:
        async with aclosing(engine.generate(prompt, Decoding.parse(decoding))) as steps:
            return [step async for step in steps]
    finally:
        await engine.close()


async def test_the_echo_engine_at_full_width_is_exhaustive_search() -> None:
    table = toy(7)

    def logits(tokens: Sequence[int]) -> np.ndarray:
        written = tokens[len(prompt) :]
        before, last = [END, END, *written][-2:]
        return table[before, last]

    engine = EchoEngine(logits=logits, vocabulary=LETTERS)
    prompt = engine.tokenize(HI)
    steps = await beams_of(engine, beam_width=27, n=5, length_penalty=0.5, max_tokens=3)
    ranked = sorted(every_sequence(table, 3, 0), key=lambda found: -found[1] / len(found[0]) ** 0.5)
    assert [step.token_ids for step in steps] == [tokens for tokens, _ in ranked[:5]]
    assert [step.score for step in steps] == pytest.approx([total / len(t) ** 0.5 for t, total in ranked[:5]])


@pytest.mark.parametrize(("width", "penalty"), [(2, 0.0), (4, 1.0)])
async def test_the_transformers_engine_finds_what_a_search_without_its_cache_finds(
    random_model: Path, width: int, penalty: float
) -> None:
    import torch
    from transformers import LlamaForCausalLM

    from jc1.engines.transformers.engine import TransformersEngine

    engine = TransformersEngine(EngineSettings(model=str(random_model)))
    found = await beams_of(engine, beam_width=width, n=2, length_penalty=penalty, max_tokens=12)

    model = LlamaForCausalLM.from_pretrained(random_model, local_files_only=True).eval()
    from jc1.tokenizer.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(random_model)
    prompt = tokenizer.chat(HI)
    search = BeamSearch(
        Decoding(beam_width=width, n=2, length_penalty=penalty), limit=12, end_tokens=tokenizer.end_tokens
    )
    with torch.inference_mode():
        while not search.done:
            rows = [model(torch.tensor([[*prompt, *beam.token_ids]])).logits[0, -1] for beam in search.live]
            ranked = [torch.log_softmax(row.double(), dim=0).sort(descending=True, stable=True) for row in rows]
            search.step(
                [list(zip(r.indices.tolist(), r.values.tolist(), strict=True))[: search.candidates] for r in ranked]
            )
    assert [step.token_ids for step in found] == [beam.token_ids for beam in search.best]
    assert [step.score for step in found] == pytest.approx([beam.score(penalty) for beam in search.best], abs=1e-4)
