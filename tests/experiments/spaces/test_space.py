"""Spaces: what a file may say, what it stands for, and that everything wrong with it is told at once."""

from __future__ import annotations

import json
import random
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jc1.decoding import Decoding
from jc1.errors import InvalidDecoding, InvalidSpace
from jc1.prompt import DEFAULT_SYSTEM
from jc1_lab.records.trials import TrialSettings
from jc1_lab.spaces.constraints import Expression
from jc1_lab.spaces.dimensions import Choices, Range
from jc1_lab.spaces.space import MAX_COUNTED, Space, key

PLAIN = TrialSettings()
EXAMPLE = Path(__file__).parents[3] / "experiments" / "example_space.yaml"


def written(folder: Path, text: str) -> Path:
    path = folder / "space.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refused(raw: Any) -> str:
    with pytest.raises(InvalidSpace) as caught:
        Space.parse(raw)
    return caught.value.message


def test_the_example_holds_six_trials_over_a_baseline_without_memory_and_survives_being_described() -> None:
    space = Space.load(EXAMPLE)
    assert space.size == 6
    assert isinstance(space.baseline, TrialSettings)
    assert space.baseline.retrieval == {"k": 0}
    assert space.objectives == {"score": "max"}
    assert space.engines() == [{}]
    assert Space.parse(json.loads(json.dumps(space.describe()))) == space


def test_a_value_is_fixed_a_list_gives_choices_and_a_range_counts_in_steps() -> None:
    space = Space.parse(
        {"decoding": {"max_tokens": 64, "top_k": [0, 40, 40], "temperature": {"low": 0, "high": 0.3, "step": 0.1}}}
    )
    assert space.dimensions["max_tokens"].values == (64,)
    assert space.dimensions["top_k"].values == (0, 40)
    assert space.dimensions["temperature"].values == (0.0, 0.1, 0.2, 0.3)
    assert space.size == 8


@pytest.mark.parametrize(
    ("raw", "values"),
    [
        ({"low": 1, "high": 6, "step": 2}, (1, 3, 5)),
        ({"low": 1, "high": 4}, (1, 2, 3, 4)),
        ({"low": 1, "high": 8, "log": True}, tuple(range(1, 9))),
        ({"low": 5, "high": 5}, (5,)),
    ],
)
def test_a_range_of_whole_numbers_holds_whole_numbers(raw: dict[str, Any], values: tuple[int, ...]) -> None:
    found = Space.parse({"decoding": {"top_k": raw}}).dimensions["top_k"]
    assert found.values == values
    assert all(isinstance(value, int) for value in values)


def test_yaml_s_off_is_the_word_where_a_setting_is_a_word(tmp_path: Path) -> None:
    space = Space.load(written(tmp_path, 'engine:\n  speculation: [off, "ngram:4"]\n  quantization: no\n'))
    assert space.engines() == [
        {"speculation": "off", "quantization": ""},
        {"speculation": "ngram:4", "quantization": ""},
    ]
    assert "quotes" in refused({"engine": {"dtype": [True]}})


def test_numbers_that_yaml_reads_as_text_are_numbers(tmp_path: Path) -> None:
    space = Space.load(written(tmp_path, "decoding: {temperature: 0.5, min_p: [1e-2, 5e-2]}"))
    assert space.dimensions["min_p"].values == (0.01, 0.05)


def test_system_prompts_are_texts_or_have_names_and_null_is_jc1_s_own() -> None:
    named = Space.parse({"system": {"own": None, "brief": "Answer in one word."}})
    assert named.points() == [{"system": "own"}, {"system": "brief"}]
    assert [named.settings(point, TrialSettings()).system for point in named.points() or []] == [
        DEFAULT_SYSTEM,
        "Answer in one word.",
    ]
    listed = Space.parse({"system": [None, "Answer in one word."]})
    assert listed.points() == [{"system": DEFAULT_SYSTEM}, {"system": "Answer in one word."}]
    assert Space.parse(named.describe()) == named
    assert Space.parse(listed.describe()) == listed


