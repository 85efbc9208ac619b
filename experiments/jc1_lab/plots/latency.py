"""Figures of latency under several loads: throughput and times over the load, and goodput over arrivals.

Knows measured latencies and Plotly. Knows nothing about how they were measured.
"""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from jc1_lab.latency.measure import Objective
from jc1_lab.plots.plotting import label_ends
from jc1_lab.plots.style import BLUE, FAINT, ORANGE, QUIET, styled
from jc1_lab.records.results import Latency


def compare_loads(latencies: Sequence[Latency], *, title: str) -> go.Figure:
    """Plot throughput and latency over the load, side by side: what more requests at a time gain and cost."""
    figure = styled(
        make_subplots(
            cols=2,
            subplot_titles=("Output tokens per second", "Time to first token, ms"),
            horizontal_spacing=0.09,
        ),
        height=340,
    )
    figure.update_layout(title_text=f"<b>{title}</b>", showlegend=False, margin={"t": 84})
    figure.update_annotations(font={"size": 13}, xanchor="left")
    for annotation, axis in zip(figure.layout.annotations, (figure.layout.xaxis, figure.layout.xaxis2), strict=True):
        annotation.update(x=axis.domain[0])
    loads = [str(latency.load.concurrency or f"{latency.load.rate:.3g}") for latency in latencies]
    places = list(range(len(loads)))
    speeds = [latency.tokens_per_second for latency in latencies]
    figure.add_bar(
        x=places,
        y=speeds,
        marker={"color": BLUE, "cornerradius": 3},
        text=[f"{speed:.0f}" for speed in speeds],
        textposition="outside",
        cliponaxis=False,
        hoverinfo="skip",
        row=1,
        col=1,
    )
    for name, colour in (("p90", ORANGE), ("p50", BLUE)):
        values = [getattr(latency.ttft, name) * 1000 for latency in latencies]
        _curve(figure, places, values, name, colour, "%{y:.0f} ms", row=1, col=2)
    label_ends(figure, gap=0.07 * max(latency.ttft.p90 for latency in latencies) * 1000, row=1, col=2)
    unit = "requests at a time" if latencies[0].load.concurrency else "requests a second"
    figure.update_xaxes(tickvals=places, ticktext=loads, showgrid=False, title={"text": unit, "standoff": 8})
    figure.update_layout(margin={"r": 48, "b": 52})
    return figure


def goodput_curve(latencies: Sequence[Latency], objective: Objective) -> go.Figure:
    """Plot replies a second over arrivals a second: all, and those that kept the objective."""
    figure = styled(go.Figure(), height=380)
    rates = [latency.load.rate or 0.0 for latency in latencies]
    most = max(rates) * 1.08
    figure.add_scatter(
        x=[0, most], y=[0, most], mode="lines", line={"color": FAINT, "width": 2}, hoverinfo="skip", showlegend=False
    )
    figure.add_annotation(
        text="as many as arrive",
        x=most * 0.72,
        y=most * 0.72,
        xanchor="right",
        yanchor="bottom",
        xshift=-6,
        showarrow=False,
    )
    for name, colour, values in (
        ("replies", QUIET, [latency.requests_per_second for latency in latencies]),
        ("goodput", BLUE, [latency.goodput or 0.0 for latency in latencies]),
    ):
        _curve(figure, rates, values, name, colour, "%{y:.2f} a second of %{x:.2f}")
    label_ends(figure, gap=0.06 * most)
    figure.update_layout(
        title={
            "text": "<b>Replies a second, and those worth having</b>",
            "subtitle_text": f"goodput counts a reply with: {objective}",
        },
        showlegend=False,
        margin={"r": 76, "t": 76, "b": 52},
    )
    figure.update_xaxes(title={"text": "arrivals a second", "standoff": 8}, range=[0, most])
    return figure


def _curve(
    figure: go.Figure, x: Sequence[float], y: Sequence[float], name: str, colour: str, hover: str, **place: int
) -> None:
    """Draw a line with a dot at each load, in the subplot at `place`."""
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines+markers",
        line={"color": colour, "width": 2.5},
        marker={"size": 8},
        name=name,
        hovertemplate=hover,
        **place,
    )
