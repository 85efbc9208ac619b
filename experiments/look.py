"""How figures look, wherever they are shown: colours that keep their meaning, and times as people read them.

Knows colours and words. Knows nothing about what is drawn. Every colour stands out from white and from near-black, and
none is the only carrier of a meaning.
"""

from __future__ import annotations

from jc1.trace import STAGES

# One hue a family, mid tones that stand out from white and from near-black: reading, memory, waiting, engine, speech.
_READ, _MEMORY, _WAIT, _PREFILL, _DECODE, _SPEAK = "#64748b", "#8b5cf6", "#f59e0b", "#0ea5e9", "#4f6ef7", "#14b8a6"
STAGE_COLOURS = dict(
    zip(
        STAGES,
        (_READ, _READ, _READ, _MEMORY, _MEMORY, _READ, _WAIT, _PREFILL, _DECODE, _MEMORY, _SPEAK),
        strict=True,
    )
)
"""The colour of each stage, the same in every figure."""

FONT = "IBM Plex Sans, system-ui, sans-serif"
INK = "#777782"
"""Text on a page whose colour is not known: 4.4 to 1 on white and on near-black."""
GRID = "rgba(128, 128, 140, 0.18)"
ZERO = "rgba(128, 128, 140, 0.75)"

WINNER = "#e8590c"
BASELINE = "#64748b"
PARETO = "#4f6ef7"
OTHER = "#9a9aa6"
"""What a trial is to the sweep; shapes say the same."""

LAYOUT = {
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "font": {"family": FONT, "size": 12, "color": INK},
    "hoverlabel": {"align": "left"},
    "dragmode": False,
}
AXIS = {"gridcolor": GRID, "zeroline": False, "automargin": True, "fixedrange": True, "title_standoff": 10}


def duration(seconds: float) -> str:
    """A time as people read it: three significant figures at most, in milliseconds below a second."""
    if seconds >= 1:
        return f"{seconds:.3g} s" if seconds < 100 else f"{seconds:.0f} s"
    if seconds < 5e-6:
        return "0 ms"
    milliseconds = seconds * 1000
    return f"{milliseconds:.2f} ms" if milliseconds < 1 else f"{milliseconds:.3g} ms"
