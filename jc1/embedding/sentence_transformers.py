"""Any model of the sentence-transformers library as an embedder, for those who want another than the default.

Knows that library. Knows nothing about OpenVINO or caches.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jc1.embedding.base import Vectors
from jc1.errors import EmbedderUnavailable

logger = logging.getLogger(__name__)


class SentenceTransformersEmbedder:
    """An `Embedder` over `SentenceTransformer(model)`, loaded at once, in the precision of its weights.

    Arguments:
        model: a folder, or the id of a model on the Hugging Face hub, which is downloaded the first time.
        device: as torch names it; `None` takes a GPU where there is one.

    Raises `EmbedderUnavailable` where the model cannot be loaded.
    """

    def __init__(self, model: str | Path, *, device: str | None = None) -> None:
        from sentence_transformers import SentenceTransformer

        try:
            self._model: Any = SentenceTransformer(
                str(model), device=device, local_files_only=Path(model).is_dir()
            ).eval()
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            logger.error("sentence-transformers cannot load %s: %s", model, error)
            raise EmbedderUnavailable(
                f"The embedding model {str(model)!r} cannot be loaded: set `embedder_model` to a folder of "
                "sentence-transformers, or to the id of such a model on the Hugging Face hub. The log says more."
            ) from error
        self.dimension: int = self._model.get_embedding_dimension()
        self.model = Path(model).name
        self.fingerprint = f"sentence-transformers/{self.model}/{_digest(self._model)}"
        # The tokenizer's padding is set anew by each call, so calls take turns.
        self._lock = threading.Lock()

    def load(self) -> None:
        """Do nothing: the model is loaded when the embedder is made."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.empty((0, self.dimension), np.float32)
        with self._lock:
            vectors = self._opened().encode(_clean(texts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, np.float32)  # (texts, dimension)

    def count(self, texts: Sequence[str]) -> int:
        if not texts:
            return 0
        with self._lock:
            read = self._opened().preprocess(_clean(texts))
        mask = read.get("attention_mask")  # with some kernels texts are not padded, and there is none
        return int(read["input_ids"].numel() if mask is None else mask.sum())

    def close(self) -> None:
        with self._lock:
            self._model = None

    def _opened(self) -> Any:
        if self._model is None:
            raise EmbedderUnavailable("The embedder is closed: open a new pipeline.")
        return self._model


def _clean(texts: Sequence[str]) -> list[str]:
    """Return the texts as a tokenizer takes them: a lone surrogate, which JSON can smuggle in, is not text to it."""
    return [text.encode("utf-8", "replace").decode("utf-8") for text in texts]


def _digest(model: Any) -> str:
    """Return 12 hexadecimal digits that change with the weights, their precision, the length limit and the pooling."""
    import torch

    digest = hashlib.sha256(f"{model} {model.max_seq_length}".encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]
