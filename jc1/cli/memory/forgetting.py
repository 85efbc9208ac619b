"""`jc1 memory forget`, `restore` and `purge`: records and turns hidden, brought back and removed for good.

Knows how a selection is given, that a person is asked first, and what is told of what went. Knows nothing about how
anything is removed.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from jc1.cli.memory.shared import Document, Session, number, opened_memory, print_records
from jc1.cli.options import Home, Owner

if TYPE_CHECKING:
    from jc1.erasure import Purge
    from jc1.memory.base import ForgetImpact, Selection
    from jc1.workbench import Stores

SomeIds = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Ids of records, as `list` shows them.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]
Everything = Annotated[bool, typer.Option("--all", help="Everything of this owner.")]


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
    from jc1 import erasure

    what = _selection(ids, session, document, everything)
    with opened_memory(home, owner) as (stores, whose):
        if not yes:
            impact = stores.memory.preview(whose, what)
            if not purge and _is_nothing(impact):
                return
            _print_impact(impact)
            if not typer.confirm("Remove this for good?" if purge else "Forget this?"):
                print("Nothing was forgotten.")
                raise typer.Exit(1)
        forgotten = erasure.forget(stores, whose, what)
        if not purge and _is_nothing(forgotten.impact):
            return
        print(f"forgotten: {number(forgotten.impact.records, 'record')}, {number(forgotten.impact.turns, 'turn')}")
        if purge:
            _print_purge(stores, erasure.purge(stores, whose, what))
        else:
            print(f"`jc1 memory restore` brings it back until {forgotten.until:%Y-%m-%d %H:%M} (UTC).")


def restore(
    ids: SomeIds = None,
    session: Session = None,
    document: Document = None,
    everything: Everything = False,
    owner: Owner = None,
    home: Home = None,
) -> None:
    """Bring back what was forgotten and not purged yet; `list --forgotten` shows what that is."""
    from jc1 import erasure

    what = _selection(ids, session, document, everything)
    with opened_memory(home, owner) as (stores, whose):
        restored = erasure.restore(stores, whose, what)
        print(f"restored: {number(restored.records, 'record')}, {number(restored.turns, 'turn')}")


def purge(
    now: Annotated[bool, typer.Option("--now", help="All that this owner has forgotten, whenever that was.")] = False,
    yes: Yes = False,
    owner: Owner = None,
    home: Home = None,
) -> None:
    """Remove for good what can no longer be restored, of every owner; the server does that daily."""
    from jc1 import erasure

    with opened_memory(home, owner) as (stores, whose):
        if now and not yes and not typer.confirm(f"Remove all that {whose!r} has forgotten for good?"):
            print("Nothing was purged.")
            raise typer.Exit(1)
        purged = erasure.purge(stores, whose) if now else erasure.purge_overdue(stores)
        _print_purge(stores, purged)


def _is_nothing(impact: ForgetImpact) -> bool:
    """Return whether nothing is forgotten by it, and say so."""
    if impact.records or impact.turns:
        return False
    print("There was nothing to forget.")
    return True


def _selection(ids: list[str] | None, session: str | None, document: str | None, everything: bool) -> Selection:
    from jc1.memory.base import Selection

    return Selection(tuple(ids or ()), session, document, everything)


def _print_impact(impact: ForgetImpact) -> None:
    print_records(impact.first)
    if impact.records > len(impact.first):
        print(f"... and {impact.records - len(impact.first):,} more")
    print(
        f"{number(impact.records, 'record')} ({impact.cascaded} of them replies that repeat what was selected), "
        f"{number(impact.edits, 'earlier text')}, {number(impact.turns, 'session turn')}, message and reply"
    )
    if impact.duplicates_kept:
        print("These hold the same text or words and stay:")
        print_records(impact.duplicates_kept)


def _print_purge(stores: Stores, purged: Purge) -> None:
    from jc1 import erasure

    texts = number(purged.edits, "earlier text")
    print(f"purged: {number(purged.records, 'record')}, {texts}, {number(purged.turns, 'turn')}")
    if not purged.clean:
        print(
            "The database's files may still hold copies: `jc1 memory purge` clears SQLite's once nobody reads them.",
            file=sys.stderr,
        )
    print("JC1 does not reach:")
    for place in erasure.remains(stores.settings):
        print(f"- {place}")