def test_without_memory_the_rest_of_retrieval_makes_no_further_trials() -> None:
    space = Space.parse({"retrieval": {"memory": [True, False], "k": [2, 8], "window": [0, 1]}})
    assert space.size == 5
    without = {"retrieval.memory": False}
    assert without in (space.points() or [])
    assert space.settings(without, TrialSettings(retrieval={"k": 4, "window": 2})).retrieval == {"k": 0}


def test_recalling_nothing_is_no_memory() -> None:
    assert Space.parse({"retrieval": {"k": [0, 4], "window": [0, 1]}}).size == 3
    both = Space.parse({"retrieval": {"memory": [True, False], "k": [0, 4]}})
    assert both.points() == [{"retrieval.memory": False}, {"retrieval.memory": True, "retrieval.k": 4}]


def test_memory_switched_on_does_not_keep_a_baseline_s_k_of_0() -> None:
    space = Space.parse({"retrieval": {"memory": [True, False]}})
    base = TrialSettings(retrieval={"k": 0})
    assert space.settings({"retrieval.memory": True}, base).retrieval == {}
    assert space.settings({"retrieval.memory": False}, base).retrieval == {"k": 0}


def test_a_point_is_laid_over_the_baseline() -> None:
    space = Space.parse({"decoding": {"temperature": [0.5, 1]}, "engine": {"dtype": ["float32"]}})
    base = TrialSettings(decoding={"temperature": 0.1, "top_p": 0.9}, system="Be kind.", engine={"dtype": "auto"})
    assert space.settings({"temperature": 0.5, "engine.dtype": "float32"}, base) == TrialSettings(
        decoding={"temperature": 0.5, "top_p": 0.9}, system="Be kind.", engine={"dtype": "float32"}
    )
    with pytest.raises(InvalidSpace, match="no dimension 'top_k'"):
        space.settings({"top_k": 3}, base)
    with pytest.raises(InvalidDecoding):
        Space.parse({"decoding": {"beam_width": [4]}}).settings({"beam_width": 4}, base)


def test_what_decoding_refuses_in_company_is_skipped_and_counted() -> None:
    raw: dict[str, Any] = {"decoding": {"temperature": [0, 0.7], "beam_width": [1, 4]}}
    space = Space.parse(raw).over(PLAIN)
    assert space.size == 3
    assert space.skipped().startswith("1 of 4 combinations are no trials: Beam search looks for")
    ruled_out = Space.parse(raw | {"constraints": ["temperature == 0 or beam_width == 1"]}).over(PLAIN)
    assert (ruled_out.size, ruled_out.skipped()) == (3, "")


def test_of_a_space_that_cannot_be_counted_it_is_counted_among_some_drawn_at_random() -> None:
    raw = {"decoding": {"temperature": {"low": 0.1, "high": 1}, "beam_width": [1, 4]}}
    found = re.match(r"([\d,]+) of 2,000 combinations drawn at random are no trials: Beam", Space.parse(raw).skipped())
    assert found
    assert 900 < int(found[1].replace(",", "")) < 1100


def test_a_baseline_of_the_space_counts_when_combinations_are_judged() -> None:
    raw: dict[str, Any] = {"decoding": {"beam_width": [1, 4]}}
    assert Space.parse(raw).size == 2
    assert Space.parse(raw | {"baseline": {"decoding": {"temperature": 0.7}}}).size == 1


@pytest.mark.parametrize(
    ("decoding", "base", "size"),
    [
        ({"n": [2, 4]}, {"temperature": 0.8}, 2),
        ({"n": [1, 4]}, {"temperature": 0.8}, 2),
        ({"n": [1, 4]}, {}, 1),
        ({"length_penalty": [0.5, 1, 2]}, {"beam_width": 4}, 3),
        ({"min_tokens": [0, 300]}, {"max_tokens": 512}, 2),
        ({"beam_width": [1, 4]}, {"temperature": 0.8}, 1),
    ],
)
@pytest.mark.parametrize("own", ["creative", {"decoding": {}}, None])
def test_combinations_are_judged_over_the_baseline_that_is_used(
    decoding: dict[str, Any], base: dict[str, Any], size: int, own: Any
) -> None:
    space = Space.parse({"decoding": decoding, "baseline": own}).over(TrialSettings(decoding=base))
    assert space.size == len(space.points() or []) == size
    assert bool(space.skipped()) == (size < len(*decoding.values()))
    assert space.describe() == Space.parse({"decoding": decoding, "baseline": own}).describe()


