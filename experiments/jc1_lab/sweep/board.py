"""Which trials a sweep has, and how they stand by the records so far.

Knows trials while a sweep runs: their numbers, who is given up, what is told of each. Knows nothing about how rows come
about, or how a mean or an interval is computed (jc1_lab.sweep.analysis, jc1_lab.statistics).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from jc1.errors import Conflict
from jc1_lab import statistics
from jc1_lab.records.evals import OK, Split
from jc1_lab.records.items import Item
from jc1_lab.records.results import Trial
from jc1_lab.records.trials import TrialSettings, engine_key
from jc1_lab.sweep import analysis

if TYPE_CHECKING:
    from jc1_lab.records.store import SweepStore
    from jc1_lab.sweep.spec import Sweep


@dataclass(slots=True)
class TrialState:
    """A trial while the sweep runs. `key` tells it from others, `engine` its engine from others."""

    number: int
    settings: TrialSettings
    key: str
    engine: str
    repeats: int
    state: Literal["measured", "stopped", "refused"] = "measured"
    reason: str = ""
    prompts: int = 0


class TrialBoard:
    """The trials of a sweep, trial 0 the baseline's. `store` has their records, and which settings each number has."""

    def __init__(self, sweep: Sweep, store: SweepStore) -> None:
        self.trials: list[TrialState] = []
        self._sweep = sweep
        self._store = store
        self._stored = store.settings()

    def add(self, settings: TrialSettings) -> TrialState:
        """Return the trial of these settings: a new one, or the one that has them already."""
        key = settings.key(self._sweep.settings)
        for trial in self.trials:
            if trial.key == key:
                return trial
        engine = engine_key(self._sweep.settings, settings.engine)
        trial = TrialState(len(self.trials), settings, key, engine, settings.repeats(self._sweep.repeats))
        self._number(trial)
        self.trials.append(trial)
        return trial

    def _number(self, trial: TrialState) -> None:
        """Keep which settings the records of that number have. Raises `Conflict` where they had others."""
        settings = trial.settings.model_dump(mode="json")
        if trial.number == len(self._stored):
            self._store.add_trial(trial.number, settings)
            self._stored.append(settings)
        elif self._stored[trial.number] != settings:
            raise Conflict(
                f"Trial {trial.number} of the sweep {self._sweep.name!r} was begun with other settings: resume it with "
                "the space and the code that it had then, or choose another --name.",
                param="name",
            )

    def prune(self, running: Sequence[TrialState], items: Sequence[Item]) -> int:
        """Give up those that are sure to stay behind after these prompts; return how many requests that saves."""
        metric, direction = self._sweep.primary
        measured = [trial for trial in self.trials if trial.state == "measured" and trial.prompts >= len(items)]
        means = {trial.number: self.means(trial, "search", items) for trial in measured}
        means = {number: by_metric for number, by_metric in means.items() if by_metric.get(metric)}
        shared, values = analysis.matched(means, metric, items)
        if not shared:
            return 0
        signed = {number: scores if direction == "max" else -scores for number, scores in values.items()}
        behind = statistics.dominated(signed, trials=self._sweep.plan.trials)
        stopped = [trial for trial in running if trial.number in behind and trial.number != 0]
        for trial in stopped:
            trial.state = "stopped"
            trial.reason = f"sure to stay behind the leader after {len(items)} prompts"
        return (len(self._sweep.items) - len(items)) * sum(trial.repeats for trial in stopped)

    def objectives(self, trial: TrialState) -> tuple[float, ...]:
        """Return the means of the trial's objectives, NaN where it has none."""
        unknown = (math.nan,) * len(self._sweep.space.objectives)
        if trial.state == "refused":
            return unknown
        items = self._sweep.items[: trial.prompts]
        metrics = analysis.intervals(self.means(trial, "search", items))
        return analysis.objectives_of(metrics, self._sweep.space.objectives) or unknown

    def means(self, trial: TrialState, split: Split, items: Sequence[Item]) -> analysis.ByPrompt:
        """Return the means of the trial's answers to these prompts, as far as it can be held against the baseline."""
        records = analysis.records_of(self._store, trial.number, split, items, trial.repeats)
        figures = analysis.by_prompt(records, items, self._sweep.scoring)
        unanswered = analysis.unanswered(records)
        if unanswered and trial.number:
            return analysis.fair(figures, self.means(self.trials[0], split, items), unanswered)
        return figures

    def results(self) -> list[Trial]:
        """Return every trial with its figures, those that were measured whole compared with the baseline."""
        metric, direction = self._sweep.primary
        means = {
            trial.number: self.means(trial, "search", self._sweep.items[: trial.prompts])
            for trial in self.trials
            if trial.state != "refused"
        }
        whole = {t.number: means[t.number] for t in self.trials if t.state == "measured"}
        compared = analysis.compared(whole, metric, direction, comparisons=len(self.trials) - 1, seed=self._sweep.seed)
        results = []
        for trial in self.trials:
            items = self._sweep.items[: trial.prompts]
            records = analysis.records_of(self._store, trial.number, "search", items, trial.repeats)
            figures = analysis.figures(means[trial.number], items, metric) if trial.number in means else {}
            results.append(
                Trial(
                    number=trial.number,
                    settings=trial.settings,
                    label=trial.settings.label(self._sweep.baseline) if trial.number else "the baseline",
                    state=trial.state,
                    reason=trial.reason,
                    repeats=trial.repeats,
                    prompts=trial.prompts,
                    failed=sum(record.outcome != OK for record in records),
                    comparison=compared.get(trial.number),
                    acceptance=analysis.acceptance(records),
                    **figures,
                )
            )
        return self._with_front(results)

    def _with_front(self, results: Sequence[Trial]) -> list[Trial]:
        """Return the results with those marked that no other beats in every objective."""
        objectives = self._sweep.space.objectives
        if len(objectives) < 2:  # all that share the best mean would be in front
            return [*results]
        points = {t.number: analysis.objectives_of(t.metrics, objectives) for t in results if t.state == "measured"}
        front = statistics.pareto({n: point for n, point in points.items() if point}, [*objectives.values()])
        return [t.model_copy(update={"pareto": t.number in front}) for t in results]

    def winner(self, results: Sequence[Trial]) -> int | None:
        """Return the number of the best trial beside the baseline, `None` of none."""
        return analysis.best([t for t in results if t.number and t.state == "measured"], *self._sweep.primary)
