"""Formats: Markdown with its headings, texts in their encodings, PDF by its pages, and what is refused."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from jc1.documents.formats import MAX_TEXT, decode, format_of, read
from jc1.errors import (
    DamagedDocument,
    EmptyDocument,
    EncryptedDocument,
    RequestTooLarge,
    UnsupportedDocument,
)
from tests.support import pdfs

HANDBOOK = """\
---
author: Ann
title: Handbook
---
Read me first.

# Setup

## Linux, `apt` and **more**

Install it:

```sh
# not a heading
apt install walrus

# nor this
```

Windows
-------

| key | value |
|---|---|
| port | 8000 |

### With [help](https://example.org)

1. Ask.
   # not a heading of the document
2. Wait.

[help]: https://example.org

# Use

Feed the walrus.
"""


def places(form: str, text: str) -> dict[str | None, str]:
    found = read(format_of(form, b""), text.encode())
    return {part.place: part.text for part in found}


def test_markdown_knows_its_headings_as_a_path() -> None:
    found = places("a.md", HANDBOOK)
    assert list(found) == [
        None,
        "Setup > Linux, apt and more",
        "Setup > Windows",
        "Setup > Windows > With help",
        "Use",
    ]
    assert found["Setup > Linux, apt and more"].startswith("# Setup\n\n## Linux")


def test_code_and_tables_and_lists_keep_their_lines() -> None:
    found = places("a.md", HANDBOOK)
    assert "```sh\n# not a heading\napt install walrus\n\n# nor this\n```" in found["Setup > Linux, apt and more"]
    assert "| key | value |\n|---|---|\n| port | 8000 |" in found["Setup > Windows"]
    assert "1. Ask.\n   # not a heading of the document\n2. Wait." in found["Setup > Windows > With help"]


def test_front_matter_is_text_and_no_heading() -> None:
    assert places("a.md", HANDBOOK)[None] == "---\nauthor: Ann\ntitle: Handbook\n---\n\nRead me first."
    assert places("a.md", "---\nauthor: Ann\n---") == {None: "---\nauthor: Ann\n---"}
    assert list(places("a.md", "---\n\nA rule, then text\n---\n\nMore.")) == ["A rule, then text"]


def test_a_definition_of_a_link_is_kept() -> None:
    assert "[help]: https://example.org" in places("a.md", HANDBOOK)["Setup > Windows > With help"]


def test_a_long_path_of_headings_keeps_every_level() -> None:
    text = "".join(f"{'#' * level} {'Heading ' * 20}{level}\n\n" for level in range(1, 7)) + "Text."
    ((place, _),) = places("a.md", text).items()
    assert place is not None
    assert place.count(" > ") == 5
    assert len(place) <= 400


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
def test_every_end_of_line_gives_the_same_parts(end: str) -> None:
    assert read("markdown", HANDBOOK.replace("\n", end).encode()) == read("markdown", HANDBOOK.encode())


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("Zürich €".encode(), "Zürich €"),
        (codecs.BOM_UTF8 + "Zürich".encode(), "Zürich"),
        (codecs.BOM_UTF16_LE + "Zürich 日本".encode("utf-16-le"), "Zürich 日本"),
        (codecs.BOM_UTF16_BE + "Zürich 日本".encode("utf-16-be"), "Zürich 日本"),
        (codecs.BOM_UTF32_LE + "Zürich".encode("utf-32-le"), "Zürich"),
        ("Das Wetter in Zürich ist schön.".encode("latin-1"), "Das Wetter in Zürich ist schön."),
        ("It costs 3 € – “really”.".encode("cp1252"), "It costs 3 € – “really”."),
        (b"a\tb\x0cc\x1b[0m", "a\tb\x0cc\x1b[0m"),
    ],
)
def test_the_encoding_of_a_text_is_found(data: bytes, text: str) -> None:
    assert decode(data) == text


@pytest.mark.parametrize(
    "data",
    [
        "海象在冰上睡觉".encode("gb18030"),
        "Морж спит на льду".encode("koi8-r"),
        "Zürich".encode("utf-16-le"),
        codecs.BOM_UTF16_LE + b"a",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"PK\x03\x04\x14\x00\x06\x00",
        b"caf\xe9 \x01",
        b"caf\xe9 and \x81 which Windows-1252 has not",
    ],
)
def test_what_is_no_text_or_of_unknown_encoding_is_refused_with_the_next_step(data: bytes) -> None:
    with pytest.raises(UnsupportedDocument, match="convert it") as refused:
        read("text", data)
    assert (refused.value.code, refused.value.status) == ("unsupported_document", 415)


@pytest.mark.parametrize(
    ("name", "data", "form"),
    [
        ("README.MD", b"# Hi", "markdown"),
        ("notes.markdown", b"# Hi", "markdown"),
        ("notes.txt", b"# Hi", "text"),
        ("LICENSE", b"# Hi", "text"),
        ("scan.bin", b"\n%PDF-1.7", "pdf"),
        ("empty.pdf", b"", "text"),
    ],
)
def test_the_format_is_known_by_first_bytes_then_by_name(name: str, data: bytes, form: str) -> None:
    assert format_of(name, data) == form


def test_a_pdf_that_does_not_begin_as_one_is_damaged() -> None:
    with pytest.raises(DamagedDocument):
        format_of("report.pdf", b"<html>")


@pytest.mark.parametrize("data", [b"", b" \n\t\r\n", codecs.BOM_UTF8])
def test_a_document_without_text_is_refused(data: bytes) -> None:
    for form in ("text", "markdown"):
        with pytest.raises(EmptyDocument, match="no text"):
            read(form, data)  # type: ignore[arg-type]


def test_a_document_of_too_many_characters_is_refused() -> None:
    with pytest.raises(RequestTooLarge, match="split it"):
        read("text", b"x" * (MAX_TEXT + 1))


def test_a_pdf_gives_its_pages() -> None:
    found = read("pdf", pdfs.written("The walrus sleeps.\nZürich (north) costs 3 €.", "", "It wakes up."))
    assert [(part.place, part.text) for part in found] == [
        ("page 1", "The walrus sleeps.\nZürich (north) costs 3 €."),
        ("page 3", "It wakes up."),
    ]


def test_ligatures_and_leaders_of_a_pdf_become_what_is_searched_for(tmp_path: Path) -> None:
    (part,) = read("pdf", pdfs.written("Walrus . . . . . . . . . . . . . . . . . 12\nSeal.......................13"))
    assert part.text == "Walrus … 12\nSeal…13"


def test_a_pdf_of_pictures_is_refused_with_the_next_step() -> None:
    with pytest.raises(EmptyDocument, match="`ocr`"):
        read("pdf", pdfs.written("", ""))


def test_a_pdf_with_a_password_is_refused_and_one_that_opens_without_is_read() -> None:
    with pytest.raises(EncryptedDocument, match="password"):
        read("pdf", pdfs.written("The walrus sleeps.", password="secret"))
    (part,) = read("pdf", pdfs.written("The walrus sleeps.", password=""))
    assert part.text == "The walrus sleeps."


def test_a_pdf_of_too_many_pages_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jc1.documents.pdf.MAX_PAGES", 2)
    with pytest.raises(RequestTooLarge, match="3 pages"):
        read("pdf", pdfs.written("a", "b", "c"))


def test_a_page_that_unpacks_to_more_than_the_limit_is_refused() -> None:
    bomb = pdfs.written("(" + "a" * 80_000_000, compress=True)
    assert len(bomb) < 200_000
    with pytest.raises(RequestTooLarge, match="unpacked"):
        read("pdf", bomb)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_a_pdf_that_was_cut_short_is_read_as_far_as_it_goes_or_refused(share: float) -> None:
    def pages(data: bytes) -> set[str]:
        try:
            return {part.text for part in read("pdf", data)}
        except (DamagedDocument, EmptyDocument):
            return set()

    whole = pdfs.written(*["The walrus sleeps on the ice."] * 20)
    assert pages(whole) == {"The walrus sleeps on the ice."}
    assert pages(whole[: int(len(whole) * share)]) <= pages(whole)


def test_a_pdf_of_rubbish_is_damaged() -> None:
    with pytest.raises(DamagedDocument, match="qpdf"):
        read("pdf", b"%PDF-1.7\n" + bytes(range(256)) * 20)
