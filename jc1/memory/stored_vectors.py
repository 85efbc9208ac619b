"""Vectors as they are stored: numbers of 16 bits, those of a text's passages one after the other.

Knows how they are rounded and read back. Knows nothing about the database or the model that embeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jc1.embedding.base import Embedder, Vectors

EMBEDDED_AT_ONCE = 256
"""Texts that are handed to the embedder in one call."""
_NUMBER = np.dtype("<f2")


def size_of(dimension: int) -> int:
    """Return the bytes that one vector takes."""
    return dimension * _NUMBER.itemsize


def encode(embedder: Embedder, texts: Sequence[Sequence[str]]) -> list[bytes]:
    """Embed texts, each given as its passages; return the vectors of each as they are stored."""
    every = list(chain.from_iterable(texts))
    vectors: list[bytes] = []
    for start in range(0, len(every), EMBEDDED_AT_ONCE):
        part = embedder.embed(every[start : start + EMBEDDED_AT_ONCE])  # (passages, dimension)
        vectors.extend(vector.tobytes() for vector in part.astype(_NUMBER))
    rest = iter(vectors)
    return [b"".join(islice(rest, len(text))) for text in texts]


def decode(blobs: Iterable[bytes], dimension: int) -> Vectors:
    """Return stored vectors, shape (vectors, dimension), of length one again after their rounding to 16 bits."""
    stored = np.frombuffer(b"".join(blobs), _NUMBER).reshape(-1, dimension)
    vectors: Vectors = stored.astype(np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    np.divide(vectors, lengths, out=vectors, where=lengths > 0)
    return vectors
