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
    means: ByPrompt = defaultdict(dict)
    of_item: dict[str, list[EvalRecord]] = defaultdict(list)
    for row in rows:
        of_item[row.item].append(row)
    for item in items:
        records = of_item.get(item.id, [])
        values: dict[str, list[float]] = defaultdict(list)
        for row in records:
            scores = row.scores if row.outcome == OK else scoring.failed(item)
            for metric, value in scores.items():
                values[metric].append(value)
        texts = [text for row in records for text in row.texts]
        for metric, value in (scoring.replies(item, texts) if len(texts) > 1 else {}).items():
            values[metric].append(value)
        for metric, measured in values.items():
            means[metric][item.id] = sum(measured) / len(measured)
    return dict(means)


def unanswered(rows: Iterable[EvalRecord]) -> set[str]:
    """Return the prompts that got no answer at all, by item id."""
    records = list(rows)
    return {row.item for row in records} - {row.item for row in records if row.outcome == OK}


def fair(means: ByPrompt, baseline: ByPrompt, unanswered: Set[str]) -> ByPrompt:
    """Return a trial's metrics without those that it lacks on prompts which it left unanswered and the baseline did
    not: their mean over the other prompts would flatter it."""
    return {m: values for m, values in means.items() if not unanswered & (baseline.get(m, {}).keys() - values.keys())}


def records_of(store: SweepStore, trial: int, split: Split, items: Sequence[Item], repeats: int) -> list[EvalRecord]:
    """Return the records that a trial has on these items, in their order."""
    keys: list[Key] = [(trial, split, item.id, repeat) for item in items for repeat in range(repeats)]
    return [store[key] for key in keys if key in store]


def matched(
    means: Mapping[int, ByPrompt], metric: str, items: Sequence[Item]
) -> tuple[list[str], dict[int, NDArray[np.float64]]]:
    """Return the prompts on which every trial has the metric, and each trial's values there, shape (prompts,)."""
    shared = [item.id for item in items if all(item.id in by_metric.get(metric, {}) for by_metric in means.values())]
    return shared, {n: np.array([by_metric[metric][i] for i in shared], np.float64) for n, by_metric in means.items()}


def compared(
    means: Mapping[int, ByPrompt], metric: str, direction: Direction, *, comparisons: int, seed: int
) -> dict[int, Comparison]:
    """Compare each trial with trial 0, on the prompts on which both have the metric: none loses any to another trial.

    Trials on other prompts are corrected apart from each other, each for all `comparisons`, which is never too lenient.
    """
    baseline = means[0].get(metric, {})
    by_prompts: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, by_metric in means.items():
        if number and (shared := tuple(item for item in baseline if item in by_metric.get(metric, {}))):
            by_prompts[shared].append(number)
    results: dict[int, Comparison] = {}
    for shared, numbers in by_prompts.items():
        table = {n: np.array([means[n][metric][i] for i in shared], np.float64) for n in numbers}
        of_baseline = np.array([baseline[i] for i in shared], np.float64)
        results |= statistics.compare_all(table, of_baseline, comparisons=comparisons, direction=direction, seed=seed)
    return results


def intervals(means: ByPrompt) -> dict[str, Interval]:
    """Return the mean of each metric over its prompts, with its interval."""
    return {
        name: statistics.interval(np.array([*values.values()], np.float64)) for name, values in sorted(means.items())
    }


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
    replies = [row.drafts for row in rows if row.drafts]
    longest = max(map(len, replies), default=0)
    return [float(np.mean([drafts[i] for drafts in replies if len(drafts) > i])) for i in range(longest)]


def best(trials: Sequence[Trial], metric: str, direction: Direction) -> int | None:
    """Return the number of the trial that is best beside the baseline; the first of equals, `None` of none.

    It is best prompt by prompt, so that none is flattered by hard prompts on which it lacks the metric; by its mean
    where there is nothing to compare with.
    """
    sign = 1 if direction == "max" else -1
    ranked = [(sign * t.comparison.difference, -t.number) for t in trials if t.comparison]
    ranked = ranked or [(sign * t.metrics[metric].mean, -t.number) for t in trials if metric in t.metrics]
    return -max(ranked)[1] if ranked else None


def objectives_of(
    trial_metrics: Mapping[str, Interval], objectives: Mapping[str, Direction]
) -> tuple[float, ...] | None:
    """Return the means that the search is told, in the order of the objectives; `None` where one is missing."""
    if any(metric not in trial_metrics for metric in objectives):
        return None
    return tuple(trial_metrics[metric].mean for metric in objectives)
