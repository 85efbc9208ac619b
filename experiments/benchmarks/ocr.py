"""How well text in pictures is read: the character error rate over rendered pages in three fonts, clean and worse.

    python -m experiments.benchmarks.ocr [--pages 50] [--seed 0] [--threads 2] [--faults clean,noisy]

A page is A4 at 150 dots an inch with thirty lines of made-up prose, dates, prices and addresses in 12 points, black on
white. Each is read as it is and with a fault: turned by up to five degrees, noisy as a cheap scan (grain, blur, JPEG),
or photographed (turned, seen from an angle, lit from one side, noisy). What is counted is Levenshtein's distance over
the characters of the page, white space taken together. Knows fonts, faults and the measure. Knows nothing about how
pictures are read. The fonts come with matplotlib, which MLflow brings.
"""

from __future__ import annotations

import random
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from io import BytesIO
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from experiments.benchmarks.harness import Figures, main

WANTED = 0.03
"""Most of the characters of clean pages that may be wrong."""
FONTS = {"sans": "DejaVuSans.ttf", "serif": "STIXGeneral.ttf", "mono": "DejaVuSansMono.ttf"}
SIZE = 1240, 1754
"""Pixels of a page: A4 at 150 dots an inch."""
POINTS, MARGIN, LEADING = 25, 110, 1.55
"""Pixels of the type (12 points), of the margin, and the distance of lines in heights of the type."""
LINES = 30

_WHO = ("The walrus", "A courier", "Ann Larsen", "The second engineer", "Our landlord", "Mr. Okafor", "Nobody")
_DID = ("carried", "repaired", "photographed", "could not find", "weighed", "painted", "signed for", "forgot")
_WHAT = ("two crates of clams", "the invoice", "a green umbrella", "her passport", "the gearbox", "forty-one letters")
_WHERE = ("in Trondheim", "behind the harbour office", "on platform 9", "at the corner of Mill Lane", "near the exit")
_WHEN = ("before noon", "on Tuesday", "at 16:45", "twice a week", "in the spring of 1987", "during the storm")


def text(lines: int, width: int, dice: random.Random) -> list[str]:
    """Return lines of prose of at most `width` characters, with some that hold figures."""
    result: list[str] = []
    words: list[str] = []
    while len(result) < lines:
        if dice.random() < 0.25:
            words += _figures(dice).split()
        else:
            words += " ".join(map(dice.choice, (_WHO, _DID, _WHAT, _WHERE, _WHEN))).split()
            words[-1] += dice.choice("..?!;")
        while len(" ".join(words)) > width:
            line = ""
            while len(line) + 1 + len(words[0]) <= width:
                line = f"{line} {words.pop(0)}".strip()
            result.append(line)
    return result[:lines]


def _figures(dice: random.Random) -> str:
    price = f"{dice.randrange(1, 2000)}.{dice.randrange(100):02}"
    return dice.choice(
        (
            f"Total: {price} EUR (incl. {dice.choice((7, 19, 25))}% VAT).",
            f"Order no. {dice.randrange(10**6, 10**7)}-{dice.choice('ABCXYZ')}, {dice.randrange(1, 29):02}/07/2024.",
            f"Call +47 {dice.randrange(100, 999)} {dice.randrange(10, 99)} {dice.randrange(100, 999)},",
            f"mail to desk{dice.randrange(90)}@example.org;",
        )
    )


def page(lines: list[str], font: Path) -> Image.Image:
    """Return a page with these lines, black on white."""
    picture = Image.new("L", SIZE, 255)
    draw = ImageDraw.Draw(picture)
    face = ImageFont.truetype(str(font), POINTS)
    for number, line in enumerate(lines):
        draw.text((MARGIN, MARGIN + number * POINTS * LEADING), line, fill=0, font=face)
    return picture


def skewed(picture: Image.Image, dice: random.Random) -> Image.Image:
    """Return the page turned by one to five degrees either way."""
    angle = dice.choice((-1, 1)) * dice.uniform(1, 5)
    return picture.rotate(angle, Image.Resampling.BICUBIC, fillcolor=255)


def noisy(picture: Image.Image, dice: random.Random) -> Image.Image:
    """Return the page blurred by a pixel, with grain of 25 grey levels, and as a JPEG of quality 30."""
    grey = np.asarray(picture.filter(ImageFilter.GaussianBlur(1)), np.float32)
    grain = np.random.default_rng(dice.randrange(2**32)).normal(0, 25, grey.shape)
    file = BytesIO()
    Image.fromarray((grey + grain).clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=30)
    return Image.open(file)


