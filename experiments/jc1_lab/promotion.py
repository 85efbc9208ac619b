"""Promotion: a trial that was shown to be better becomes a preset version, and the alias moves to it.

Knows what counts as shown, which comparison that takes, and what a preset remembers of it. Knows nothing about where
results come from, how a difference is computed (`jc1_lab.statistics`), or serving: whoever resolves the
alias next gets the new version.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jc1.errors import Conflict, NotSignificant, UnknownRun
from jc1.models import unambiguous
from jc1.presets import CHAMPION, SHIPPED, Preset, Presets
from jc1_lab.records.results import Comparison, Interval, Latency, SweepResult, Trial
from jc1_lab.records.trials import TrialSettings

NAME_LENGTH = 100
"""Most characters of a preset's name that is made from a sweep's."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """The outcome of a promotion: `alias` means `preset` now, and meant `before` (a reference; None where it is new).

    `comparison` is of the held-out scores, the trial's minus those of `against`; None where there is none, which takes
    force. `saved` is whether a version was made: a trial that was promoted before keeps the one it has. `forced` says
    what would have refused the promotion; empty where nothing would.
    """

    preset: Preset
    alias: str
    before: str | None
    against: str
    comparison: Comparison | None
    saved: bool
    forced: str = ""

    def lines(self) -> list[str]:
        """Return the outcome in sentences for a person."""
        sentences = []
        if self.forced:
            sentences.append(f"Forced: {self.forced}.")
        elif self.comparison is not None:
            sentences.append(
                f"{self.preset.reference} is {relation(self.comparison)} {self.against}{figures(self.comparison)}."
            )
        if not self.saved:
            sentences.append(f"This trial was promoted before, as {self.preset.reference}: no other version was saved.")
        if self.before == self.preset.reference:
            return [*sentences, f"{self.alias} is {self.preset.reference}, as it was."]
        return [
            *sentences,
            f"{self.alias} is {self.preset.reference}" + (f", was {self.before}." if self.before else "."),
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome for scripts, without the score of each prompt."""
        return {
            "preset": self.preset.reference,
            "alias": self.alias,
            "before": self.before,
            "against": self.against,
            "comparison": self.comparison.model_dump() if self.comparison else None,
            "saved": self.saved,
            "forced": self.forced,
            "measured": self.preset.figures,
        }


def relation(comparison: Comparison) -> str:
    """Return a verdict as it stands before what was compared with."""
    return {"better": "better than", "worse": "worse than"}.get(comparison.verdict, "not distinguishable from")


def figures(comparison: Comparison) -> str:
    """Return the difference with its interval, as it stands after what was compared with."""
    return (
        f", by {comparison.difference:+.3f} ({comparison.interval_name} {comparison.low:+.3f} to "
        f"{comparison.high:+.3f}, {comparison.prompts} held-out prompts)"
    )


def promote(
    result: SweepResult,
    trial: int,
    presets: Presets,
    *,
    name: str | None = None,
    alias: str = CHAMPION,
    force: bool = False,
) -> Promotion:
    """Save `trial`'s settings as the next version of the preset `name`, with its figures, and point `alias` at it.

    `name` is the sweep's unless given. A trial that `alias` means already changes nothing.

    The trial is compared, on held-out prompts, with what `alias` means now; with the sweep's baseline where there is no
    such alias yet. That needs the champion to be this sweep's baseline, or to have been measured on the same held-out
    prompts with the same model and memory, as its preset remembers.

    Raises:
        UnknownRun: There is no such trial.
        NotSignificant: The trial was not measured to the end or, unless `force`, not shown to be better.
        Conflict: Name or alias cannot be one, or the alias was moved meanwhile.
    """
    # 1) What is promoted, and what the alias means now
    chosen = _measured(result, trial)
    presets.check_alias(alias)
    known = presets.aliases()
    current = presets.resolve(known[alias]) if alias in known else None
    if current is not None and _is_of(current, result, trial) and name in (None, current.name):
        return Promotion(current, alias, current.reference, *_compared(current), saved=False)
    # 2) The name of the preset
    name = name or _name(result.name, {alias, *known, *(preset.name for preset in SHIPPED)})
    if name in {preset.name for preset in SHIPPED}:
        raise Conflict(f"{name!r} is a preset that JC1 ships: name this one otherwise.", param="name")
    if name == alias:
        raise Conflict(f"The preset and the alias cannot both be {alias!r}: name the preset otherwise.", param="name")
    # 3) Is it better, on held-out prompts?
    baseline = f"the baseline {result.baseline_name}" if "@" in result.baseline_name else result.baseline_name
    against = current.reference if current else baseline
    comparison, doubt, advice = _compare(result, trial, current, against, alias)
    if doubt and not force:
        raise NotSignificant(f"{doubt}: {advice}, or add --force.")
    # 4) The version, which the same trial may have already, and the alias
    preset = next((p for p in reversed(presets.list()) if p.name == name and _is_of(p, result, trial)), None)
    saved = preset is None
    if preset is None:
        measured = _remember(result, chosen, against, comparison, forced=bool(doubt))
        score = measured.get("heldout", measured["search"])
        preset = presets.save(
            Preset(
                name,
                description=f"Trial {trial} of the sweep {result.name}" + (f": {score['mean']:.3f}." if score else "."),
                system=chosen.settings.system,
                decoding=chosen.settings.decoding,
                retrieval=_retrieval(chosen.settings, result),
                engine=_engine(result, chosen),
                measured=measured,
            )
        )
    presets.set_alias(alias, preset.reference, expected=current)
    return Promotion(preset, alias, current.reference if current else None, against, comparison, saved, doubt)


