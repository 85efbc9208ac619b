"""Erasure in all of JC1: what was forgotten leaves the database, its files, caches and traces.

Knows every place in JC1 where a text may lie, in which order they are cleared, and when, and the places where JC1 does
not reach. Knows nothing about how a place is cleared.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from jc1.cache import vacuum
from jc1.cache.namespaces import HISTORY, owned
from jc1.errors import Jc1Error
from jc1.memory.base import Purged

if TYPE_CHECKING:
    from jc1.memory.base import Forgotten, Restored, Selection
    from jc1.settings import Settings
    from jc1.workbench import Stores

log = logging.getLogger(__name__)

DAY_SECONDS = 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class Purge:
    """Numbers of what was removed for good, and whether the files of database and cache are `clean` of it and of all
    that was removed before: while others keep the database busy they are not, and a PostgreSQL server's never are."""

    records: int = 0
    edits: int = 0
    turns: int = 0
    clean: bool = True


def forget(stores: Stores, owner: str, what: str | Selection) -> Forgotten:
    """Hide what is selected, for as long as the settings let it be restored. Raises as `DatabaseMemory.forget` does."""
    forgotten = stores.memory.forget(owner, what)
    _drop_derived(stores, owner)
    return forgotten


def restore(stores: Stores, owner: str, what: str | Selection) -> Restored:
    """Show again what is selected and not purged yet. Raises as `DatabaseMemory.restore` does."""
    restored = stores.memory.restore(owner, what)
    _drop_derived(stores, owner)
    return restored


def purge(stores: Stores, owner: str, what: str | Selection | None = None) -> Purge:
    """Remove for good, now, what an owner has forgotten of a selection, or in all. Raises as `DatabaseMemory.purge`."""
    purged = stores.memory.purge(owner, what)
    _drop_derived(stores, owner, purged.records)
    return _sum([purged], clean=_vacuum(stores))


def purge_overdue(stores: Stores) -> Purge:
    """Remove what can no longer be restored, and forget what is as old as the settings let it be, for every owner."""
    now = datetime.now(UTC)
    settings = stores.settings
    parts: list[Purged] = []
    for owner in stores.memory.owners():
        # 1) What is too old is forgotten
        expired = 0
        if settings.memory_retention_days:
            expired = stores.memory.expire(owner, now - timedelta(days=settings.memory_retention_days))
        # 2) What was forgotten long enough ago goes for good
        purged = stores.memory.purge(owner, before=now - timedelta(days=settings.memory_undo_days))
        # 3) So does what was derived from either
        if expired or purged != Purged():
            _drop_derived(stores, owner, purged.records)
        parts.append(purged)
    return _sum(parts, clean=_vacuum(stores))


@asynccontextmanager
async def purging_daily(stores: Stores) -> AsyncIterator[None]:
    """Purge what is overdue, now and once a day, while the body runs. Failures go to the log."""
    stop = asyncio.Event()
    task = asyncio.get_running_loop().create_task(_daily(stores, stop))
    try:
        yield
    finally:
        stop.set()
        await task


def remains(settings: Settings) -> tuple[str, ...]:
    """Return where purged texts may still be, because JC1 does not reach there: a sentence for each place."""
    places = [
        f"Backups and snapshots of {settings.home}, exports, and whatever was copied from a reply.",
        "Replies that told the same in words of their own: `jc1 memory list --contains WORD` finds them.",
        "MLflow and other stores of experiments, where runs logged prompts or replies: delete those runs there.",
        f"Sweeps begun with --owner: a folder of {settings.home / 'sweeps'} holds what was remembered then; delete it.",
        "Other running processes of JC1: their main memory, and the cache's file as they have it open, until they end.",
    ]
    if settings.base_url:
        places.append(f"The server behind {settings.shown()['base_url']}: its logs and caches are its own.")
    if settings.cache == "redis":
        places.append("Redis' snapshots, and for 30 days at most the vectors of texts, under a hash, in Redis itself.")
    if settings.vectors == "chroma":
        places.append("Chroma: vectors, without a text or a name, until the owner's next search.")
    if settings.database_url.startswith("postgres"):
        places.append("PostgreSQL's files, until VACUUM FULL is run there, its write-ahead log, archives and replicas.")
    return tuple(places)


def _drop_derived(stores: Stores, owner: str, purged: Collection[str] = ()) -> None:
    """Drop what was made of the owner's texts and is not in the database: the one place to name such a cache."""
    stores.telemetry.recent.drop(owner, purged)
    stores.replies.forget(owner)
    stores.replies.cache.clear(owned(HISTORY, owner))


def _vacuum(stores: Stores) -> bool:
    """Rewrite files that still hold purged text, and return whether no file of database or cache holds any."""
    return stores.memory.vacuum(lambda: vacuum(stores.replies.cache, stores.settings))


def _sum(parts: Collection[Purged], *, clean: bool) -> Purge:
    return Purge(
        records=sum(len(purged.records) for purged in parts),
        edits=sum(purged.edits for purged in parts),
        turns=sum(purged.turns for purged in parts),
        clean=clean,
    )


async def _daily(stores: Stores, stop: asyncio.Event) -> None:
    """Purge what is overdue every `DAY_SECONDS` until `stop` is set."""
    while True:
        try:
            purged = await asyncio.to_thread(purge_overdue, stores)
            if purged.records or purged.turns:
                log.info("purged %d records and %d turns", purged.records, purged.turns)
        except Jc1Error as error:
            log.warning("nothing was purged today: %s", error.message)
        except Exception:
            log.exception("nothing was purged today")
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), DAY_SECONDS)
            return
