"""What a request may choose, what it may not, and how a mistake is told."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from jc1.decoding import Decoding
from jc1.errors import InvalidDecoding


def test_the_defaults_are_greedy_and_choose_nothing() -> None:
    assert Decoding().greedy
    assert Decoding().chosen == {}


def test_the_defaults_are_one_reply_of_the_model_s_own_making() -> None:
    plain = Decoding()
    assert (plain.max_tokens, plain.min_tokens, plain.n, plain.beam_width, plain.length_penalty) == (256, 0, 1, 1, 1)
    assert (plain.top_k, plain.top_p, plain.min_p) == (0, 1, 0)
    assert (plain.repetition_penalty, plain.presence_penalty, plain.frequency_penalty) == (1, 0, 0)
    assert (plain.logit_bias, plain.stop, plain.choice) == ({}, (), ())
    assert plain.seed is plain.logprobs is plain.json_schema is plain.regex is None


def test_a_draw_and_a_beam_search_are_not_greedy() -> None:
    assert not Decoding(temperature=0.5).greedy
    assert not Decoding(beam_width=2).greedy


def test_only_what_differs_from_the_defaults_counts_as_chosen() -> None:
    decoding = Decoding.parse({"temperature": 0.7, "top_k": 0, "stop": "END", "logprobs": 0})
    assert decoding.chosen == {"temperature": 0.7, "stop": ("END",), "logprobs": 0}


def test_what_was_checked_stays_as_it_is() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Decoding().n = 0  # type: ignore[misc]


RANGES: dict[str, tuple[list[Any], list[Any]]] = {
    "max_tokens": ([1, 10**6], [0]),
    "min_tokens": ([0, 256], [-1]),
    "temperature": ([0, 2], [-0.01, 2.01, float("nan"), "hot"]),
    "top_k": ([0, 10**6], [-1, 1.5]),
    "top_p": ([0.01, 1], [0, 1.01]),
    "min_p": ([0, 1], [-0.01, 1.01]),
    "repetition_penalty": ([0.01, 2], [0, 5e-324, 0.0099, 2.01]),
    "presence_penalty": ([-2, 2], [-2.01, 2.01]),
    "frequency_penalty": ([-2, 2], [-2.01, 2.01]),
    "logit_bias": ([{0: -100, 7: 100}], [{-1: 1}, {5: 100.5}, {5: -100.5}, {5: 1, 6: 101}]),
    "seed": ([0, 2**63 - 1], [-1, 2**63]),
    "n": ([1, 64], [0, 65]),
    "beam_width": ([1, 32], [0, 33]),
    "length_penalty": ([-5, 5], [-5.01, 5.01]),
    "stop": ([None, "x", ["x"] * 16], [["x"] * 17, ["x", ""]]),
    "logprobs": ([0, 20], [-1, 21]),
    "regex": (["a"], [""]),
}
"""What each field takes, to its ends, and what it does not."""
BESIDE = {"n": {"temperature": 1}, "length_penalty": {"beam_width": 2}}
"""What some fields mean nothing without."""


@pytest.mark.parametrize("field", RANGES)
def test_a_value_is_taken_to_the_ends_of_its_range_and_refused_by_name_beyond(field: str) -> None:
    allowed, refused = RANGES[field]
    for value in allowed:
        Decoding.parse({field: value, **BESIDE.get(field, {})})
    for value in refused:
        with pytest.raises(InvalidDecoding) as caught:
            Decoding.parse({field: value, **BESIDE.get(field, {})})
        assert caught.value.param == field, value
        assert caught.value.message.endswith(".")
        assert "pydantic" not in caught.value.message


def test_an_unknown_field_is_refused_by_name() -> None:
    with pytest.raises(InvalidDecoding) as caught:
        Decoding.parse({"heat": 1})
    assert caught.value.param == "heat"


def test_a_message_tells_what_would_be_right() -> None:
    with pytest.raises(InvalidDecoding, match=r"'temperature' should be less than or equal to 2\."):
        Decoding.parse({"temperature": 3})
    with pytest.raises(InvalidDecoding, match=r"'temperature' should be a finite number\."):
        Decoding.parse({"temperature": float("inf")})
    with pytest.raises(InvalidDecoding, match=r"Unknown field 'heat': known are max_tokens, min_tokens, temperature"):
        Decoding.parse({"heat": 3})


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"min_tokens": 300}, "'min_tokens' must not exceed 'max_tokens'"),
        ({"length_penalty": 0.5}, "needs 'beam_width' above 1"),
        ({"beam_width": 2, "n": 3}, "^'n' must not exceed 'beam_width'"),
        ({"n": 2}, "greedy replies are all alike"),
    ],
)
def test_fields_that_contradict_each_other_are_refused_with_the_reason(values: dict[str, int], reason: str) -> None:
    with pytest.raises(InvalidDecoding, match=reason):
        Decoding.parse(values)


@pytest.mark.parametrize(
    "values",
    [
        {"temperature": 0.5}, {"top_k": 2}, {"top_p": 0.5}, {"min_p": 0.5}, {"repetition_penalty": 1.5},
        {"presence_penalty": 1}, {"frequency_penalty": 1}, {"logit_bias": {1: 1}}, {"seed": 0}, {"stop": "END"},
        {"logprobs": 0}, {"json_schema": {}}, {"regex": "a"}, {"choice": ["a"]},
    ],
    ids=repr,
)  # fmt: skip
def test_a_search_for_the_most_likely_replies_takes_nothing_that_makes_others_likelier(values: dict[str, Any]) -> None:
    assert Decoding.parse(values).beam_width == 1
    with pytest.raises(InvalidDecoding, match=f"cannot take '{next(iter(values))}'"):
        Decoding.parse({"beam_width": 2, **values})


def test_a_reply_is_confined_to_one_form() -> None:
    for one, other in combinations([{"json_schema": {}}, {"regex": "a"}, {"choice": ["a"]}], 2):
        with pytest.raises(InvalidDecoding, match="both say what the reply looks like"):
            Decoding.parse({**one, **other})


def test_several_replies_are_drawn_or_are_beams() -> None:
    assert Decoding.parse({"n": 2, "temperature": 0.5}).n == 2
    assert Decoding.parse({"n": 2, "beam_width": 2}).n == 2


def test_json_keys_of_the_bias_are_read_as_token_ids() -> None:
    assert Decoding.parse({"logit_bias": {"42": -100}}).logit_bias == {42: -100.0}


@given(
    st.builds(
        Decoding,
        temperature=st.floats(0.01, 2),
        top_k=st.integers(0, 2**31 - 1),
        stop=st.lists(st.text(min_size=1), max_size=3),
    )
)
def test_what_was_chosen_is_all_it_takes_to_say_it_again(decoding: Decoding) -> None:
    assert Decoding.parse(decoding.chosen) == decoding
