"""Draws scenes with Pillow as pictures of 64 by 64 pixels: colours, textures, clutter, light, noise, blur.

Knows outlines, fonts and how a picture suffers. Knows nothing about questions; which things there are it takes from the
scene. The same scene and seed give the same picture.
"""

from __future__ import annotations

import colorsys
import io
import math
import random
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from experiments.tiny_vision.scene import Scene, Thing, Writing
from experiments.tiny_vision.textures import KINDS, background

SIDE = 64
"""Pixels of a side as the model sees it."""
CANVASES = (96, 112, 128, 160, 192)
"""Pixels of a side as drawn; the model's own processor scales all that it is shown, so drawings are scaled too."""
FACES = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSansMono", "DejaVuSansMono-Bold")
"""Fonts that come inside matplotlib; Pillow's own is the seventh."""
RGB = tuple[float, float, float]
PAPERS: tuple[RGB, ...] = ((1.0, 1.0, 1.0), (0.97, 0.93, 0.75), (0.1, 0.1, 0.12), (0.85, 0.88, 0.95))


@dataclass(frozen=True, slots=True)
class Style:
    """How a drawing looks, whatever it shows: from 0, flat and clean, to 1, as badly photographed as it gets."""

    texture: float
    noise: float
    clutter: float
    light: float


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture (64, 64, 3) and where its letters stand: each with its centre, in fractions of the side."""

    pixels: NDArray[np.uint8]
    letters: tuple[tuple[str, float, float], ...]


def style(rng: random.Random, level: float) -> Style:
    """Draw a style up to `level` by lot; a part of the drawings is flat, noiseless and tidy at any level."""
    return Style(*(level * rng.random() if rng.random() < 0.7 else 0.0 for _ in range(4)))


def draw(scene: Scene, rng: random.Random, look: Style) -> Drawing:
    """Draw a scene."""
    side = rng.choice(CANVASES)
    noise = np.random.default_rng(rng.getrandbits(64))
    # 1) Colours first: the background has to differ from all of them
    paints = [paint(rng, thing.colour) for thing in scene.things]
    base = _backdrop(rng, paints)
    kind = rng.choice(KINDS) if look.texture else rng.choice(("plain", "plain", "shaded"))
    strength = 0.05 + 0.07 * look.texture
    behind = background(noise, SIDE, np.array(base, dtype=np.float32), kind, strength)
    image = Image.fromarray((behind * 255).astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
    # 2) Clutter, then the things, then the writing
    pen = ImageDraw.Draw(image)
    for _ in range(round(9 * look.clutter)):
        _scribble(pen, rng, side, base)
    outlined = rng.random() < 0.3
    for thing, colour in zip(scene.things, paints, strict=True):
        _thing(pen, thing, side, colour, _contrast(rng, colour) if outlined else None, image)
    letters = _write(image, scene.writing, rng, side, base) if scene.writing else []
    # 3) As the model's processor does it
    image = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    # 4) As a camera does it: soft, unevenly lit, noisy, compressed
    if look.noise > 0.4 and rng.random() < 0.4:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.6)))
    pixels = np.asarray(image, dtype=np.float32) / 255
    if look.light:
        pixels = pixels * _light(noise, look.light)
    if look.noise:
        pixels = pixels + noise.normal(0, 0.05 * look.noise, pixels.shape).astype(np.float32)
    picture = (np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    if look.noise and rng.random() < 0.3:
        picture = _compressed(picture, rng.randint(45, 90))
    return Drawing(picture, tuple(letters))


def paint(rng: random.Random, colour: str) -> RGB:
    """Return a shade that everybody would call `colour`: the ranges leave gaps where people disagree."""
    if colour == "black":
        return _shade(rng, 0, 360, (0.0, 0.25), (0.0, 0.12))
    if colour == "white":
        return _shade(rng, 0, 360, (0.0, 0.04), (0.94, 1.0))
    low, high, saturation, value = {
        "red": (-10, 7, (0.78, 1.0), (0.65, 1.0)),
        "orange": (22, 36, (0.8, 1.0), (0.9, 1.0)),
        "yellow": (50, 60, (0.65, 1.0), (0.9, 1.0)),
        "green": (95, 150, (0.5, 1.0), (0.42, 0.9)),
        "blue": (205, 240, (0.65, 1.0), (0.5, 1.0)),
        "purple": (270, 300, (0.5, 1.0), (0.42, 0.85)),
    }[colour]
    return _shade(rng, low, high, saturation, value)


def _shade(
    rng: random.Random, low: float, high: float, saturation: tuple[float, float], value: tuple[float, float]
) -> RGB:
    return colorsys.hsv_to_rgb(rng.uniform(low, high) / 360 % 1, rng.uniform(*saturation), rng.uniform(*value))


def distance(one: RGB, other: RGB) -> float:
    """Return how different two colours look, about 0 to 1, by the weighted "redmean" formula of CompuPhase."""
    red = (one[0] + other[0]) / 2
    r, g, b = (a - c for a, c in zip(one, other, strict=True))
    return math.sqrt(((2 + red) * r * r + 4 * g * g + (3 - red) * b * b) / 9)


def _backdrop(rng: random.Random, paints: list[RGB]) -> RGB:
    """Return a colour that differs from all `paints`: mostly white, grey or pale, as paper, walls and tables are."""
    best: RGB = (0.5, 0.5, 0.5)
    for _ in range(12):
        value = rng.choice((1.0, rng.uniform(0.75, 1), rng.uniform(0.25, 0.75), rng.uniform(0.03, 0.3)))
        candidate = colorsys.hsv_to_rgb(rng.random(), rng.choice((0.0, rng.uniform(0, 0.45))), value)
        if min((distance(candidate, p) for p in paints), default=1.0) > 0.27:
            return candidate
        best = max(best, candidate, key=lambda c: min(distance(c, p) for p in paints))
    return best


def _contrast(rng: random.Random, colour: RGB) -> RGB:
    """Return a dark or light line that stands out from `colour`."""
    light = sum(colour) / 3 < 0.45
    return (0.95, 0.95, 0.95) if light and rng.random() < 0.8 else (0.05, 0.05, 0.05) if not light else (0.6, 0.6, 0.6)


def _bytes(colour: RGB) -> tuple[int, int, int]:
    r, g, b = (max(0, min(255, round(255 * c))) for c in colour)
    return r, g, b


def outline(thing: Thing) -> list[tuple[float, float]]:
    """Return the corners of a thing's outline; a circle and a ring have forty-eight."""
    turn = math.radians(thing.angle)
    if thing.shape in ("circle", "ring"):
        polar = [(1.0, i * math.tau / 48) for i in range(48)]
    elif thing.shape == "square":
        polar = [(1.0, i * math.tau / 4) for i in range(4)]
    elif thing.shape == "triangle":
        polar = [(1.0, i * math.tau / 3) for i in range(3)]
    elif thing.shape == "star":
        polar = [(1.0 if i % 2 == 0 else 0.42, i * math.tau / 10) for i in range(10)]
    else:  # a cross: each arm's two corners, then the notch between it and the next
        half = 0.3
        polar = []
        for i in range(4):
            at, wide = i * math.tau / 4, math.asin(half)
            polar += [(1.0, at - wide), (1.0, at + wide), (half * math.sqrt(2), at + math.tau / 8)]
    return [
        (thing.x + thing.radius * r * math.cos(a + turn), thing.y + thing.radius * r * math.sin(a + turn))
        for r, a in polar
    ]


