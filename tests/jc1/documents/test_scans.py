"""Scanned pages: read where they have no text, in their order, with the text of the others; and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from jc1.documents import scans
from jc1.documents.parts import Part
from jc1.errors import DamagedImage, EmptyDocument, EncryptedDocument, InvalidRequest, RequestTooLarge
from jc1.vision.ocr import Ocr, RapidOcr
from jc1.vision.reading import Line, Reading
from tests.support import pdfs
from tests.support.pictures import encoded, of_text

LETTER = of_text("The walrus sleeps until noon.", "It eats clams at four.", size=(900, 400))
RECEIPT = of_text("Total: 17.45 EUR", size=(900, 300))


@pytest.fixture(scope="module")
def ocr() -> Ocr:
    return RapidOcr()


class Sizes:
    """An `Ocr` that reads of a picture how large it is: what is told apart here is which pictures are read."""

    model = "sizes"

    def load(self) -> None:
        pass

    def read(self, pixels: NDArray[np.uint8]) -> Reading:
        height, width = pixels.shape[:2]
        return Reading(width, height, ((Line(f"{width} x {height}", ((0, 0),) * 4, 1.0),),))

    def close(self) -> None:
        pass


def read(data: bytes, ocr: Ocr, name: str = "scan.pdf") -> list[Part]:
    return scans.read_with_ocr(name, data, ocr, max_bytes=20_000_000)


def test_pages_that_are_pictures_are_read_and_the_others_keep_their_text(ocr: Ocr) -> None:
    parts = read(pdfs.scanned(LETTER, "A page of text.", RECEIPT), ocr)
    assert parts == [
        Part("The walrus sleeps until noon.\nIt eats clams at four.", "page 1"),
        Part("A page of text.", "page 2"),
        Part("Total: 17.45 EUR", "page 3"),
    ]


def test_a_picture_is_a_document_of_one_part(ocr: Ocr) -> None:
    assert read(encoded(RECEIPT, "WEBP"), ocr, "receipt.webp") == [Part("Total: 17.45 EUR")]


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_page_that_is_shown_turned_is_read_upright(degrees: int) -> None:
    assert read(pdfs.scanned(RECEIPT, rotate=degrees), Sizes()) == [Part("900 x 300", "page 1")]


def test_pages_come_in_batches_and_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is asked anew after every few pages, in the middle of one that holds several pictures too."""
    asked: list[int] = []
    pages = [Image.new("RGB", (1900, 1900 + number), "white") for number in range(16)]
    confined = scans._PICTURES

    def counting(data: bytes, **arguments: int) -> scans.Answer:
        asked.append(arguments["first"])
        return confined(data, **arguments)

    monkeypatch.setattr(scans, "_PICTURES", counting)
    parts = read(pdfs.scanned(*pages), Sizes())
    assert [part.text for part in parts] == [f"1900 x {1900 + number}" for number in range(16)]
    assert len(asked) > 1
    assert asked == sorted(set(asked))


def test_a_large_page_is_handed_on_as_large_as_it_is_read() -> None:
    assert read(pdfs.scanned(Image.new("L", (4000, 3000), 255)), Sizes()) == [Part("2000 x 1500", "page 1")]


def test_reading_says_how_far_it_is_and_ends_where_that_raises() -> None:
    pages: list[int] = []

    class GaveUp(Exception):
        pass

    def progress(number: int) -> None:
        pages.append(number)
        if number == 2:
            raise GaveUp

    with pytest.raises(GaveUp):
        scans.read_with_ocr("a.pdf", pdfs.scanned(*[RECEIPT] * 4), Sizes(), max_bytes=20_000_000, progress=progress)
    assert pages == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [
        ("a.pdf", pdfs.written(""), EmptyDocument),
        ("a.pdf", pdfs.written("Hello.", password="secret"), EncryptedDocument),
        ("a.png", encoded(RECEIPT)[:500], DamagedImage),
        ("a.png", encoded(RECEIPT) + b"\0" * 20_000_000, RequestTooLarge),
        ("a.png", encoded(Image.new("1", (10_000, 10_000))), RequestTooLarge),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(name: str, data: bytes, error: type[InvalidRequest]) -> None:
    with pytest.raises(error) as raised:
        read(data, Sizes(), name)
    assert (type(raised.value), raised.value.param) == (error, "file")


def test_a_picture_without_text_is_nothing_to_remember(ocr: Ocr) -> None:
    with pytest.raises(EmptyDocument):
        read(encoded(Image.new("RGB", (200, 100), "white")), ocr, "a.png")
    with pytest.raises(EmptyDocument, match="none can be read"):
        read(pdfs.scanned(Image.new("RGB", (200, 100), "white")), ocr)


def test_more_pages_than_are_read_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scans, "MAX_PAGES", 2)
    with pytest.raises(RequestTooLarge, match="2 pages"):
        read(pdfs.scanned(RECEIPT, RECEIPT, RECEIPT), Sizes())


def test_an_answer_that_is_not_what_it_says_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scans, "_PICTURES", lambda *_, **__: ({"pictures": [[1, 100, 100]]}, b"short"))
    with pytest.raises(InvalidRequest, match="repair"):
        read(pdfs.scanned(RECEIPT), Sizes())
