"""From records to figures: the means of each prompt, the intervals of each trial, who is best.

Knows how rows are averaged: over a prompt's repeats first, then over prompts. Knows nothing about how intervals and
tests are computed (jc1_lab.statistics) or how answers are scored.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from jc1_lab import statistics
from jc1_lab.records.evals import OK, EvalRecord, Key, Split
from jc1_lab.records.items import Item
from jc1_lab.records.results import Comparison, Interval, Trial

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from jc1_lab.records.store import SweepStore
    from jc1_lab.scoring.scoring import Scoring

Direction = Literal["max", "min"]
ByPrompt = dict[str, dict[str, float]]
"""By metric, the mean of each prompt over its repeats, by item id."""


def by_prompt(rows: Sequence[EvalRecord], items: Sequence[Item], scoring: Scoring) -> ByPrompt:
    """Return the means of one trial's rows by metric and prompt; a failed request counts as `Scoring.failed` says."""
    found: ByPrompt = defaultdict(dict)
    of_item: dict[str, list[EvalRecord]] = defaultdict(list)
    for row in rows:
        of_item[row.item].append(row)
    for item in items:
        asked = of_item.get(item.id, [])
        values: dict[str, list[float]] = defaultdict(list)
        for row in asked:
            told = row.scores if row.outcome == OK else scoring.failed(item)
            for metric, value in told.items():
                values[metric].append(value)
        texts = [text for row in asked for text in row.texts]
        for metric, value in (scoring.replies(item, texts) if len(texts) > 1 else {}).items():
            values[metric].append(value)
        for metric, measured in values.items():
            found[metric][item.id] = sum(measured) / len(measured)
    return dict(found)


def unanswered(rows: Iterable[EvalRecord]) -> set[str]:
    """Return the prompts that got no answer at all, by item id."""
    told = list(rows)
    return {row.item for row in told} - {row.item for row in told if row.outcome == OK}


def fair(own: ByPrompt, baseline: ByPrompt, unanswered: Set[str]) -> ByPrompt:
    """Return a trial's metrics without those that it lacks on prompts which it left unanswered and the baseline did
    not: their mean over the other prompts would flatter it."""
    return {m: told for m, told in own.items() if not unanswered & (baseline.get(m, {}).keys() - told.keys())}


def records_of(store: SweepStore, trial: int, split: Split, items: Sequence[Item], repeats: int) -> list[EvalRecord]:
    """Return the records that a trial has on these items, in their order."""
    keys: list[Key] = [(trial, split, item.id, repeat) for item in items for repeat in range(repeats)]
    return [store[key] for key in keys if key in store]


def matched(
    means: Mapping[int, ByPrompt], metric: str, items: Sequence[Item]
) -> tuple[list[str], dict[int, NDArray[np.float64]]]:
    """Return the prompts on which every trial has the metric, and each trial's values there, shape (prompts,)."""
    shared = [item.id for item in items if all(item.id in told.get(metric, {}) for told in means.values())]
    return shared, {n: np.array([told[metric][i] for i in shared], np.float64) for n, told in means.items()}


def compared(
    means: Mapping[int, ByPrompt], metric: str, direction: Direction, *, comparisons: int, seed: int
) -> dict[int, Comparison]:
    """Compare each trial with trial 0, on the prompts on which both have the metric: none loses any to another trial.

    Trials on other prompts are corrected apart from each other, each for all `comparisons`, which is never too lenient.
    """
    baseline = means[0].get(metric, {})
    by_prompts: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, told in means.items():
        if number and (shared := tuple(item for item in baseline if item in told.get(metric, {}))):
            by_prompts[shared].append(number)
    found: dict[int, Comparison] = {}
    for shared, numbers in by_prompts.items():
        table = {n: np.array([means[n][metric][i] for i in shared], np.float64) for n in numbers}
        own = np.array([baseline[i] for i in shared], np.float64)
        found |= statistics.compare_all(table, own, comparisons=comparisons, direction=direction, seed=seed)
    return found


def intervals(means: ByPrompt) -> dict[str, Interval]:
    """Return the mean of each metric over its prompts, with its interval."""
    return {name: statistics.interval(np.array([*own.values()], np.float64)) for name, own in sorted(means.items())}


def figures(means: ByPrompt, items: Sequence[Item], primary: str) -> dict[str, Any]:
    """Return a trial's fields that follow from its own records alone."""
    categories: dict[str, list[float]] = defaultdict(list)
    for item in items:
        if item.category and item.id in means.get(primary, {}):
            categories[item.category].append(means[primary][item.id])
    return {
        "metrics": intervals(means),
        "categories": {name: float(np.mean(values)) for name, values in sorted(categories.items())},
        "scores": dict(means.get(primary, {})),
    }


def acceptance(rows: Iterable[EvalRecord]) -> list[float]:
    """Return the mean share of accepted drafts at each position, of replies that speculation helped to write."""
    told = [row.drafts for row in rows if row.drafts]
    longest = max(map(len, told), default=0)
    return [float(np.mean([drafts[i] for drafts in told if len(drafts) > i])) for i in range(longest)]


def best(trials: Sequence[Trial], metric: str, direction: Direction) -> int | None:
    """Return the number of the trial that is best beside the baseline; the first of equals, `None` of none.

    It is best prompt by prompt, so that none is flattered by hard prompts on which it lacks the metric; by its mean
    where there is nothing to compare with.
    """
    sign = 1 if direction == "max" else -1
    told = [(sign * t.comparison.difference, -t.number) for t in trials if t.comparison]
    told = told or [(sign * t.metrics[metric].mean, -t.number) for t in trials if metric in t.metrics]
    return -max(told)[1] if told else None


def objectives_of(
    trial_metrics: Mapping[str, Interval], objectives: Mapping[str, Direction]
) -> tuple[float, ...] | None:
    """Return the means that the search is told, in the order of the objectives; `None` where one is missing."""
    if any(metric not in trial_metrics for metric in objectives):
        return None
    return tuple(trial_metrics[metric].mean for metric in objectives)
