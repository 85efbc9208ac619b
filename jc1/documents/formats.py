"""From bytes to parts: a document's format, the encoding of its text, and the reader for it.

Knows names, first bytes and encodings. Runs where it is called, without limits on time and memory: a document of
unknown origin is read by `jc1/documents/confined.py`.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Literal

from jc1.documents.parts import Block, Part, parts
from jc1.errors import DamagedDocument, EmptyDocument, RequestTooLarge, UnsupportedDocument

Format = Literal["markdown", "pdf", "picture", "text"]

MAX_TEXT = 5_000_000
"""Most characters of a document: some 5,000 parts."""
MARKDOWN = (".md", ".markdown", ".mdown", ".mkd")
"""Endings of the names of Markdown files."""
FOREIGN = 0.25
"""Share of bytes above 127 from which a text that is not UTF-8 is not taken for a Western one."""

_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins as that of UTF-16 does
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_BINARY = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def format_of(name: str, data: bytes) -> Format:
    """Return the format of a document: PDF and pictures by their first bytes, Markdown by its name's ending, else plain
    text.

    Raises `DamagedDocument` for a file that only its name calls a PDF.
    """
    if b"%PDF-" in data[:1024]:
        return "pdf"
    if data.startswith(_PICTURES) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP"):
        return "picture"
    ending = PurePosixPath(name).suffix.lower()
    if ending == ".pdf" and data:
        raise DamagedDocument("The file is named as a PDF and does not begin as one: see that it is complete.")
    return "markdown" if ending in MARKDOWN else "text"


def read(form: Format, data: bytes, recognised: Mapping[int, str] | None = None) -> list[Part]:
    """Return the parts of a document; `recognised` is the text that stands in pictures, by page from 1.

    Raises `UnsupportedDocument`, `EmptyDocument`, `EncryptedDocument`, `DamagedDocument` or `RequestTooLarge`.
    """
    pieces = parts(_limited(_blocks(form, data, recognised)))
    if not pieces:
        raise EmptyDocument("The document holds no text: there is nothing to remember.")
    return pieces


def decode(data: bytes) -> str:
    """Return the text of a file, its lines ended by line feeds: UTF-8, what a byte order mark says, or Windows-1252.

    Windows-1252, of which Latin-1 is a part, is a guess: it is made for bytes that could be a Western text in it.

    Raises `UnsupportedDocument`.
    """
    # 1) A byte order mark
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            try:
                return _lines(data.removeprefix(mark).decode(encoding))
            except UnicodeDecodeError:
                raise _no_text() from None
    # 2) UTF-8, which other encodings hardly ever are by chance
    if b"\0" in data:
        raise _no_text()
    try:
        return _lines(data.decode("utf-8"))
    except UnicodeDecodeError:
        pass
    # 3) Windows-1252
    if _BINARY.search(data):
        raise _no_text()
    # Bytes above 127: most of a text in another alphabet, few of a Western one.
    high = len(data) - len(data.translate(None, bytes(range(128, 256))))
    try:
        if high < FOREIGN * len(data):
            return _lines(data.decode("cp1252"))
    except UnicodeDecodeError:
        pass
    raise UnsupportedDocument(
        "The encoding of the text is not known: convert it, with `iconv -f ENCODING -t UTF-8 IN > OUT` for instance."
    )


def _blocks(form: Format, data: bytes, recognised: Mapping[int, str] | None) -> Iterable[Block]:
    if form == "picture":
        if recognised is None:
            raise UnsupportedDocument("The document is a picture: have the text in it read, with `ocr`.")
        return (Block(text) for text in recognised.values())
    if form == "pdf":
        from jc1.documents import pdf

        return pdf.blocks(data, recognised)
    text = decode(data)
    if form == "text":
        return (Block(paragraph) for paragraph in re.split(r"\n(?:[ \t]*\n)+", text))
    from jc1.documents import markdown

    return markdown.blocks(text)


def _limited(blocks: Iterable[Block]) -> Iterator[Block]:
    """Yield the blocks. Raises `RequestTooLarge` where they have more characters than a document may."""
    characters = 0
    for block in blocks:
        characters += len(block.text)
        if characters > MAX_TEXT:
            raise RequestTooLarge(
                f"The document has more than {MAX_TEXT:,} characters: split it into several documents."
            )
        yield block


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _no_text() -> UnsupportedDocument:
    return UnsupportedDocument(
        "The document is neither text nor PDF: convert it first, with `pandoc IN -o OUT.md` for instance."
    )
