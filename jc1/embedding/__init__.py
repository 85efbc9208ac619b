"""Embedders: what turns texts into vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jc1.cache.base import Cache
    from jc1.embedding.base import Embedder
    from jc1.settings import Settings


def create_embedder(settings: Settings, cache: Cache) -> Embedder:
    """The embedder that the settings name, in front of it the cache. The default one loads its model at first use."""
    from jc1.embedding.cached import CachedEmbedder

    return CachedEmbedder(_create(settings), cache)


def _create(settings: Settings) -> Embedder:
    from jc1.embedding.openvino import OpenVinoEmbedder, bundled_folder

    if settings.embedder == "openvino":
        return OpenVinoEmbedder(threads=settings.embedder_threads or None)
    from jc1.embedding.sentence_transformers import SentenceTransformersEmbedder

    return SentenceTransformersEmbedder(settings.embedder_model or bundled_folder())
