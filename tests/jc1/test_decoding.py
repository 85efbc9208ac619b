"""What a request may choose, what it may not, and how a mistake is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jc1.decoding import Decoding
from jc1.errors import InvalidDecoding


def test_the_defaults_are_greedy_and_choose_nothing() -> None:
    assert Decoding().greedy
    assert Decoding().chosen == {}


def test_only_what_differs_from_the_defaults_counts_as_chosen() -> None:
    decoding = Decoding.parse({"temperature": 0.7, "top_k": 0, "stop": "END", "logprobs": 0})
    assert decoding.chosen == {"temperature": 0.7, "stop": ("END",), "logprobs": 0}


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"temperature": -1}, "temperature"),
        ({"temperature": 2.5}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"top_k": 1.5}, "top_k"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": 65}, "n"),
        ({"seed": 2**63}, "seed"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"logit_bias": {-1: 1.0}}, "logit_bias"),
        ({"logit_bias": {5: 101.0}}, "logit_bias"),
        ({"stop": ["a", ""]}, "stop"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"logprobs": 21}, "logprobs"),
        ({"heat": 1}, "heat"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(values: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidDecoding) as caught:
        Decoding.parse(values)
    assert caught.value.param == field
    assert caught.value.message.endswith(".")
    assert "pydantic" not in caught.value.message


def test_a_message_tells_what_would_be_right() -> None:
    with pytest.raises(InvalidDecoding, match=r"'temperature' should be less than or equal to 2\."):
        Decoding.parse({"temperature": 3})
    with pytest.raises(InvalidDecoding, match=r"Unknown field 'heat': known are max_tokens, min_tokens, temperature"):
        Decoding.parse({"heat": 3})


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"min_tokens": 300}, "'min_tokens' must not exceed 'max_tokens'"),
        ({"beam_width": 4, "temperature": 0.5}, "cannot take 'temperature'"),
        ({"beam_width": 4, "stop": "END"}, "cannot take 'stop'"),
        ({"length_penalty": 0.5}, "needs 'beam_width' above 1"),
        ({"beam_width": 2, "n": 3}, "^'n' must not exceed 'beam_width'"),
        ({"n": 2}, "greedy replies are all alike"),
    ],
)
def test_fields_that_contradict_each_other_are_refused_with_the_reason(values: dict[str, int], reason: str) -> None:
    with pytest.raises(InvalidDecoding, match=reason):
        Decoding.parse(values)


def test_a_request_goes_before_its_preset_field_by_field() -> None:
    preset = Decoding.parse({"temperature": 0.9, "top_p": 0.8})
    merged = Decoding.parse({"temperature": 0.1}, preset)
    assert (merged.temperature, merged.top_p) == (0.1, 0.8)


def test_json_keys_of_the_bias_are_read_as_token_ids() -> None:
    assert Decoding.parse({"logit_bias": {"42": -100}}).logit_bias == {42: -100.0}


@given(
    st.builds(
        Decoding, temperature=st.floats(0.01, 2), top_k=st.integers(0), stop=st.lists(st.text(min_size=1), max_size=3)
    )
)
def test_what_was_chosen_is_all_it_takes_to_say_it_again(decoding: Decoding) -> None:
    assert Decoding.parse(decoding.chosen) == decoding
