"""Embeddings that are computed once: an embedder behind a cache.

Knows how an embedding is found by its text. Knows nothing about models, or where the cache keeps its bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from jc1.cache.base import Cache
from jc1.cache.namespaces import EMBEDDING
from jc1.embedding.base import Embedder, Vectors

_STORED = np.dtype("<f4")


class CachedEmbedder:
    """An `Embedder` that asks another one only for texts that the cache does not know, each of them once.

    An embedding is kept as raw float32 under the SHA-256 of the embedder's fingerprint and the text. There is no second
    cache in the process: a lookup takes 10 microseconds with LMDB and 70 with Redis beside it (docs/cache.md).
    """

    def __init__(self, embedder: Embedder, cache: Cache) -> None:
        self.embedder = embedder
        self.model = embedder.model
        self.fingerprint = embedder.fingerprint
        self.dimension = embedder.dimension
        self._cache = cache
        self._hash = hashlib.sha256(self.fingerprint.encode() + b"\0")

    def load(self) -> None:
        self.embedder.load()

    def embed(self, texts: Sequence[str]) -> Vectors:
        # 1) Those that the cache knows; a length that is not the dimension's is of a damaged value
        keys = [self._key(text) for text in texts]
        texts_by_key = dict(zip(keys, texts, strict=True))
        distinct = list(texts_by_key)
        vectors: dict[bytes, Vectors] = {}
        for key, stored in zip(distinct, self._cache.get_many(EMBEDDING, distinct), strict=True):
            if stored is not None and len(stored) == self.dimension * _STORED.itemsize:
                vectors[key] = np.frombuffer(stored, _STORED)
        # 2) The others, embedded and kept
        missing = [key for key in distinct if key not in vectors]
        if missing:
            computed = self.embedder.embed([texts_by_key[key] for key in missing])
            vectors.update(zip(missing, computed, strict=True))
            self._cache.put_many(
                EMBEDDING,
                {key: vector.astype(_STORED).tobytes() for key, vector in zip(missing, computed, strict=True)},
            )
        # 3) All, in the order of the texts
        if not keys:
            return np.empty((0, self.dimension), np.float32)
        return np.stack([vectors[key] for key in keys]).astype(np.float32, copy=False)  # (texts, dimension)

    def count(self, texts: Sequence[str]) -> int:
        return self.embedder.count(texts)

    def close(self) -> None:
        """Close the embedder. The cache belongs to whoever made it."""
        self.embedder.close()

    def _key(self, text: str) -> bytes:
        digest = self._hash.copy()
        digest.update(text.encode("utf-8", "surrogatepass"))
        return digest.digest()
