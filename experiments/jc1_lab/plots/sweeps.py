"""Figures of a sweep: what it cost and what it brought, by trial, by prompt and by stage.

Knows a sweep's result and Plotly. Knows nothing about the page: backgrounds are transparent and no title is drawn, so
that a figure serves a notebook, a report and a web page. Those of the settings are in jc1_lab.plots.settings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any, Literal

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from jc1.trace import STAGES
from jc1_lab.plots import style
from jc1_lab.plots.plotting import label_ends
from jc1_lab.plots.settings import heatmap, parallel_coordinates, varied
from jc1_lab.records.results import SCORE, Interval, SweepResult, Trial

__all__ = [
    "acceptance",
    "by_prompt",
    "compare",
    "figures",
    "heatmap",
    "parallel_coordinates",
    "pareto",
    "waterfall",
    "winner",
]

Direction = Literal["max", "min"]
Role = Literal["winner", "baseline", "Pareto member", "other trial", "stopped early"]
_MARKS: dict[Role, tuple[str, str, int]] = {
    "other trial": (style.OTHER, "circle", 8),
    "stopped early": (style.OTHER, "circle-open", 7),
    "Pareto member": (style.PARETO, "circle", 11),
    "baseline": (style.BASELINE, "diamond", 13),
    "winner": (style.WINNER, "star", 16),
}
"""Colour, shape and size in pixels, in the order in which they are drawn."""
_MAX_ROWS = 24
"""Trials that a figure with a row for each shows."""
_DIVERGING = [(0.0, style.ORANGE), (0.5, "rgba(128, 128, 140, 0.12)"), (1.0, style.BLUE)]
_AMOUNT = [[0.0, "rgba(128, 128, 140, 0.08)"], [1.0, "rgba(128, 128, 140, 0.95)"]]


def figures(result: SweepResult) -> dict[str, go.Figure]:
    """Return those figures that have something to show, by name, in the order of a report."""
    chosen: dict[str, tuple[bool, Callable[[SweepResult], go.Figure]]] = {
        "winner": (result.winner is not None, winner),
        "pareto": (cost(result) is not None, pareto),
        "parallel_coordinates": (bool(varied(result)), parallel_coordinates),
        "heatmap": (len(varied(result)) > 1, heatmap),
        "by_prompt": (any(trial.scores for trial in result.trials[1:]), by_prompt),
        "waterfall": (any(_stages(trial) for trial in result.trials), waterfall),
        "acceptance": (any(trial.acceptance for trial in result.trials), acceptance),
    }
    return {name: draw(result) for name, (has, draw) in chosen.items() if has}


def role(result: SweepResult, trial: Trial) -> Role:
    """Return the role of a trial in its sweep."""
    if trial.number == result.winner:
        return "winner"
    if trial.number == result.baseline.number:
        return "baseline"
    if trial.state == "stopped":
        return "stopped early"
    return "Pareto member" if trial.pareto else "other trial"


def cost(result: SweepResult) -> tuple[str, Direction] | None:
    """Return the metric that `pareto` holds against the primary one, and which way it is better."""
    known = {name for trial in result.trials for name in trial.metrics}
    candidates = {**result.objectives, "output_tokens": result.objectives.get("output_tokens", "min")}
    return next(((n, way) for n, way in candidates.items() if n in known and n != result.primary), None)


def last_measured(result: SweepResult) -> tuple[Interval | None, Interval | None, str]:
    """Return baseline and winner as they were measured last, and where: `held out`, or `search` where that was all."""
    if result.verified:
        return result.verified.baseline, result.verified.heldout, "held out"
    best = None if result.winner is None else result.trial(result.winner).metrics.get(result.primary)
    return result.baseline.metrics.get(result.primary), best, "search"


def pareto(result: SweepResult) -> go.Figure:
    """Plot the first objective with its 95 % interval against the second, or against output tokens where there is no
    other, and the front as a line where there are two."""
    figure = go.Figure()
    name, direction = cost(result) or ("", "min")
    known = [trial for trial in result.trials if result.primary in trial.metrics and name in trial.metrics]
    if not known:
        return _base(figure, height=120)
    crowded = len(known) > _MAX_ROWS
    dearest = max(trial.metrics[name].mean for trial in known)
    if len(result.objectives) == 2:
        front = sorted((t for t in known if t.pareto), key=lambda trial: trial.metrics[name].mean)
        figure.add_scatter(
            x=[trial.metrics[name].mean for trial in front],
            y=[trial.metrics[result.primary].mean for trial in front],
            mode="lines",
            line={"color": style.see_through(style.PARETO, 0.45), "width": 1.5},
            line_shape="hv" if direction == "min" else "vh",
            name="front",
            hoverinfo="skip",
            showlegend=False,
        )
    labelled = _apart(result, known, name, dearest)
    for kind, (colour, shape, size) in _MARKS.items():
        trials = [trial for trial in known if role(result, trial) == kind]
        if not trials:
            continue
        scores = [trial.metrics[result.primary] for trial in trials]
        alone = kind in ("baseline", "winner")
        figure.add_scatter(
            x=[trial.metrics[name].mean for trial in trials],
            y=[score.mean for score in scores],
            mode="markers+text",
            name=kind,
            marker={"color": colour, "symbol": shape, "size": size, "line": {"color": colour, "width": 1.5}},
            opacity=0.55 if kind == "stopped early" else 0.8 if kind == "other trial" else 1,
            text=[(kind if alone else f"#{t.number}") if t.number in labelled else "" for t in trials],
            textposition=["top left" if t.metrics[name].mean > dearest / 2 else "top right" for t in trials],
            textfont={"color": colour, "size": 12},
            cliponaxis=False,
            error_y=_errors(scores, colour) if alone or not crowded else None,
            customdata=[[_named(trial), _says(trial.metrics[result.primary]), _timed(trial)] for trial in trials],
            hovertemplate=f"%{{customdata[0]}}<br>{_words(result.primary)} %{{customdata[1]}}<br>"
            f"{_words(name)} %{{x:.3g}}%{{customdata[2]}}<extra></extra>",
        )
    _base(figure, height=420, legend=True)
    figure.update_xaxes(title_text=f"{_words(name)}, mean", range=[0, dearest * 1.08 or 1])
    figure.update_yaxes(title_text=_words(result.primary), **_span(result.primary, 1.04))
    return figure


def winner(result: SweepResult) -> go.Figure:
    """Plot the winner beside the baseline, in the search and on the prompts held out from it, with 95 % intervals:
    scores above, paired differences to the baseline below."""
    scores: list[tuple[str, Interval, str]] = []
    differences: list[tuple[str, float, float, float]] = []
    if result.winner is not None:
        best = result.trial(result.winner)
        if result.primary in result.baseline.metrics:
            scores.append(("baseline, search", result.baseline.metrics[result.primary], style.BASELINE))
        if result.primary in best.metrics:
            scores.append((f"winner #{best.number}, search", best.metrics[result.primary], style.WINNER))
        if comparison := best.comparison:
            differences.append(("difference, search", comparison.difference, comparison.low, comparison.high))
    if result.verified:
        scores.append(("baseline, held out", result.verified.baseline, style.BASELINE))
        scores.append((f"winner #{result.verified.trial}, held out", result.verified.heldout, style.WINNER))
        comparison = result.verified.comparison
        differences.append(("difference, held out", comparison.difference, comparison.low, comparison.high))
    figure = make_subplots(
        rows=2, row_heights=[max(len(scores), 1), max(len(differences), 1) + 0.4], vertical_spacing=0.26
    )
    for name, interval, colour in scores:
        _dot(figure, 1, name, interval.mean, interval.low, interval.high, colour, f"{interval.mean:.2f}")
    for name, mean, low, high in differences:
        _dot(figure, 2, name, mean, low, high, style.PARETO, style.signed(mean))
    _base(figure, height=150 + 34 * (len(scores) + len(differences)))
    figure.update_xaxes(title_text=_words(result.primary), row=1, **_span(result.primary, 1.02))
    reach = max([0.1, *(abs(end) for _, _, *ends in differences for end in ends)]) * 1.1
    figure.update_xaxes(range=[-reach, reach], tickformat="+.2~f", title_text="winner minus baseline", row=2)
    figure.add_vline(x=0, line={"color": style.ZERO, "width": 1.5}, row=2)
    figure.update_layout(margin_t=28)
    return _rows(figure)


def by_prompt(result: SweepResult) -> go.Figure:
    """Plot prompt by prompt the baseline's score, and below it what each of the best trials has more (blue) or less
    (orange). Prompts stand in the order of the baseline's score, hardest first."""
    baseline = result.baseline.scores
    tried = [trial for trial in result.trials[1:] if trial.scores]
    helped = {item: sum(trial.scores.get(item, 0.0) for trial in tried) / max(len(tried), 1) for item in baseline}
    items = sorted(baseline, key=lambda item: (baseline[item], helped[item], item))
    trials = sorted(tried, key=lambda trial: -result.sign * trial.metrics[result.primary].mean)[:_MAX_ROWS]
    figure = make_subplots(rows=2, row_heights=[1.2, max(len(trials), 1)], vertical_spacing=0.03, shared_xaxes=True)
    most = 1.0 if result.primary == SCORE else max([*baseline.values()], default=1.0) or 1.0
    places = list(range(1, len(items) + 1))
    names = [escape(item) for item in items]
    figure.add_heatmap(
        x=places,
        y=["baseline"],
        z=[[baseline[item] for item in items]],
        zmin=0,
        zmax=most,
        colorscale=_AMOUNT,
        showscale=False,
        customdata=[names],
        hovertemplate="%{customdata}<br>baseline %{z:.2f}<extra></extra>",
        row=1,
        col=1,
    )
    figure.add_heatmap(
        x=places,
        y=[_brief(result, trial) for trial in trials],
        z=[[trial.scores[i] - baseline[i] if i in trial.scores else None for i in items] for trial in trials],
        zmin=-most,
        zmax=most,
        colorscale=_DIVERGING if result.sign > 0 else [(1 - place, colour) for place, colour in reversed(_DIVERGING)],
        customdata=[names for _ in trials],
        hovertemplate="%{customdata}<br>%{y}: %{z:+.2f} beside the baseline<extra></extra>",
        hoverongaps=False,
        showscale=False,
        row=2,
        col=1,
    )
    figure.update_traces(xgap=1 if len(items) <= 100 else 0, ygap=2)
    _base(figure, height=124 + 22 * (len(trials) + 1))
    figure.update_layout(margin={"t": 34, "b": 40})
    figure.add_annotation(
        text=f'<span style="color:{style.BLUE}">■</span> better  <span style="color:{style.ORANGE}">■</span> worse',
        x=1,
        y=1,
        xref="paper",
        yref="paper",
        xanchor="right",
        yanchor="bottom",
        yshift=8,
        showarrow=False,
    )
    _rows(figure)
    figure.update_xaxes(showgrid=False, showticklabels=False, ticks="")
    figure.update_xaxes(title_text=f"{len(items)} prompts, hardest first", row=2)
    return figure


