"""Statistics: figures that agree with known ones, bounds that hold, and promises kept in small simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from jc1_lab import statistics
from jc1_lab.statistics import Array, compare_all, dominated, interim_looks, interval, mde, pareto

scores = st.lists(st.sampled_from([0.0, 1 / 3, 0.5, 2 / 3, 1.0]), min_size=1, max_size=40)


def right(count: int, prompts: int) -> Array:
    return (np.arange(prompts) < count).astype(float)


@given(values=scores)
@settings(max_examples=100, deadline=None)
def test_an_interval_holds_its_mean_and_stays_on_the_scale(values: list[float]) -> None:
    found = interval(np.array(values))
    assert 0 <= found.low <= found.mean <= found.high <= 1
    assert found.prompts == len(values)


@pytest.mark.parametrize("count", [0, 32])
def test_all_right_or_all_wrong_has_the_exact_limit_of_clopper_and_pearson(count: int) -> None:
    known = stats.binomtest(count, 32).proportion_ci(method="exact")
    found = interval(right(count, 32))
    assert (found.low, found.high) == pytest.approx((known.low, known.high))


@pytest.mark.parametrize("count", [1, 60, 200, 399])
def test_of_many_right_or_wrong_answers_the_interval_is_wilson_s(count: int) -> None:
    known = stats.binomtest(count, 400).proportion_ci(method="wilson")
    found = interval(right(count, 400))
    assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=1e-3)


@pytest.mark.parametrize("prompts", [5, 64])
def test_graded_scores_far_from_the_ends_have_student_s_interval(prompts: int) -> None:
    values = 0.5 + 0.02 * np.sin(np.arange(prompts))
    known = stats.t.interval(0.95, prompts - 1, values.mean(), stats.sem(values))
    found = interval(values)
    assert (found.low, found.high) == pytest.approx(known, rel=0.001)


def test_values_that_are_no_scores_have_an_interval_as_student_s_where_they_are_normal() -> None:
    values = np.random.default_rng(0).normal(200, 30, 64)
    known = stats.t.interval(0.95, 63, values.mean(), stats.sem(values))
    found = interval(values)
    assert (found.low, found.high) == pytest.approx(known, rel=0.005)


def test_one_value_off_the_scale_is_its_own_interval_and_none_has_none() -> None:
    assert (interval(np.array([7.0])).low, interval(np.array([7.0])).high) == (7, 7)
    with pytest.raises(ValueError, match="at least one prompt"):
        interval(np.array([]))


def test_the_same_seed_gives_the_same_figures() -> None:
    values = np.random.default_rng(1).normal(0, 1, 20)
    assert interval(values, seed=4) == interval(values, seed=4)
    assert interval(values, seed=4) != interval(values, seed=5)


@pytest.mark.parametrize("prompts", [8, 13, 24])
def test_p_is_that_of_the_paired_permutation_test(prompts: int) -> None:
    generator = np.random.default_rng(prompts)
    baseline = generator.random(prompts)
    own = np.clip(baseline + generator.normal(0.1, 0.2, prompts), 0, 1)
    known = stats.permutation_test(
        (own - baseline,), np.mean, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(0)
    )
    found = compare_all({1: own}, baseline)[1]
    assert found.p == pytest.approx(known.pvalue, abs=1e-9 if prompts < 14 else 0.015)
    assert found.p_adjusted >= found.p


differences = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.0, 0.0, 0.25, 1.0]), min_size=2, max_size=30)


@given(tables=st.lists(differences, min_size=1, max_size=5), comparisons=st.integers(1, 20))
@example(tables=[[-1.0, 0.0]], comparisons=1)
@example(tables=[[1.0, 0.0]], comparisons=1)
@settings(max_examples=60, deadline=None)
def test_interval_verdict_and_corrected_p_never_contradict_each_other(
    tables: list[list[float]], comparisons: int
) -> None:
    prompts = min(map(len, tables))
    trials = {i: np.array(values[:prompts]) for i, values in enumerate(tables)}
    for comparison in compare_all(trials, np.zeros(prompts), comparisons=comparisons).values():
        assert -1 <= comparison.low <= comparison.difference <= comparison.high <= 1
        assert comparison.p <= comparison.p_adjusted <= 1
        told_apart = comparison.low > 0 or comparison.high < 0
        assert told_apart == (comparison.p_adjusted <= 0.05)
        assert told_apart == (comparison.verdict != "not distinguishable")


@pytest.mark.parametrize(("gained", "lost", "told_apart"), [(14, 5, False), (15, 4, True)])
def test_gains_and_losses_that_the_paired_test_does_not_tell_apart_have_an_interval_that_holds_zero(
    gained: int, lost: int, told_apart: bool
) -> None:
    own = np.r_[np.ones(gained), -np.ones(lost), np.zeros(91)]
    found = compare_all({1: own}, np.zeros(len(own)))[1]
    assert found.p == pytest.approx(stats.binomtest(lost, gained + lost).pvalue, abs=0.01)
    assert (found.low > 0) == told_apart == (found.verdict == "better")


@pytest.mark.parametrize("prompts", [9, 13])
def test_no_mean_outside_the_interval_would_pass_the_paired_test(prompts: int) -> None:
    own = np.random.default_rng(prompts).normal(2, 3, prompts)  # no scores, so nothing may be unseen
    found = compare_all({1: own}, np.zeros(prompts))[1]

    def p(mean: float) -> float:
        test = stats.permutation_test((own - mean,), np.mean, permutation_type="samples", n_resamples=np.inf)
        return float(test.pvalue)

    beyond = [found.low - distance for distance in (1e-3, 0.1, 1)] + [
        found.high + distance for distance in (1e-3, 0.1, 1)
    ]
    assert max(map(p, beyond)) <= 0.05
    assert p(found.difference) > 0.05


def test_a_difference_of_many_prompts_has_student_s_interval() -> None:
    generator = np.random.default_rng(2)
    baseline = generator.random(200)
    own = baseline + generator.normal(0.02, 0.1, 200)
    known = stats.t.interval(0.95, 199, (own - baseline).mean(), stats.sem(own - baseline))
    found = compare_all({1: own}, baseline)[1]
    assert (found.low, found.high) == pytest.approx(known, abs=0.003)


def test_equal_trials_are_not_distinguishable_and_their_interval_says_how_much_may_be_unseen() -> None:
    found = compare_all({1: right(20, 32)}, right(20, 32))[1]
    assert (found.difference, found.p, found.verdict) == (0, 1, "not distinguishable")
    assert found.low == pytest.approx(-found.high)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 32))
    assert found.mde > 0


def test_gains_without_a_loss_have_the_interval_of_agresti_and_min() -> None:
    own = right(6, 64)
    found = compare_all({1: own}, np.zeros(64))[1]
    gained, lost, prompts = 6 + 0.5, 0.5, 64 + 2
    mean = (gained - lost) / prompts
    error = math.sqrt(gained + lost - (gained - lost) ** 2 / prompts) / prompts
    assert (found.low, found.high) == pytest.approx((mean - 1.96 * error, mean + 1.96 * error), abs=0.002)


@pytest.mark.parametrize(("value", "fewest"), [(0.1, 39), (-0.1, 39), (1.0, 6), (-1.0, 6)])
def test_a_difference_on_every_prompt_is_told_apart_once_so_few_could_not_hide_the_opposite(
    value: float, fewest: int
) -> None:
    for prompts, told_apart in ((fewest - 1, False), (fewest, True)):
        found = compare_all({1: np.full(prompts, value)}, np.zeros(prompts))[1]
        assert (found.verdict != "not distinguishable") == told_apart == (found.p_adjusted <= 0.05)
    assert compare_all({1: np.full(2, 0.1)}, np.zeros(2))[1].p_adjusted == 1


def test_a_trial_is_compared_as_it_would_be_alone() -> None:
    generator = np.random.default_rng(11)
    baseline = generator.random(40)
    own = np.clip(baseline + generator.normal(0.05, 0.2, 40), 0, 1)
    among = compare_all({1: own, 2: np.zeros(40)}, baseline)
    alone = compare_all({1: own}, baseline)[1]
    for field in ("difference", "low", "high", "level", "p", "p_adjusted", "verdict"):
        assert getattr(among[1], field) == pytest.approx(getattr(alone, field)), field
    assert among[2].level == pytest.approx(1 - 0.05 / 2)


def test_the_last_of_several_clear_differences_is_tested_at_the_whole_level() -> None:
    found = compare_all({1: np.ones(32), 2: np.ones(32)}, right(4, 32))
    assert sorted(one.level for one in found.values()) == pytest.approx([0.95, 0.975])


def test_what_a_comparison_could_have_shown_follows_from_how_its_differences_vary() -> None:
    for own in ([0.2, 0.6], [0.3, 0.1, 0.6, 0.4]):
        varied = compare_all({1: np.array(own)}, np.zeros(len(own)))[1]
        assert varied.mde == pytest.approx(mde(len(own), comparisons=1, std=float(np.std(own, ddof=1))))
    alike = compare_all({1: np.full(32, 0.2)}, np.zeros(32))[1]
    assert alike.mde == pytest.approx(mde(32, comparisons=1, std=math.sqrt(1 - 0.025 ** (1 / 32))))
    assert compare_all({1: np.ones(1)}, np.zeros(1))[1].mde == mde(1, comparisons=1)


def test_one_prompt_tells_its_difference_and_nothing_apart() -> None:
    found = compare_all({1: np.full(1, 0.5)}, np.zeros(1))[1]
    assert (found.difference, found.low < 0, found.verdict) == (0.5, True, "not distinguishable")


def test_the_verdict_follows_the_direction_that_is_wanted() -> None:
    found = compare_all({1: np.ones(32)}, right(8, 32), direction="max")[1]
    assert (found.difference, found.verdict) == (0.75, "better")
    assert compare_all({1: np.ones(32)}, right(8, 32), direction="min")[1].verdict == "worse"
    assert compare_all({1: right(8, 32)}, np.ones(32))[1].verdict == "worse"


def test_correction_counts_every_trial_of_the_sweep() -> None:
    baseline = right(16, 32)
    own = right(24, 32)
    alone = compare_all({1: own}, baseline)[1]
    among = compare_all({1: own}, baseline, comparisons=64)[1]
    assert alone.verdict == "better"
    assert among.verdict == "not distinguishable"
    assert among.p_adjusted == pytest.approx(min(1, 64 * among.p))
    assert among.mde > alone.mde
    assert (alone.level, among.level) == pytest.approx((0.95, 1 - 0.05 / 64))


def test_holm_s_correction_is_that_of_the_textbook() -> None:
    generator = np.random.default_rng(5)
    baseline = generator.random(40)
    trials = {i: baseline + generator.normal(0.1 * i, 0.6, 40) for i in range(6)}
    found = compare_all(trials, baseline)
    ps = sorted((found[i].p, i) for i in trials)
    highest = 0.0
    for place, (p, i) in enumerate(ps[:-1]):
        highest = max(highest, min(1.0, p * (6 - place)))
        assert found[i].p_adjusted == pytest.approx(highest)
        assert found[i].level <= 1 - 0.05 / 6 or ps[0][0] <= 0.05 / 6


def test_a_clear_difference_is_called_so_among_a_thousand_trials() -> None:
    found = compare_all({1: np.ones(40)}, right(5, 40), comparisons=1000)[1]
    assert found.verdict == "better"


def test_a_clear_difference_is_called_so_among_many_trials_on_a_large_suite_too() -> None:
    found = compare_all({1: right(5100, 6000)}, right(900, 6000), comparisons=200)[1]
    assert found.verdict == "better"
    assert found.p_adjusted <= 0.01


def test_sign_flips_in_parts_are_as_good_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(10)
    baseline = generator.random(24)
    trials = {i: baseline + generator.normal(0.05, 0.2, 24) for i in range(70)}
    at_once = compare_all(trials, baseline)
    monkeypatch.setattr(statistics, "MAX_CELLS", 100_000)
    in_parts = compare_all(trials, baseline)
    assert in_parts == compare_all(trials, baseline) != at_once
    for number, one in at_once.items():
        assert in_parts[number].p == pytest.approx(one.p, abs=0.02)


def test_nothing_to_compare_is_no_error() -> None:
    assert compare_all({}, np.ones(3)) == {}


def test_what_a_size_can_detect_is_what_the_textbook_says_and_what_simulation_shows() -> None:
    assert mde(64, comparisons=1) == pytest.approx((1.959964 + 0.841621) * 0.5 / 8, rel=1e-5)
    assert mde(256, comparisons=4) == pytest.approx(mde(64, comparisons=4) / 2)
    effect = mde(64, comparisons=1, std=0.3)
    generator = np.random.default_rng(6)
    found = [
        compare_all({1: generator.normal(effect, 0.3, 64)}, np.zeros(64))[1].verdict == "better" for _ in range(100)
    ]
    assert sum(found) / 100 == pytest.approx(0.8, abs=0.12)


def test_equal_settings_are_seldom_told_apart() -> None:
    generator = np.random.default_rng(7)
    false = 0
    for _ in range(100):
        chances = generator.beta(1.2, 0.8, 32)
        trials = generator.binomial(3, chances, (9, 32)) / 3
        found = compare_all({i: trials[i] for i in range(1, 9)}, trials[0])
        false += any(one.verdict != "not distinguishable" for one in found.values())
    assert false / 100 <= 0.05


@pytest.mark.parametrize("chance", [0.5, 0.9])
def test_intervals_hold_the_truth_about_as_often_as_they_say(chance: float) -> None:
    generator = np.random.default_rng(8)
    draws = generator.binomial(1, chance, (1000, 64)).astype(float)
    held = [one.low <= chance <= one.high for one in map(interval, draws)]
    assert 0.92 <= sum(held) / 1000 <= 0.98


def test_racing_gives_up_who_is_far_behind_and_nobody_early() -> None:
    trials = {0: np.ones(32), 1: right(30, 32), 2: np.zeros(32)}
    assert dominated(trials, trials=64) == {2}
    assert dominated({number: own[:16] for number, own in trials.items()}, trials=64) == set()
    assert dominated({5: np.zeros(32)}, trials=64) == set()
    assert dominated({0: np.zeros(32), 1: np.ones(32)}, trials=64) == {0}


@given(prompts=st.integers(1, 300), trials=st.integers(2, 500))
@settings(max_examples=60, deadline=None)
def test_racing_looks_only_where_somebody_could_be_given_up(prompts: int, trials: int) -> None:
    found = interim_looks(prompts, trials=trials)
    assert found == sorted({*found})
    for share in (0.25, 0.5, 0.75):
        seen = math.ceil(share * prompts)
        dominated_there = dominated({0: np.ones(seen), 1: np.zeros(seen)}, trials=trials)
        assert (seen in found) == bool(dominated_there)


def test_racing_keeps_the_best_trial() -> None:
    generator = np.random.default_rng(9)
    means = np.r_[0.8, np.full(15, 0.78)][:, None]
    lost = 0
    for _ in range(200):
        table = generator.binomial(3, np.clip(means + generator.uniform(-0.2, 0.2, 64), 0, 1)) / 3
        running = set(range(16))
        for seen in interim_looks(64, trials=16):
            running -= dominated({i: table[i, :seen] for i in running}, trials=16)
        lost += 0 not in running
    assert lost / 200 < 0.01


@given(table=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12))
def test_the_pareto_front_holds_exactly_those_that_nobody_dominates(table: list[tuple[int, int]]) -> None:
    front = pareto(dict(enumerate(table)), ["max", "min"])
    for i, (score, cost) in enumerate(table):
        beaten = any(s >= score and c <= cost and (s, c) != (score, cost) for s, c in table)
        assert (i in front) != beaten


def test_equal_trials_share_the_front_and_no_trials_have_none() -> None:
    assert pareto({3: (1.0, 2.0), 4: (1.0, 2.0), 5: (0.5, 2.0)}, ["max", "min"]) == {3, 4}
    assert pareto({}, ["max"]) == set()


def test_nothing_is_nan() -> None:
    found = compare_all({1: np.array([1.0])}, np.array([0.0]))[1]
    assert all(math.isfinite(value) for value in (found.low, found.high, found.p, found.mde))