def test_a_space_of_which_the_baseline_leaves_nothing_is_told() -> None:
    space = Space.parse({"decoding": {"beam_width": [2, 4]}})
    with pytest.raises(InvalidSpace, match='left to try over the baseline: 2 fail "Beam search'):
        space.over(TrialSettings(decoding={"temperature": 0.8}))


def test_biases_of_tokens_may_differ_between_trials() -> None:
    for raw in ({5: -1}, {"5": -1}):
        space = Space.parse({"decoding": {"logit_bias": [raw, {}]}})
        assert space.points() == [{"logit_bias": {"5": -1.0}}, {"logit_bias": {}}]
        assert Space.parse(json.loads(json.dumps(space.describe()))) == space
        found = space.settings({"logit_bias": {"5": -1.0}})
        assert Decoding.parse(found.decoding).logit_bias == {5: -1.0}
    assert Space.parse({"decoding": {"logit_bias": {5: -1}}}).size == 1
    assert "token ids are 0 or more" in refused({"decoding": {"logit_bias": {-5: 1}}})


def test_constraints_are_kept_and_see_the_parts_of_retrieval_and_engine() -> None:
    raw: dict[str, Any] = {
        "decoding": {"temperature": [0, 0.7], "top_p": [0.9, 1]},
        "retrieval": {"memory": [True, False], "k": [2, 8]},
        "engine": {"speculation": ["off", "ngram:4"]},
        "constraints": [
            "temperature > 0 or top_p == 1",
            "retrieval.k <= 2",
            "engine.speculation == 'off' or temperature == 0",
        ],
    }
    points = Space.parse(raw).points() or []
    assert len(points) == 8
    assert all(point["temperature"] > 0 or point["top_p"] == 1 for point in points)
    assert all(point.get("retrieval.k", 0) <= 2 for point in points)
    assert {point["retrieval.memory"] for point in points} == {True, False}
    speculating = Space.parse(raw).points({"speculation": "ngram:4"}) or []
    assert [point["temperature"] for point in speculating] == [0, 0]


def test_an_engine_that_no_trial_needs_is_not_started() -> None:
    finite = {"engine": {"dtype": ["float32", "bfloat16"]}, "constraints": ["engine.dtype != 'bfloat16'"]}
    assert Space.parse(finite).engines() == [{"dtype": "float32"}]
    continuous = finite | {"decoding": {"temperature": {"low": 0, "high": 1}}}
    assert Space.parse(continuous).engines() == [{"dtype": "float32"}]


def test_a_function_may_be_a_constraint_but_is_not_described() -> None:
    def warm(point: dict[str, Any]) -> bool:
        return bool(point["temperature"] > 0.5)

    space = Space.parse({"decoding": {"temperature": [0, 0.7, 1]}, "constraints": [warm, "temperature < 1"]})
    assert space.points() == [{"temperature": 0.7}]
    assert space.describe()["constraints"] == ["temperature < 1"]


