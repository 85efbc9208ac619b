"""Draws scenes with matplotlib: other outlines, colours, fonts and sizes than those that the model learnt from.

Knows how a scene looks when somebody else draws it. Shares no code with `draw`, so that what is measured on these
pictures is not how well the model knows one program's pencil.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from experiments.tiny_vision.scene import Scene, Thing

PAINTS = {
    "red": ("red", "crimson", "tab:red", "firebrick"),
    "orange": ("darkorange", "tab:orange", "orange"),
    "yellow": ("yellow", "gold"),
    "green": ("green", "limegreen", "tab:green", "seagreen"),
    "blue": ("blue", "royalblue", "mediumblue", "tab:blue"),
    "purple": ("purple", "darkviolet", "mediumorchid", "indigo"),
    "black": ("black",),
    "white": ("white",),
}
PAPERS = ("white", "whitesmoke", "lightgrey", "beige", "lightblue", "mistyrose", "dimgrey", "darkslategrey")
FONTS = ("STIXGeneral", "DejaVu Sans", "DejaVu Serif", "cmss10")


@dataclass(frozen=True, slots=True)
class Look:
    """How a page looks: its colour, pixels of a side, a name of matplotlib's colours for each thing, and a font."""

    paper: str
    side: int
    paints: tuple[str, ...]
    font: str
    edge: bool


def look(scene: Scene, rng: random.Random) -> Look:
    """Draw a look by lot in which all things of a scene can be seen."""
    paints = tuple(rng.choice(PAINTS[t.colour]) for t in scene.things)
    papers = [p for p in PAPERS if min((_distance(p, c) for c in paints), default=1.0) > 0.35]
    return Look(
        rng.choice(papers or ["grey"]), rng.choice((120, 200, 320, 480)), paints, rng.choice(FONTS), rng.random() < 0.3
    )


def picture(scene: Scene, how: Look) -> Image.Image:
    """Return the picture of a scene."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(how.side / 100, how.side / 100), dpi=100, facecolor=how.paper)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 1), ylim=(1, 0))
    axes.axis("off")
    for thing, colour in zip(scene.things, how.paints, strict=True):
        axes.add_patch(_patch(thing, colour, "black" if how.edge and colour != "black" else "none"))
    if scene.writing:
        w = scene.writing
        ink = "black" if _distance(how.paper, "black") > 0.5 else "white"
        points = w.height * how.side * 72 / 100 / 0.7
        axes.text(
            w.x, w.y, w.text, fontsize=points, family=how.font, color=ink, rotation=w.angle, ha="center", va="center"
        )
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = canvas.buffer_rgba()  # type: ignore[no-untyped-call]
    return Image.fromarray(np.asarray(pixels)).convert("RGB")


def _patch(thing: Thing, colour: str, edge: str) -> Any:
    from matplotlib.patches import Annulus, Circle, PathPatch, Rectangle, RegularPolygon
    from matplotlib.path import Path
    from matplotlib.transforms import Affine2D

    style: dict[str, Any] = {"facecolor": colour, "edgecolor": edge, "linewidth": 1}
    x, y, r = thing.x, thing.y, thing.radius
    if thing.shape == "circle":
        return Circle((x, y), r, **style)
    if thing.shape == "ring":
        return Annulus((x, y), r, 0.4 * r, **style)
    if thing.shape == "square":
        side = 1.4 * r
        corner = (x - side / 2, y - side / 2)
        return Rectangle(corner, side, side, angle=thing.angle, rotation_point="center", **style)
    if thing.shape == "triangle":
        return RegularPolygon((x, y), 3, radius=r, orientation=np.radians(thing.angle), **style)
    turned = Affine2D().scale(r).rotate_deg(thing.angle).translate(x, y)
    if thing.shape == "star":
        return PathPatch(turned.transform_path(Path.unit_regular_star(5, innerCircle=0.4)), **style)
    a, b = 0.25, 0.95  # a plus sign: half the width and the length of its arms
    plus = [(a, a), (a, b), (-a, b), (-a, a), (-b, a), (-b, -a), (-a, -a), (-a, -b), (a, -b), (a, -a), (b, -a), (b, a)]
    return PathPatch(turned.transform_path(Path([*plus, plus[0]], closed=True)), **style)


def _distance(one: str, other: str) -> float:
    """Return how far two of matplotlib's colours lie apart, 0 to 1."""
    from matplotlib.colors import to_rgb

    return float(np.linalg.norm(np.subtract(to_rgb(one), to_rgb(other))) / np.sqrt(3))
