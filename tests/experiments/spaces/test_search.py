"""Search: every point once, none that the space refuses, the same ones for the same seed and told values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jc1.errors import InvalidSpace
from jc1_lab.records.trials import TrialSettings
from jc1_lab.spaces.search import STRATEGIES, Search, create_search, shares
from jc1_lab.spaces.space import Point, Space, key

KINDS = (*STRATEGIES,)
SPACE: dict[str, Any] = {
    "decoding": {"temperature": {"low": 0, "high": 1, "step": 0.25}, "top_p": [0.9, 1], "beam_width": [1, 4]},
    "retrieval": {"memory": [True, False], "k": [2, 8]},
    "engine": {"speculation": ["off", "ngram:4"]},
    "constraints": ["temperature > 0 or top_p == 1"],
}
OFF = {"speculation": "off"}


def warmth(point: Point) -> tuple[float, ...]:
    return (-abs(point["temperature"] - 0.6),)


def swept(search: Search, score: Callable[[Point], tuple[float, ...]] = warmth, batch: int = 4) -> list[Point]:
    found: list[Point] = []
    while points := search.ask(batch):
        assert len(points) <= batch
        search.tell(points, [score(point) for point in points])
        found += points
    return found


def distinct(points: Sequence[Point]) -> set[str]:
    return {key(point) for point in points}


@pytest.mark.parametrize("kind", KINDS)
def test_a_finite_space_is_gone_through_once_and_then_there_is_no_more(kind: str) -> None:
    space = Space.parse(SPACE)
    every = space.points(OFF) or []
    found = swept(create_search(space, kind, trials=1000, seed=3, engine=OFF))
    assert len(found) == len(every) == 30
    assert distinct(found) == distinct(every)


@pytest.mark.parametrize("kind", KINDS)
def test_no_more_points_are_asked_for_than_trials(kind: str) -> None:
    search = create_search(Space.parse(SPACE), kind, trials=6, seed=0, engine=OFF)
    assert [len(search.ask(4)) for _ in range(3)] == [4, 2, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_and_values_give_the_same_points_and_another_seed_others(kind: str) -> None:
    space = Space.parse(SPACE)

    def run(seed: int) -> list[Point]:
        return swept(create_search(space, kind, trials=16, seed=seed, engine=OFF))

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_a_grid_keeps_its_order_also_when_it_is_a_sample() -> None:
    space = Space.parse(SPACE)
    every = [key(point) for point in space.points(OFF) or []]
    assert [key(point) for point in swept(create_search(space, "grid", trials=None, seed=0, engine=OFF))] == every
    places = [every.index(key(point)) for point in swept(create_search(space, "grid", trials=9, seed=0, engine=OFF))]
    assert places == sorted(places)


def test_points_hold_the_settings_of_the_engine_that_runs() -> None:
    space = Space.parse(SPACE)
    for engine in space.engines():
        found = swept(create_search(space, "tpe", trials=12, seed=0, engine=engine))
        assert {point["engine.speculation"] for point in found} == {engine["speculation"]}


@given(seed=st.integers(0, 2**31), kind=st.sampled_from(["grid", "random", "tpe"]), batch=st.integers(1, 9))
@settings(max_examples=15, deadline=None)
def test_continuous_points_are_distinct_allowed_and_within_bounds(seed: int, kind: str, batch: int) -> None:
    space = Space.parse(
        {
            "decoding": {
                "temperature": {"low": 0.1, "high": 1.3},
                "repetition_penalty": {"low": 0.9, "high": 1.3, "log": True},
                "top_k": {"low": 1, "high": 60, "log": True},
            },
            "retrieval": {"k": {"low": 0, "high": 8, "step": 4}},
            "constraints": ["temperature < 1 or top_k < 30"],
        }
    )
    found = swept(create_search(space, kind, trials=24, seed=seed, engine={}), batch=batch)
    assert len(distinct(found)) == len(found) == 24
    for point in found:
        assert space.refusal(point) is None
        assert 0.1 <= point["temperature"] <= 1.3
        assert 0.9 <= point["repetition_penalty"] <= 1.3
        assert point["top_k"] in range(1, 61)
        assert point["retrieval.k"] in (0, 4, 8)
        assert point["temperature"] == round(point["temperature"], 3)


def test_tpe_finds_what_random_search_misses() -> None:
    step = {"low": 0, "high": 1, "step": 0.05}
    space = Space.parse({"decoding": {"temperature": step, "min_p": step, "presence_penalty": step}})

    def score(point: Point) -> tuple[float, ...]:
        return (-math.dist((point["temperature"], point["min_p"], point["presence_penalty"]), (0.6, 0.1, 0.8)),)

    def best(kind: str, seed: int) -> float:
        return max(score(p)[0] for p in swept(create_search(space, kind, trials=30, seed=seed, engine={}), score))

    assert sum(best("tpe", seed) for seed in range(2)) > sum(best("random", seed) for seed in range(2))


def test_tpe_heeds_the_direction_of_each_objective() -> None:
    raw = {"decoding": {"temperature": {"low": 0, "high": 1}, "top_p": {"low": 0.1, "high": 1}}}
    space = Space.parse(raw | {"objectives": {"score": "max", "length": "min"}})

    def score(point: Point) -> tuple[float, ...]:
        return (point["temperature"], point["top_p"])

    found = swept(create_search(space, "tpe", trials=60, seed=0, engine={}), score)
    early, late = found[:10], found[-20:]
    assert (
        sum(p["temperature"] - p["top_p"] for p in late) / 20 > sum(p["temperature"] - p["top_p"] for p in early) / 10
    )


def test_what_could_not_be_measured_or_is_never_told_does_not_stop_the_search() -> None:
    search = create_search(Space.parse(SPACE), "tpe", trials=24, seed=0, engine=OFF)
    found: list[Point] = []
    while points := search.ask(4):
        found += points
        search.tell(points[:2], [(math.nan,), warmth(points[1])])
    assert len(distinct(found)) == 24


@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_go_with_the_baseline_is_not_asked_for_and_what_does_is(kind: str) -> None:
    space = Space.parse({"decoding": {"beam_width": [1, 4], "n": [1, 4], "max_tokens": [8, 16]}})
    warm = space.over(TrialSettings(decoding={"temperature": 0.7}))
    found = swept(create_search(warm, kind, trials=9, seed=0, engine={}), lambda point: (0.0,))
    assert sorted((point["beam_width"], point["n"], point["max_tokens"]) for point in found) == [
        (1, n, tokens) for n in (1, 4) for tokens in (8, 16)
    ]


def test_an_endless_space_needs_a_number_of_trials() -> None:
    space = Space.parse({"decoding": {"temperature": {"low": 0, "high": 1}}})
    for kind in KINDS:
        with pytest.raises(InvalidSpace, match="--trials"):
            create_search(space, kind, trials=None, seed=0, engine={})


def test_a_space_of_fixed_values_is_one_trial() -> None:
    space = Space.parse({"decoding": {"temperature": 0.5}})
    for kind in KINDS:
        assert swept(create_search(space, kind, trials=5, seed=0, engine={})) == [{"temperature": 0.5}]


@pytest.mark.parametrize(
    ("trials", "sizes", "given"),
    [
        (None, [3, None], [None, None]),
        (8, [10, 1], [7, 1]),
        (8, [None, None, None], [3, 3, 2]),
        (20, [10, 1], [10, 1]),
        (9, [2, 2, None], [2, 2, 5]),
        (1, [5, 5], [1, 0]),
    ],
)
def test_engines_share_the_trials_and_what_one_has_no_points_for_goes_to_the_others(
    trials: int | None, sizes: list[int | None], given: list[int | None]
) -> None:
    assert shares(trials, sizes) == given


def test_a_range_of_very_many_steps_costs_tpe_nothing() -> None:
    space = Space.parse({"decoding": {"temperature": {"low": 0, "high": 1, "step": 1e-9}}})
    assert len(create_search(space, "tpe", trials=3, seed=0, engine={}).ask(3)) == 3
