"""What scores allow to be said: intervals, paired differences, what a size can show, which trials to prune,
the Pareto front.

The unit is the prompt: a value is the mean over a prompt's repeats, since repeats of one prompt are no new evidence
about other prompts. Knows arrays of shape (prompts,), in the order of the prompts, free of NaN. Knows nothing about
suites, engines or files.

**Intervals of a mean.** Values in 0..1 get Wilson's score interval (JASA 1927) with the effective number of prompts
n x(1 - x) / s² (x the mean, s² the variance; Korn and Graubard, Survey Methodology 1998) and Student's t for the normal
quantile: for right and wrong it is Wilson's own. Other values, and differences, get the percentile bootstrap over
prompts with levels widened for few prompts (Hesterberg, "What Teachers Should Know About the Bootstrap", The American
Statistician 2015), for differences of scores with two pseudo-prompts. The plain bootstrap is not enough for scores:
with 64 prompts of which 95 % are answered, its 95 % interval holds the truth in 84 % of cases; the benchmark
experiments/benchmarks/statistics.py measures both. That of a difference is the wider of this one and of the differences
that the paired sign-flip test would not reject, at the level that remains after Holm's correction: it holds 0 just
where the verdict is "not distinguishable". Where all values are alike nothing can be resampled, and the limit
of Clopper and Pearson (Biometrika 1934) says how much may be unseen: 32 right of 32 is 0.89 to 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from jc1_lab.records.results import Comparison, Interval, Verdict

Array = NDArray[np.float64]
Direction = Literal["max", "min"]

ALPHA = 0.05
"""Of the intervals (95 %), and of a sweep's verdicts together."""
POWER = 0.8
"""Share of cases in which a difference as large as `mde` is to be found."""
DRAWS = 10_000
"""Resamples, and sign flips at least."""
DRAWS_EACH = 100
"""Sign flips for each comparison, so that the smallest p is still below .01 after correction."""
MAX_CELLS = 20_000_000
"""Of a table of draws by prompts (80 MB). Suites of more than 2,000 prompts get fewer resamples, and their sign flips
in parts, since no p could be small enough with fewer of those."""
AT_A_TIME = 64
"""Trials whose sign flips are added up together, to bound memory."""
EXACT = 13
"""Up to so many prompts, all 2^n sign flips are tried, which are fewer than `DRAWS`."""
ASSUMED_STD = 0.5
"""Standard deviation of paired differences where none is measured yet: two settings of right-or-wrong scores that
disagree on a quarter of the prompts."""
DROPPED_BEST = 0.01
"""What racing may risk: the chance to give up the best trial."""
INTERIM_LOOKS = (0.25, 0.5, 0.75)
"""After these shares of the prompts racing looks: every look lets all trials wait for the slowest reply."""


def interval(values: Array, *, seed: int = 0) -> Interval:
    """Return the mean of `values`, one a prompt, with its 95 % interval.

    One value that is not in 0..1 tells of no spread, and is its own interval. Raises `ValueError` for none.
    """
    if not len(values):
        raise ValueError("an interval needs a value of at least one prompt")
    score = bool(values.min() >= 0 and values.max() <= 1)
    if np.ptp(values) == 0:
        low, high = _constant(float(values[0]), len(values), 0 if score else None)
    elif score:
        low, high = _wilson(values)
    else:
        low, high = (float(end[0]) for end in _bootstrap(values[None], seed)[:2])
    return Interval(mean=float(values.mean()), low=low, high=high, prompts=len(values))


