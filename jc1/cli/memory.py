"""`jc1 memory`: what is remembered, seen, changed, forgotten and carried elsewhere.

Knows how arguments become calls and how results are printed. The engine is not started: the database is enough.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from jc1.cli.options import Home, Json, Owner, open_stores, print_json, print_table

if TYPE_CHECKING:
    from jc1.erasure import Purge
    from jc1.memory.base import ForgetImpact, Receipt, Record, Selection
    from jc1.workbench import Stores

app = typer.Typer(help="See, change and forget what is remembered.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="The record's id, as `list` shows it.")]
Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of records, as `list` shows them.")]
SomeIds = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Ids of records, as `list` shows them.")]
Session = Annotated[str | None, typer.Option(help="What was said in this session.")]
Document = Annotated[str | None, typer.Option(help="The parts of this document.")]
Everything = Annotated[bool, typer.Option("--all", help="Everything of this owner.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]


@app.command("list")
def list_(
    owner: Owner = None,
    limit: Annotated[int, typer.Option(help="Most records to show.")] = 20,
    cursor: Annotated[str | None, typer.Option(help="Where the page before this one ended.")] = None,
    session: Session = None,
    document: Document = None,
    kind: Annotated[str | None, typer.Option(help="statement, question or reply.")] = None,
    contains: Annotated[str | None, typer.Option(help="Those whose text has this in it.")] = None,
    pinned: Annotated[bool | None, typer.Option("--pinned/--not-pinned", help="Those that are, or are not.")] = None,
    excluded: Annotated[
        bool | None, typer.Option("--excluded/--not-excluded", help="Those that are, or are not.")
    ] = None,
    superseded: Annotated[
        bool | None, typer.Option("--superseded/--not-superseded", help="Those that are, or are not.")
    ] = None,
    forgotten: Annotated[bool, typer.Option("--forgotten", help="Those that can still be restored.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show what is remembered, newest first."""
    from typing import get_args

    from jc1.memory.base import Filter, Kind

    if kind is not None and kind not in get_args(Kind):
        raise typer.BadParameter(f"{kind!r} is none: use {', '.join(get_args(Kind))}.", param_hint="--kind")
    known: Any = kind
    only = Filter(
        session=session,
        document=document,
        kind=known,
        contains=contains,
        pinned=pinned,
        excluded=excluded,
        superseded=superseded,
        forgotten=forgotten,
    )
    with _memory(home, owner) as (stores, whose):
        page = stores.memory.list(whose, limit=limit, cursor=cursor, only=only)
        if as_json:
            print_json({"records": [_record(r) for r in page.records], "total": page.total, "next": page.next_cursor})
            return
        _print_records(page.records)
        more = f", more with --cursor {page.next_cursor}" if page.next_cursor else ""
        print(f"{len(page.records)} of {page.total} records{more}")


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    owner: Owner = None,
    k: Annotated[int, typer.Option(help="Most records to show.")] = 8,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Search as chat does, with the scores that chat would see."""
    from jc1.memory.base import Retrieval

    with _memory(home, owner) as (stores, whose):
        recall = stores.memory.search(whose, query, Retrieval(k=k))
        if as_json:
            print_json([_hit(receipt) for receipt in recall.receipts])
            return
        rows = [
            [str(r.rank), f"{r.score:.2f}", _score(r.dense_score), _score(r.lexical_score), r.quoted.text, r.record.id]
            for r in recall.receipts
        ]
        print_table(["#", "score", "dense", "lexical", "text", "id"], rows)


@app.command()
def show(record_id: Id, owner: Owner = None, home: Home = None, as_json: Json = False) -> None:
    """Show one record: its text, source and state, and what it said before."""
    from dataclasses import asdict

    with _memory(home, owner) as (stores, whose):
        record = stores.memory.get(whose, record_id)
        history = stores.memory.history(whose, record_id)
    shown = _record(record)
    if as_json:
        print_json({**shown, "history": [asdict(edit) for edit in history]})
        return
    rows = [[name, str(value)] for name, value in shown.items() if value is not None]
    earlier = [[f"until {edit.replaced:%Y-%m-%d %H:%M}", edit.text] for edit in history]
    print_table(["field", "value"], [*rows, *earlier])


@app.command()
def ingest(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Markdown, plain text or PDF.")],
    title: Annotated[
        str | None, typer.Option(help="What the document is cited by.", show_default="the file's name")
    ] = None,
    owner: Owner = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Remember documents, part by part; one of the same title takes the place of the version before."""
    from jc1.cli.documents import ingest_files

    with _memory(home, owner) as (stores, whose):
        if not ingest_files(stores, whose, files, title, as_json=as_json):
            raise typer.Exit(1)