def waterfall(result: SweepResult) -> go.Figure:
    """Plot the median time of each stage, in the order of the request path, of the timed trials at the first load."""
    members = [trial for trial in result.trials if _stages(trial)]
    members = sorted(members, key=lambda trial: _standing(result, trial))[:_MAX_ROWS]
    rows = [_brief(result, trial) for trial in members]
    figure = go.Figure()
    if not members:
        return _base(figure, height=120)
    seen: list[str] = []
    for stage in STAGES:
        seconds = [_stages(trial).get(stage, 0.0) for trial in members]
        if any(seconds):
            colour = style.STAGE_COLOURS[stage]
            figure.add_bar(
                orientation="h",
                y=rows,
                x=[value * 1000 for value in seconds],
                name=stage,
                # Stages of one family share a colour: each is paler than the one before.
                marker={"color": style.see_through(colour, 0.65 ** seen.count(colour)), "line": {"width": 0}},
                customdata=[style.duration(value) for value in seconds],
                hovertemplate=f"{stage} %{{customdata}}<extra>%{{y}}</extra>",
            )
            seen.append(colour)
    for trial, row in zip(members, rows, strict=True):
        total = sum(_stages(trial).values())
        figure.add_annotation(
            x=total * 1000, y=row, text=style.duration(total), showarrow=False, xanchor="left", xshift=6
        )
    _base(figure, height=130 + 34 * len(members), legend=True)
    figure.update_layout(barmode="stack", bargap=0.45, margin_r=64)
    figure.update_xaxes(title_text=f"medians of the stages, {members[0].latency[0].load} (ms)", rangemode="tozero")
    return _rows(figure, rows)


