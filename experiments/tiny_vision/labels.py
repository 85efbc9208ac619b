"""What each patch of a drawing shows: the dense targets from which the tower learns to see before it learns to tell.

Knows scenes and the grid of patches. Knows nothing about the network. A picture has 64 patches, so one picture teaches
64 times what a question about it does; these labels exist only for drawings and only in training.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from experiments.tiny_vision.draw import SIDE, Drawing, outline
from experiments.tiny_vision.scene import COLOURS, SHAPES, Scene

PATCH = 8
"""Pixels of a patch's side."""
GRID = SIDE // PATCH
LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
CLASSES = (len(SHAPES) + 1, len(COLOURS) + 1, 3, len(LETTERS) + 1)
"""Shape, colour, size and letter of a patch; 0 is none of them."""
LEAST = 8
"""Pixels of a thing that a patch must hold to show it."""


@dataclass(frozen=True, slots=True)
class Labels:
    """`classes` (64, 4), as in `CLASSES`; `offsets` (64, 2): from the patch's centre to that of its thing, in sides."""

    classes: NDArray[np.int64]
    offsets: NDArray[np.float32]


def labels(scene: Scene, drawing: Drawing) -> Labels:
    """Return what the patches of a scene's drawing show."""
    owner = Image.new("L", (SIDE, SIDE))
    pen = ImageDraw.Draw(owner)
    for number, thing in enumerate(scene.things, 1):
        pen.polygon([(x * SIDE, y * SIDE) for x, y in outline(thing)], fill=number)
    patches = np.asarray(owner).reshape(GRID, PATCH, GRID, PATCH).swapaxes(1, 2).reshape(GRID * GRID, PATCH * PATCH)
    classes = np.zeros((GRID * GRID, 4), dtype=np.int64)
    offsets = np.zeros((GRID * GRID, 2), dtype=np.float32)
    covered = np.stack([(patches == n).sum(1) for n in range(1, len(scene.things) + 1)] or [np.zeros(GRID * GRID)])
    most = covered.argmax(0)
    for patch in np.flatnonzero(covered.max(0) >= LEAST):
        thing = scene.things[most[patch]]
        classes[patch, :3] = SHAPES.index(thing.shape) + 1, COLOURS.index(thing.colour) + 1, 1 + thing.big
        offsets[patch] = thing.x - (patch % GRID + 0.5) / GRID, thing.y - (patch // GRID + 0.5) / GRID
    for letter, x, y in drawing.letters:
        column, row = (min(GRID - 1, max(0, int(v * GRID))) for v in (x, y))
        classes[row * GRID + column, 3] = LETTERS.index(letter) + 1
    return Labels(classes, offsets)
