"""What Plotly lacks: lines named at their ends, and cells that say what they hold.

Knows Plotly. Knows nothing about what a figure shows.
"""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from jc1_lab.plots.style import BLUE, QUIET, see_through

SCALE = [[at, see_through(BLUE, opacity)] for at, opacity in ((0, 0.04), (0.5, 0.22), (0.5, 0.72), (1, 1))]
"""From nothing to blue, pale up to the middle and strong above it: what is written on it is legible everywhere."""


def label_ends(figure: go.Figure, *, gap: float, row: int | None = None, col: int | None = None) -> go.Figure:
    """Write each line's name at its right end, in its colour, instead of a legend; labels lie `gap` apart at least, in
    units of the y axis. `row` and `col` choose a subplot."""
    at = {} if row is None or col is None else {"row": row, "col": col}
    drawn = [trace for trace in figure.select_traces(selector={"type": "scatter"}, **at) if trace.name]
    drawn.reverse()  # so that of equals the first drawn has the upper label
    traces = sorted(drawn, key=_end)
    heights: list[float] = []
    for trace in traces:
        heights.append(max(_end(trace), heights[-1] + gap) if heights else _end(trace))
    if heights:  # what the lowest ones pushed up is shared by all
        down = (heights[-1] - _end(traces[-1])) / 2
        heights = [height - down for height in heights]
    for trace, height in zip(traces, heights, strict=True):
        colour = trace.line.color or trace.marker.color
        figure.add_annotation(
            text=trace.name,
            x=trace.x[-1],
            y=height,
            showarrow=False,
            xanchor="left",
            xshift=10,
            font={"color": colour},
            **at,
        )
    return figure


def _end(trace: go.Scatter) -> float:
    return float(trace.y[-1])


def heatmap(
    z: Sequence[Sequence[float]],
    *,
    x: Sequence[object],
    y: Sequence[object],
    texts: Sequence[Sequence[str]],
    low: float,
    high: float,
) -> go.Figure:
    """Draw cells that are bluer the nearer their value in `z`, shape (len(y), len(x)), is to `high`.

    `texts`, of the same shape, are written into the cells. `x` and `y` name columns, from the left, and rows, from the
    top.
    """
    columns, rows = [str(name) for name in x], [str(name) for name in y]
    figure = go.Figure(
        go.Heatmap(
            z=[[float(value) for value in row] for row in z],
            x=columns,
            y=rows,
            zmin=low,
            zmax=high,
            colorscale=SCALE,
            showscale=False,
            xgap=3,
            ygap=3,
            hoverinfo="skip",
        )
    )
    for i, row in enumerate(z):
        for j, value in enumerate(row):
            strong = (value - low) / ((high - low) or 1) >= 0.5
            figure.add_annotation(
                text=texts[i][j], x=j, y=i, showarrow=False, font={"color": "#ffffff" if strong else QUIET}
            )
    figure.update_xaxes(showgrid=False, ticks="", tickangle=0, type="category")
    figure.update_yaxes(showgrid=False, ticks="", ticksuffix="  ", autorange="reversed", type="category")
    return figure
