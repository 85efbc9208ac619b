"""Figures of a sweep: what it cost and what it brought, by trial, by prompt and by stage.

Knows a sweep's result and Plotly. Knows nothing about the page: backgrounds are transparent and no title is drawn, so
that a figure serves a notebook, a report and a web page. Those of the settings are in experiments/figures/settings.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any, Literal

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from experiments.figures import look
from experiments.figures.settings import heatmap, parallel_coordinates, varied
from experiments.sweeps.results import SCORE, Interval, Latency, SweepResult, Trial
from jc1.trace import STAGES

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

Role = Literal["winner", "baseline", "Pareto member", "other trial", "stopped early"]
_MARKS: dict[Role, tuple[str, str, int]] = {
    "other trial": (look.OTHER, "circle", 8),
    "stopped early": (look.OTHER, "circle-open", 7),
    "Pareto member": (look.PARETO, "circle", 11),
    "baseline": (look.BASELINE, "diamond", 13),
    "winner": (look.WINNER, "star", 16),
}
"""Colour, shape and size in pixels, in the order in which they are drawn."""
_MOST_ROWS = 24
"""Trials that a figure with a row for each shows."""
_DIVERGING = [[0.0, look.ORANGE], [0.5, "rgba(128, 128, 140, 0.12)"], [1.0, look.BLUE]]
_AMOUNT = [[0.0, "rgba(128, 128, 140, 0.08)"], [1.0, "rgba(128, 128, 140, 0.95)"]]


def figures(result: SweepResult) -> dict[str, go.Figure]:
    """Those figures that have something to show, by name, in the order in which a report tells them."""
    chosen: dict[str, tuple[bool, Callable[[SweepResult], go.Figure]]] = {
        "winner": (result.winner is not None, winner),
        "pareto": (_cost(result) is not None, pareto),
        "parallel_coordinates": (bool(varied(result)), parallel_coordinates),
        "heatmap": (len(varied(result)) > 1, heatmap),
        "by_prompt": (any(trial.scores for trial in result.trials[1:]), by_prompt),
        "waterfall": (bool(_timed(result)), waterfall),
        "acceptance": (any(trial.acceptance for trial in result.trials), acceptance),
    }
    return {name: draw(result) for name, (has, draw) in chosen.items() if has}


def role(result: SweepResult, trial: Trial) -> Role:
    """What a trial is to its sweep."""
    if trial.number == result.winner:
        return "winner"
    if trial.number == result.baseline.number:
        return "baseline"
    if trial.state == "stopped":
        return "stopped early"
    return "Pareto member" if trial.pareto else "other trial"


def pareto(result: SweepResult) -> go.Figure:
    """Score with its 95 % interval against cost: the median time of a reply where latency was measured (at the first
    load), else the mean of what the sweep wants least of, else output tokens. Trials without that cost stand apart."""
    cost = _cost(result)
    figure = go.Figure()
    if cost is None:
        return _base(figure, height=120)
    value, axis, spell = cost
    known = [trial for trial in result.trials if result.primary in trial.metrics]
    apart = [trial for trial in known if value(trial) is None]
    crowded = len(known) > _MOST_ROWS
    for name, (colour, shape, size) in _MARKS.items():
        of_role = [trial for trial in known if role(result, trial) == name]
        minor = name in ("other trial", "stopped early")
        first = True
        for trials, x_axis in (
            ([t for t in of_role if value(t) is not None], "x"),
            ([t for t in of_role if value(t) is None], "x2"),
        ):
            if not trials:
                continue
            scores = [trial.metrics[result.primary] for trial in trials]
            figure.add_scatter(
                x=[value(trial) if x_axis == "x" else _spread(apart.index(trial)) for trial in trials],
                y=[score.mean for score in scores],
                xaxis=x_axis,
                mode="markers" if minor else "markers+text",
                name=name,
                legendgroup=name,
                showlegend=first,
                marker={"color": colour, "symbol": shape, "size": size, "line": {"color": colour, "width": 1.5}},
                opacity=0.55 if name == "stopped early" else 0.8 if minor else 1,
                text=[name if name in ("winner", "baseline") else f"#{trial.number}" for trial in trials],
                textposition="middle left" if name == "Pareto member" or x_axis == "x2" else "middle right",
                textfont={"color": colour, "size": 12},
                cliponaxis=False,
                error_y=_errors(scores, colour) if not (minor and crowded) else None,
                customdata=[
                    [_named(trial), _says(trial.metrics[result.primary]), spell(value(trial))] for trial in trials
                ],
                hovertemplate="<br>".join(
                    ("%{customdata[0]}", f"{_words(result)} %{{customdata[1]}}", "%{customdata[2]}<extra></extra>")
                ),
            )
            first = False
    _base(figure, height=420, legend=True)
    dearest = max((value(trial) or 0.0 for trial in known), default=1.0)
    figure.update_xaxes(title_text=axis, range=[0, dearest * 1.15 or 1], domain=[0, 0.84 if apart else 1])
    figure.update_yaxes(title_text=_words(result), **_span(result.primary, 1.04))
    if apart:
        figure.update_layout(
            xaxis2={
                "domain": [0.88, 1],
                "anchor": "y",
                "range": [-0.6, 0.6],
                "tickvals": [0],
                "ticktext": ["not timed"],
                "showgrid": False,
                "zeroline": False,
                "fixedrange": True,
            }
        )
        figure.add_vline(x=0.86, xref="paper", line={"color": look.FAINT, "width": 1})
    return figure


def winner(result: SweepResult) -> go.Figure:
    """The winner beside the baseline, in the search and on the prompts held out from it, with 95 % intervals: scores
    above, paired differences to the baseline below."""
    scores: list[tuple[str, Interval, str]] = []
    differences: list[tuple[str, float, float, float]] = []
    if result.winner is not None:
        best = result.trial(result.winner)
        if result.primary in result.baseline.metrics:
            scores.append(("baseline, search", result.baseline.metrics[result.primary], look.BASELINE))
        if result.primary in best.metrics:
            scores.append((f"winner #{best.number}, search", best.metrics[result.primary], look.WINNER))
        if own := best.comparison:
            differences.append(("difference, search", own.difference, own.low, own.high))
    if result.verified:
        scores.append(("baseline, held out", result.verified.baseline, look.BASELINE))
        scores.append((f"winner #{result.verified.trial}, held out", result.verified.heldout, look.WINNER))
        held = result.verified.comparison
        differences.append(("difference, held out", held.difference, held.low, held.high))
    figure = make_subplots(
        rows=2, row_heights=[max(len(scores), 1), max(len(differences), 1) + 0.4], vertical_spacing=0.26
    )
    for name, interval, colour in scores:
        _dot(figure, 1, name, interval.mean, interval.low, interval.high, colour, f"{interval.mean:.2f}")
    for name, mean, low, high in differences:
        _dot(figure, 2, name, mean, low, high, look.PARETO, f"{mean:+.2f}")
    _base(figure, height=150 + 34 * (len(scores) + len(differences)))
    figure.update_xaxes(title_text=_words(result), row=1, **_span(result.primary, 1.02))
    reach = max([0.1, *(abs(end) for _, _, *ends in differences for end in ends)]) * 1.1
    figure.update_xaxes(range=[-reach, reach], tickformat="+.2~f", title_text="winner minus baseline", row=2)
    figure.add_vline(x=0, line={"color": look.ZERO, "width": 1.5}, row=2)
    figure.update_layout(margin_t=28)
    return _rows(figure)


def by_prompt(result: SweepResult) -> go.Figure:
    """Prompt by prompt: the baseline's score, and below it what each of the best trials has more (blue) or less
    (orange). Prompts stand in the order of the baseline's score, hardest first."""
    baseline = result.baseline.scores
    tried = [trial for trial in result.trials[1:] if trial.scores]
    helped = {item: sum(trial.scores.get(item, 0.0) for trial in tried) / max(len(tried), 1) for item in baseline}
    items = sorted(baseline, key=lambda item: (baseline[item], helped[item], item))
    trials = sorted(tried, key=lambda trial: -result.sign * trial.metrics[result.primary].mean)[:_MOST_ROWS]
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
        colorscale=_DIVERGING if result.sign > 0 else [[1 - place, colour] for place, colour in reversed(_DIVERGING)],
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
        text=f'<span style="color:{look.BLUE}">■</span> better  <span style="color:{look.ORANGE}">■</span> worse',
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
    figure.update_xaxes(title_text=f"{len(items)} prompts, those hardest for the baseline first", row=2)
    return figure


