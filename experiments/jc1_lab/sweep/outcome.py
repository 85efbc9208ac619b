"""The result of a sweep, put together: what was measured, what a reader has to know of it, and where that was.

Knows which words go with which figures. Measures nothing, and writes nothing down.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING

from jc1.engines.registry import distributions
from jc1_lab import environment
from jc1_lab.records.evals import OK
from jc1_lab.records.results import RESULT, SCORE, SweepResult, Trial, Verified

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jc1_lab.records.store import SweepStore
    from jc1_lab.sweep.spec import Sweep

FEW = 3
"""Answers to a prompt below which luck shows, where they are sampled."""
PACKAGES = ("openvino", "faiss-cpu", "mlflow", "optuna", "numpy")
"""What a sweep's figures depend on besides the engines' packages."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What the phases of a sweep came to. `anew` is whether any of it was measured by this process."""

    trials: list[Trial]
    winner: int | None
    verified: Verified | None
    memory: str
    model: str
    engine_starts: int
    seconds: dict[str, float]
    notes: list[str]
    anew: bool


def result_of(measured: Measured, sweep: Sweep, store: SweepStore, created: str, reference: str) -> SweepResult:
    """Return the result, under the id `reference` that MLflow has for it; the one that is there already where nothing
    was left to measure."""
    if not measured.anew and (store.folder / RESULT).exists():
        return SweepResult.read(store.folder).model_copy(update={"mlflow_run": reference})
    plan, trials = sweep.plan, measured.trials
    effects = [trial.comparison.mde for trial in trials if trial.comparison]
    starts = {"engine_starts": measured.engine_starts}
    return SweepResult(
        name=sweep.name,
        created=created,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        baseline_name=sweep.baseline_name,
        suite=plan.suite,
        space=plan.space,
        search=plan.search | {"repeats": sweep.repeats, "racing": plan.racing} | starts,
        objectives=sweep.space.objectives,
        trials=trials,
        winner=measured.winner,
        verified=measured.verified,
        mde=median(effects) if effects else plan.mde,
        rows=len(store),
        owner=sweep.owner,
        memory=measured.memory,
        settings=plan.settings | ({"model": measured.model} if measured.model else {}),
        machine=environment.machine(),
        versions=environment.versions((*distributions(), *PACKAGES)),
        revision=environment.revision(),
        seconds=measured.seconds,
        notes=[*measured.notes, *_notes(sweep, store, trials)],
        mlflow_run=reference,
    )


def _notes(sweep: Sweep, store: SweepStore, trials: list[Trial]) -> Iterator[str]:
    """Yield what a reader of the figures has to know."""
    stopped = sum(trial.state == "stopped" for trial in trials)
    refused = sum(trial.state == "refused" for trial in trials)
    if stopped:
        yield f"Racing stopped {stopped} of {len(trials) - 1} trials early; they count in the correction."
    if skipped := sweep.space.skipped():
        yield skipped
    if refused:
        yield f"The engine cannot carry out {refused} of the trials; each says why."
    answered = [record for record in store if record.outcome == OK]
    raised = Counter(name for record in answered for name in sweep.scoring.raised(record.scores))
    for name, count in raised.items():
        yield f"The scorer {name} raised for {count} of {len(answered)} replies: they lack it, or score 0."
    if sweep.repeats < FEW and any(trial.settings.samples for trial in trials):
        yield f"Sampled trials answered each prompt {sweep.repeats} times: fewer than {FEW} leave much to luck."
    if sweep.primary[0] != SCORE:
        yield f"The winner is the best by {sweep.primary[0]}, not by score."