def _measured(result: SweepResult, number: int) -> Trial:
    try:
        trial = result.trial(number)
    except KeyError:
        raise UnknownRun(
            f"The sweep {result.name!r} has no trial {number}: `jc1 runs show {result.name}` lists them."
        ) from None
    if trial.state != "measured":
        raise NotSignificant(
            f"Trial {number} of {result.name!r} was {trial.state} ({trial.reason or 'no reason given'}): promote one "
            "that was measured to the end."
        )
    return trial


# Which comparison


def _compare(
    result: SweepResult, trial: int, current: Preset | None, against: str, alias: str
) -> tuple[Comparison | None, str, str]:
    """Compare the trial with what the alias means.

    Returns:
        The difference, if it can be told; why that does not confirm the trial as better, or ""; and what to do about
            it.
    """
    subject = f"Trial {trial} of {result.name!r}"
    heldout = _heldout(result, trial)
    if heldout is None:
        doubt = f"{subject} was not measured on prompts held out from the search, where the best of many is flattered"
        advice = f"promote the winner, trial {result.verified.trial}" if result.verified else "run the sweep to its end"
        return None, doubt, advice
    comparison: Comparison | None = None
    if current is None or _is_baseline(current, result):
        if result.verified is None or trial != result.verified.trial:
            return None, f"{subject} is {against} itself", "promote another trial"
        comparison = result.verified.comparison
    elif scores := _same_prompts(current, result, trial):
        comparison = _paired(trial, heldout[1], scores, result)
    else:
        return (
            None,
            f"{subject} cannot be compared with {against}, which was not measured on the same held-out prompts with "
            "the same model and memory",
            f"run `jc1 sweep SPACE.yaml --suite {result.suite.source} --baseline {alias}` and promote its winner",
        )
    if comparison.verdict == "better":
        return comparison, "", ""
    return comparison, f"{subject} is {relation(comparison)} {against}{figures(comparison)}", "ask more prompts"


def _heldout(result: SweepResult, trial: int) -> tuple[Interval, Mapping[str, float]] | None:
    """Return the score on held-out prompts, and that of each; None for a trial that was not asked them."""
    verified = result.verified
    if verified is not None and trial == verified.trial:
        return verified.heldout, verified.scores
    if verified is not None and trial == result.baseline.number:
        return verified.baseline, verified.baseline_scores
    return None


def _is_baseline(preset: Preset, result: SweepResult) -> bool:
    """Tell whether the sweep's baseline set what this preset sets.

    A reference would not tell: each database has its own.
    """
    settings, baseline = result.resolve(TrialSettings.of(preset)), result.resolve(result.baseline.settings)
    ran = result.settings | _engine(result, result.baseline)
    return settings.model_copy(update={"engine": {}}) == baseline.model_copy(update={"engine": {}}) and all(
        ran.get(name) == value for name, value in preset.engine.items()
    )


def _same_prompts(preset: Preset, result: SweepResult, trial: int) -> Mapping[str, float] | None:
    """Return the preset's score on each held-out prompt of `result`, if it was measured on just these, by the same
    metric, with the same model and over the same memory as the trial."""
    conditions = _conditions(result, result.trial(trial))
    # Presets saved before these were remembered: from sweeps without an owner, and by an embedder that is not known.
    measured = {"owner": None, "memory": "", "embedder": conditions["embedder"], **preset.measured}
    scores = measured.get("scores")
    if result.verified is None or not scores or scores.keys() != result.verified.scores.keys():
        return None
    same_suite = measured.get("suite", {}).get("digest") == result.suite.digest
    return scores if same_suite and all(measured.get(name) == value for name, value in conditions.items()) else None