def waterfall(result: SweepResult) -> go.Figure:
    """Median time of each stage, in the order of the hallway, for baseline, Pareto members and winner, at the first
    load."""
    members = _timed(result)
    stages = {trial.number: trial.latency[0].stages for trial in members}
    rows = [_brief(result, trial) for trial in members]
    figure = go.Figure()
    for stage in STAGES:
        seconds = [stages[trial.number].get(stage, 0.0) for trial in members]
        if any(seconds):
            figure.add_bar(
                orientation="h",
                y=rows,
                x=[value * 1000 for value in seconds],
                name=stage,
                marker={"color": look.STAGE_COLOURS[stage], "line": {"width": 0}},
                customdata=[look.duration(value) for value in seconds],
                hovertemplate=f"{stage} %{{customdata}}<extra>%{{y}}</extra>",
            )
    for trial, row in zip(members, rows, strict=True):
        total = sum(stages[trial.number].values())
        figure.add_annotation(
            x=total * 1000, y=row, text=look.duration(total), showarrow=False, xanchor="left", xshift=6
        )
    _base(figure, height=130 + 34 * len(members), legend=True)
    figure.update_layout(barmode="stack", bargap=0.45, margin_r=64)
    figure.update_xaxes(title_text=f"medians of the stages, {members[0].latency[0].load} (ms)", rangemode="tozero")
    return _rows(figure, rows)