def compare_all(
    scores: Mapping[int, Array],
    baseline: Array,
    *,
    comparisons: int | None = None,
    direction: Direction = "max",
    seed: int = 0,
) -> dict[int, Comparison]:
    """Compare each trial with the baseline on the same prompts, corrected for all of them.

    The difference is trial minus baseline. `comparisons` counts every trial that was compared at any time, those given
    up early included; it is at least `len(scores)`. p is of the two-sided sign-flip permutation test of the mean
    difference (Fisher, The Design of Experiments 1935; with 1 added to hits and draws: Phipson and Smyth 2010),
    corrected after Holm (1979). The interval holds what this test, at the level of the trial's step in Holm's
    procedure, and the bootstrap at 95 % do not reject: verdict, interval and corrected p always agree.

    Args:
        scores: Values of each trial by its number, shape (prompts,) each.
        baseline: Values of the baseline, shape (prompts,).
    """
    if not scores:
        return {}
    differences = np.stack([values - baseline for values in scores.values()])  # (trials, prompts)
    trials, prompts = differences.shape
    comparisons = max(comparisons or 0, trials)
    bounded = bool(np.abs(differences).max() <= 1)
    # 1) The sign-flip test: p of no difference, and how far the mean may be from the truth at each level.
    flips = _sign_flips(differences, max(DRAWS, DRAWS_EACH * comparisons), seed)
    adjusted, levels = _holm(flips.ps, comparisons)
    lows, highs = flips.interval(differences.mean(axis=1), levels)
    # 2) What so few prompts may hide: the bootstrap with pseudo-prompts, or an unseen share where all are alike.
    plain_lows, plain_highs, doubts = _bootstrap_of_differences(differences, seed, bounded=bounded)
    lows, highs = np.minimum(lows, plain_lows), np.maximum(highs, plain_highs)
    adjusted = np.maximum(adjusted, doubts)
    if bounded:
        lows, highs = lows.clip(-1, 1), highs.clip(-1, 1)
    # 3) The verdict is in the interval.
    results = {}
    for i, number in enumerate(scores):
        of_trial = differences[i]
        mean, low, high = float(of_trial.mean()), float(lows[i]), float(highs[i])
        std = float(of_trial.std(ddof=1)) if prompts > 1 and np.ptp(of_trial) else ASSUMED_STD
        if np.ptp(of_trial) == 0 and prompts > 1:
            std = math.sqrt(_unseen(prompts))
        verdict: Verdict = "not distinguishable"
        if low > 0 or high < 0:
            verdict = "better" if (mean > 0) == (direction == "max") else "worse"
        results[number] = Comparison(
            difference=mean,
            low=low,
            high=high,
            level=1 - float(levels[i]),
            p=float(flips.ps[i]),
            p_adjusted=float(adjusted[i]),
            verdict=verdict,
            prompts=prompts,
            mde=mde(prompts, comparisons=comparisons, std=std),
        )
    return results


def mde(prompts: int, *, comparisons: int, std: float = ASSUMED_STD) -> float:
    """Return the smallest mean difference that `prompts` prompts show in four of five cases, among so many comparisons.

    Normal theory, two-sided at .05 / `comparisons` (Holm's first step): (z(1 - .025 / comparisons) + z(.8)) std /
    sqrt(prompts). `std` is the standard deviation of paired differences; until it is measured, `ASSUMED_STD`.
    """
    normal = NormalDist()
    return (normal.inv_cdf(1 - ALPHA / 2 / comparisons) + normal.inv_cdf(POWER)) * std / math.sqrt(prompts)


def dominated(scores: Mapping[int, Array], *, trials: int) -> set[int]:
    """Return the trials that are sure to stay behind the leader, judged by the same prompts so far, higher is better.

    This is racing. The idea is Hoeffding races' (Maron and Moore, NIPS 1994) and F-Race's (Birattari and others, GECCO
    2002): compare with the leader on common prompts, at a strict level. Here d is leader minus trial by prompt and
    t = sum(d) / sqrt(sum(d²)). If the two were equal, each d could as well have the other sign, and t would reach a
    value with a probability of at most exp(-t² / 2) (Hoeffding's lemma on random signs; Efron, JASA 1969). Given up is
    who is below `DROPPED_BEST` / `trials`, `trials` being those that the sweep began with. That bound is several times
    the true probability, a margin that allows for looking more than once; the benchmark counts how often the best is
    given up. `interim_looks` says when that can be.
    """
    if len(scores) < 2:
        return set()
    table = np.stack(list(scores.values()))  # (trials, prompts)
    differences = table[table.mean(axis=1).argmax()] - table
    squares = np.square(differences).sum(axis=1)  # (trials,)
    t = differences.sum(axis=1) / np.sqrt(np.where(squares > 0, squares, 1))
    return {number for number, x in zip(scores, t, strict=True) if math.exp(-x * x / 2) < DROPPED_BEST / trials}


