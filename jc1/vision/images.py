"""Pictures: from the bytes of a file to upright pixels, read in a process of its own.

Knows four formats, told by their bytes whatever they are called, and what of a file is not passed on: EXIF, profiles,
comments, transparency (white shows through) and what is larger than a model needs. Knows nothing about models, which
scale and cut as they were trained to (`jc1.engines.eyes`), or about where files come from.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
import threading
import warnings
import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from jc1.confined import Answer, Reader
from jc1.errors import DamagedImage, InvalidRequest, RequestTooLarge, UnsupportedImage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
"""Pillow's words for what is read. Others are refused by name: each decoder is one more that strangers may try."""
BEGINNINGS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8")
DAMAGED = "The picture is damaged, or was cut off: save it anew."
OTHERS = {
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"%PDF": "PDF",
    b"<svg": "SVG",
    b"<?xml": "SVG",
    b"\0\0\1\0": "ICO",
    b"8BPS": "Photoshop",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cjP": "JPEG 2000",
}
"""How files begin that people take for pictures, too."""
ORIENTATION = 0x0112
"""EXIF's tag for how a camera was held."""
WHITE = (255, 255, 255)

_read = Reader(
    "jc1.vision.images:decode",
    noun="picture",
    advice="send a smaller one",
    damaged=DamagedImage,
    errors=(DamagedImage, UnsupportedImage),
    seconds=20.0,
)
_processes = threading.BoundedSemaphore(os.cpu_count() or 1)
"""Pictures that are read at the same time."""


@dataclass(frozen=True)
class Picture:
    """Upright pixels: `pixels` are rows from the top, 8 bits for each of red, green and blue."""

    width: int
    height: int
    pixels: bytes

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 of its size and pixels."""
        return hashlib.sha256(f"{self.width}x{self.height} ".encode() + self.pixels).hexdigest()

    def image(self) -> Image.Image:
        """Return it as Pillow's."""
        from PIL import Image

        return Image.frombytes("RGB", (self.width, self.height), self.pixels)

    def array(self) -> NDArray[np.uint8]:
        """Return it as an array of shape (height, width, 3), which cannot be written to."""
        import numpy as np

        return np.frombuffer(self.pixels, dtype=np.uint8).reshape(self.height, self.width, 3)

    def encoded(self, media_type: str = "image/png") -> bytes:
        """Return it as a file of pixels alone: PNG to the pixel, JPEG nearly."""
        file = io.BytesIO()
        if media_type == "image/jpeg":
            self.image().save(file, "JPEG", quality=95, subsampling=0)
        else:
            self.image().save(file, "PNG", compress_level=1)
        return file.getvalue()


def read_picture(
    data: bytes, *, max_bytes: int, max_pixels: int, max_side: int, param: str | None = "messages"
) -> Picture:
    """Return what a picture's file shows. Blocks.

    Args:
        data: The file.
        max_bytes: Most bytes of the file.
        max_pixels: Most pixels that the file may say it has: nothing of a larger one is decoded.
        max_side: Longest side in pixels; a greater picture is scaled down.
        param: The field of the request that is to blame.

    Raises:
        DamagedImage: It breaks its format's rules.
        UnsupportedImage: It is of another format, or animated.
        RequestTooLarge: It has too many bytes or pixels, or takes too long or too much memory.
    """
    if len(data) > max_bytes:
        raise RequestTooLarge(
            f"The picture has {len(data):,} bytes, {max_bytes:,} are allowed: send a smaller one.", param=param
        )
    try:
        if not data:
            raise DamagedImage("The picture is empty: it has no bytes.")
        with _processes:
            shape, pixels = _read(data, max_pixels=max_pixels, max_side=max_side)
        return _checked(shape, pixels)
    except InvalidRequest as error:
        error.param = param
        raise


def _checked(shape: dict[str, Any], pixels: bytes) -> Picture:
    """Return the picture that a process answered with, which may have been taken over."""
    match shape:
        case {"width": int(width), "height": int(height)} if width > 0 and height > 0:
            if len(pixels) == width * height * 3:
                return Picture(width, height, pixels)
    raise DamagedImage("The picture cannot be read: save it anew.")


