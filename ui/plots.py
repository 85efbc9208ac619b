"""Figures that tabs share.

Knows traces and Plotly. Knows nothing about the page: backgrounds are transparent and text takes the page's colour
(from `assets/style.css`), so one figure serves light and dark.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go

from jc1.trace import STAGES

if TYPE_CHECKING:
    from jc1.trace import Trace

# One hue a family, mid tones that stand out from white and from near-black: reading, memory, waiting, engine, speech.
_READ, _MEMORY, _WAIT, _PREFILL, _DECODE, _SPEAK = "#64748b", "#8b5cf6", "#f59e0b", "#0ea5e9", "#4f6ef7", "#14b8a6"
COLOURS = dict(
    zip(
        STAGES,
        (_READ, _READ, _READ, _MEMORY, _MEMORY, _READ, _WAIT, _PREFILL, _DECODE, _MEMORY, _SPEAK),
        strict=True,
    )
)
"""The colour of each stage, the same in every figure."""

ROW_HEIGHT = 26
"""Pixels of a stage's row."""
_QUIET = "rgba(128, 128, 140, 0.9)"
_GRID = "rgba(128, 128, 140, 0.18)"


def duration(seconds: float) -> str:
    """A time as people read it: three significant figures at most, in milliseconds below a second."""
    if seconds >= 1:
        return f"{seconds:.3g} s" if seconds < 100 else f"{seconds:.0f} s"
    if seconds < 5e-6:
        return "0 ms"
    milliseconds = seconds * 1000
    return f"{milliseconds:.2f} ms" if milliseconds < 1 else f"{milliseconds:.3g} ms"


def waterfall(trace: Trace) -> go.Figure:
    """The stages of a request as bars in the order of the hallway, from when each began to when it ended, in ms.

    A stage that was entered twice is one bar: from its first start, as long as both together.
    """
    begins: dict[str, float] = {}
    for span in trace.spans:
        begins[span.stage] = min(span.start, begins.get(span.stage, span.start))
    stages = trace.stages
    figure = go.Figure(
        go.Bar(
            orientation="h",
            y=list(stages),
            base=[begins[name] * 1000 for name in stages],
            x=[seconds * 1000 for seconds in stages.values()],
            # The outline keeps a stage of some microseconds visible.
            marker={
                "color": [COLOURS[name] for name in stages],
                "line": {"color": [COLOURS[name] for name in stages], "width": 2},
                "cornerradius": 3,
            },
            customdata=[duration(seconds) for seconds in stages.values()],
            hovertemplate="%{y}: %{customdata}, from %{base:.1f} ms<extra></extra>",
        )
    )
    for name, seconds in stages.items():
        figure.add_annotation(
            text=duration(seconds), x=1, xref="paper", xshift=66, xanchor="right", y=name, showarrow=False
        )
    figure.update_layout(
        height=ROW_HEIGHT * len(stages) + 36,
        margin={"l": 0, "r": 70, "t": 4, "b": 28},
        bargap=0.42,
        showlegend=False,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "IBM Plex Sans, sans-serif", "size": 12, "color": _QUIET},
        dragmode=False,
    )
    figure.update_xaxes(
        ticksuffix=" ms", nticks=4, rangemode="tozero", gridcolor=_GRID, zeroline=False, fixedrange=True
    )
    figure.update_yaxes(
        autorange="reversed", categoryorder="array", categoryarray=list(stages), ticksuffix="  ", fixedrange=True
    )
    return figure