def interim_looks(prompts: int, *, trials: int) -> list[int]:
    """Return after how many of `prompts` prompts racing looks for `dominated` ones among so many trials.

    Empty where it cannot help: t² is at most the number n of prompts so far, so nobody can be given up before exp(-n /
    2) is small enough: before 15 prompts with 16 trials, 18 with 64.
    """
    fewest = 2 * math.log(trials / DROPPED_BEST)
    return [seen for seen in (math.ceil(share * prompts) for share in INTERIM_LOOKS) if fewest < seen < prompts]


def pareto(values: Mapping[int, Sequence[float]], directions: Sequence[Direction]) -> set[int]:
    """Return those that no other one beats in one objective without being behind in another.

    Equal ones stay together.
    """
    if not values:
        return set()
    signs = np.array([1.0 if direction == "max" else -1.0 for direction in directions])
    table = np.array([list(row) for row in values.values()]) * signs  # (trials, objectives)
    return {
        number
        for number, row in zip(values, table, strict=True)
        if not np.any((table >= row).all(axis=1) & (table > row).any(axis=1))
    }


def _unseen(prompts: int) -> float:
    """Return the largest share of prompts that may behave otherwise when none of so many did: (1 - q)^n = .025."""
    return float(1 - (ALPHA / 2) ** (1 / prompts))


def _constant(value: float, prompts: int, lowest: float | None) -> tuple[float, float]:
    """Return the interval where every prompt has `value`.

    An unseen share may be at either end of the scale, `lowest` to 1.
    """
    if lowest is None:
        return value, value
    unseen = _unseen(prompts)
    return value - (value - lowest) * unseen, value + (1 - value) * unseen


def _wilson(values: Array) -> tuple[float, float]:
    from scipy.special import stdtrit

    mean, prompts = float(values.mean()), len(values)
    effective = prompts * max(1.0, mean * (1 - mean) / float(values.var(ddof=1)))
    t = float(stdtrit(prompts - 1, 1 - ALPHA / 2))
    scale = 1 + t * t / effective
    centre = (mean + t * t / (2 * effective)) / scale
    half = t * math.sqrt(mean * (1 - mean) / effective + (t / (2 * effective)) ** 2) / scale
    return max(0.0, centre - half), min(1.0, centre + half)


def _bootstrap_of_differences(differences: Array, seed: int, *, bounded: bool) -> tuple[Array, Array, Array]:
    """Return both ends of each row's 95 % interval and the p of no difference that goes with it, shape (rows,) each."""
    lows, highs, ps = _bootstrap(differences, seed, pseudo_counts=bounded)
    prompts = differences.shape[1]
    for i in np.flatnonzero(np.ptp(differences, axis=1) == 0):
        value = float(differences[i, 0])
        lows[i], highs[i] = _constant(value, prompts, -1 if bounded else None)
        # The share that has to be unseen before the interval reaches 0.
        ps[i] = min(1.0, 2 * (1 + abs(value)) ** -prompts) if bounded else float(value == 0)
    return lows, highs, ps