def decode(data: bytes, *, max_pixels: int, max_side: int) -> Answer:
    """Return width and height, and the pixels. Runs confined."""
    from PIL import UnidentifiedImageError
    from PIL.Image import DecompressionBombError

    try:
        with warnings.catch_warnings(action="ignore"):
            image = _opened(data, max_pixels, max_side)
    except DecompressionBombError:  # Pillow's own cap, of 179 million pixels
        raise RequestTooLarge(
            f"The picture has far too many pixels, {max_pixels:,} are allowed: scale it down."
        ) from None
    except UnidentifiedImageError:
        raise _unidentified(data) from None
    except (OSError, EOFError, SyntaxError, ValueError, IndexError, KeyError, TypeError, struct.error, zlib.error):
        raise DamagedImage(DAMAGED) from None
    return {"width": image.width, "height": image.height}, image.tobytes()


def _opened(data: bytes, max_pixels: int, max_side: int) -> Image.Image:
    from PIL import Image

    image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
    _check(image, max_pixels)
    turned = _orientation(image)
    # A JPEG can be decoded at an eighth of its size, in an eighth of the time.
    image.draft("RGB", (max_side, max_side))
    image.load()
    _check(image, max_pixels)
    return _upright(_flat(_scaled(_eight_bits(image), max_side)), turned)


def _check(image: Image.Image, max_pixels: int) -> None:
    """Raise where a picture is too large, or moves."""
    if image.width * image.height > max_pixels:
        raise RequestTooLarge(
            f"The picture has {image.width:,} x {image.height:,} pixels, {max_pixels:,} are allowed: scale it down."
        )
    # A camera's JPEG may hold a second view of the same: the first is the picture.
    if image.format != "MPO" and getattr(image, "is_animated", False):
        raise UnsupportedImage("The picture is animated: send one of its frames as a picture of its own.")


def _orientation(image: Image.Image) -> int:
    """Return how EXIF says that the picture is to be turned, 1 to 8; 1, as it is, where that cannot be read."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, IndexError, struct.error, zlib.error):
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return a picture in RGB, or RGBA where something shows through."""
    from PIL import Image

    if image.mode.startswith("I"):  # 16 bits of grey: Pillow itself would cut them off at 255
        import numpy as np

        grey = np.asarray(image).astype(np.uint32) >> 8
        image = Image.fromarray(np.minimum(grey, 255).astype(np.uint8))
    through = image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info
    return image.convert("RGBA" if through else "RGB")


def _scaled(image: Image.Image, max_side: int) -> Image.Image:
    """Return a picture whose longest side is at most `max_side`."""
    from PIL.Image import Resampling

    image.thumbnail((max_side, max_side), resample=Resampling.BICUBIC, reducing_gap=2.0)
    return image


def _flat(image: Image.Image) -> Image.Image:
    """Return a picture that nothing shows through: on white, as pages and documents are."""
    if image.mode == "RGB":
        return image
    from PIL import Image

    flat = Image.new("RGB", image.size, WHITE)
    flat.paste(image, mask=image.getchannel("A"))
    return flat


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    """Return a picture turned as EXIF's `orientation` says."""
    from PIL.Image import Transpose

    turn = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image.transpose(turn[orientation]) if orientation in turn else image


def _unidentified(data: bytes) -> InvalidRequest:
    """Return the error for a file that is none of the formats, by its name where it is known."""
    if data.startswith(BEGINNINGS) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP"):
        return DamagedImage(DAMAGED)
    if data[4:8] == b"ftyp":
        name = "AVIF" if data[8:11] == b"avi" else "HEIC" if data[8:10] == b"he" or data[8:10] == b"mi" else "video"
    else:
        start = data.lstrip()[:8]
        name = next((name for begin, name in OTHERS.items() if start.startswith(begin)), "")
    what = f"The picture is a file of {name}" if name else "The picture is of no format that is known here"
    return UnsupportedImage(f"{what}: send PNG, JPEG, WebP or GIF.")
