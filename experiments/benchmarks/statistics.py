"""Do the lab's statistics keep their promises? Simulated suites, whose truth is known.

    python -m experiments.benchmarks.statistics [--sweeps 1000] [--suites 2000]

Four figures: false verdicts where all settings are equal; how often the 95 % interval holds the truth; how often a
planted winner is found and called better; how often racing gives the best trial up, and what it saves. A simulated
prompt has a difficulty, its chance of a right answer, and a trial answers it right or wrong in each repeat. No
engine runs, and no real suite is read.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from experiments.benchmarks.harness import main
from jc1_lab.statistics import (
    Array,
    _bootstrap,
    compare_all,
    dominated,
    interim_looks,
    interval,
    mde,
)

PROMPTS = 32
REPEATS = 3
LIMIT = 0.05
"""Share of sweeps that may hold a false verdict."""
COVERED = (0.93, 0.97)
SIZES = (16, 32, 64, 128)


def answers(generator: np.random.Generator, chances: Array, repeats: int = REPEATS) -> Array:
    """Return the mean score of each prompt over `repeats` right-or-wrong answers, in the shape of `chances`."""
    return generator.binomial(repeats, chances) / repeats


def difficulties(generator: np.random.Generator, prompts: int, mean: float) -> Array:
    """Return chances of a right answer: few prompts are in between, as in real suites (a Beta with 2 pseudo-counts)."""
    return generator.beta(2 * mean, 2 * (1 - mean), prompts)


def false_verdicts(sweeps: int, trials: int, seed: int) -> dict[str, Any]:
    """Measure the share of sweeps of so many equal trials with anything called better or worse than the baseline."""
    generator = np.random.default_rng(seed)
    count = 0
    for _ in range(sweeps):
        chances = difficulties(generator, PROMPTS, 0.6)
        scores = answers(generator, np.tile(chances, (trials + 1, 1)))  # (trials + 1, prompts), the baseline first
        comparisons = compare_all({i: scores[i] for i in range(1, trials + 1)}, scores[0])
        count += any(comparison.verdict != "not distinguishable" for comparison in comparisons.values())
    return {"sweeps": sweeps, "trials": trials, "share": count / sweeps, "met": count / sweeps <= LIMIT}


def _graded(generator: np.random.Generator, prompts: int) -> Array:
    """Draw scores like token F1: a fifth is all wrong, a third all right, the rest in between. Mean .575."""
    kind = generator.random(prompts)
    return np.where(kind < 0.2, 0.0, np.where(kind < 0.55, 1.0, generator.beta(2, 2, prompts)))


def _differing(better: float, worse: float) -> Callable[[np.random.Generator, int], Array]:
    def draw(generator: np.random.Generator, prompts: int) -> Array:
        return generator.choice([1.0, -1.0, 0.0], p=[better, worse, 1 - better - worse], size=prompts)

    return draw


def _repeated(generator: np.random.Generator, prompts: int) -> Array:
    chances = difficulties(generator, prompts, 0.6)
    return answers(generator, chances + (1 - chances) * 0.25) - answers(generator, chances)


def _regraded(generator: np.random.Generator, prompts: int) -> Array:
    """Draw differences of scores like F1: three in ten change a little, up rather than down, within the scale."""
    graded = _graded(generator, prompts)
    change = np.where(generator.random(prompts) < 0.3, generator.normal(0.1, 0.3, prompts), 0)
    changed: Array = np.clip(graded + change, 0, 1)
    return changed - graded


def _lopsided(generator: np.random.Generator, prompts: int) -> Array:
    """Draw differences where most prompts gain a quarter, and one in twenty loses all, which small suites may miss."""
    gained = np.where(generator.random(prompts) < 0.6, 0.25, 0.0)
    return np.where(generator.random(prompts) < 0.05, -1.0, gained)


def _right(share: float, generator: np.random.Generator, prompts: int) -> Array:
    """Draw scores of right or wrong, with the expected share `share` right."""
    right: Array = (generator.random(prompts) < share).astype(np.float64)
    return right


SCORES: dict[str, tuple[float, Callable[[np.random.Generator, int], Array]]] = {
    **{f"right or wrong, {share:.0%} right": (share, partial(_right, share)) for share in (0.5, 0.8, 0.95)},
    "mean of 3 repeats, 80% right": (0.8, lambda g, n: answers(g, difficulties(g, n, 0.8))),
    "graded like F1": (0.575, _graded),
}
OTHERS: dict[str, tuple[float, Callable[[np.random.Generator, int], Array]]] = {
    "log-normal, as lengths are": (float(np.exp(0.125)), lambda g, n: g.lognormal(0, 0.5, n)),
}
DIFFERENCES: dict[str, tuple[float, Callable[[np.random.Generator, int], Array]]] = {
    "right or wrong, 30% of prompts differ": (0.1, _differing(0.2, 0.1)),
    "right or wrong, 7% of prompts differ": (0.03, _differing(0.05, 0.02)),
    "means of 3 repeats": (0.1, _repeated),
    "graded like F1, 30% of prompts differ": (float(_regraded(np.random.default_rng(0), 2_000_000).mean()), _regraded),
    "60% gain .25, 5% lose 1": (0.95 * 0.15 - 0.05, _lopsided),
}


def coverage(suites: int, seed: int) -> list[dict[str, Any]]:
    """Measure, for each kind of value and size, the share of suites whose interval holds the true mean, and its mean
    width.

    Beside it the share for the percentile bootstrap alone and, for right-or-wrong scores, the exact coverage and the
    next one below that could be had.
    """
    generator = np.random.default_rng(seed)
    cells = []
    for of, kinds in (("scores", SCORES), ("other metrics", OTHERS), ("differences", DIFFERENCES)):
        for name, (truth, draw) in kinds.items():
            for prompts in SIZES:
                table = np.stack([draw(generator, prompts) for _ in range(suites)])  # (suites, prompts)
                plain = np.stack(_bootstrap(table, 0), axis=1)  # (suites, 3): low, high, p
                if of == "differences":
                    # One by one: of several at once each interval would be wider, so that all hold together.
                    alone = [compare_all({0: row}, np.zeros(prompts))[0] for row in table]
                    ends = np.array([(one.low, one.high) for one in alone])
                else:
                    ends = np.array([(one.low, one.high) for one in map(interval, table)])
                share = _holding(ends, truth)
                cell = {
                    "of": of,
                    "values": name,
                    "prompts": prompts,
                    "coverage": share,
                    "width": float(np.diff(ends).mean()),
                    "percentile_bootstrap": _holding(plain, truth),
                    "met": COVERED[0] <= share <= COVERED[1],
                }
                if of == "scores" and name.startswith("right or wrong"):
                    cell["exact"], cell["next_narrower"] = _exact(prompts, truth)
                cells.append(cell)
    return cells


def _holding(ends: Array, truth: float) -> float:
    # A resampled mean is a float32: an end that is the truth must not miss it by its last bits.
    return float(((ends[:, 0] <= truth + 1e-6) & (truth - 1e-6 <= ends[:, 1])).mean())


def _exact(prompts: int, share: float) -> tuple[float, float]:
    """Return the coverage of right-or-wrong scores without simulation, and without the rarest number of right answers
    that the interval covers: what is in between cannot be had, as that number is whole."""
    from scipy.stats import binom

    numbers = np.arange(prompts + 1)
    ends = np.array(
        [(one.low, one.high) for one in (interval((np.arange(prompts) < k).astype(float)) for k in numbers)]
    )
    chances = binom.pmf(numbers, prompts, share)[(ends[:, 0] <= share) & (share <= ends[:, 1])]
    return float(chances.sum()), float(chances.sum() - min(chances[0], chances[-1]))


def power(sweeps: int, gain: float, prompts: int, trials: int, seed: int) -> dict[str, Any]:
    """Measure how often a planted winner has the best score, and how often it is called better after correction.

    All other trials are equal to the baseline; the winner's chance of a right answer is greater by `gain` on average,
    as a share of what each prompt still lacks.
    """
    generator = np.random.default_rng(seed)
    led = called = 0
    for _ in range(sweeps):
        chances = difficulties(generator, prompts, 0.6)
        better = chances + (1 - chances) * gain / 0.4
        # Row 0 is the baseline, the last one the winner; shape (trials + 1, prompts).
        scores = answers(generator, np.vstack([np.tile(chances, (trials, 1)), better]))
        compared = compare_all({i: scores[i] for i in range(1, trials + 1)}, scores[0])
        best = max(compared, key=lambda number: scores[number].mean())
        led += best == trials
        called += compared[trials].verdict == "better"
    return {
        "gain": gain,
        "prompts": prompts,
        "trials": trials,
        "best_score": led / sweeps,
        "called_better": called / sweeps,
        "planned_mde": mde(prompts, comparisons=trials),
    }


def racing(sweeps: int, trials: int, prompts: int, step: float, seed: int) -> dict[str, Any]:
    """Measure racing with the interim looks of a sweep: the share of sweeps that gave up the best, and the rows saved.

    The trials' mean chances of a right answer go down from .8 in steps of `step`; with 0 all are equal but the best,
    which is better by .01.
    """
    generator = np.random.default_rng(seed)
    lost, rows = 0, 0
    means = np.maximum(0.05, 0.8 - (step * np.arange(trials) if step else 0.01 * (np.arange(trials) > 0)))
    for _ in range(sweeps):
        hard = generator.uniform(-0.2, 0.2, prompts)
        scores = answers(generator, np.clip(means[:, None] + hard, 0.01, 0.99))  # (trials, prompts)
        running = set(range(trials))
        for before, seen in pairwise([0, *interim_looks(prompts, trials=trials), prompts]):
            rows += (seen - before) * len(running)
            if seen < prompts:
                running -= dominated({i: scores[i, :seen] for i in sorted(running)}, trials=trials)
        lost += 0 not in running
    return {
        "trials": trials,
        "prompts": prompts,
        "step": step,
        "looks": interim_looks(prompts, trials=trials),
        "sweeps": sweeps,
        "best_given_up": lost / sweeps,
        "rows_saved": 1 - rows / (sweeps * trials * prompts),
        "met": lost / sweeps < 0.01,
    }


def measure(sweeps: int = 1000, suites: int = 2000) -> dict[str, Any]:
    """Measure all four figures, and the seconds each took."""
    seconds: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = work()
        seconds[name] = time.perf_counter() - began
        return result

    sizes = ((0.15, 32, 16), (0.15, 64, 16), (0.15, 128, 16), (0.25, 32, 16), (0.25, 64, 16), (0.25, 64, 64))
    cells = timed("coverage", lambda: coverage(suites, 2))
    return {
        "false_verdicts": timed("false_verdicts", lambda: [false_verdicts(sweeps, n, n) for n in (1, 16)]),
        "coverage": cells,
        "coverage_missed": [
            f"{cell['of']}: {cell['values']}, {cell['prompts']} prompts" for cell in cells if not cell["met"]
        ],
        "power": timed("power", lambda: [power(sweeps // 4, *size, seed=3) for size in sizes]),
        "racing": timed(
            "racing",
            lambda: [
                racing(sweeps // 2, trials, prompts, step, seed=4)
                for trials in (16, 64)
                for prompts in (32, 128)
                for step in (0.0, 0.02, 0.05)
            ],
        ),
        "seconds": seconds,
    }


if __name__ == "__main__":
    main(measure, packages=["numpy", "scipy"])