def _bootstrap(values: Array, seed: int, *, pseudo_counts: bool = False) -> tuple[Array, Array, Array]:
    """Return both ends for the mean of each row of `values`, shape (rows, prompts), and the two-sided p of a mean of 0.

    All rows share the resamples. With `pseudo_counts`, for differences in -1..1, two pseudo-prompts are drawn along,
    one for either side, and as much weight of no difference: Agresti and Min's half a pair in each of the four cells of
    right and wrong (Statistics in Medicine 2005). For graded scores they weigh as much less as their differences are
    smaller, sum(d²) / sum(|d|).
    """
    from scipy.special import ndtr, ndtri, stdtr, stdtrit

    rows, prompts = values.shape
    if prompts == 1:
        return values[:, 0].copy(), values[:, 0].copy(), np.ones(rows)
    resamples = _resamples(prompts, seed)
    sums = values.astype(np.float32) @ resamples.T  # (rows, draws)
    weights = np.full((rows, 1), float(prompts), np.float32)
    if pseudo_counts:
        sizes = np.abs(values).sum(axis=1, keepdims=True)
        share = (np.square(values).sum(axis=1, keepdims=True) / np.where(sizes > 0, sizes, 1)).astype(np.float32)
        either = np.random.default_rng([seed, 2]).poisson(0.5, (2, len(resamples))).astype(np.float32)
        sums += np.sqrt(share) * (either[0] - either[1])
        weights += 2 * share
    widening = math.sqrt(prompts / (prompts - 1))
    level = float(ndtr(widening * stdtrit(prompts - 1, ALPHA / 2)))
    low, high = np.quantile(sums / weights, (level, 1 - level), axis=1).astype(np.float64)
    beyond = np.minimum((sums <= 0).mean(axis=1), (sums >= 0).mean(axis=1)).clip(0, 0.5)
    ps = 2 * stdtr(prompts - 1, ndtri(beyond) / widening)
    # A quantile lies between two resamples, a share does not: the interval decides.
    holds = (low <= 0) & (high >= 0)
    ps = np.where(holds, np.maximum(ps, np.nextafter(ALPHA, 1)), np.minimum(ps, ALPHA))
    return low, high, ps


@lru_cache(maxsize=2)
def _resamples(prompts: int, seed: int) -> NDArray[np.float32]:
    """Draw how often each resample holds each prompt, shape (draws, prompts)."""
    draws = min(DRAWS, MAX_CELLS // prompts)
    drawn = np.random.default_rng(seed).integers(0, prompts, (draws, prompts))
    # Each draw counts in cells of its own, so that one bincount does for all.
    drawn += prompts * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=draws * prompts).reshape(draws, prompts).astype(np.float32)


@dataclass(frozen=True, slots=True)
class _SignFlips:
    """The sign-flip test of rows of differences, shape (rows, prompts), against every mean at once.

    Were the true mean m, each difference less m could as well have the other sign. With signs s the mean of s (d - m)
    is at least as far from 0 as that of d - m itself just where m is no further below the mean of d than a number that
    follows from s alone (`below`), or above it (`above`). So p of a mean at distance u is the share of draws whose
    number is at least u, and an interval of any level ends at a quantile of them.
    """

    ps: Array
    """Two-sided p of a mean of 0."""
    draws: int
    below: Array
    above: Array
    """The largest distances, falling, shape (rows, draws * ALPHA + 1)."""

    def interval(self, means: Array, levels: Array) -> tuple[Array, Array]:
        """Return both ends for each row's mean: what the test does not reject at the row's level."""
        rows = np.arange(len(means))
        last = np.floor(levels * self.draws + 1e-9).astype(int)
        return means - self.below[rows, last], means + self.above[rows, last]