def _paired(trial: int, scores: Mapping[str, float], other: Mapping[str, float], result: SweepResult) -> Comparison:
    import numpy as np

    from jc1_lab.statistics import compare_all

    prompts = sorted(scores)
    comparison: Comparison = compare_all(
        {trial: np.array([scores[prompt] for prompt in prompts])},
        np.array([other[prompt] for prompt in prompts]),
        direction=result.objectives[result.primary],
    )[trial]
    return comparison


# What is saved


def _is_of(preset: Preset, result: SweepResult, trial: int | None) -> bool:
    """Tell whether the preset was promoted from this very trial."""
    measured = preset.measured
    identity = (result.name, result.created, trial)
    return (measured.get("sweep"), measured.get("created"), measured.get("trial")) == identity


def _compared(preset: Preset) -> tuple[str, Comparison | None]:
    """Return what the preset was compared with when it was promoted, and the difference."""
    stored = dict(preset.measured.get("difference") or {})
    return stored.pop("against", "what was before"), Comparison(**stored) if stored else None


def _name(sweep: str, names: set[str]) -> str:
    name = re.sub(r"[^\w.-]+", "-", sweep).strip("-.")[:NAME_LENGTH] or "sweep"
    return f"sweep-{name}" if name in names else name


def _engine(result: SweepResult, trial: Trial) -> dict[str, Any]:
    """Return the engine settings that the trial needs: the model, and what the space or the baseline set."""
    model = _model(result, trial)
    return {**trial.settings.engine, **({} if model is None else {"model": model})}


def _model(result: SweepResult, trial: Trial) -> str | None:
    """Return the model that answered."""
    model: str | None = trial.settings.engine.get("model", result.settings.get("model"))
    return None if model is None else unambiguous(model)


def _conditions(result: SweepResult, trial: Trial) -> dict[str, Any]:
    """Return what scores depend on beside the prompts and a trial's own settings, as plain JSON values."""
    return {
        "model": _model(result, trial),
        "metric": result.primary,
        "owner": result.owner,
        "memory": result.memory,
        "embedder": {name: result.settings.get(name) for name in ("embedder", "embedder_model")},
    }


def _retrieval(trial: TrialSettings, result: SweepResult) -> dict[str, Any]:
    """Return the retrieval settings of a trial, also where its sweep's settings made them: serving may have others."""
    resolved = result.resolve(trial).retrieval
    return {name: resolved[name] for name in ("k", "window", *trial.retrieval)}


def _remember(
    result: SweepResult, trial: Trial, against: str, comparison: Comparison | None, *, forced: bool
) -> dict[str, Any]:
    """Return the figures that the preset remembers, as plain JSON values."""
    figures: dict[str, Any] = {
        "run": result.mlflow_run,
        "sweep": result.name,
        "created": result.created,
        "trial": trial.number,
        "promoted": datetime.now(UTC).isoformat(timespec="seconds"),
        "forced": forced,
        "suite": {"name": result.suite.name, "digest": result.suite.digest},
        **_conditions(result, trial),
        "search": trial.metrics[result.primary].model_dump() if result.primary in trial.metrics else None,
    }
    if (heldout := _heldout(result, trial.number)) is not None and result.verified is not None:
        figures["heldout"] = heldout[0].model_dump()
        figures["baseline"] = {"name": result.baseline_name, **result.verified.baseline.model_dump()}
        figures["scores"] = dict(heldout[1])
    if comparison is not None:
        figures["difference"] = {"against": against, **comparison.model_dump()}
    if trial.latency:
        figures["latency"] = [_latency(latency) for latency in trial.latency]
    return figures


def _latency(latency: Latency) -> dict[str, Any]:
    """Return the figures of a latency by name: times in seconds, rates a second."""
    figures = {
        "load": str(latency.load),
        "ttft_p50": latency.ttft.p50,
        "total_p50": latency.total.p50,
        "total_p99": latency.total.p99,
        "tokens_per_second": latency.tokens_per_second,
        "requests_per_second": latency.requests_per_second,
        "goodput": latency.goodput,
    }
    return {name: value for name, value in figures.items() if value is not None}
