"""Text in a document's pictures: the pages of a PDF that were scanned, and documents that are pictures themselves.

Knows how pictures of a page come out of the confined process, some pages at a time, and how what is read in them goes
back as the page's text. Knows nothing about PDF (`jc1.documents.pdf`), about picture files (`jc1.vision.images`), or
how text in pictures is read (`jc1.vision.ocr`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from jc1.confined import Answer, Reader
from jc1.documents.confined import READER, read_confined
from jc1.documents.formats import format_of
from jc1.documents.parts import Part
from jc1.errors import DamagedDocument, RequestTooLarge

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from jc1.vision.ocr import Ocr

MAX_PAGES = 500
"""Most pages that are read as pictures: at two seconds each, a quarter of an hour of two cores."""
MAX_PIXELS = 50_000_000
"""Most pixels of a picture that is a document: a page of A3 at 600 dots an inch has 70 million, at 500 has 48."""
BATCH_BYTES = 2**26
"""Bytes of pixels after which the confined process answers; it is then asked for the next pages."""

_PICTURES = Reader(
    "jc1.documents.scans:answer",
    noun="document",
    advice="split it, or store its text",
    damaged=READER.damaged,
    errors=READER.errors,
)


def read_with_ocr(
    name: str, data: bytes, ocr: Ocr, *, max_bytes: int, progress: Callable[[int], None] = lambda pages: None
) -> list[Part]:
    """Return the parts of the document `data`, a file of that name, the text in its pictures among them.

    Args:
        ocr: What reads the pages that have no text of their own, and pictures.
        max_bytes: Most bytes of a picture that is a document.
        progress: Is told how many pages were read as pictures so far; what it raises ends the reading.

    Raises what `read_confined` does, `OcrUnavailable`, and of a picture `DamagedImage` or `UnsupportedImage`.
    """
    form = format_of(name, data)
    texts: dict[int, list[str]] = defaultdict(list)
    if form == "picture":
        from jc1.vision.images import read_picture
        from jc1.vision.ocr import MAX_SIDE

        picture = read_picture(data, max_bytes=max_bytes, max_pixels=MAX_PIXELS, max_side=MAX_SIDE, param="file")
        texts[1].append(ocr.read(picture.array()).text)
        progress(1)
    elif form == "pdf":
        for page, pixels in _scanned(data):
            if page not in texts:
                progress(len(texts))
                if len(texts) == MAX_PAGES:
                    raise RequestTooLarge(
                        f"The PDF has more than {MAX_PAGES} pages that are pictures: split it into several documents.",
                        param="file",
                    )
            texts[page].append(ocr.read(pixels).text)
        progress(len(texts))
    recognised = {page: "\n".join(filter(None, some)) for page, some in texts.items()}
    return read_confined(name, data, recognised=recognised)


def _scanned(data: bytes) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield the pictures on pages without text as RGB of shape (height, width, 3), each with its page's number."""
    import numpy as np

    first, skip = 1, 0
    while True:
        fields, pixels = _PICTURES(data, first=first, skip=skip)
        start = 0
        for page, height, width in _places(fields, len(pixels)):
            size = height * width * 3
            yield page, np.frombuffer(pixels, np.uint8, size, start).reshape(height, width, 3)
            start += size
        match fields.get("next"):
            case [int(page), int(number)] if (page, number) > (first, skip):
                first, skip = page, number
            case _:
                return


def _places(fields: dict[str, Any], size: int) -> list[tuple[int, int, int]]:
    """Return page, height and width of each picture that the process says it answered with.

    Raises `DamagedDocument` where that is not what came: the process may have been taken over.
    """
    places: list[tuple[int, int, int]] = []
    for place in fields.get("pictures") or ():
        match place:
            case [int(page), int(height), int(width)] if page > 0 and height > 0 and width > 0:
                places.append((page, height, width))
    if sum(height * width * 3 for _, height, width in places) != size:
        raise DamagedDocument("The pictures of the PDF cannot be read: repair it.", param="file")
    return places


def answer(data: bytes, first: int, skip: int) -> Answer:
    """Return pictures on pages without text from page `first` on, `skip` of that page left out, in the confined
    process: their pixels one after the other, and where to go on."""
    from jc1.documents.pdf import pictures
    from jc1.vision.ocr import MAX_SIDE

    places: list[tuple[int, int, int]] = []
    pixels: list[bytes] = []
    number: dict[int, int] = defaultdict(int)
    for page, picture in pictures(data, first):
        number[page] += 1
        if page == first and number[page] <= skip:
            continue
        if sum(map(len, pixels)) > BATCH_BYTES:
            return {"pictures": places, "next": (page, number[page] - 1)}, b"".join(pixels)
        picture.thumbnail((MAX_SIDE, MAX_SIDE), reducing_gap=3.0)
        places.append((page, picture.height, picture.width))
        pixels.append(picture.tobytes())
    return {"pictures": places}, b"".join(pixels)
