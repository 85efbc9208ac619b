"""Does the reader of pictures keep its word? Real files, damaged at random, read for as long as one likes.

Each is read in this process by the function that runs confined (`jc1.vision.images`), where a thousand take a second;
one in `--confined` goes through a process of its own. What is neither read nor refused by name is a fault, and is
printed with the seed that makes it again.
"""

from __future__ import annotations

import io
import random
import time
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image

from experiments.benchmarks.harness import Figures, main
from jc1.errors import DamagedImage, InvalidRequest, RequestTooLarge, UnsupportedImage
from jc1.vision.images import decode, read_picture

CAPS: dict[str, Any] = {"max_pixels": 1_000_000, "max_side": 512}
REFUSALS = (DamagedImage, UnsupportedImage, RequestTooLarge)


def measure(
    minutes: Annotated[float, typer.Option(help="How long.")] = 10.0,
    seed: Annotated[int, typer.Option(help="Where the random damage begins.")] = 0,
    confined: Annotated[int, typer.Option(help="One file in so many is read in a process of its own.")] = 500,
) -> Figures:
    files = list(real_files())
    outcomes: Counter[str] = Counter()
    faults: list[dict[str, Any]] = []
    slowest, number = 0.0, 0
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        data = damaged(random.Random(seed + number), files)
        began = time.perf_counter()
        try:
            outcomes[outcome(data, in_process=number % confined == 0)] += 1
        except Exception as error:  # this is what is looked for
            faults.append({"seed": seed + number, "error": type(error).__name__})
        slowest = max(slowest, time.perf_counter() - began)
        number += 1
    return {"files": number, "outcomes": dict(outcomes), "faults": faults, "slowest_s": round(slowest, 3)}


def outcome(data: bytes, *, in_process: bool) -> str:
    """Return `read`, or the code of the refusal. Raises what is neither."""
    try:
        if in_process:
            picture = read_picture(data, max_bytes=10_000_000, **CAPS)
            assert len(picture.pixels) == picture.width * picture.height * 3
        else:
            shape, pixels = decode(data, **CAPS)
            assert len(pixels) == shape["width"] * shape["height"] * 3
    except REFUSALS as refusal:
        return refusal.code
    except InvalidRequest as other:
        raise AssertionError(other.code) from None
    return "read"


def real_files() -> Iterator[bytes]:
    """Yield small pictures in every format and in many ways of writing each."""
    noise = np.random.default_rng(5).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "camera"
    ways: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (image, "PNG", {}),
        (image.convert("P"), "PNG", {"transparency": 3}),
        (image.convert("RGBA"), "PNG", {"exif": exif}),
        (Image.fromarray(noise[..., 0].astype(np.uint16) * 257), "PNG", {}),
        (image.convert("1"), "PNG", {}),
        (image, "JPEG", {"exif": exif, "comment": b"words"}),
        (image, "JPEG", {"progressive": True}),
        (image.convert("CMYK"), "JPEG", {}),
        (image, "MPO", {"save_all": True, "append_images": [image.rotate(90)]}),
        (image, "WEBP", {}),
        (image.convert("RGBA"), "WEBP", {"lossless": True, "exif": exif}),
        (image, "WEBP", {"save_all": True, "append_images": [image.rotate(180)]}),
        (image, "GIF", {}),
        (image, "GIF", {"save_all": True, "append_images": [image.rotate(180)]}),
    ]
    for shown, form, options in ways:
        file = io.BytesIO()
        shown.save(file, form, **options)
        yield file.getvalue()


def damaged(chance: random.Random, files: list[bytes]) -> bytes:
    """Return one of the files with some of its bytes set, cut out, doubled, taken from another, or cut off."""
    data = bytearray(chance.choice(files))
    for _ in range(chance.randint(1, 12)):
        at = chance.randrange(len(data) + 1)
        length = chance.choice((1, 2, 4, 8, 64))
        match chance.randrange(6):
            case 0 | 1:
                data[at : at + length] = chance.randbytes(min(length, len(data) - at))
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = data[at : at + length]
            case 4:
                other = chance.choice(files)
                begin = chance.randrange(len(other))
                data[at : at + length] = other[begin : begin + length]
            case 5 if chance.random() < 0.2:
                del data[at:]
    return bytes(data)


if __name__ == "__main__":
    main(measure, packages=("pillow",))
