"""Embedders, which turn texts into vectors.

Knows the list of embedders: one joins by its file and its row in `EMBEDDERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jc1.cache.base import Cache
    from jc1.embedding.base import Embedder
    from jc1.settings import Settings


def create_embedder(settings: Settings, cache: Cache) -> Embedder:
    """Return the embedder that the settings name, behind the cache; the default one loads at first use.

    Raises `EmbedderUnavailable` where another one cannot be loaded.
    """
    from jc1.embedding.cached import CachedEmbedder

    return CachedEmbedder(EMBEDDERS[settings.embedder](settings), cache)


def _openvino(settings: Settings) -> Embedder:
    from jc1.embedding.openvino import OpenVinoEmbedder

    return OpenVinoEmbedder(threads=settings.embedder_threads or None)


def _sentence_transformers(settings: Settings) -> Embedder:
    from jc1.embedding.openvino import bundled_folder
    from jc1.embedding.sentence_transformers import SentenceTransformersEmbedder

    return SentenceTransformersEmbedder(settings.embedder_model or bundled_folder())


EMBEDDERS: Mapping[str, Callable[[Settings], Embedder]] = {
    "openvino": _openvino,
    "sentence-transformers": _sentence_transformers,
}
"""Factories by the word in the settings."""
