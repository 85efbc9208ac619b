"""Long-term memory: records of an owner, found again by meaning and by words, each with a receipt."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from jc1.embedding.base import Embedder
    from jc1.memory.store import LocalMemory
    from jc1.settings import Settings


def open_memory(settings: Settings, database: Engine, embedder: Embedder) -> LocalMemory:
    """The memory in `database`, its vectors where the settings say.

    Raises `InvalidSettings` and `VectorsUnavailable` where that is Chroma and cannot be used.
    """
    from jc1.memory.store import LocalMemory

    if settings.vectors == "faiss":
        return LocalMemory(database, embedder, undo_days=settings.memory_undo_days)
    from jc1.memory.index.chroma import ChromaStore

    store = ChromaStore(fingerprint=embedder.fingerprint, path=settings.home / "chroma", url=settings.chroma_url)
    return LocalMemory(database, embedder, vectors=store, undo_days=settings.memory_undo_days)
