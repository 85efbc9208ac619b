"""How figures of notebooks and reports look: one template, one palette, and what Plotly lacks.

Knows Plotly, and that a figure is read on white and on black alike: backgrounds are transparent, and text and colours
are mid tones. Knows nothing about what a figure shows.
"""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
import plotly.io as pio

BLUE, ORANGE, GREEN, PINK, GOLD, SKY = "#3b7dd8", "#d5651a", "#009e73", "#c26a9e", "#c99700", "#5ab4e0"
PALETTE = (BLUE, ORANGE, GREEN, PINK, GOLD, SKY)
"""Told apart with every common colour blindness, after Okabe and Ito (https://jfly.uni-koeln.de/color/)."""
QUIET = "#7b7b87"
"""Text, and what stands back. Its contrast is above 4 on white and on near-black."""
FAINT = "rgba(128, 128, 140, 0.22)"
"""Grids, and what was left out."""
FONT = "IBM Plex Sans, Inter, system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif"
_BLUE = "59, 125, 216"
SCALE = [
    [0, f"rgba({_BLUE}, 0.04)"],
    [0.5, f"rgba({_BLUE}, 0.22)"],
    [0.5, f"rgba({_BLUE}, 0.72)"],
    [1, f"rgba({_BLUE}, 1)"],
]
"""From nothing to blue, pale up to the middle and strong above it: what is written on it is legible everywhere."""


def use() -> None:
    """Make the template the default of every figure from now on."""
    axis = {
        "gridcolor": FAINT,
        "linecolor": FAINT,
        "zeroline": False,
        "automargin": True,
        "title": {"standoff": 10, "font": {"size": 13}},
    }
    pio.templates["jc1"] = go.layout.Template(
        layout={
            "colorway": PALETTE,
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": FONT, "size": 13, "color": QUIET},
            "title": {"font": {"size": 15}, "x": 0.01, "xref": "container", "xanchor": "left"},
            "margin": {"l": 8, "r": 8, "t": 44, "b": 8},
            "width": 820,
            "height": 360,
            "bargap": 0.25,
            "showlegend": False,
            "legend": {
                "orientation": "h",
                "x": 0,
                "y": 1.02,
                "yanchor": "bottom",
                "traceorder": "normal",
            },
            "hoverlabel": {"font": {"family": FONT}},
            "dragmode": False,
            "xaxis": axis,
            "yaxis": axis,
        },
        data={
            "bar": [{"marker": {"cornerradius": 2}}],
            "scatter": [{"line": {"width": 2.5}, "marker": {"size": 8}}],
        },
    )
    pio.templates.default = "jc1"


def label_ends(figure: go.Figure, *, gap: float, row: int | None = None, col: int | None = None) -> go.Figure:
    """Write each line's name at its right end, in its colour, instead of a legend; labels lie `gap` apart at least, in
    units of the y axis. `row` and `col` choose a subplot."""
    at = {} if row is None or col is None else {"row": row, "col": col}
    traces = sorted((t for t in figure.select_traces(selector={"type": "scatter"}, **at) if t.name), key=_end)
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
    """Cells that are bluer the nearer their value in `z`, shape (len(y), len(x)), is to `high`; `texts`, of the same
    shape, are what they say. `x` and `y` name columns, from the left, and rows, from the top."""
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
