"""`jc1 memory ingest` as a person or a script meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import pdfs
from tests.support.cli import Run, ok
from tests.support.pictures import encoded, of_text


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a document of each format."""
    (tmp_path / "handbook.md").write_text("# Setup\n\nRun make.\n\n# Use\n\nFeed the walrus.\n")
    (tmp_path / "walrus.pdf").write_bytes(pdfs.written("A walrus eats clams.", "A walrus weighs a ton."))
    (tmp_path / "notes.txt").write_bytes("Zürich ist schön.".encode("latin-1"))
    return tmp_path


def test_documents_are_stored_and_found(jc1: Run, files: Path) -> None:
    shown = ok(jc1("memory", "ingest", "handbook.md", "walrus.pdf", "notes.txt"))
    assert shown.splitlines() == [
        "handbook.md: 2 parts, 41 characters",
        "walrus.pdf: 2 parts, 42 characters",
        "notes.txt: 1 part, 17 characters",
    ]
    hits = json.loads(ok(jc1("memory", "search", "How much does a walrus weigh?", "--k", "1", "--json")))
    assert hits[0]["text"] == "A walrus weighs a ton."
    assert "Feed the walrus." in ok(jc1("memory", "list"))


def test_a_changed_document_says_what_went(jc1: Run, files: Path) -> None:
    ok(jc1("memory", "ingest", "handbook.md", "--title", "Handbook", "--owner", "ann"))
    assert ok(jc1("memory", "ingest", "handbook.md", "--title", "Handbook", "--owner", "ann")).endswith(
        ", stored already\n"
    )
    (files / "handbook.md").write_text("# Setup\n\nRun make twice.\n")
    (done,) = json.loads(ok(jc1("memory", "ingest", "handbook.md", "--title", "Handbook", "--owner", "ann", "--json")))
    assert (done["title"], done["parts"], done["added"], done["removed"]) == ("Handbook", 1, 1, 2)
    assert json.loads(ok(jc1("memory", "list", "--json")))["total"] == 0, "another owner has nothing of it"


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_stored(jc1: Run, files: Path) -> None:
    (files / "scan.pdf").write_bytes(pdfs.written(""))
    done = jc1("memory", "ingest", "scan.pdf", "nowhere.md", "notes.txt", JC1_MAX_DOCUMENT_BYTES="2000")
    assert done.returncode == 1
    assert done.stdout == "notes.txt: 1 part, 17 characters\n"
    first, second = done.stderr.splitlines()
    assert first.startswith("jc1: scan.pdf: The PDF has no text")
    assert first.endswith("[empty_document]")
    assert second.startswith("jc1: nowhere.md: It cannot be read (No such file or directory)")
    (files / "long.txt").write_text("walrus " * 300)
    refused = jc1("memory", "ingest", "long.txt", JC1_MAX_DOCUMENT_BYTES="2000")
    assert refused.stderr.endswith("[request_too_large]\n")


def test_scanned_pages_and_pictures_are_read_where_that_is_asked_for(jc1: Run, files: Path) -> None:
    page = of_text("The walrus sleeps until noon.", size=(1240, 400))
    (files / "scan.pdf").write_bytes(pdfs.scanned(page))
    (files / "page.png").write_bytes(encoded(of_text("Total: 17.45 EUR")))
    refused = jc1("memory", "ingest", "page.png")
    assert (refused.returncode, refused.stderr.endswith("[unsupported_document]\n")) == (1, True)
    shown = ok(jc1("memory", "ingest", "scan.pdf", "page.png", "--ocr"))
    assert shown.splitlines() == ["scan.pdf: 1 part, 29 characters", "page.png: 1 part, 16 characters"]
    hits = json.loads(ok(jc1("memory", "search", "When does the walrus sleep?", "--k", "1", "--json")))
    assert (hits[0]["text"], hits[0]["place"]) == ("The walrus sleeps until noon.", "page 1")


@pytest.mark.parametrize("names", [("a/notes.txt", "notes.txt"), ("handbook.md", "notes.txt", "--title", "One")])
def test_two_files_of_one_title_are_refused_before_either_is_stored(
    jc1: Run, files: Path, names: tuple[str, ...]
) -> None:
    (files / "a").mkdir()
    (files / "a" / "notes.txt").write_text("Other notes.")
    refused = jc1("memory", "ingest", *names)
    assert refused.returncode == 1
    assert refused.stderr.endswith("[invalid_request]\n")
    assert json.loads(ok(jc1("memory", "list", "--json")))["total"] == 0
