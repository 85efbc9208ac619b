"""Figures that tabs share.

Knows traces and Plotly. Knows nothing about the page: backgrounds are transparent and text takes the page's colour
(from `assets/style.css`), so one figure serves light and dark.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go

from jc1_lab.plots.style import STAGE_COLOURS as COLOURS
from jc1_lab.plots.style import TEMPLATE, duration

if TYPE_CHECKING:
    from jc1.trace import Trace

__all__ = ["COLOURS", "duration", "waterfall"]

ROW_HEIGHT = 26
"""Pixels of a stage's row."""


def waterfall(trace: Trace) -> go.Figure:
    """Draw the stages of a request as bars in the order they are entered, from when each began to its end, in ms.

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
        template=TEMPLATE,
        height=ROW_HEIGHT * len(stages) + 36,
        margin={"l": 0, "r": 70, "t": 4, "b": 28},
        bargap=0.42,
        showlegend=False,
    )
    figure.update_xaxes(ticksuffix=" ms", nticks=4, rangemode="tozero")
    figure.update_yaxes(autorange="reversed", categoryorder="array", categoryarray=list(stages), ticksuffix="  ")
    return figure
