"""PDF as blocks, one a page, with the page's number as its place; and the pictures on pages that have no text.

Knows pypdf and what it raises. Reads no text in pictures: `jc1/documents/scans.py` hands in what stands there. What a
file may cost in time and memory is limited by `jc1/documents/confined.py`, which this runs in.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import TYPE_CHECKING

from pypdf import PageObject, PasswordType, PdfReader
from pypdf.errors import DependencyError, LimitReachedError, PyPdfError

from jc1.documents.parts import Block
from jc1.errors import DamagedDocument, EmptyDocument, EncryptedDocument, RequestTooLarge

if TYPE_CHECKING:
    from PIL import Image

MAX_PAGES = 5_000
"""Most pages of a PDF."""
MAX_PICTURES = 20
"""Most pictures of a page that are read: a scanner makes one, or strips of a page."""
LEAST_SIDE = 16
"""Pixels of the shorter side from which a picture may hold text: rules and dots are smaller."""

# "Broken PDF files might cause other Exceptions", as pypdf's module of errors says.
_BROKEN = (
    PyPdfError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
# Typographers' ligatures, which nobody types when searching.
_LIGATURES = str.maketrans({"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"})
# The dots that lead from a heading to its page number, each of which would count as a token.
_LEADERS = re.compile(r"\.(?:[ \t]{0,3}\.){4,}")
_LOCKED = "The PDF is encrypted: take the password off, with `qpdf --decrypt --password=PASSWORD IN.pdf OUT.pdf`."


def blocks(data: bytes, recognised: Mapping[int, str] | None = None) -> Iterator[Block]:
    """Yield the pages that have text, in order, as blocks; `recognised` is what stands in pictures, by page from 1.

    Raises `EncryptedDocument`, `DamagedDocument`, `RequestTooLarge`, and `EmptyDocument` where no page has text.
    """
    empty = True
    for number, page in _pages(data):
        text = _text(number, page)
        if not text.strip():
            text = (recognised or {}).get(number, "")
        if text.strip():
            empty = False
            yield Block(_LEADERS.sub("…", text.translate(_LIGATURES)), f"page {number}")
    if empty and recognised is not None:
        raise EmptyDocument("The PDF has no text, and none can be read in its pictures: there is nothing to remember.")
    if empty:
        raise EmptyDocument("The PDF has no text, only pictures of it: have them read, with `ocr`.")


def pictures(data: bytes, first: int) -> Iterator[tuple[int, Image.Image]]:
    """Yield the pictures on pages without text, from page `first` on, each with its page's number, upright and in RGB.

    What is no picture that Pillow reads is passed over. Raises as `blocks` does.
    """
    for number, page in _pages(data, first):
        if not _text(number, page).strip():
            yield from ((number, picture) for picture in _pictures(page))


def _pages(data: bytes, first: int = 1) -> Iterator[tuple[int, PageObject]]:
    """Yield the pages with their numbers. Raises `EncryptedDocument`, `DamagedDocument` or `RequestTooLarge`."""
    try:
        reader = PdfReader(BytesIO(data))
        # Many are encrypted with an empty password, only to forbid printing or copying.
        if reader.is_encrypted and reader.decrypt("") is PasswordType.NOT_DECRYPTED:
            raise EncryptedDocument(_LOCKED)
        count = len(reader.pages)
    except DependencyError:  # AES, which pypdf leaves to a package that is not needed otherwise
        raise EncryptedDocument(_LOCKED) from None
    except LimitReachedError:
        raise _inflates() from None
    except _BROKEN:
        raise DamagedDocument("The PDF is damaged: repair it, with `qpdf IN.pdf OUT.pdf` for instance.") from None
    if count > MAX_PAGES:
        raise RequestTooLarge(
            f"The PDF has {count:,} pages and {MAX_PAGES:,} are read: split it into several documents."
        )
    for number in range(first, count + 1):
        try:
            page = reader.pages[number - 1]
        except LimitReachedError:
            raise _inflates() from None
        except _BROKEN:
            raise _damaged(number) from None
        yield number, page


def _text(number: int, page: PageObject) -> str:
    try:
        return page.extract_text()
    except LimitReachedError:
        raise _inflates() from None
    except _BROKEN:
        raise _damaged(number) from None


def _pictures(page: PageObject) -> Iterator[Image.Image]:
    """Yield a page's pictures as they lie on a page that is shown upright."""
    from PIL import Image

    # `images` finds each when it is asked for, and what is wrong with one says nothing of the next.
    unreadable = (*_BROKEN, OSError, NotImplementedError, struct.error, zlib.error, Image.DecompressionBombError)
    try:
        count, turned = min(len(page.images), MAX_PICTURES), -page.rotation
    except unreadable:
        return
    for index in range(count):
        try:
            picture = page.images[index].image
            if picture is None or min(picture.size) < LEAST_SIDE:
                continue
            upright = picture.convert("RGB").rotate(turned, expand=True)
        except unreadable:
            continue
        yield upright


def _damaged(number: int) -> DamagedDocument:
    return DamagedDocument(f"Page {number} of the PDF is damaged: repair it, with `qpdf IN.pdf OUT.pdf` for instance.")


def _inflates() -> RequestTooLarge:
    return RequestTooLarge("The PDF takes too much memory once it is unpacked: split it, or store its text.")
