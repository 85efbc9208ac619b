"""Which trials a sweep has, and how they stand by the rows so far.

Knows trials while a sweep runs: their numbers, who is given up, what is told of each. Knows nothing about how rows come
about, or how a mean or an interval is computed (jc1_lab.sweep.analysis, jc1_lab.statistics).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import orjson

from jc1.errors import Conflict
from jc1_lab import statistics
from jc1_lab.records.items import Item
from jc1_lab.records.results import Latency, Trial
from jc1_lab.records.rows import OK, EvalRecord, RowFile, Split
from jc1_lab.records.trials import TrialSettings, engine_key
from jc1_lab.sweep import analysis
from jc1_lab.sweep.lines import Lines

if TYPE_CHECKING:
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
    latency: list[Latency] = field(default_factory=list)


class TrialBoard:
    """The trials of a sweep, trial 0 the baseline's. `rows` are theirs, `numbers` keeps which settings each number has;
    `most` is how many trials there may be."""

    def __init__(self, sweep: Sweep, rows: RowFile, numbers: Lines, *, most: int) -> None:
        self.trials: list[TrialState] = []
        self._sweep = sweep
        self._rows = rows
        self._numbers = numbers
        self._numbered = [orjson.loads(line) for line in numbers.read()]
        self._most = most

    def add(self, settings: TrialSettings) -> TrialState:
        """The trial of these settings: a new one, or the one that has them already."""
        key = settings.key(self._sweep.settings)
        for trial in self.trials:
            if trial.key == key:
                return trial
        own = engine_key(self._sweep.settings, settings.engine)
        trial = TrialState(len(self.trials), settings, key, own, settings.repeats(self._sweep.repeats))
        self._number(trial)
        self.trials.append(trial)
        return trial

    def _number(self, trial: TrialState) -> None:
        """Keep which settings the rows of that number have. Raises `Conflict` where they had others."""
        told = trial.settings.model_dump(mode="json")
        if trial.number == len(self._numbered):
            self._numbers.add(orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE))
            self._numbered.append(told)
        elif self._numbered[trial.number] != told:
            raise Conflict(
                f"Trial {trial.number} of the sweep {self._sweep.name!r} was begun with other settings: resume it with "
                "the space and the code that it had then, or choose another --name.",
                param="name",
            )

    def prune(self, running: Sequence[TrialState], items: Sequence[Item]) -> int:
        """Give up those that are sure to stay behind after these prompts; how many requests that saves."""
        metric, direction = self._sweep.primary
        measured = [trial for trial in self.trials if trial.state == "measured" and trial.prompts >= len(items)]
        means = {trial.number: self.means(trial, "search", items) for trial in measured}
        shared, values = analysis.matched({n: told for n, told in means.items() if told.get(metric)}, metric, items)
        if not shared:
            return 0
        signed = {number: told if direction == "max" else -told for number, told in values.items()}
        behind = statistics.dominated(signed, trials=self._most)
        stopped = [trial for trial in running if trial.number in behind and trial.number != 0]
        for trial in stopped:
            trial.state = "stopped"
            trial.reason = f"sure to stay behind the leader after {len(items)} prompts"
        return (len(self._sweep.items) - len(items)) * sum(trial.repeats for trial in stopped)

    def told(self, trial: TrialState) -> tuple[float, ...]:
        """The trial's objectives, NaN where it has none."""
        unknown = (math.nan,) * len(self._sweep.space.objectives)
        if trial.state == "refused":
            return unknown
        items = self._sweep.items[: trial.prompts]
        metrics = analysis.figures(self.means(trial, "search", items), items, self._sweep.primary[0])["metrics"]
        return analysis.objectives_of(metrics, self._sweep.space.objectives) or unknown

    def means(self, trial: TrialState, split: Split, items: Sequence[Item]) -> analysis.ByPrompt:
        """What the trial's answers to these prompts are worth, as far as it can be held against the baseline."""
        rows = analysis.rows_of(self._rows, trial.number, split, items, trial.repeats)
        found = analysis.by_prompt(rows, items, self._sweep.scoring)
        left = analysis.unanswered(rows)
        return analysis.fair(found, self.means(self.trials[0], split, items), left) if left and trial.number else found

    def results(self) -> list[Trial]:
        """Every trial with its figures, those that were measured whole compared with the baseline."""
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
            rows = analysis.rows_of(self._rows, trial.number, "search", items, trial.repeats)
            own = analysis.figures(means[trial.number], items, metric) if trial.number in means else {}
            results.append(
                Trial(
                    number=trial.number,
                    settings=trial.settings,
                    label=trial.settings.label(self._sweep.baseline) if trial.number else "the baseline",
                    state=trial.state,
                    reason=trial.reason,
                    repeats=trial.repeats,
                    prompts=trial.prompts,
                    failed=sum(row.outcome != OK for row in rows),
                    comparison=compared.get(trial.number),
                    acceptance=analysis.acceptance(rows),
                    latency=trial.latency,
                    **own,
                )
            )
        return self._with_front(results)

    def _with_front(self, results: Sequence[Trial]) -> list[Trial]:
        """The results with those marked that no other beats in every objective."""
        objectives = self._sweep.space.objectives
        if len(objectives) < 2:  # all that share the best mean would be in front
            return [*results]
        points = {t.number: analysis.objectives_of(t.metrics, objectives) for t in results if t.state == "measured"}
        front = statistics.pareto({n: told for n, told in points.items() if told}, [*objectives.values()])
        return [t.model_copy(update={"pareto": t.number in front}) for t in results]

    def winner(self, results: Sequence[Trial]) -> int | None:
        """The number of the best trial beside the baseline, `None` of none."""
        return analysis.best([t for t in results if t.number and t.state == "measured"], *self._sweep.primary)

    def sorted_rows(self) -> list[EvalRecord]:
        """All rows: by trial, search before proof, in the order of the prompts."""
        places = {item.id: i for i, item in enumerate((*self._sweep.items, *self._sweep.heldout))}
        return sorted(self._rows, key=lambda row: (row.trial, row.split == "heldout", places[row.item], row.repeat))
