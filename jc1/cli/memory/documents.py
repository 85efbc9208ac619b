"""`jc1 memory ingest`: files read and stored one after the other, with progress on standard error.

Knows files, titles and what is printed. Knows nothing about formats or storing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jc1.cli.memory.shared import opened_memory
from jc1.cli.options import Home, Json, Owner
from jc1.errors import InvalidRequest, RequestTooLarge

if TYPE_CHECKING:
    from jc1.documents.ingest import Ingested
    from jc1.workbench import Stores


def ingest(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Markdown, text or PDF; pictures with --ocr.")],
    title: Annotated[
        str | None, typer.Option(help="What the document is cited by.", show_default="the file's name")
    ] = None,
    ocr: Annotated[
        bool, typer.Option("--ocr", help="Read the text in pictures and in pages that are pictures.")
    ] = False,
    owner: Owner = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Remember documents, part by part; one of the same title takes the place of the version before."""
    with opened_memory(home, owner) as (stores, whose):
        if not ingest_files(stores, whose, files, title, ocr=ocr, as_json=as_json):
            raise typer.Exit(1)


def ingest_files(
    stores: Stores,
    owner: str,
    files: Sequence[Path],
    title: str | None = None,
    *,
    ocr: bool = False,
    as_json: bool = False,
) -> bool:
    """Store the files for `owner` and print what became of each; return whether all could be read.

    A file that cannot be is named on standard error, and the next one follows.

    Raises:
        InvalidRequest: Two files have one title.
        Jc1Error: What keeps any file from being stored.
    """
    from jc1.documents.ingest import title_of

    titles = [title or title_of(file.name) for file in files]
    if twice := next((name for name in titles if titles.count(name) > 1), None):
        raise InvalidRequest(f"Two files would have the title {twice!r}: store them one by one, each with its --title.")
    done: list[Ingested] = []
    for file, name in zip(files, titles, strict=True):
        try:
            done.append(_ingest(stores, owner, file, name, ocr=ocr))
        except InvalidRequest as error:
            print(f"jc1: {file}: {error.message} [{error.code}]", file=sys.stderr)
        else:
            if not as_json:
                print(_summary(done[-1]), flush=True)
    if as_json:
        print(json.dumps([asdict(one) for one in done], indent=2, ensure_ascii=False))
    return len(done) == len(files)


def _ingest(stores: Stores, owner: str, file: Path, title: str, *, ocr: bool) -> Ingested:
    """Read and store one file, with a bar where somebody watches."""
    from rich.console import Console
    from rich.progress import Progress

    from jc1.documents.confined import read_confined
    from jc1.documents.ingest import ingest
    from jc1.documents.scans import read_with_ocr

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=None)
        data = _read(file, stores.settings.max_document_bytes)
        if ocr:
            # How many pages are pictures shows only in the end.
            def read(pages: int) -> None:
                progress.update(task, description=f"{title}: {pages} pages read" if pages else title)

            limit = stores.settings.max_image_bytes
            parts = read_with_ocr(file.name, data, stores.ocr, max_bytes=limit, progress=read)
        else:
            parts = read_confined(file.name, data)
        progress.update(task, total=len(parts))
        return ingest(stores.memory, owner, title, parts, lambda stored: progress.update(task, completed=stored))


def _read(file: Path, most: int) -> bytes:
    """Return the bytes of a file, of which there may be `most`. Raises `InvalidRequest` or `RequestTooLarge`."""
    try:
        with file.open("rb") as opened:
            data = opened.read(most + 1)
    except OSError as error:
        raise InvalidRequest(f"It cannot be read ({error.strerror}): see that the file is there and yours.") from None
    if len(data) > most:
        raise RequestTooLarge(f"It has more than {most:,} bytes: split it, or raise max_document_bytes.")
    return data


def _summary(one: Ingested) -> str:
    parts = "1 part" if one.parts == 1 else f"{one.parts:,} parts"
    line = f"{one.title}: {parts}, {one.characters:,} characters"
    if not one.added:
        line += ", stored already"
    return line + (f", {one.removed:,} of an earlier version removed" if one.removed else "")
