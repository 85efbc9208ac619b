"""The reference sampler: what each filter keeps, what temperature does, and what a seed means."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from jc1.decoding import Decoding
from jc1.engines.sampling.reference import (
    Floats,
    adjust,
    check_bias,
    count_tokens,
    draw,
    filtered,
    log_probabilities,
    most_likely,
    uniforms,
)
from jc1.errors import InvalidDecoding

VOCAB = 12
# Rounded, so that ties happen.
logits = arrays.arrays(np.float64, VOCAB, elements=st.floats(-8, 8).map(lambda x: round(x, 1)))
temperatures = st.floats(0.05, 2.0)


def softmax(scores: Floats) -> Floats:
    weights = np.exp(scores - scores.max())
    return np.asarray(weights / weights.sum())


def no_tokens() -> np.ndarray:
    return count_tokens([], VOCAB)


@given(logits, temperatures)
def test_without_filters_the_probabilities_are_the_softmax_of_the_tempered_logits(scores: Floats, t: float) -> None:
    np.testing.assert_allclose(filtered(scores, Decoding(temperature=t)), softmax(scores / t), atol=1e-12)


@given(logits, temperatures, st.integers(1, VOCAB + 3))
def test_top_k_keeps_exactly_k_tokens_the_most_likely_ones_and_equals_by_lowest_id(
    scores: Floats, t: float, k: int
) -> None:
    kept = np.flatnonzero(filtered(scores, Decoding(temperature=t, top_k=k)))
    best = sorted(range(VOCAB), key=lambda token: (-softmax(scores / t)[token], token))[:k]
    assert len(kept) == min(k, VOCAB)
    assert softmax(scores / t)[kept].sum() == pytest.approx(softmax(scores / t)[best].sum())


@given(logits, temperatures, st.floats(0.01, 0.99))
def test_top_p_keeps_the_smallest_set_whose_mass_reaches_p(scores: Floats, t: float, p: float) -> None:
    whole = softmax(scores / t)
    kept = np.flatnonzero(filtered(scores, Decoding(temperature=t, top_p=p)))
    assert whole[kept].sum() >= p - 1e-9
    assert whole[kept].sum() - whole[kept].min() < p + 1e-9
    assert whole[kept].min() >= np.delete(whole, kept).max(initial=0.0) - 1e-12


@given(logits, temperatures, st.integers(1, VOCAB), st.floats(0.01, 0.99))
def test_top_p_measures_the_mass_of_what_top_k_left(scores: Floats, t: float, k: int, p: float) -> None:
    after_k = filtered(scores, Decoding(temperature=t, top_k=k))
    both = filtered(scores, Decoding(temperature=t, top_k=k, top_p=p))
    assert after_k[both > 0].sum() >= p - 1e-9
    assert set(np.flatnonzero(both)) <= set(np.flatnonzero(after_k))


@given(logits, temperatures, st.floats(0.0, 1.0))
def test_min_p_drops_what_is_less_likely_than_its_share_of_the_best(scores: Floats, t: float, share: float) -> None:
    whole = softmax(scores / t)
    kept = filtered(scores, Decoding(temperature=t, min_p=share)) > 0
    assert whole[kept].min() >= share * whole.max() * (1 - 1e-9)
    assert whole[~kept].max(initial=0.0) <= share * whole.max() * (1 + 1e-9)


@given(
    logits,
    st.builds(
        Decoding,
        temperature=st.one_of(st.just(0.0), temperatures),
        top_k=st.integers(0, VOCAB),
        top_p=st.floats(0.01, 1),
        min_p=st.floats(0, 1),
    ),
)
def test_whatever_the_filters_the_best_token_stays_and_the_rest_sums_to_one(scores: Floats, decoding: Decoding) -> None:
    probabilities = filtered(scores, decoding)
    assert probabilities.sum() == pytest.approx(1.0)
    assert probabilities[int(np.argmax(scores))] == probabilities.max() > 0
    kept = probabilities > 0
    np.testing.assert_allclose(
        probabilities[kept] / probabilities[kept].sum(), _renormalised(scores, decoding, kept), rtol=1e-9
    )


def _renormalised(scores: Floats, decoding: Decoding, kept: np.ndarray) -> Floats:
    return np.ones(1) if decoding.temperature == 0 else softmax(scores[kept] / decoding.temperature)


def whole_range(field: str) -> st.SearchStrategy[float]:
    """Return every number that a request may choose for a field of `Decoding`."""
    shown = Decoding.model_json_schema()["properties"][field]
    least = shown.get("minimum", shown.get("exclusiveMinimum"))
    return st.floats(least, shown["maximum"], exclude_min="exclusiveMinimum" in shown)


NUMBERS = ("temperature", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty")


@given(
    arrays.arrays(np.float32, VOCAB, elements=st.floats(-1e4, 1e4, width=32)),
    st.builds(Decoding, **{field: whole_range(field) for field in NUMBERS}),
    st.floats(0, 1, exclude_max=True),
)
def test_to_the_ends_of_all_ranges_there_is_a_token_to_draw(scores: Floats, decoding: Decoding, uniform: float) -> None:
    probabilities = filtered(
        adjust(scores, decoding, prompt=count_tokens([0, 1], VOCAB), output=count_tokens([1, 2, 2], VOCAB)), decoding
    )
    assert probabilities.sum() == pytest.approx(1.0)
    assert probabilities[draw(probabilities, uniform)] > 0


@given(logits)
def test_greedy_is_the_limit_of_temperature(scores: Floats) -> None:
    greedy = filtered(scores, Decoding())
    assert np.flatnonzero(greedy).tolist() == [int(np.argmax(scores))]
    cold = filtered(scores, Decoding(temperature=1e-9))
    best = scores == scores.max()
    np.testing.assert_allclose(cold, best / best.sum(), atol=1e-12)


@pytest.mark.parametrize("temperature", [5e-324, 1e-300, 1e-5])
def test_no_temperature_however_small_overflows(temperature: float) -> None:
    assert filtered([3.0, 9.0, -700.0], Decoding(temperature=temperature)).tolist() == [0.0, 1.0, 0.0]


@given(logits, st.floats(0, 1, exclude_max=True))
def test_a_draw_is_a_token_that_was_left(scores: Floats, uniform: float) -> None:
    probabilities = filtered(scores, Decoding(temperature=1.0, top_p=0.7))
    assert probabilities[draw(probabilities, uniform)] > 0


@given(logits)
def test_draws_come_as_often_as_the_probabilities_say(scores: Floats) -> None:
    probabilities = filtered(scores, Decoding(temperature=1.5, top_k=6))
    count = 500
    drawn = [draw(probabilities, (i + 0.5) / count) for i in range(count)]
    np.testing.assert_allclose(np.bincount(drawn, minlength=VOCAB) / count, probabilities, atol=1.5 / count)


def test_the_largest_number_below_one_still_draws_a_token_that_was_left() -> None:
    thirds = np.array([1 / 3, 1 / 3, 1 / 3, 0.0])
    assert draw(thirds, np.nextafter(1.0, 0.0)) == 2
    assert draw(thirds, 0.0) == 0


@given(st.integers(0, 2**63 - 1), st.integers(0, 63))
def test_the_same_seed_gives_the_same_numbers_and_each_choice_its_own(seed: int, choice: int) -> None:
    first = uniforms(seed, choice).random(4)
    assert first.tolist() == uniforms(seed, choice).random(4).tolist()
    assert first.tolist() != uniforms(seed, choice + 1).random(4).tolist()


def test_without_a_seed_no_two_requests_draw_alike() -> None:
    assert uniforms(None, 0).random(4).tolist() != uniforms(None, 0).random(4).tolist()


def test_the_bias_is_added_before_everything_else() -> None:
    scores = adjust(np.zeros(VOCAB), Decoding(logit_bias={3: 5.0, 4: -100.0}), prompt=no_tokens(), output=no_tokens())
    assert (scores[3], scores[4], scores[0]) == (5.0, -100.0, 0.0)


def test_a_bias_for_a_token_that_the_model_lacks_is_refused_with_the_last_id() -> None:
    check_bias(Decoding(logit_bias={VOCAB - 1: 1.0}), VOCAB)
    with pytest.raises(InvalidDecoding, match=f"token {VOCAB}: this model's ids end at {VOCAB - 1}") as caught:
        check_bias(Decoding(logit_bias={VOCAB: 1.0}), VOCAB)
    assert caught.value.param == "logit_bias"


def test_the_end_is_forbidden_until_min_tokens_were_written() -> None:
    decoding = Decoding(min_tokens=2, logit_bias={7: 100.0})
    for written, allowed in ((0, False), (1, False), (2, True)):
        scores = adjust(
            np.zeros(VOCAB), decoding, prompt=no_tokens(), output=count_tokens([0] * written, VOCAB), end_tokens=(7, 8)
        )
        assert np.isfinite(scores[[7, 8]]).all() == allowed


def test_the_repetition_penalty_divides_positive_and_multiplies_negative_logits_of_what_was_read_or_written() -> None:
    raw = np.array([4.0, -4.0, 4.0, -4.0])
    prompt, output = count_tokens([0, 0], 4), count_tokens([1], 4)
    scores = adjust(raw, Decoding(repetition_penalty=2.0), prompt=prompt, output=output)
    assert scores.tolist() == [2.0, -8.0, 4.0, -4.0]


def test_frequency_and_presence_look_at_the_output_alone() -> None:
    prompt, output = count_tokens([0, 0, 1], 4), count_tokens([1, 1, 1, 2], 4)
    decoding = Decoding(frequency_penalty=0.5, presence_penalty=1.0)
    assert adjust(np.zeros(4), decoding, prompt=prompt, output=output).tolist() == [0.0, -2.5, -1.5, 0.0]


def test_the_repetition_penalty_comes_before_the_other_two() -> None:
    decoding = Decoding(repetition_penalty=2.0, presence_penalty=1.0)
    scores = adjust(np.array([4.0, 0.0]), decoding, prompt=count_tokens([], 2), output=count_tokens([0], 2))
    assert scores.tolist() == [1.0, 0.0]


def test_the_models_own_logits_are_left_as_they_are() -> None:
    raw = np.zeros(VOCAB)
    adjust(raw, Decoding(logit_bias={0: 1.0}, min_tokens=1), prompt=no_tokens(), output=no_tokens(), end_tokens=(1,))
    assert not raw.any()


@given(logits)
def test_log_probabilities_are_normalised_and_ranked_with_equals_by_lowest_id(scores: Floats) -> None:
    logprobs = log_probabilities(scores)
    assert np.exp(logprobs).sum() == pytest.approx(1.0)
    assert most_likely(logprobs, 5) == sorted(range(VOCAB), key=lambda token: (-logprobs[token], token))[:5]
