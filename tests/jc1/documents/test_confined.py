"""Reading in a process of its own: the same parts, the same errors, and an end to what takes too much."""

from __future__ import annotations

import pytest

from jc1.documents.confined import read_confined
from jc1.documents.formats import read
from jc1.errors import DamagedDocument, EmptyDocument, EncryptedDocument, InvalidRequest, RequestTooLarge
from jc1.errors import UnsupportedDocument as Unsupported
from tests.support import pdfs


def test_it_gives_what_reading_gives() -> None:
    text = "# Zürich 日本\n\nThe walrus sleeps.\n" * 50
    assert read_confined("notes.md", text.encode()) == read("markdown", text.encode())
    assert [part.place for part in read_confined("a.pdf", pdfs.written("Hello.", "There."))] == ["page 1", "page 2"]


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [
        ("a.txt", b"", EmptyDocument),
        ("a.docx", b"PK\x03\x04\x14\x00", Unsupported),
        ("a.pdf", b"%PDF-1.7 rubbish", DamagedDocument),
        ("a.pdf", pdfs.written("Hello.", password="secret"), EncryptedDocument),
        ("a.txt", b"x" * 5_000_001, RequestTooLarge),
    ],
)
def test_it_raises_what_reading_raises(name: str, data: bytes, error: type[InvalidRequest]) -> None:
    with pytest.raises(error) as raised:
        read_confined(name, data)
    assert (type(raised.value), raised.value.param) == (error, "file")


def test_a_document_that_takes_too_much_memory_ends_its_reader_alone() -> None:
    bomb = pdfs.written("(" + "a" * 70_000_000, compress=True)
    with pytest.raises(RequestTooLarge, match="memory"):
        read_confined("a.pdf", bomb, memory_bytes=250_000_000)


def test_a_document_that_takes_too_long_ends_its_reader_alone() -> None:
    with pytest.raises(RequestTooLarge, match="longer"):
        read_confined("a.md", b"1. a\n" * 900_000, seconds=0.01)
