"""The interface of all embedders. Knows nothing about models, runtimes or caches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""Of shape (dimension,) for one, (number, dimension) for several."""


class Embedder(Protocol):
    """Turns texts into vectors of length one. Blocks; may be called from any thread."""

    model: str
    """The name under which the model is served."""

    fingerprint: str
    """Name of model, precision and pooling. Vectors with different fingerprints must not meet in one index."""

    dimension: int

    def load(self) -> None:
        """Load the model now, if that has not been done; else the first `embed` does. Raises `EmbedderUnavailable`."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return a float32 unit vector for each text, shape (len(texts), dimension). Raises `EmbedderUnavailable`."""

    def count(self, texts: Sequence[str]) -> int:
        """Return how many tokens `embed` reads of the texts, special ones included. Raises `EmbedderUnavailable`."""

    def close(self) -> None:
        """Free the model's memory. The embedder cannot be used again."""
