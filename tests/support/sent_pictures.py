"""Small pictures, and how clients send them."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image

from jc1.messages import ImagePart


def png(width: int = 40, height: int = 20, colour: tuple[int, int, int] = (200, 30, 30)) -> bytes:
    """Return a picture of one colour, as a file."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, "PNG")
    return file.getvalue()


def data_url(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def part(width: int = 40, height: int = 20, colour: tuple[int, int, int] = (200, 30, 30)) -> ImagePart:
    """Return a picture inside a message, not yet read."""
    return ImagePart(png(width, height, colour), "image/png")


def asked(*pictures: str, text: str = "What is this?") -> dict[str, Any]:
    """Return a user's message in OpenAI's form: a text, then pictures by their URLs."""
    shown = [{"type": "image_url", "image_url": {"url": url}} for url in pictures]
    return {"role": "user", "content": [{"type": "text", "text": text}, *shown]}
