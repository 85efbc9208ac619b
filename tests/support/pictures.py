"""Pictures as tests need them: text on a plain ground, in the font that Pillow brings."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont


def of_text(*lines: str, size: tuple[int, int] | None = None, points: int = 28) -> Image.Image:
    """Return a picture of these lines, black on white, as large as they need unless a size is given."""
    face = ImageFont.load_default(points)
    width = max((int(face.getlength(line)) for line in lines), default=0) + 80
    picture = Image.new("RGB", size or (width, 60 + int(1.6 * points) * len(lines)), "white")
    draw = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        draw.text((40, 30 + number * int(1.6 * points)), line, fill="black", font=face)
    return picture


def encoded(picture: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    """Return the picture as a file's bytes."""
    file = BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def pixels(picture: Image.Image) -> NDArray[np.uint8]:
    """Return the picture as RGB of shape (height, width, 3)."""
    return np.asarray(picture.convert("RGB"))