def acceptance(result: SweepResult) -> go.Figure:
    """Share of drafted tokens that were accepted, by their position in the draft."""
    figure = go.Figure()
    spoken = [trial for trial in result.trials if trial.acceptance]
    for trial in sorted(spoken, key=lambda trial: -trial.acceptance[0])[:8]:
        colour = _MARKS[role(result, trial)][0]
        shares = [100 * share for share in trial.acceptance]
        positions = list(range(1, len(shares) + 1))
        figure.add_scatter(
            x=positions,
            y=shares,
            mode="lines+markers+text",
            line={"color": colour, "width": 2.5},
            marker={"size": 7},
            text=[""] * (len(shares) - 1) + [f" {_brief(result, trial)}"],
            textposition="middle right",
            textfont={"color": colour},
            cliponaxis=False,
            hovertemplate=f"{_named(trial)}<br>position %{{x}}: %{{y:.0f}} %<extra></extra>",
        )
    _base(figure, height=320)
    longest = max((len(trial.acceptance) for trial in spoken), default=1)
    figure.update_layout(margin_r=96)
    figure.update_xaxes(title_text="position in the draft", dtick=1, range=[0.8, longest + 0.2])
    figure.update_yaxes(title_text="drafts accepted", ticksuffix=" %", range=[0, 103])
    return figure


def compare(results: Sequence[SweepResult]) -> go.Figure:
    """Several sweeps one below the other: baseline and winner with 95 % intervals, on held-out prompts where the winner
    was measured again, else in the search."""
    figure = go.Figure()
    rows = []
    for result in results:
        held = result.verified
        pairs: list[tuple[str, Interval | None, str]] = [
            ("baseline", held.baseline if held else result.baseline.metrics.get(result.primary), look.BASELINE)
        ]
        if result.winner is not None:
            best = result.trial(result.winner)
            pairs.append(
                (f"winner #{best.number}", held.heldout if held else best.metrics.get(result.primary), look.WINNER)
            )
        for what, interval, colour in pairs:
            if interval:
                name = f"{escape(result.name)}, {what}{'' if held else ', search'}"
                rows.append(name)
                low, high, told = interval.low, interval.high, f"{interval.mean:.2f}"
                _dot(figure, None, name, interval.mean, low, high, colour, told)
    _base(figure, height=110 + 34 * len(rows))
    metrics = {result.primary for result in results}
    metric = metrics.pop() if len(metrics) == 1 else ""
    figure.update_xaxes(title_text=escape(metric.replace("_", " ")), **_span(metric, 1.02))
    return _rows(figure, rows)