def _sign_flips(differences: Array, draws: int, seed: int) -> _SignFlips:
    """Test each row of `differences`, shape (rows, prompts), with the same signs for all of them."""
    trials, prompts = differences.shape
    exact = prompts <= EXACT
    draws = 2**prompts if exact else draws
    part = MAX_CELLS // max(prompts, AT_A_TIME)
    total = draws if exact else draws + 1  # the differences as they are count as one draw
    count = int(ALPHA * total + 1e-9) + 1
    ps, below, above = np.empty(trials), np.empty((trials, count)), np.empty((trials, count))
    for first in range(0, trials, AT_A_TIME):
        rows = slice(first, first + AT_A_TIME)
        tables = [
            _distances(differences[rows], _signs(prompts, min(part, draws - begin), seed, begin // part))
            for begin in range(0, draws, part)
        ]
        unflipped = [] if exact else [np.full((2, len(tables[0][0]), 1), np.inf)]
        distances = np.concatenate([*tables, *unflipped], axis=2)  # (2, rows, draws)
        means = differences[rows].mean(axis=1)
        towards_zero = np.where((means > 0)[:, None], distances[0], distances[1])
        ps[rows] = (towards_zero >= np.abs(means)[:, None]).mean(axis=1)
        largest = np.partition(distances, total - count, axis=2)[:, :, total - count :]
        below[rows], above[rows] = -np.sort(-largest, axis=2)
    return _SignFlips(ps, total, below, above)


def _distances(differences: Array, signs: NDArray[np.float32]) -> Array:
    """Return how far below and above its mean each row's true mean may be for these signs, shape (2, rows, draws).

    Of the rows d with mean a and signs s with sum b, c = sum(s (d - a)): |c + u b| >= u n for u up to c / (n - b) or
    -c / (n + b), whichever is more.
    """
    prompts = differences.shape[1]
    means = differences.mean(axis=1, keepdims=True)
    sums = signs.sum(axis=1, dtype=np.float64)
    flipped = ((differences - means).astype(np.float32) @ signs.T).astype(np.float64)  # (rows, draws)
    with np.errstate(divide="ignore", invalid="ignore"):
        up, down = flipped / (prompts - sums), -flipped / (prompts + sums)
        back, forth = flipped / (prompts + sums), -flipped / (prompts - sums)
    # All signs alike flip nothing, or everything.
    same, opposite = sums == prompts, sums == -prompts
    ends = np.stack([np.maximum(up, down), np.maximum(back, forth)])
    ends[:, :, same | opposite] = np.inf
    # Equal sums may differ in their last bits: an end at the mean itself, which is no difference, counts as reached.
    tolerance = 1e-6 * np.abs(differences).max(axis=1)[:, None]
    reached: Array = np.where(np.abs(ends - np.abs(means)) <= tolerance, np.abs(means), ends)
    return reached


@lru_cache(maxsize=2)
def _signs(prompts: int, draws: int, seed: int, part: int) -> NDArray[np.float32]:
    """Return -1 or 1 by prompt, shape (draws, prompts): all of them for few prompts, else the sample's `part`."""
    if prompts <= EXACT:
        bits = np.arange(draws)[:, None] >> np.arange(prompts) & 1
    else:
        # Another stream than that of the resamples.
        bits = np.random.default_rng([seed, 1, part]).integers(0, 2, (draws, prompts), dtype=np.int8)
    signs: NDArray[np.float32] = (2 * bits - 1).astype(np.float32)
    return signs


def _holm(ps: Array, comparisons: int) -> tuple[Array, Array]:
    """Return the corrected p of each test, and the level at which Holm's procedure tests it.

    That is .05 over the tests that are left, and after the first that is not rejected that test's.
    """
    order = np.argsort(ps, kind="stable")
    remaining = comparisons - np.arange(len(ps))
    steps = np.minimum(1.0, ps[order] * remaining)
    adjusted, levels = np.empty_like(ps), np.empty_like(ps)
    adjusted[order] = np.maximum.accumulate(steps)
    accepted = np.flatnonzero(steps > ALPHA)
    last = int(accepted[0]) if len(accepted) else len(ps)
    levels[order] = ALPHA / remaining[np.minimum(np.arange(len(ps)), last)]
    return adjusted, levels
