"""PDF as blocks: one a page, with the page's number as its place.

Knows pypdf and what it raises. Pages that are pictures have no text here: nothing is recognised. What a file may cost
in time and memory is limited by `jc1/documents/confined.py`, which this runs in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO

from pypdf import PasswordType, PdfReader
from pypdf.errors import DependencyError, LimitReachedError, PyPdfError

from jc1.documents.parts import Block
from jc1.errors import DamagedDocument, EmptyDocument, EncryptedDocument, RequestTooLarge

MAX_PAGES = 5_000
"""Most pages of a PDF."""

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


def blocks(data: bytes) -> Iterator[Block]:
    """Yield the pages that have text, in order, as blocks.

    Raises `EncryptedDocument`, `DamagedDocument`, `RequestTooLarge`, and `EmptyDocument` where no page has text.
    """
    try:
        reader = PdfReader(BytesIO(data))
        # Many are encrypted with an empty password, only to forbid printing or copying.
        if reader.is_encrypted and reader.decrypt("") is PasswordType.NOT_DECRYPTED:
            raise EncryptedDocument(_LOCKED)
        pages = len(reader.pages)
    except DependencyError:  # AES, which pypdf leaves to a package that is not needed otherwise
        raise EncryptedDocument(_LOCKED) from None
    except LimitReachedError:
        raise _inflates() from None
    except _BROKEN:
        raise DamagedDocument("The PDF is damaged: repair it, with `qpdf IN.pdf OUT.pdf` for instance.") from None
    if pages > MAX_PAGES:
        raise RequestTooLarge(
            f"The PDF has {pages:,} pages and {MAX_PAGES:,} are read: split it into several documents."
        )
    empty = True
    for number in range(1, pages + 1):
        try:
            text = reader.pages[number - 1].extract_text()
        except LimitReachedError:
            raise _inflates() from None
        except _BROKEN:
            raise DamagedDocument(
                f"Page {number} of the PDF is damaged: repair it, with `qpdf IN.pdf OUT.pdf` for instance."
            ) from None
        if text.strip():
            empty = False
            yield Block(_LEADERS.sub("…", text.translate(_LIGATURES)), f"page {number}")
    if empty:
        raise EmptyDocument(
            "The PDF has no text, only pictures of it: recognise it first, with `ocrmypdf IN.pdf OUT.pdf` for instance."
        )


def _inflates() -> RequestTooLarge:
    return RequestTooLarge("The PDF takes too much memory once it is unpacked: split it, or store its text.")
