"""Figures of a sweep's settings: which values went with which scores.

Knows which settings the trials varied. Knows nothing about the space that they were drawn from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from itertools import combinations, pairwise
from statistics import fmean
from typing import Any

import plotly.graph_objects as go

from jc1.prompt import DEFAULT_SYSTEM
from jc1_lab.plots import style
from jc1_lab.records.results import SCORE, SweepResult, Trial

_BINS = 6
"""Values of one setting that a heatmap tells apart."""
_PALE, _DEEP = (232, 236, 252), (52, 64, 178)
_ROW = 78
"""Pixels from one axis to the next."""

Value = str | float


def varied(result: SweepResult) -> dict[str, dict[int, Value]]:
    """Return the settings that differ between measured trials: by name, each trial's value; a number stays one."""
    trials = [trial for trial in result.trials if result.primary in trial.metrics]
    names = list(dict.fromkeys(name for trial in trials for name in trial.settings.flat()))
    whole = {t.number: {"system": DEFAULT_SYSTEM} | result.resolve(t.settings).flat() for t in trials}
    values_by_name = {name: {number: _value(ran.get(name)) for number, ran in whole.items()} for name in names}
    return {name: values for name, values in values_by_name.items() if len(set(values.values())) > 1}


def parallel_coordinates(result: SweepResult) -> go.Figure:
    """Plot each measured trial as a line through its settings, one axis below the other, down to its score: the winner
    and the baseline named, the others the stronger the better they are."""
    settings = varied(result)
    trials = [trial for trial in result.trials if result.primary in trial.metrics]
    figure = go.Figure()
    places: dict[int, list[float]] = {trial.number: [] for trial in trials}
    depth = len(settings)
    for row, (name, values) in enumerate(settings.items()):
        scale, ticks = _scale(values)
        for trial in trials:
            places[trial.number].append(scale[values[trial.number]])
        _axis(figure, depth - row, name, [(scale[tick], _value_text(name, tick)) for tick in ticks])
    unit, marks = _unit([trial.metrics[result.primary].mean for trial in trials], result.primary)
    metric = result.primary.replace("_", " ")
    _axis(figure, 0, metric, marks)
    depths = [depth - row for row in range(depth + 1)]
    last = sorted(trials, key=lambda trial: _rank(result, trial))
    good = {t.number: unit(t.metrics[result.primary].mean) for t in trials}
    if result.sign < 0:
        good = {number: 1 - place for number, place in good.items()}
    best = max(good.values(), default=1) or 1
    for trial in last:
        score = trial.metrics[result.primary].mean
        colour, width, dash = style.see_through(style.BLUE, 0.12 + 0.5 * (good[trial.number] / best) ** 3), 1.5, "solid"
        if trial.number == result.winner:
            colour, width = style.WINNER, 3
        elif trial.number == result.baseline.number:
            colour, width, dash = style.BASELINE, 2.5, "dot"
        named = "winner" if trial.number == result.winner else "baseline" if dash == "dot" else None
        figure.add_scatter(
            x=[*places[trial.number], unit(score)],
            y=depths,
            mode="lines+markers",
            line={"color": colour, "width": width, "dash": dash},
            marker={"size": 6, "color": colour},
            name=named,
            showlegend=named is not None,
            cliponaxis=False,
            hovertemplate=f"#{trial.number} {escape(trial.label)}<br>{escape(metric)} {score:.2f}<extra></extra>",
        )
    figure.update_layout(
        height=96 + _ROW * depth,
        margin={"l": 24, "r": 24, "t": 56, "b": 28},
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.06, "yanchor": "bottom"},
        showlegend=True,
        template=style.TEMPLATE,
    )
    figure.update_xaxes(visible=False, range=[-0.01, 1.01], fixedrange=True)
    figure.update_yaxes(visible=False, range=[-0.12, depth + 0.12], fixedrange=True)
    return figure


def heatmap(result: SweepResult) -> go.Figure:
    """Plot the mean score by the two settings that explain most of it together; a number below tells how many trials
    there are, where several share a cell."""
    settings = varied(result)
    scores = {
        trial.number: trial.metrics[result.primary].mean for trial in result.trials if result.primary in trial.metrics
    }
    unit, _ = _unit([*scores.values()], result.primary)
    binned = {name: _binned(values) for name, values in settings.items()}
    figure = go.Figure()
    pairs = list(combinations(binned, 2))
    if pairs:
        across, down = max(pairs, key=lambda pair: _explained(binned[pair[0]], binned[pair[1]], scores))
        if len(set(binned[across].values())) < len(set(binned[down].values())):
            across, down = down, across
        columns, rows = _ordered(settings[across], binned[across]), _ordered(settings[down], binned[down])
        means: list[list[float | None]] = []
        for row in rows:
            means.append([])
            for column in columns:
                inside = [s for n, s in scores.items() if binned[across][n] == column and binned[down][n] == row]
                means[-1].append(fmean(inside) if inside else None)
                if inside:
                    many = f"<br>{len(inside)} trials" if len(inside) > 1 else ""
                    ink = "#ffffff" if unit(fmean(inside)) > 0.72 else "#18181b"
                    figure.add_annotation(
                        x=columns.index(column),
                        y=rows.index(row),
                        text=f"<b>{fmean(inside):.2f}</b>{many}",
                        showarrow=False,
                        font={"color": ink, "size": 12},
                    )
        figure.add_heatmap(
            x=list(range(len(columns))),
            y=list(range(len(rows))),
            z=[[None if mean is None else unit(mean) for mean in row] for row in means],
            zmin=0,
            zmax=1,
            colorscale=[[0, f"rgb{_PALE}"], [1, f"rgb{_DEEP}"]],
            showscale=False,
            xgap=3,
            ygap=3,
            hoverinfo="skip",
        )
        figure.update_xaxes(
            title_text=escape(across),
            tickvals=list(range(len(columns))),
            ticktext=[_value_text(across, c) for c in columns],
        )
        figure.update_yaxes(
            title_text=escape(down), tickvals=list(range(len(rows))), ticktext=[_value_text(down, r) for r in rows]
        )
    figure.update_layout(
        height=110 + 64 * max(len(set(binned[down].values())) if pairs else 1, 1),
        margin={"l": 8, "r": 16, "t": 8, "b": 8},
        template=style.TEMPLATE,
    )
    figure.update_xaxes(showgrid=False)
    figure.update_yaxes(showgrid=False, autorange="reversed")
    return figure


