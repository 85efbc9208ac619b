"""The memory that a sweep reads: a copy made when it began, which nothing writes to afterwards.

Knows how the copy is made, kept and searched. Knows nothing about trials.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Container, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from jc1.access.keys import Keys
from jc1.cache import create_cache
from jc1.cache.null import NullCache
from jc1.database import open_database
from jc1.database.keys import KeyRepository
from jc1.database.presets import PresetRepository
from jc1.embedding import create_embedder
from jc1.embedding.cached import CachedEmbedder
from jc1.engines import create_engine
from jc1.memory import open_memory
from jc1.memory.base import Recall, Retrieval
from jc1.memory.store import MAX_ADDED, DatabaseMemory
from jc1.presets import Presets
from jc1.sessions import Sessions
from jc1.telemetry import Telemetry
from jc1.workbench import Workbench
from jc1_lab.records.items import Suite
from jc1_lab.records.store import SweepStore
from jc1_lab.records.trials import engine_key

if TYPE_CHECKING:
    from jc1.embedding.base import Embedder
    from jc1.settings import Settings

MEMORY = "memory.db"
"""The copy, in a sweep's folder. The document `memory` of its store is there once the copy is whole."""
NOBODY = "jc1-nobody"
"""The owner of items that have no memory: it has no records."""

Progress = Callable[[int, int], None]
"""Told how many records of how many are in the copy."""


class FrozenMemory:
    """Memory that never changes: it can be searched, and each search is made once, until `search_anew`."""

    def __init__(self, memory: DatabaseMemory) -> None:
        self._memory = memory
        self._results: dict[Any, Recall] | None = {}

    def search(
        self, owner: str, query: str, retrieval: Retrieval, *, already_read: tuple[str, Container[int]] | None = None
    ) -> Recall:
        """Search as `DatabaseMemory` does; no turn of a session is in the prompt while a sweep runs."""
        if self._results is None:
            return self._memory.search(owner, query, retrieval)
        if owner == NOBODY:  # no record answers, so the query need not be embedded
            return Recall((), {"embed": 0.0, "recall": 0.0})
        flags = (retrieval.stopwords, retrieval.questions)
        key = (owner, query, retrieval.k, retrieval.window, *flags, *sorted(retrieval.weights.items()))
        if key not in self._results:
            self._results[key] = self._memory.search(owner, query, retrieval)
        return self._results[key]

    def search_anew(self) -> None:
        """Make every search from now on, as serving does: how long it takes is measured."""
        self._results = None

    def close(self) -> None:
        """Do nothing: the snapshot closes the memory."""


class Snapshot:
    """The copy in a sweep's folder, and workbenches that read it.

    It holds the suite's memories and, where `owner` is given, what that owner's own memory held; items without memories
    of their own read that. A copy that is whole is used again.
    """

    def __init__(
        self,
        store: SweepStore,
        suite: Suite,
        settings: Settings,
        *,
        owner: str | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._owner = owner or NOBODY
        # Queries are embedded every time, as those of users are, who seldom ask the same again.
        self._embedder = create_embedder(settings, NullCache())
        folder, stored = store.folder, store.get("memory")
        if stored is None:
            for leftover in folder.glob(f"{MEMORY}*"):
                leftover.unlink()
        self._database = open_database(f"sqlite:///{folder / MEMORY}")
        # The vectors of a copy need no server: they are searched the same way.
        copy_settings = settings.model_copy(
            update={"home": folder, "database": "", "vectors": "faiss", "chroma_url": ""}
        )
        if stored is None:
            digest = self._fill(copy_settings, suite, settings, owner, progress)
            store.put("memory", stored := {"suite": suite.digest, "owner": owner, "digest": digest})
        self.digest: str = stored["digest"]
        """The SHA-256 of the owner's own records; empty without an owner."""
        self._memory = open_memory(copy_settings, self._database, self._embedder)
        self.memory = FrozenMemory(self._memory)

    def _fill(
        self, copy_settings: Settings, suite: Suite, settings: Settings, owner: str | None, progress: Progress | None
    ) -> str:
        """Put all records into the copy; return the digest of the owner's."""
        total = sum(map(len, suite.memories.values()))
        done = 0
        with closing(create_cache(settings)) as cache:
            embedder = CachedEmbedder(self._embedder, cache)
            with closing(open_memory(copy_settings, self._database, embedder)) as memory:
                for name, records in suite.memories.items():
                    for start in range(0, len(records), MAX_ADDED):
                        memory.add(name, records[start : start + MAX_ADDED])
                    done += len(records)
                    if progress:
                        progress(done, total)
                return "" if owner is None else _copy(owner, settings, embedder, memory, progress)

    def owner_of(self, item_owner: str | None) -> str:
        """Return the owner whose memory an item reads."""
        return item_owner or self._owner

    def workbench(self, settings: Settings) -> Workbench:
        """Return a workbench over the copy, without cached replies, not started; closing it leaves the copy open.

        It does not load the embedder when it starts: the first search does, which a sweep without memory never makes,
        and before a latency is measured some requests warm up.
        """
        return Workbench(
            settings.model_copy(update={"cache_replies": 0}),
            engine=create_engine(settings),
            memory=self.memory,
            sessions=Sessions(self._database),
            presets=Presets(PresetRepository(self._database)),
            keys=Keys(KeyRepository(self._database)),
            telemetry=Telemetry(keep=1),
        )

    def close(self) -> None:
        self._memory.close()
        self._database.dispose()
        self._embedder.close()


def _copy(owner: str, settings: Settings, embedder: Embedder, memory: DatabaseMemory, progress: Progress | None) -> str:
    """Put what the owner's own memory holds into `memory`; return the digest of it."""
    digest = hashlib.sha256()
    database = open_database(settings.database_url)
    source = open_memory(settings, database, embedder)
    try:
        with tempfile.TemporaryFile() as file:
            for line in source.export_lines(owner):
                file.write(line.encode())
                digest.update(line.encode())
            file.seek(0)
            memory.import_lines(owner, file, progress=progress)
    finally:
        source.close()
        database.dispose()
    return digest.hexdigest()


class Engines:
    """The one engine that runs at a time, over the sweep's snapshot of memory."""

    def __init__(self, snapshot: Snapshot, settings: Settings) -> None:
        self._snapshot = snapshot
        self._settings = settings
        self._workbench: Workbench | None = None
        self.key = ""
        self.starts = 0

    async def running(self, engine: Mapping[str, Any]) -> Workbench:
        """Return the workbench with these engine settings; another one is closed first."""
        key = engine_key(self._settings, engine)
        if self._workbench is None or key != self.key:
            await self.close()
            workbench = self._snapshot.workbench(self._settings.model_copy(update=dict(engine)))
            try:
                await workbench.start()
            except BaseException:
                await workbench.close()
                raise
            self._workbench, self.key = workbench, key
            self.starts += 1
        return self._workbench

    async def close(self) -> None:
        if self._workbench is not None:
            await self._workbench.close()
            self._workbench = None
