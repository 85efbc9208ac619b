"""The text in a picture: lines with their places, and the order in which a person reads them.

Knows geometry. Knows nothing about models, pixels, or where the picture comes from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

OcrMode = Literal["auto", "on", "off"]
"""Whether text in pictures is read for a prompt: `auto` does where the model sees no pictures."""
OCR_MODES: tuple[OcrMode, ...] = ("auto", "on", "off")
Point = tuple[float, float]
"""Pixels to the right of and below the picture's top left corner."""

Corners = tuple[Point, Point, Point, Point]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text as it was found: a row of words without a wide gap.

    `corners` are those of the rectangle around it, which may be rotated, in pixels: top left, top right, bottom right,
    bottom left, as the text is read. `confidence` is the recogniser's, from 0 to 1.
    """

    text: str
    corners: Corners
    confidence: float

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Return the upright rectangle around it: left, top, right, bottom, in pixels."""
        xs, ys = zip(*self.corners, strict=True)
        return math.floor(min(xs)), math.floor(min(ys)), math.ceil(max(xs)), math.ceil(max(ys))


@dataclass(frozen=True, slots=True)
class Reading:
    """All text of a picture of `width` times `height` pixels. `rows` holds the lines from top to bottom; those that
    stand side by side, as in a table or a receipt, are one row, from left to right."""

    width: int
    height: int
    rows: tuple[tuple[Line, ...], ...] = ()

    @property
    def lines(self) -> tuple[Line, ...]:
        """Return the lines in the order in which they are read."""
        return tuple(line for row in self.rows for line in row)

    @property
    def text(self) -> str:
        """Return the text, a row a line; empty where the picture holds none."""
        return "\n".join(" ".join(line.text for line in row) for row in self.rows)


def in_rows(lines: Sequence[Line]) -> tuple[tuple[Line, ...], ...]:
    """Return the lines in rows from top to bottom, each from left to right, of a page that may be skewed.

    Columns of running text are not told from columns of a table: both are read across.
    """
    if not lines:
        return ()
    # 1) Centres and heights, turned back by the angle that most lines have
    angle = median(_angle(line) for line in lines)
    cosine, sine = math.cos(angle), math.sin(angle)
    places: list[tuple[float, float, float, Line]] = []  # y, x, height
    for line in lines:
        x, y = (sum(values) / 4 for values in zip(*line.corners, strict=True))
        height = math.dist(line.corners[0], line.corners[3])
        places.append((y * cosine - x * sine, x * cosine + y * sine, height, line))
    places.sort(key=lambda place: place[:2])
    # 2) A line joins the row whose first line has its centre within half a height
    rows: list[list[tuple[float, float, float, Line]]] = []
    for place in places:
        if rows and place[0] - rows[-1][0][0] < min(place[2], rows[-1][0][2]) / 2:
            rows[-1].append(place)
        else:
            rows.append([place])
    return tuple(tuple(line for _, _, _, line in sorted(row, key=lambda place: place[1])) for row in rows)


def _angle(line: Line) -> float:
    """Return the angle of a line's upper edge, in radians; 0 of one that is too short to tell."""
    (x0, y0), (x1, y1) = line.corners[:2]
    wide = math.dist(line.corners[0], line.corners[1]) > 2 * math.dist(line.corners[0], line.corners[3])
    return math.atan2(y1 - y0, x1 - x0) if wide else 0.0