def test_everything_that_is_wrong_is_told_at_once_with_file_dimension_and_reason(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        decoding: {temperature: [0.5, 3, hot], warmth: 1, seed: 4, top_p: {low: 0, high: 1}, stop: {low: 1, high: 2}}
        retrieval: {k: 101, weights: {}, stopwords: maybe}
        engine: {api_key: hidden-value, dtype: [float8], speculation: warp}
        system: [3]
        constraints: [temperature = 1, top_k > 3]
        objectives: {score: upwards}
        baseline: {decoding: {temperature: [0, 1]}, extra: 1}
        colour: red
        """,
    )
    with pytest.raises(InvalidSpace) as caught:
        Space.load(path)
    told = caught.value.message
    for part in (
        str(path),
        "temperature: 3 should be less than or equal to 2; 'hot' should be a valid number",
        "decoding has no 'warmth': known are max_tokens,",
        "decoding may not set seed",
        "top_p: low 0 should be greater than 0",
        "stop: is no number",
        "retrieval.k: 101 should be less than or equal to 100",
        "retrieval has no 'weights': known are k, window, stopwords, memory",
        "retrieval.stopwords: 'maybe'",
        "engine may not set api_key",
        "engine.dtype: 'float8'",
        "engine.speculation: 'warp' say off, ngram:4",
        "system: 3 should be a text",
        "'temperature = 1' is no expression",
        "'top_k > 3' names 'top_k', which this space does not set",
        "objectives: 'score' is 'upwards'",
        "baseline.decoding.temperature: [0, 1]",
        "baseline has no 'extra'",
        "'colour' is no section",
    ):
        assert part in told, part
    assert "hidden-value" not in told


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ({"low": 1}, "needs high"),
        ({"low": 1, "high": 0}, "low 1 is above high 0"),
        ({"low": 0, "high": 1, "stride": 1}, "no 'stride'"),
        ({"low": 0, "high": 1, "step": 0}, "step should be a number above 0"),
        ({"low": 0, "high": 1, "step": True}, "step should be a number above 0"),
        ({"low": 0, "high": 1, "log": True}, "begins above 0"),
        ({"low": 0.1, "high": 1, "log": True, "step": 0.1}, "not both"),
        ({"low": 0, "high": 9}, "high 9 should be less than or equal to 2"),
        ([], "the list is empty"),
        (True, "should be a number"),
    ],
)
def test_a_range_or_list_that_makes_no_sense_is_told(raw: Any, reason: str) -> None:
    assert reason in refused({"decoding": {"temperature": raw}})


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ([], "is no space"),
        ({}, "nothing is set"),
        ({"decoding": [1]}, "decoding should be a mapping"),
        ({"engine": {"gpu_memory_utilization": {"low": 0.5, "high": 0.9}}}, "a range with a step"),
        ({"engine": {"max_model_len": {"low": 1, "high": 2_000_000_000}}}, "2,000,000,000 combinations"),
        ({"engine": {"engine_args": {"hf_token": "x"}}}, "may be a secret"),
        ({"decoding": {"max_tokens": 10**21}}, "less than or equal to 2147483647"),
        ({"decoding": {"json_schema": {"maximum": 10**21}}}, "more than 64 bits"),
        ({"system": "a\ud800b"}, "not Unicode"),
        ({"decoding": {"json_schema": {"properties": {1: {}}}}}, "a key is no text"),
        ({"decoding": {"temperature": 0}, "baseline": {"decoding": {"n": 4}}}, "baseline.decoding: 'n' above 1"),
        ({"decoding": {"temperature": 0}, "baseline": 3}, "baseline should be a preset's name"),
    ],
    ids=str,
)
def test_a_space_that_makes_no_sense_is_told(raw: Any, reason: str) -> None:
    assert reason in refused(raw)


@pytest.mark.parametrize(
    ("decoding", "constraint", "reason"),
    [
        ({"temperature": [0]}, "temperature > 1", "1 fail 'temperature > 1'"),
        ({"temperature": {"low": 0, "high": 1}}, "temperature > 1", "2000 fail"),
        ({"temperature": [0]}, "1 / temperature > 1", "no answer (ZeroDivisionError)"),
        ({"temperature": [0]}, lambda point: point["nothing"], "<lambda> fails"),
        ({"temperature": [0.7], "beam_width": [4]}, "True", '1 fail "Beam search'),
    ],
    ids=["one point", "a continuous space", "a condition that raises", "a function that raises", "no beams drawn"],
)
def test_a_space_that_leaves_nothing_to_try_is_told(decoding: Any, constraint: Any, reason: str) -> None:
    with pytest.raises(InvalidSpace) as caught:
        Space.parse({"decoding": decoding, "constraints": [constraint]}).over(PLAIN)
    assert reason in caught.value.message


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpace, match=r"missing\.yaml cannot be read"):
        Space.load(tmp_path / "missing.yaml")
    with pytest.raises(InvalidSpace, match="not YAML, line 1"):
        Space.load(written(tmp_path, "decoding: {temperature: ["))
    (tmp_path / "space.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidSpace, match="not UTF-8"):
        Space.load(tmp_path / "space.yaml")


def test_a_space_too_large_to_count_is_as_a_continuous_one() -> None:
    space = Space.parse({"decoding": {"top_k": {"low": 0, "high": MAX_COUNTED}}})
    assert space.size is None
    assert space.points() is None
    assert not space.continuous
    continuous = Space.parse({"decoding": {"temperature": {"low": 0, "high": 1}}})
    assert continuous.size is None
    assert continuous.continuous


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "().__class__",
        "retrieval.k.real",
        "9 ** 9 ** 9",
        "'%09999999d' % 1 == ''",
        "[x for x in (1, 2)]",
        "(lambda: 1)()",
        "f'{temperature:>9999999}'",
        "a := 1",
        "temperature > 0; top_p > 0",
        "(" * 300,
        "",
        "temperature > 0 or " * 40 + "True",
    ],
)
def test_an_expression_can_do_nothing_but_compare(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no expression|holds|longer"):
        Expression.parse(text)


def test_a_dot_reaches_dimensions_only() -> None:
    for text in ("retrieval.items", "temperature.__class__", "temperature.real"):
        expression = Expression.parse(text)
        assert expression.names == {text}
        with pytest.raises(ValueError, match="no answer"):
            expression.holds({"retrieval.k": 3, "temperature": 0.5})
    assert Expression.parse("retrieval.k in (3, 4) and not temperature").holds({"retrieval.k": 3, "temperature": 0})


numbers = st.floats(0.01, 2, allow_nan=False)


@given(low=numbers, high=numbers, log=st.booleans(), seed=st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_what_is_drawn_from_a_range_lies_in_it(low: float, high: float, log: bool, seed: int) -> None:
    low, high = sorted((low, high))
    one = Range(low, high, log=log)
    generator = random.Random(seed)
    assert all(low <= one.draw(generator) <= high for _ in range(20))


@given(
    temperatures=st.lists(st.sampled_from([0.0, 0.3, 0.7, 1.0]), min_size=1, max_size=4),
    top_k=st.one_of(st.just({"low": 0, "high": 20, "step": 10}), st.lists(st.integers(0, 50), min_size=1, max_size=3)),
    memory=st.lists(st.booleans(), min_size=1, max_size=2),
    ks=st.lists(st.integers(0, 9), min_size=1, max_size=3),
    speculation=st.lists(st.sampled_from([False, "off", "ngram:4"]), min_size=1, max_size=2),
)
@settings(max_examples=40, deadline=None)
def test_every_space_survives_being_described_and_its_trials_are_distinct(
    temperatures: list[float], top_k: Any, memory: list[bool], ks: list[int], speculation: list[Any]
) -> None:
    space = Space.parse(
        {
            "decoding": {"temperature": temperatures, "top_k": top_k, "stop": [["a", "b"], []]},
            "retrieval": {"memory": memory, "k": ks},
            "engine": {"speculation": speculation},
            "scorers": ["length"],
        }
    )
    assert Space.parse(json.loads(json.dumps(space.describe()))) == space
    points = space.points() or []
    assert len(points) == space.size == len({key(point) for point in points})
    resolved = {space.settings(point, TrialSettings()).model_dump_json() for point in points}
    assert len(resolved) == space.size
    generator = random.Random(0)
    assert {key(space.draw(generator)) for _ in range(20)} <= {key(point) for point in points}


def test_a_fixed_list_of_stop_strings_is_one_value() -> None:
    space = Space.parse({"decoding": {"stop": [["\n", "User:"]]}})
    assert space.dimensions["stop"] == Choices((["\n", "User:"],))
    assert Space.parse(space.describe()) == space


def test_a_file_that_would_hang_or_break_its_reader_is_refused(tmp_path: Path) -> None:
    bomb = "a: &a [1]\n" + "".join(
        f"{new}: &{new} [*{old}, *{old}, *{old}]\n" for old, new in pairwise("abcdefghijklmnopqrs")
    )
    for text, reason in (
        (bomb, "no aliases"),
        ("decoding: " + "[" * 3000, "too deeply"),
        ("decoding: {stop: 2026-99-99}", "in quotes"),
        ("#" * 1_000_001, "1,000,000 characters"),
    ):
        (tmp_path / "space.yaml").write_text(text)
        with pytest.raises(InvalidSpace, match=reason):
            Space.load(tmp_path / "space.yaml")