def acceptance(result: SweepResult) -> go.Figure:
    """Plot the share of drafted tokens that were accepted, by their position in the draft."""
    figure = go.Figure()
    spoken = [trial for trial in result.trials if trial.acceptance]
    for trial in sorted(spoken, key=lambda trial: -trial.acceptance[0])[:8]:
        shares = [100 * share for share in trial.acceptance]
        figure.add_scatter(
            x=list(range(1, len(shares) + 1)),
            y=shares,
            mode="lines+markers",
            name=_brief(result, trial),
            line={"color": _MARKS[role(result, trial)][0], "width": 2.5},
            marker={"size": 7},
            cliponaxis=False,
            hovertemplate=f"{_named(trial)}<br>position %{{x}}: %{{y:.0f}} %<extra></extra>",
        )
    _base(figure, height=320)
    longest = max((len(trial.acceptance) for trial in spoken), default=1)
    figure.update_layout(margin_r=96)
    figure.update_xaxes(title_text="position in the draft", dtick=1, range=[0.8, longest + 0.2])
    figure.update_yaxes(title_text="drafts accepted", ticksuffix=" %", range=[0, 103])
    return label_ends(figure, gap=7)


def compare(results: Sequence[SweepResult]) -> go.Figure:
    """Plot several sweeps one below the other: baseline and winner with 95 % intervals, on held-out prompts where the
    winner was measured again, else in the search."""
    figure = go.Figure()
    rows = []
    for result in results:
        baseline, won, where = last_measured(result)
        for what, interval, colour in (
            ("baseline", baseline, style.BASELINE),
            (f"winner #{result.winner}", won, style.WINNER),
        ):
            if interval:
                name = f"{escape(result.name)}, {what}{', search' if where == 'search' else ''}"
                rows.append(name)
                low, high, label = interval.low, interval.high, f"{interval.mean:.2f}"
                _dot(figure, None, name, interval.mean, low, high, colour, label)
    _base(figure, height=110 + 34 * len(rows))
    metrics = {result.primary for result in results}
    metric = metrics.pop() if len(metrics) == 1 else ""
    figure.update_xaxes(title_text=_words(metric), **_span(metric, 1.02))
    return _rows(figure, rows)