def photographed(picture: Image.Image, dice: random.Random) -> Image.Image:
    """Return the page turned, seen from an angle, lit from one side, and noisy."""
    width, height = picture.size
    # Where in the page the corners of the photograph lie: top left, bottom left, bottom right, top right.
    corners = ((0, 0), (0, height), (width, height), (width, 0))
    quad = [
        coordinate + dice.uniform(-0.04, 0.04) * side
        for corner in corners
        for coordinate, side in zip(corner, picture.size, strict=True)
    ]
    seen = skewed(picture, dice).transform(SIZE, Image.Transform.QUAD, quad, Image.Resampling.BICUBIC, fillcolor=255)
    light = np.linspace(1, dice.uniform(0.4, 0.7), width)[None, :]
    return noisy(Image.fromarray((np.asarray(seen) * light).astype(np.uint8)), dice)


FAULTS: Mapping[str, Callable[[Image.Image, random.Random], Image.Image]] = {
    "clean": lambda picture, dice: picture,
    "skewed": skewed,
    "noisy": noisy,
    "photographed": photographed,
}


def distance(reference: str, hypothesis: str) -> int:
    """Return how many characters must be put in, left out or replaced to make one text of the other (Levenshtein)."""
    there = np.array([ord(c) for c in hypothesis])
    steps = np.arange(len(there) + 1)
    row = steps.copy()
    for number, character in enumerate(reference, start=1):
        best = np.minimum(row[1:] + 1, row[:-1] + (there != ord(character)))
        # A character put in costs one more than the cell to the left: a running minimum of what is left of the steps.
        row = np.minimum.accumulate(np.concatenate(([number], best)) - steps) + steps
    return int(row[-1])


def fonts() -> dict[str, Path]:
    """Return the files of the fonts. Raises `RuntimeError` where matplotlib is not installed."""
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise RuntimeError("The fonts come with matplotlib: run `make install-dev`.")
    folder = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
    return {name: folder / file for name, file in FONTS.items()}


def measure(
    pages: Annotated[int, typer.Option(help="Pages to render.")] = 50,
    seed: Annotated[int, typer.Option(help="What the pages are made from.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads to read with.")] = 2,
    faults: Annotated[str, typer.Option(help="What is done to the pages.")] = ",".join(FAULTS),
) -> Figures:
    """Read every page under every fault; return error rates by fault and font, and the seconds a page takes."""
    from jc1.vision.ocr import RapidOcr

    ocr = RapidOcr(threads=threads)
    ocr.load()
    wrong: dict[str, dict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    seconds: list[float] = []
    dice = random.Random(seed)
    for number, (name, font) in enumerate(islice(cycle(fonts().items()), pages)):
        lines = text(LINES, 66, dice)
        drawn = page(lines, font)
        reference = " ".join(" ".join(lines).split())
        for fault in faults.split(","):
            # The same page is spoilt in the same way, whatever else is done to it.
            spoil, dice_of_fault = FAULTS[fault], random.Random(f"{seed} {fault} {number}")
            pixels: NDArray[np.uint8] = np.asarray(spoil(drawn, dice_of_fault).convert("RGB"))
            began = perf_counter()
            reading = ocr.read(pixels)
            seconds.append(perf_counter() - began)
            wrong[fault][name].append((distance(reference, " ".join(reading.text.split())), len(reference)))
    rates = {fault: _rates(by_font) for fault, by_font in wrong.items()}
    return {
        "model": ocr.model,
        "pages": pages,
        "character_error_rate": rates,
        "seconds_a_page_p50": round(statistics.median(seconds), 3),
        "seconds_a_page_p95": round(statistics.quantiles(seconds, n=20, method="inclusive")[-1], 3),
        "threads": threads,
        "wanted_clean": WANTED,
        "accepted": "clean" in rates and rates["clean"]["all"] <= WANTED,
    }


def _rates(by_font: Mapping[str, list[tuple[int, int]]]) -> dict[str, Any]:
    every = [counts for some in by_font.values() for counts in some]
    return {
        "all": _rate(every),
        **{name: _rate(some) for name, some in by_font.items()},
        "worst_page": round(max(errors / characters for errors, characters in every), 4),
        "characters": sum(characters for _, characters in every),
    }


def _rate(counts: list[tuple[int, int]]) -> float:
    return round(sum(errors for errors, _ in counts) / sum(characters for _, characters in counts), 4)


if __name__ == "__main__":
    main(measure, packages=("rapidocr", "onnxruntime", "opencv-python-headless", "pillow"))