def _words(result: SweepResult) -> str:
    return escape(result.primary.replace("_", " "))


def _span(metric: str, end: float) -> dict[str, Any]:
    """A score's axis is the same in every figure; that of another metric begins at 0."""
    return {"range": [0, end], "tickformat": ".1f"} if metric == SCORE else {"rangemode": "tozero"}


def _cost(
    result: SweepResult,
) -> tuple[Callable[[Trial], float | None], str, Callable[[float | None], str]] | None:
    """What a trial costs: how to read it, the axis, and how a value is said."""
    timed = [trial.latency[0] for trial in result.trials if trial.latency]
    if len(timed) > 1:
        first: Latency = timed[0]
        return (
            lambda trial: trial.latency[0].total.p50 * 1000 if trial.latency else None,
            f"median time of a reply, {first.load} (ms)",
            lambda value: "not timed" if value is None else f"median time {look.duration(value / 1000)}",
        )
    least = [name for name, direction in result.objectives.items() if direction == "min"]
    known = {name for trial in result.trials for name in trial.metrics}
    name = next((name for name in (*least, "output_tokens") if name in known), None)
    if name is None:
        return None
    words = escape(name.replace("_", " "))
    return (
        lambda trial: trial.metrics[name].mean if name in trial.metrics else None,
        f"{words}, mean of a reply",
        lambda value: f"{words} unknown" if value is None else f"{words} {value:.3g}",
    )


def _timed(result: SweepResult) -> list[Trial]:
    """The trials whose stages were timed under a stated load."""
    return [trial for trial in result.trials if trial.latency and trial.latency[0].stages]


def _base(figure: go.Figure, *, height: int, legend: bool = False) -> go.Figure:
    figure.update_layout(
        template=look.TEMPLATE,
        height=height,
        margin={"l": 8, "r": 16, "t": 40 if legend else 16, "b": 8},
        showlegend=legend,
        legend_y=1,
    )
    return figure


def _rows(figure: go.Figure, order: Iterable[str] | None = None) -> go.Figure:
    """The first row on top, labels as text, no lines between. Of itself Plotly reads "#2" as a number."""
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False, ticksuffix="  ")
    if order is not None:
        figure.update_yaxes(categoryorder="array", categoryarray=list(order))
    return figure


def _dot(
    figure: go.Figure, row: int | None, name: str, mean: float, low: float, high: float, colour: str, told: str
) -> None:
    """A mean with its interval, told in figures above it."""
    place = {"row": row, "col": 1} if row else {}
    figure.add_scatter(
        x=[mean],
        y=[name],
        mode="markers+text",
        marker={"color": colour, "size": 11},
        text=[told],
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
        hovertemplate=f"{name}: {told}, 95 % interval {low:.2f} to {high:.2f}<extra></extra>",
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


def _spread(index: int) -> float:
    """Places side by side, so that intervals do not hide each other: -0.4 to 0.4, five to a round."""
    return (index % 5 - 2) * 0.2


def _brief(result: SweepResult, trial: Trial) -> str:
    kind = role(result, trial)
    return "baseline" if kind == "baseline" else f"{'winner ' if kind == 'winner' else ''}#{trial.number}"


def _named(trial: Trial) -> str:
    return f"#{trial.number} {escape(trial.label)}"


def _says(interval: Interval) -> str:
    return f"{interval.mean:.2f} ({interval.low:.2f} to {interval.high:.2f})"
