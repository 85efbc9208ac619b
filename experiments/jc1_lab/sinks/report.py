"""A sweep as one HTML file that explains itself: found, planned, measured, and how to repeat it.

Knows the words and what is shown of a result. Knows nothing about how figures are drawn
(jc1_lab.plots.sweeps). The file asks nobody for anything: plotly.js is inside, and a content security policy
forbids requests.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jc1_lab.plots import style
from jc1_lab.records.evals import Asked, EvalRecord
from jc1_lab.records.results import Comparison, Interval, Latency, SweepResult, Trial

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from jc1_lab.sinks.texts import Texts

ASSETS = Path(__file__).parent / "assets"
_MAX_PAIRS = 12
_MAX_LETTERS = 2000

CAPTIONS = {
    "winner": (
        "The winner, measured again",
        "The best of many trials is flattered by luck, so the winner was asked prompts that the search never saw, with "
        "fresh seeds. Believe the held-out figures.",
    ),
    "parallel_coordinates": (
        "Which settings went where",
        "Each line is a trial on its way through its settings to its score; the stronger the line, the better.",
    ),
    "heatmap": ("Two settings that matter together", "Mean score over the trials that share both values."),
    "by_prompt": (
        "Prompt by prompt",
        "Every column is a prompt, those hardest for the baseline first. Above, the baseline's own score, darker is "
        "better; below, what each trial gains (blue) or loses (orange) on that prompt. Blank is not asked.",
    ),
    "waterfall": (
        "Where the time goes",
        "The trials that were timed, stage by stage: baseline, winner and Pareto members.",
    ),
    "acceptance": (
        "How far a draft is believed",
        "The share of drafted tokens that the model accepted, by their position in the draft.",
    ),
}


def headline(result: SweepResult) -> str:
    """Return who won and by how much, in one or two sentences."""
    if result.winner is None:
        if any(trial.state == "measured" for trial in result.trials[1:]):
            return f"No trial was compared with the baseline {result.baseline_name}: none has {result.primary}."
        return f"No trial was left beside the baseline {result.baseline_name}: each was stopped early or refused."
    best = result.trial(result.winner)
    if result.verified:
        comparison, where = result.verified.comparison, "on held-out prompts"
        score, other = result.verified.heldout.mean, result.verified.baseline.mean
    elif best.comparison:
        comparison, where = best.comparison, "in the search, not yet verified on held-out prompts"
        score, other = best.metrics[result.primary].mean, result.baseline.metrics[result.primary].mean
    else:
        return f"Trial #{best.number} leads ({best.label}); it was not compared with the baseline."
    name = f"Trial #{best.number} ({best.label})"
    figures = f"{score:.2f} against {other:.2f} {where}"
    ends = f"{style.signed(comparison.low)} to {style.signed(comparison.high)}"
    between = f"{style.signed(comparison.difference)}, {comparison.interval_name} {ends}"
    if comparison.verdict == "not distinguishable":
        return f"Not distinguishable from the baseline: {name[0].lower()}{name[1:]} has {figures} ({between})."
    return f"{name} is {comparison.verdict} than the baseline: {figures} ({between})."


def html(result: SweepResult, texts: Texts) -> str:
    """Return the report of a sweep, which quotes of the texts what is there."""
    from jc1_lab.plots import sweeps as plots

    pairs, differing = _pairs(result, texts)
    return _render(
        "report.html",
        plots.figures(result),
        result=result,
        headline=headline(result),
        metric=result.primary.replace("_", " "),
        facts=_facts(result),
        captions=CAPTIONS | {"pareto": _tradeoff(result)},
        rows=[_row(result, trial) for trial in ordered(result)],
        timed=[_times(trial, latency) for trial in ordered(result) for latency in trial.latency],
        pairs=pairs,
        parted=f"{len(pairs)} of the {differing} prompts on which they score differently, widest apart first.",
        origin=list(_origin(result)),
    )


def comparison(results: Sequence[SweepResult]) -> str:
    """Return several sweeps on one page: the findings of each, side by side."""
    from jc1_lab.plots import sweeps as plots

    suites = {result.suite.digest for result in results}
    return _render(
        "comparison.html",
        {"compare": plots.compare(results)},
        results=results,
        headlines=[headline(result) for result in results],
        origins=[list(_origin(result)) for result in results],
        warning="These sweeps asked different prompts, so their scores cannot be compared with each other: compare "
        "the differences to each baseline."
        if len(suites) > 1
        else "",
    )


def summary(result: SweepResult) -> dict[str, Any]:
    """Return what scripts want to know of a sweep, as plain JSON values."""
    wanted = {"name", "created", "suite", "winner", "verified", "mlflow_run"}
    return {**result.model_dump(mode="json", include=wanted), "headline": headline(result)}


def ordered(result: SweepResult) -> list[Trial]:
    """Return the trials, best score first; those that were given up or refused last."""

    def place(trial: Trial) -> tuple[bool, float]:
        interval = trial.metrics.get(result.primary)
        return trial.state != "measured", -result.sign * interval.mean if interval else math.inf

    return sorted(result.trials, key=place)


def interval_text(interval: Interval | None) -> str:
    """Return `0.84 (0.72 to 0.97)`, or nothing."""
    return f"{interval.mean:.2f} ({_minus(interval.low)} to {_minus(interval.high)})" if interval else ""


def _minus(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _render(template: str, figures: Mapping[str, go.Figure], **values: Any) -> str:
    from jinja2 import Environment, FileSystemLoader
    from plotly.offline import get_plotlyjs

    environment = Environment(loader=FileSystemLoader(ASSETS), autoescape=True, trim_blocks=True)
    drawn = {name: json.loads(figure.to_json()) for name, figure in figures.items()}
    # Inside a script element only "<" can end it or begin a comment.
    data = json.dumps(drawn).replace("<", "\\u003c")
    return environment.get_template(template).render(
        plotly=get_plotlyjs().replace("</script", "<\\/script"),
        figures=data,
        heights={name: figure.layout.height for name, figure in figures.items()},
        **values,
    )


def _tradeoff(result: SweepResult) -> tuple[str, str]:
    """Return heading and words of the figure of two metrics."""
    from jc1_lab.plots.sweeps import cost

    name, direction = cost(result) or ("", "min")
    heading = f"{result.primary} against {name}".replace("_", " ")
    text = f"{'Up' if result.sign > 0 else 'Down'} and to the {'left' if direction == 'min' else 'right'} is better."
    if len(result.objectives) == 2:
        text += " The line is the Pareto front: no other trial beats those on it in both."
    elif len(result.objectives) > 2:
        text += f" A Pareto member is one that no other trial beats in all {len(result.objectives)} objectives."
    return heading[:1].upper() + heading[1:], text


def _facts(result: SweepResult) -> list[dict[str, str]]:
    states = [trial.state for trial in result.trials]
    other = ", ".join(
        f"{states.count(state)} {words}" for state, words in (("stopped", "stopped early"), ("refused", "refused"))
        if state in states
    )  # fmt: skip
    heldout = len(result.suite.heldout)
    search = result.search
    plan = [f"{search['kind']} search" if "kind" in search else ""]
    plan.append(f"up to {repeats} repeats" if (repeats := search.get("repeats")) else "")
    effect = {
        "name": "Smallest effect this could show",
        "value": "" if result.mde is None else f"{result.mde:.2f}",
        "more": f"of {result.primary}, in four of five cases",
    }
    return [
        {"name": "Trials", "value": str(len(result.trials)), "more": other},
        {
            "name": "Prompts in the search",
            "value": str(len(result.suite.search)),
            "more": f"{heldout} more held out" if heldout else "none held out",
        },
        {"name": "Replies asked", "value": f"{result.rows:,}", "more": ", ".join(filter(None, plan))},
        *([effect] if result.mde is not None else []),
    ]


def _row(result: SweepResult, trial: Trial) -> dict[str, Any]:
    from jc1_lab.plots.sweeps import role

    score, between = trial.metrics.get(result.primary), trial.comparison
    kind = role(result, trial)
    return {
        "number": trial.number,
        "kind": "winner" if kind == "winner" else "faded" if trial.state != "measured" else "",
        "role": {"winner": "winner", "baseline": "baseline", "Pareto member": "Pareto"}.get(kind, ""),
        "label": result.baseline_name if kind == "baseline" else trial.label,
        "state": {"stopped": "stopped early", "refused": "refused"}.get(trial.state, ""),
        "reason": trial.reason,
        "score": f"{score.mean:.2f}" if score else "",
        "interval": f"{_minus(score.low)} to {_minus(score.high)}" if score else "",
        "difference": style.signed(between.difference) if between else "",
        "between": f"{style.signed(between.low)} to {style.signed(between.high)}" if between else "",
        "verdict": between.verdict if between else "",
        "p": _p(between) if between else "",
        "latency": style.duration(trial.latency[0].total.p50) if trial.latency else "",
        "prompts": trial.prompts,
        "failed": trial.failed,
    }


def _p(between: Comparison) -> str:
    return "p < 0.001" if between.p_adjusted < 0.001 else f"p = {between.p_adjusted:.2g}"


def _times(trial: Trial, latency: Latency) -> dict[str, Any]:
    times = (latency.ttft.p50, latency.ttft.p99, latency.total.p50, latency.total.p99)
    figures = [*map(style.duration, times), f"{latency.tokens_per_second:,.0f}", str(latency.requests)]
    return {"trial": f"#{trial.number}", "load": str(latency.load), "figures": figures}


def _pairs(result: SweepResult, texts: Texts) -> tuple[list[dict[str, Any]], int]:
    """Return prompts on which winner and baseline score differently, with a text of each, held-out ones where there are
    any; and the number of such prompts in all."""
    if result.winner is None:
        return [], 0
    if result.verified:
        split, scores, other = "heldout", result.verified.scores, result.verified.baseline_scores
    else:
        split, scores, other = "search", result.trial(result.winner).scores, result.baseline.scores
    apart = sorted(
        (i for i in scores if i in other and scores[i] != other[i]), key=lambda i: (-abs(scores[i] - other[i]), i)
    )
    shown = apart[:_MAX_PAIRS]
    replies: dict[tuple[int, str], list[EvalRecord]] = {}
    for record in texts.records:
        if record.split == split and record.item in shown:
            replies.setdefault((record.trial, record.item), []).append(record)
    nothing = Asked("")
    return [
        {
            "item": item,
            "prompt": _cut(texts.prompts.get(item, nothing).prompt),
            "right": _cut(" or ".join(texts.prompts.get(item, nothing).references)),
            "baseline": _quote(replies[0, item], result.primary, other[item]),
            "winner": _quote(replies[result.winner, item], result.primary, scores[item]),
        }
        for item in shown
        if (0, item) in replies and (result.winner, item) in replies
    ], len(apart)


def _quote(rows: Sequence[EvalRecord], metric: str, mean: float) -> tuple[str, str]:
    """Return the mean score of a prompt, and the reply that comes nearest to it, with its own score if that differs."""

    def apart(row: EvalRecord) -> float:
        return abs(row.scores.get(metric, math.inf) - mean)

    row = min(rows, key=apart)
    score = f"{mean:.2g}"
    if len(rows) > 1:
        score += f", the mean of {len(rows)} replies"
    if 0.005 < apart(row) < math.inf:
        score += f"; of this one {row.scores[metric]:.2g}"
    return f"{metric.replace('_', ' ')} {score}", _cut("\n".join(row.texts))


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_LETTERS else f"{text[:_MAX_LETTERS]} …"


def _origin(result: SweepResult) -> Iterator[tuple[str, str]]:
    def listed(of: Mapping[str, Any]) -> str:
        return ", ".join(f"{name} {value}" for name, value in of.items() if value not in ("", [], None))

    yield "Suite", f"{result.suite.name}, from {result.suite.source}"
    yield "SHA-256 of the suite", result.suite.digest
    yield "Baseline", result.baseline_name
    yield "Search", listed(result.search)
    yield "Objectives", ", ".join(f"{name} ({way})" for name, way in result.objectives.items())
    yield "Settings", listed(result.settings)
    yield "Revision", result.revision or "unknown"
    yield "Machine", listed(result.machine)
    yield "Versions", listed(result.versions)
    yield "Began and ended", f"{result.created} to {result.finished}"
    if result.seconds:
        yield "Time spent", ", ".join(f"{phase} {style.duration(took)}" for phase, took in result.seconds.items())
    if result.mlflow_run:
        yield "MLflow run", result.mlflow_run