def _thing(
    pen: ImageDraw.ImageDraw, thing: Thing, side: int, colour: RGB, line: RGB | None, image: Image.Image
) -> None:
    corners = [(x * side, y * side) for x, y in outline(thing)]
    edge = _bytes(line) if line else None
    width = max(1, side // 90)
    if thing.shape != "ring":
        pen.polygon(corners, fill=_bytes(colour), outline=edge, width=width if edge else 0)
        return
    # What lies behind a ring shows through it.
    mask = Image.new("L", image.size)
    hole = ImageDraw.Draw(mask)
    hole.polygon(corners, fill=255)
    x, y, inner = thing.x * side, thing.y * side, 0.55 * thing.radius * side
    hole.ellipse((x - inner, y - inner, x + inner, y + inner), fill=0)
    image.paste(_bytes(colour), (0, 0), mask)
    if edge:
        pen.polygon(corners, outline=edge, width=width)
        pen.ellipse((x - inner, y - inner, x + inner, y + inner), outline=edge, width=width)


def _scribble(pen: ImageDraw.ImageDraw, rng: random.Random, side: int, base: RGB) -> None:
    """Add a hair, a speck or a faint line: nothing that anybody would call a thing."""
    shift = rng.choice((-1, 1)) * rng.uniform(0.12, 0.4)
    colour = _bytes((base[0] + shift, base[1] + shift, base[2] + shift))
    x, y = rng.uniform(0, side), rng.uniform(0, side)
    if rng.random() < 0.5:
        length, turn = rng.uniform(0.1, 0.7) * side, rng.uniform(0, math.tau)
        end = (x + length * math.cos(turn), y + length * math.sin(turn))
        pen.line(((x, y), end), fill=colour, width=max(1, side // 80))
    else:
        r = rng.uniform(0.006, 0.02) * side
        pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)


@lru_cache(maxsize=512)
def _font(face: str, size: int) -> ImageFont.FreeTypeFont:
    """Return a font whose capital letters are about 0.73 `size` pixels high."""
    if face == "Pillow":
        own = ImageFont.load_default(size)
        assert isinstance(own, ImageFont.FreeTypeFont), "this Pillow is built without FreeType"
        return own
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{face}.ttf"), size)


def _write(
    image: Image.Image, writing: Writing, rng: random.Random, side: int, base: RGB
) -> list[tuple[str, float, float]]:
    """Write in one of seven fonts, turned a little, on the background or on paper; return where the letters stand."""
    font = _font(rng.choice((*FACES, "Pillow")), round(writing.height * side / 0.73))
    text = writing.text.upper() if rng.random() < 0.4 else writing.text
    left, top, right, bottom = font.getbbox(text)
    pad = round(side * 0.03)
    size = (round(right - left) + 2 * pad, round(bottom - top) + 2 * pad)
    on_paper = rng.random() < 0.4
    paper = rng.choice(PAPERS) if on_paper else base
    panel = Image.new("RGBA", size, (*_bytes(paper), 255 if on_paper else 0))
    ImageDraw.Draw(panel).text((pad - left, pad - top), text, font=font, fill=(*_bytes(_ink(rng, paper)), 255))
    # 1) What is wider than the picture leaves room for is made smaller
    scale = min(1.0, 0.94 * side / panel.width)
    if scale < 1:
        panel = panel.resize((round(size[0] * scale), max(1, round(size[1] * scale))), Image.Resampling.BICUBIC)
    # 2) Turned and put where it fits
    panel = panel.rotate(writing.angle, Image.Resampling.BICUBIC, expand=True)
    x = min(max(0, round(writing.x * side - panel.width / 2)), max(0, side - panel.width))
    y = min(max(0, round(writing.y * side - panel.height / 2)), max(0, side - panel.height))
    image.paste(panel, (x, y), panel)
    # 3) Each letter's centre, turned with the panel
    turn = math.radians(writing.angle)
    letters = []
    for i, letter in enumerate(text):
        middle = (font.getlength(text[:i]) + font.getlength(text[: i + 1])) / 2
        dx = (middle + pad - left - size[0] / 2) * scale
        at = (x + panel.width / 2 + dx * math.cos(turn), y + panel.height / 2 - dx * math.sin(turn))
        letters.append((letter.lower(), at[0] / side, at[1] / side))
    return letters


def _ink(rng: random.Random, paper: RGB) -> RGB:
    """Return a colour that can be read on `paper`."""
    for _ in range(30):
        ink = rng.choice(((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), paint(rng, rng.choice(("red", "blue", "green", "purple")))))
        if distance(ink, paper) > 0.45:
            return ink
    return (0.0, 0.0, 0.0) if sum(paper) > 1.5 else (1.0, 1.0, 1.0)


def _light(noise: np.random.Generator, strength: float) -> NDArray[np.float32]:
    """Return factors (64, 64, 3): a lamp at one side, a little warm or cold."""
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / SIDE - 0.5
    turn = noise.uniform(0, 2 * np.pi)
    falling = 1 + 0.28 * strength * (x * np.cos(turn) + y * np.sin(turn)) + 0.08 * strength * noise.normal()
    tint = 1 + 0.035 * strength * noise.normal(size=3)
    factors: NDArray[np.float32] = (falling[..., None] * tint).astype(np.float32)
    return factors


def _compressed(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))