def _value(value: Any) -> Value:
    """Return a number as a float, any other setting in words."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else _words(value)


def _words(value: Any) -> str:
    if value is None:
        return "unset"
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


def _scale(values: dict[int, Value]) -> tuple[dict[Value, float], list[Value]]:
    """Return each value's place on an axis from 0 to 1, and the values to label: few stand evenly, many to scale."""
    different = sorted(set(values.values()), key=lambda value: (isinstance(value, str), value))
    numbers = [value for value in different if isinstance(value, float)]
    if len(numbers) == len(different) > _BINS:
        low, high = numbers[0], numbers[-1]
        return {value: (value - low) / (high - low) for value in numbers}, [low, numbers[len(numbers) // 2], high]
    return {value: index / (len(different) - 1) for index, value in enumerate(different)}, different[:_BINS]


def _axis(figure: go.Figure, depth: int, name: str, ticks: list[tuple[float, str]]) -> None:
    figure.add_shape(type="line", x0=0, x1=1, y0=depth, y1=depth, line={"color": style.ZERO, "width": 1}, layer="below")
    figure.add_annotation(
        x=0, y=depth, text=f"<b>{escape(name)}</b>", showarrow=False, xanchor="left", yanchor="bottom", yshift=5
    )
    for place, text in ticks:
        anchor = "left" if place < 0.02 else "right" if place > 0.98 else "center"
        figure.add_annotation(
            x=place, y=depth, text=text, showarrow=False, xanchor=anchor, yanchor="top", yshift=-5, font={"size": 11}
        )


def _unit(means: Sequence[float], metric: str) -> tuple[Callable[[float], float], list[tuple[float, str]]]:
    """Return the function that places a mean on an axis from 0 to 1, and the axis's ticks.

    The axis is a score's own scale, else it goes from the least mean to the greatest.
    """
    if metric == SCORE:
        return lambda mean: min(max(mean, 0.0), 1.0), [(tick / 5, f"{tick / 5:.1f}") for tick in range(6)]
    low, high = min(means, default=0.0), max(means, default=1.0)
    span = high - low or 1.0
    return lambda mean: (mean - low) / span, [(0.0, f"{low:.3g}"), (1.0, f"{high:.3g}")]


def _rank(result: SweepResult, trial: Trial) -> tuple[bool, bool, float]:
    """Return a key for sorting: the winner is drawn last, the baseline before it."""
    return (
        trial.number == result.winner,
        trial.number == result.baseline.number,
        result.sign * trial.metrics[result.primary].mean,
    )


def _binned(values: dict[int, Value]) -> dict[int, Value]:
    """Return values as they are where they are few; else ranges with as many trials each, named by their ends."""
    numbers = sorted(value for value in values.values() if isinstance(value, float))
    if len(set(values.values())) <= _BINS or len(numbers) < len(values):
        return dict(values)
    edges = [numbers[len(numbers) * part // 4] for part in range(4)] + [numbers[-1]]
    names = [f"{low:.2g} to {high:.2g}" for low, high in pairwise(edges)]
    return {
        number: names[max(index for index, edge in enumerate(edges[:-1]) if value >= edge)]
        for number, value in values.items()
        if isinstance(value, float)
    }


def _ordered(values: dict[int, Value], binned: dict[int, Value]) -> list[Value]:
    first: dict[Value, Value] = {}
    for number in sorted(binned, key=lambda number: (isinstance(values[number], str), values[number])):
        first.setdefault(binned[number], values[number])
    return list(first)


def _explained(one: dict[int, Value], other: dict[int, Value], scores: dict[int, float]) -> float:
    """Return the sum of squares between the cells' means, for each cell: pairs of settings with so many values that
    every cell is one trial would explain everything."""
    cells: dict[tuple[Value, Value], list[float]] = {}
    for number, score in scores.items():
        cells.setdefault((one[number], other[number]), []).append(score)
    middle = fmean(scores.values())
    return sum(len(inside) * (fmean(inside) - middle) ** 2 for inside in cells.values()) / len(cells)


def _value_text(name: str, value: Value) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return escape(value if len(value) <= 22 else f"{value[:21]}…")
