"""How figures look, wherever they are shown: one template, colours that keep their meaning, times as people read them.

Knows colours, words and Plotly's templates. Knows nothing about what is drawn. A figure is read on white and on black
alike: backgrounds are transparent, text and colours are mid tones, and no colour is the only carrier of a meaning.
"""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go
import plotly.io as pio

from jc1.trace import STAGES

WIDTH = 820
"""Of a figure, in pixels, where nothing else is said."""

BLUE, ORANGE, GREEN, PINK, GOLD, SKY = "#4f6ef7", "#e8590c", "#009e73", "#c26a9e", "#c99700", "#5ab4e0"
PALETTE = (BLUE, ORANGE, GREEN, PINK, GOLD, SKY)
"""Told apart with every common colour blindness, after Okabe and Ito (https://jfly.uni-koeln.de/color/)."""
QUIET = "#777782"
"""Text, and what stands back: 4.4 to 1 on white and on near-black."""
FAINT = "rgba(128, 128, 140, 0.22)"
"""Grids, and what was left out."""
ZERO = "rgba(128, 128, 140, 0.75)"
SLATE = "#64748b"

WINNER, BASELINE, PARETO, OTHER = ORANGE, SLATE, BLUE, "#9a9aa6"
"""What a trial is to the sweep; shapes say the same."""

FAMILIES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "read": (SLATE, ("hear", "see", "tokenize", "prompt")),
    "memory": (PINK, ("embed", "recall", "remember")),
    "queue": (GOLD, ("queue",)),
    "prefill": (SKY, ("prefill",)),
    "decode": (BLUE, ("decode",)),
    "speak": (GREEN, ("speak",)),
}
"""Stages that belong together, with their colour, the same in every figure."""
STAGE_COLOURS = {stage: next(colour for colour, stages in FAMILIES.values() if stage in stages) for stage in STAGES}

FONT = "IBM Plex Sans, Inter, system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif"
_AXIS = {
    "gridcolor": FAINT,
    "linecolor": FAINT,
    "zeroline": False,
    "automargin": True,
    "fixedrange": True,
    "ticks": "",
    "title": {"standoff": 10, "font": {"size": 13}},
}
TEMPLATE = go.layout.Template(
    layout={
        "colorway": PALETTE,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "size": 12, "color": QUIET},
        "title": {
            "font": {"size": 15},
            "subtitle": {"font": {"size": 12}},
            "x": 0,
            "xref": "paper",
            "xanchor": "left",
        },
        "margin": {"l": 8, "r": 16, "t": 44, "b": 8},
        "bargap": 0.25,
        "legend": {
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1.02,
            "yanchor": "bottom",
            "traceorder": "normal",
        },
        "hoverlabel": {"font": {"family": FONT}, "align": "left"},
        "dragmode": False,
        "xaxis": _AXIS,
        "yaxis": _AXIS,
    },
    data={
        "bar": [{"marker": {"cornerradius": 2}}],
        "scatter": [{"line": {"width": 2.5}, "marker": {"size": 8}}],
    },
)
"""What every figure begins from."""


def use(*, width: int = WIDTH, height: int = 360) -> None:
    """Make this the look of every figure of a notebook, with such a size in pixels where it chooses none."""
    template = go.layout.Template(TEMPLATE)
    template.layout.update(width=width, height=height, showlegend=False)
    pio.templates["jc1"] = template
    pio.templates.default = "jc1"


def styled(figure: go.Figure, *, width: int = WIDTH, height: int = 360) -> go.Figure:
    """Give the figure JC1's template and that size, with space for a title and a legend above it. Return it."""
    figure.update_layout(
        template=TEMPLATE,
        width=width,
        height=height,
        margin={"l": 56, "r": 16, "t": 64, "b": 44},
        title={"y": 1 - 12 / height, "yanchor": "top"},
    )
    figure.update_yaxes(rangemode="tozero")
    return figure


def see_through(colour: str, opacity: float) -> str:
    """Return a colour such as `BLUE` with the page showing through; `opacity` is 0 to 1."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {opacity:.2f})"


def signed(difference: float) -> str:
    """Return `+0.22` or `−0.04`, with a minus that is as wide as the plus."""
    return f"{difference:+.2f}".replace("-", "−")


def duration(seconds: float) -> str:
    """Return a time as people read it: three significant figures at most, in milliseconds below a second."""
    if seconds >= 1:
        return f"{seconds:.3g} s" if seconds < 100 else f"{seconds:.0f} s"
    if seconds < 5e-6:
        return "0 ms"
    milliseconds = seconds * 1000
    return f"{milliseconds:.2f} ms" if milliseconds < 1 else f"{milliseconds:.3g} ms"