def _words(metric: str) -> str:
    return escape(metric.replace("_", " "))


def _span(metric: str, end: float) -> dict[str, Any]:
    """Return the range of an axis: a score's is the same in every figure, that of another metric begins at 0."""
    return {"range": [0, end], "tickformat": ".1f"} if metric == SCORE else {"rangemode": "tozero"}


def _apart(result: SweepResult, trials: Sequence[Trial], across: str, widest: float) -> set[int]:
    """Return the trials whose names can be written beside them: winner, baseline and Pareto members, each unless it
    would cover one before it."""
    tallest = 1.0 if result.primary == SCORE else max(trial.metrics[result.primary].mean for trial in trials)
    places: dict[int, tuple[float, float]] = {}
    for trial in sorted(trials, key=lambda trial: _standing(result, trial)):
        x, y = trial.metrics[across].mean, trial.metrics[result.primary].mean
        covers = any(abs(x - u) <= 0.09 * widest and abs(y - v) <= 0.08 * tallest for u, v in places.values())
        if role(result, trial) in ("winner", "baseline", "Pareto member") and not covers:
            places[trial.number] = x, y
    return set(places)


def _standing(result: SweepResult, trial: Trial) -> tuple[bool, bool, float]:
    """Return a key for sorting: the baseline, the winner, then by the primary metric."""
    interval = trial.metrics.get(result.primary)
    better = -result.sign * interval.mean if interval else math.inf
    return trial.number != result.baseline.number, trial.number != result.winner, better


def _timed(trial: Trial) -> str:
    """Return a line of a hover label: how long a reply took, where that was measured."""
    if not trial.latency:
        return ""
    first = trial.latency[0]
    return f"<br>median time {style.duration(first.total.p50)}, {first.load}"


def _stages(trial: Trial) -> dict[str, float]:
    """Return the seconds by stage at the first load, empty where nothing was timed."""
    return trial.latency[0].stages if trial.latency else {}


def _base(figure: go.Figure, *, height: int, legend: bool = False) -> go.Figure:
    figure.update_layout(
        template=style.TEMPLATE,
        height=height,
        margin={"l": 8, "r": 16, "t": 40 if legend else 16, "b": 8},
        showlegend=legend,
        legend_y=1,
    )
    return figure


def _rows(figure: go.Figure, order: Iterable[str] | None = None) -> go.Figure:
    """Put the first row on top, labels as text, no lines between. Of itself Plotly reads "#2" as a number."""
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False, ticksuffix="  ")
    if order is not None:
        figure.update_yaxes(categoryorder="array", categoryarray=list(order))
    return figure


def _dot(
    figure: go.Figure, row: int | None, name: str, mean: float, low: float, high: float, colour: str, label: str
) -> None:
    """Draw a mean with its interval, the figures above it."""
    place = {"row": row, "col": 1} if row else {}
    figure.add_scatter(
        x=[mean],
        y=[name],
        mode="markers+text",
        marker={"color": colour, "size": 11},
        text=[label],
        textposition="top center",
        textfont={"color": colour, "size": 13},
        cliponaxis=False,
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [high - mean],
            "arrayminus": [mean - low],
            "color": colour,
            "thickness": 2,
            "width": 0,
        },
        hovertemplate=f"{name}: {label}, 95 % interval {low:.2f} to {high:.2f}<extra></extra>",
        **place,
    )


def _errors(scores: Sequence[Interval], colour: str) -> dict[str, object]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [score.high - score.mean for score in scores],
        "arrayminus": [score.mean - score.low for score in scores],
        "color": colour,
        "thickness": 1.5,
        "width": 0,
    }


def _brief(result: SweepResult, trial: Trial) -> str:
    kind = role(result, trial)
    return "baseline" if kind == "baseline" else f"{'winner ' if kind == 'winner' else ''}#{trial.number}"


def _named(trial: Trial) -> str:
    return f"#{trial.number} {escape(trial.label)}"


def _says(interval: Interval) -> str:
    return f"{interval.mean:.2f} ({interval.low:.2f} to {interval.high:.2f})"
