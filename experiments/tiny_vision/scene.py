"""Scenes: which things a picture shows, and where. What is true of a picture is read from here, never from its pixels.

Knows shapes, colours, sizes and placement, in fractions of the picture's side with y downwards. Knows nothing about
drawing, questions or the network.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "black", "white")
SMALL, BIG = (0.085, 0.115), (0.165, 0.215)
"""Radii of the circle around a thing. The gap between them is as wide as the eye needs to be sure."""
COUNTABLE = (0.09, 0.12)
"""Radii where up to six things share a picture."""
_LEARNT = """
cat dog sun cup bus car hat pen map key box fox owl bee ant egg jam tea pie nut cow pig hen sky sea ice oil bed bag door
tree fish bird lamp milk cake moon rain snow wind road ship boat book desk hand foot exit stop open go no yes up in on
out off end new
"""
_NEW = "rat net bun cap fan mud leg wax zoo toy frog leaf nest wolf salt gold"
WORDS = tuple(_LEARNT.split())
"""Words that pictures show in training; the longest have four letters."""
UNSEEN_WORDS = tuple(_NEW.split())
"""Words that only the evaluation shows."""
GAP = 0.035
"""Least distance between two things."""


@dataclass(frozen=True, slots=True)
class Thing:
    """A shape. `angle` is in degrees."""

    shape: str
    colour: str
    big: bool
    x: float
    y: float
    radius: float
    angle: float

    @property
    def size(self) -> str:
        return "big" if self.big else "small"


@dataclass(frozen=True, slots=True)
class Writing:
    """A number or a word, centred at (x, y). `height` is that of a capital letter, `angle` in degrees."""

    text: str
    x: float
    y: float
    height: float
    angle: float

    @property
    def radius(self) -> float:
        """Half of its width, generously: letters are about as wide as high."""
        return self.height * (0.45 * len(self.text) + 0.25)


@dataclass(frozen=True, slots=True)
class Scene:
    """What a picture shows."""

    things: tuple[Thing, ...]
    writing: Writing | None = None


def scene(rng: random.Random, words: Sequence[str] = WORDS, kind: str | None = None, most: int = 6) -> Scene:
    """Draw a scene by lot: two to four things (`things`), up to six to be counted (`count`), or writing (`writing`).

    `most` is how many things there are at most, whatever the kind.
    """
    kind = kind or rng.choices(("things", "count", "writing"), (0.55, 0.2, 0.25))[0]
    if kind == "count":
        return Scene(_countable(rng, most))
    writing = _writing(rng, words) if kind == "writing" else None
    many = rng.choices(range(5), (0.4, 0.4, 0.2, 0, 0) if writing else (0, 0.1, 0.35, 0.35, 0.2))[0]
    things: list[Thing] = []
    for _ in range(min(many, most)):
        _place(rng, things, writing, _shape_and_colour(rng, things), big=rng.random() < 0.5)
    return Scene(tuple(things), writing)


def _shape_and_colour(rng: random.Random, things: Sequence[Thing]) -> tuple[str, str]:
    """Return a shape and a colour; now and then one of the two is there already, and does not say which is meant."""
    shape, colour = rng.choice(SHAPES), rng.choice(COLOURS)
    if things and rng.random() < 0.3:
        other = rng.choice(things)
        return (other.shape, colour) if rng.random() < 0.5 else (shape, other.colour)
    return shape, colour


def _countable(rng: random.Random, most: int) -> tuple[Thing, ...]:
    """Return one to six things of one or two shapes and colours: what "how many" is asked of."""
    shapes = rng.sample(SHAPES, rng.choice((1, 2, 2)))
    colours = rng.sample(COLOURS, rng.choice((1, 2, 2)))
    things: list[Thing] = []
    for _ in range(rng.randint(1, min(6, most))):
        _place(rng, things, None, (rng.choice(shapes), rng.choice(colours)), big=False, radii=COUNTABLE)
    return tuple(things)


def _place(
    rng: random.Random,
    things: list[Thing],
    writing: Writing | None,
    look: tuple[str, str],
    *,
    big: bool,
    radii: tuple[float, float] | None = None,
) -> None:
    """Add a thing where there is room; where forty tries show none, leave it out."""
    radius = rng.uniform(*(radii or (BIG if big else SMALL)))
    for _ in range(40):
        x, y = (rng.uniform(radius + 0.01, 0.99 - radius) for _ in range(2))
        free = all(math.hypot(x - t.x, y - t.y) > radius + t.radius + GAP for t in things)
        if free and writing:  # the writing lies nearly flat: a box around it
            beside = abs(x - writing.x) > radius + writing.radius + GAP
            free = beside or abs(y - writing.y) > radius + 0.75 * writing.height + 0.2 * writing.radius + GAP
        if free:
            things.append(Thing(*look, big, x, y, radius, rng.uniform(0, 360)))
            return


def _writing(rng: random.Random, words: Sequence[str]) -> Writing:
    if rng.random() < 0.4:
        text = str(rng.randint(0, 99))
    else:
        text = rng.choice(words) if rng.random() < 0.75 or words is not WORDS else _syllables(rng)
    height = rng.uniform(0.17, 0.22 if len(text) > 3 else 0.27)
    wide = min(height * (0.45 * len(text) + 0.25), 0.47)
    x, y = rng.uniform(wide + 0.02, 0.98 - wide), rng.uniform(height, 1 - height)
    return Writing(text, x, y, height, rng.uniform(-9, 9))


def _syllables(rng: random.Random) -> str:
    """Return a made-up word of two to four letters, so that letters are learnt and not words alone."""
    word = rng.choice("bcdfghjklmnprstvwz") + rng.choice("aeiou") + rng.choice("bdfgklmnprstxyz") + rng.choice("aeiou")
    return word[: rng.choice((2, 3, 3, 4))]
