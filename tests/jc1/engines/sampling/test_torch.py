"""The torch sampler against the reference, row by row and step by step."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from jc1.decoding import Decoding
from jc1.engines.sampling import reference as sampling
from jc1.engines.sampling.torch import TorchSampler, draw, filtered

VOCAB = 12
CPU = torch.device("cpu")
decodings = st.builds(
    Decoding,
    min_tokens=st.integers(0, 3),
    temperature=st.one_of(st.just(0.0), st.floats(1e-6, 2)),
    top_k=st.integers(0, VOCAB),
    top_p=st.floats(0.01, 1),
    min_p=st.floats(0, 1),
    repetition_penalty=st.floats(0.1, 2),
    presence_penalty=st.floats(-2, 2),
    frequency_penalty=st.floats(-2, 2),
    logit_bias=st.dictionaries(st.integers(0, VOCAB - 1), st.floats(-10, 10), max_size=3),
)
# Two rows, three steps; float32 as a model gives them, rounded so that ties happen.
steps = arrays.arrays(np.float32, (3, 2, VOCAB), elements=st.integers(-80, 80).map(lambda x: x / 8))


@settings(max_examples=200)
@given(decodings, steps, st.lists(st.integers(0, VOCAB - 1), max_size=6), st.integers(0, 2**32))
def test_every_token_drawn_is_the_one_that_the_reference_draws(
    decoding: Decoding, logits: np.ndarray, prompt: list[int], seed: int
) -> None:
    sampler = TorchSampler(decoding, vocab=VOCAB, prompts=[prompt, prompt], end_tokens=[1, 5], device=CPU)
    numbers = [sampling.uniforms(seed, row) for row in range(2)]
    written: list[list[int]] = [[], []]
    for step in logits:
        drawn = [generator.random() for generator in numbers]
        tokens = sampler.choose(torch.from_numpy(step), drawn).tolist()
        for row in range(2):
            scores = sampling.adjust(
                step[row],
                decoding,
                prompt=sampling.count_tokens(prompt, VOCAB),
                output=sampling.count_tokens(written[row], VOCAB),
                end_tokens=(1, 5),
            )
            assert tokens[row] == sampling.draw(sampling.filtered(scores, decoding), drawn[row])
            written[row].append(tokens[row])


@given(decodings, steps)
def test_the_filters_leave_the_same_tokens_with_the_same_probabilities(decoding: Decoding, logits: np.ndarray) -> None:
    left = filtered(torch.from_numpy(logits[0]).double(), decoding).numpy()
    for row in range(2):
        expected = sampling.filtered(logits[0, row], decoding)
        np.testing.assert_allclose(left[row] / left[row].sum(), expected, rtol=1e-9, atol=1e-200)


def test_a_number_at_the_very_end_draws_the_last_token_that_is_left() -> None:
    thirds = torch.tensor([[1.0, 1.0, 1.0, 0.0]], dtype=torch.float64) / 3
    assert draw(thirds, [float(np.nextafter(1.0, 0.0))]).tolist() == [2]


def test_the_models_logits_are_left_as_they_are() -> None:
    logits = torch.zeros(1, VOCAB)
    decoding = Decoding(logit_bias={0: 3.0}, min_tokens=1, frequency_penalty=1.0, repetition_penalty=1.5)
    TorchSampler(decoding, vocab=VOCAB, prompts=[[2]], end_tokens=[1], device=CPU).choose(logits, [0.5])
    assert not logits.any()
