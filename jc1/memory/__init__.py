"""Long-term memory: records of an owner, found again by meaning and by words, each with a receipt.

Knows the list of vector stores: one joins by its file and its row in `VECTORS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from jc1.embedding.base import Embedder
    from jc1.memory.index.vectors import VectorStore
    from jc1.memory.store import DatabaseMemory
    from jc1.settings import Settings


def open_memory(settings: Settings, database: Engine, embedder: Embedder) -> DatabaseMemory:
    """Return the memory in `database`, its vectors where the settings say.

    Raises `InvalidSettings` and `VectorsUnavailable` where that is Chroma and cannot be used.
    """
    from jc1.memory.store import DatabaseMemory

    vectors = VECTORS[settings.vectors](settings, embedder)
    return DatabaseMemory(database, embedder, vectors=vectors, undo_days=settings.memory_undo_days)


def _faiss(settings: Settings, embedder: Embedder) -> VectorStore:
    from jc1.memory.index.vectors import FaissStore

    return FaissStore(embedder.dimension)


def _chroma(settings: Settings, embedder: Embedder) -> VectorStore:
    from jc1.memory.index.chroma import ChromaStore

    return ChromaStore(fingerprint=embedder.fingerprint, path=settings.home / "chroma", url=settings.chroma_url)


VECTORS: Mapping[str, Callable[[Settings, Embedder], VectorStore]] = {"faiss": _faiss, "chroma": _chroma}
"""By their words in settings."""