@app.command()
def add(
    text: Annotated[str, typer.Argument(help="What to remember.")],
    pin: Annotated[bool, typer.Option("--pin", help="Recall it for every question.")] = False,
    owner: Owner = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Remember a text."""
    from jc1.memory.base import NewRecord

    with _memory(home, owner) as (stores, whose):
        (record,) = stores.memory.add(whose, [NewRecord(text, pinned=pin)])
        if as_json:
            print_json(_record(record))
        else:
            print(record.id)


@app.command()
def edit(
    record_id: Id,
    text: Annotated[str, typer.Argument(help="What it says from now on.")],
    owner: Owner = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Change what a record says; `show` still tells what it said."""
    with _memory(home, owner) as (stores, whose):
        record = stores.memory.edit(whose, record_id, text)
        if as_json:
            print_json(_record(record))
        else:
            print(f"edited: {record.id}")


@app.command()
def pin(ids: Ids, owner: Owner = None, home: Home = None) -> None:
    """Recall records for every question."""
    _mark(home, owner, ids, "pinned", pinned=True)


@app.command()
def unpin(ids: Ids, owner: Owner = None, home: Home = None) -> None:
    """Recall records when they match, as others."""
    _mark(home, owner, ids, "unpinned", pinned=False)


@app.command()
def exclude(ids: Ids, owner: Owner = None, home: Home = None) -> None:
    """Recall records never, and keep them listed."""
    _mark(home, owner, ids, "excluded", excluded=True)


@app.command()
def include(ids: Ids, owner: Owner = None, home: Home = None) -> None:
    """Recall excluded records again."""
    _mark(home, owner, ids, "included", excluded=False)


@app.command()
def forget(
    ids: SomeIds = None,
    session: Session = None,
    document: Document = None,
    everything: Everything = False,
    purge: Annotated[bool, typer.Option("--purge", help="Remove it for good, now: it cannot be restored.")] = False,
    yes: Yes = False,
    owner: Owner = None,
    home: Home = None,
) -> None:
    """Forget records with the turns they were said in: hidden at once, removed some days later."""
    from jc1 import erasure as purging

    what = _selection(ids, session, document, everything)
    with _memory(home, owner) as (stores, whose):
        if not yes:
            _print_impact(stores.memory.preview(whose, what))
            if not typer.confirm("Remove this for good?" if purge else "Forget this?"):
                print("Nothing was forgotten.")
                raise typer.Exit(1)
        forgotten = purging.forget(stores, whose, what)
        print(f"forgotten: {_number(forgotten.impact.records, 'record')}, {_number(forgotten.impact.turns, 'turn')}")
        if purge:
            _print_purge(stores, purging.purge(stores, whose, what))
        else:
            print(f"`jc1 memory restore` brings it back until {forgotten.until:%Y-%m-%d %H:%M} (UTC).")


@app.command()
def restore(
    ids: SomeIds = None,
    session: Session = None,
    document: Document = None,
    everything: Everything = False,
    owner: Owner = None,
    home: Home = None,
) -> None:
    """Bring back what was forgotten and not purged yet; `list --forgotten` shows what that is."""
    from jc1 import erasure as purging

    what = _selection(ids, session, document, everything)
    with _memory(home, owner) as (stores, whose):
        restored = purging.restore(stores, whose, what)
        print(f"restored: {_number(restored.records, 'record')}, {_number(restored.turns, 'turn')}")


@app.command()
def purge(
    now: Annotated[bool, typer.Option("--now", help="All that this owner has forgotten, whenever that was.")] = False,
    yes: Yes = False,
    owner: Owner = None,
    home: Home = None,
) -> None:
    """Remove for good what can no longer be restored, of every owner; the server does that daily."""
    from jc1 import erasure as purging

    with _memory(home, owner) as (stores, whose):
        if now and not yes and not typer.confirm(f"Remove all that {whose!r} has forgotten for good?"):
            print("Nothing was purged.")
            raise typer.Exit(1)
        purged = purging.purge(stores, whose) if now else purging.purge_overdue(stores)
        _print_purge(stores, purged)


@app.command("export")
def export_(
    file: Annotated[Path, typer.Argument(help="Where to write; '-' is standard output.")],
    owner: Owner = None,
    home: Home = None,
) -> None:
    """Write all records, one a line, as JSON, with history and links; not what is forgotten."""
    with _memory(home, owner) as (stores, whose), closing(stores.memory.export_lines(whose)) as lines:
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
        print(f"exported: {_number(written, 'record')} to {file}")


@app.command("import")
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

    with _memory(home, owner) as (stores, whose), _readable(file) as source, _progress() as progress:
        outcome = stores.memory.import_lines(whose, source, progress=progress)
    if as_json:
        print_json(asdict(outcome))
        return
    print(
        f"imported: {_number(outcome.added, 'record')}; {outcome.same} were there already, "
        f"{outcome.kept} are there with other content, which stays"
    )


@app.command()
def stats(owner: Owner = None, home: Home = None, as_json: Json = False) -> None:
    """Count what is remembered."""
    from dataclasses import asdict

    with _memory(home, owner) as (stores, whose):
        figures = asdict(stores.memory.statistics(whose))
    if as_json:
        print_json(figures)
        return
    rows = []
    for name, value in figures.items():
        if isinstance(value, dict):
            rows += [[f"{name}: {key}", f"{number:,}"] for key, number in value.items()]
        else:
            rows.append([name, f"{value:,}" if isinstance(value, int) else f"{value or ''}"])
    print_table(["what", "how many"], rows)


@contextmanager
def _memory(home: Path | None, owner: str | None) -> Iterator[tuple[Stores, str]]:
    """Open the stores for the body; yield them, and whose memory is meant."""
    with open_stores(home) as stores:
        yield stores, owner or stores.settings.owner


def _mark(home: Path | None, owner: str | None, ids: list[str], done: str, **flags: bool) -> None:
    with _memory(home, owner) as (stores, whose):
        for record_id in ids:
            print(f"{done}: {stores.memory.mark(whose, record_id, **flags).id}")


def _selection(ids: list[str] | None, session: str | None, document: str | None, everything: bool) -> Selection:
    from jc1.memory.base import Selection

    return Selection(tuple(ids or ()), session, document, everything)


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


def _record(record: Record) -> dict[str, Any]:
    from dataclasses import asdict

    return {name: value for name, value in asdict(record).items() if name != "owner"}


def _hit(receipt: Receipt) -> dict[str, Any]:
    scores = {"rank": receipt.rank, "score": receipt.score}
    return {**scores, "dense": receipt.dense_score, "lexical": receipt.lexical_score, **_record(receipt.record)}


def _state(record: Record) -> str:
    marks = {
        "superseded": record.superseded_by is not None,
        "pinned": record.pinned,
        "excluded": record.excluded,
        "edited": record.edited is not None,
        "outdated": record.outdated,
    }
    return ", ".join(name for name, holds in marks.items() if holds)


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _print_records(records: tuple[Record, ...]) -> None:
    rows = [[r.id, r.created.strftime("%Y-%m-%d %H:%M"), r.kind, r.text, _state(r)] for r in records]
    print_table(["id", "when (UTC)", "kind", "text", ""], rows)


def _print_impact(impact: ForgetImpact) -> None:
    _print_records(impact.first)
    if impact.records > len(impact.first):
        print(f"... and {impact.records - len(impact.first):,} more")
    print(
        f"{_number(impact.records, 'record')} ({impact.cascaded} of them replies that repeat what was selected), "
        f"{_number(impact.edits, 'earlier text')}, {_number(impact.turns, 'session turn')}, message and reply"
    )
    if impact.duplicates_kept:
        print("These hold the same text or words and stay:")
        _print_records(impact.duplicates_kept)


def _print_purge(stores: Stores, purged: Purge) -> None:
    from jc1 import erasure as purging

    texts = _number(purged.edits, "earlier text")
    print(f"purged: {_number(purged.records, 'record')}, {texts}, {_number(purged.turns, 'turn')}")
    if not purged.clean:
        print(
            "The database's files may still hold copies: `jc1 memory purge` clears SQLite's once nobody reads them.",
            file=sys.stderr,
        )
    print("JC1 does not reach:")
    for place in purging.remains(stores.settings):
        print(f"- {place}")
