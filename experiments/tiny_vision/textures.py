"""Backgrounds: plain, shaded, and what looks like photographs of paper, cloth, wood, stone, leaves and blurred rooms.

Made from noise, so that no photograph is needed. Knows arrays (side, side, 3) of floats in 0..1. Knows nothing about
scenes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]
KINDS = ("cloud", "cloth", "wood", "stone", "leaves", "room")


def background(rng: np.random.Generator, side: int, base: Picture, kind: str, strength: float) -> Picture:
    """Return a picture (side, side, 3) about the colour `base` (3). `strength` is the standard deviation of its light.

    `kind` is plain, shaded or one of `KINDS`.
    """
    if kind == "plain":
        return np.broadcast_to(base, (side, side, 3)).astype(np.float32)
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    turn = rng.uniform(0, 2 * np.pi)
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    if kind == "shaded":
        light = along
    elif kind == "cloud":
        light = fractal(rng, side, 2.0)
    elif kind == "cloth":
        threads = rng.uniform(60, 140)
        light = np.sin(threads * along) + np.sin(threads * across) + fractal(rng, side, 1.5)
    elif kind == "wood":
        light = np.sin(rng.uniform(12, 45) * across + 1.5 * fractal(rng, side, 2.4)) + 0.4 * fractal(rng, side, 1.0)
    elif kind == "stone":
        light = fractal(rng, side, 1.0)
    elif kind == "leaves":
        light = np.tanh(3 * fractal(rng, side, 1.6))
    else:  # a room out of focus: a few soft edges
        light = sum(
            np.tanh(rng.uniform(4, 25) * (rng.normal() * x + rng.normal() * y - rng.uniform(-1, 1))) for _ in range(4)
        )
    light = np.asarray(light - np.mean(light), dtype=np.float32)
    light *= strength / max(float(light.std()), 1e-6)
    tint = 1 + 0.25 * rng.normal(size=3).astype(np.float32)  # light parts are a little warmer or colder than dark ones
    picture: Picture = np.clip(base + light[..., None] * tint, 0, 1).astype(np.float32)
    return picture


def fractal(rng: np.random.Generator, side: int, slope: float) -> Picture:
    """Return noise (side, side) whose amplitude falls as frequency to the power of -`slope`; photographs have about 1.

    Source: Field, "Relations between the statistics of natural images and the response properties of cortical cells",
    J. Opt. Soc. Am. A 1987.
    """
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :])
    frequency[0, 0] = 1.0
    waves = rng.normal(size=(2, *frequency.shape))
    noise = np.fft.irfft2((waves[0] + 1j * waves[1]) / frequency**slope, s=(side, side))
    normal: Picture = ((noise - noise.mean()) / noise.std()).astype(np.float32)
    return normal
