"""`jc1 memory export` and `import`: an owner's records as lines of JSON, to and from a file.

Knows files, the standard streams and a bar. Knows nothing about the lines.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Annotated

import typer

from jc1.cli.memory.shared import number, opened_memory
from jc1.cli.options import Home, Json, Owner, print_json


def export_(
    file: Annotated[Path, typer.Argument(help="Where to write; '-' is standard output.")],
    owner: Owner = None,
    home: Home = None,
) -> None:
    """Write all records, one a line, as JSON, with history and links; not what is forgotten."""
    with opened_memory(home, owner) as (stores, whose), closing(stores.memory.export_lines(whose)) as lines:
        if file == Path("-"):
            sys.stdout.writelines(lines)
            return
        try:
            # Nobody else's to read, as the database is.
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        except OSError as error:
            raise typer.BadParameter(f"{file} cannot be written: {error.strerror}.") from None
        written = 0
        with open(descriptor, "w", encoding="utf-8") as out:
            for line in lines:
                out.write(line)
                written += 1
        print(f"exported: {number(written, 'record')} to {file}")


def import_(
    file: Annotated[Path, typer.Argument(help="What `export` wrote; '-' is standard input.")],
    owner: Owner = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Take in exported records, or none where a line is wrong. Those that are there stay as they are.

    An import that was interrupted has stored a part: run it again to go on.
    """
    from dataclasses import asdict

    with opened_memory(home, owner) as (stores, whose), _readable(file) as source, _progress() as progress:
        outcome = stores.memory.import_lines(whose, source, progress=progress)
    if as_json:
        print_json(asdict(outcome))
        return
    print(
        f"imported: {number(outcome.added, 'record')}; {outcome.same} were there already, "
        f"{outcome.kept} are there with other content, which stays"
    )


@contextmanager
def _readable(file: Path) -> Iterator[IO[bytes]]:
    """Open a file that is read more than once; standard input, `-`, is copied aside for that."""
    import shutil
    from tempfile import TemporaryFile

    if file == Path("-"):
        with TemporaryFile() as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
            copy.seek(0)
            yield copy
        return
    try:
        opened = file.open("rb")
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}.") from None
    with opened:
        yield opened


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Show a bar on standard error while the body runs, if somebody looks on; yield what moves it: done, total."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task("importing", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
