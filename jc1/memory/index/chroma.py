"""Vectors in Chroma, embedded or as a server that replicas share.

Knows Chroma's client, how an owner's vectors are named there, and what to do about those left behind. Knows nothing
about records or words: Chroma's local version searches no words, so these stay in the process, and Chroma gets neither
a text nor an owner's name, only vectors and ids. Importing this module does not import Chroma.

The database holds the truth, vectors included: what is missing here is put, what is left over is deleted when an
owner's index is built.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from jc1.embedding.base import Vectors
from jc1.errors import InvalidSettings, VectorsUnavailable
from jc1.memory.index.vectors import Rows, VectorIndexes

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from chromadb.api.models.Collection import Collection

log = logging.getLogger(__name__)

EFFORT = 200
"""Candidates that HNSW keeps while Chroma's graph is built and searched: its ef_construction and ef_search."""
SEEN = 2000
"""Most vectors that one query gets cosines of. Those farther away than all of these count as the farthest of them."""
AT_ONCE = 1000
"""Vectors that are put or deleted in one call."""


class ChromaStore:
    """A `VectorStore` in Chroma. Given a `url` it is a server, else the folder `path` of this machine.

    Raises `InvalidSettings` where Chroma is not installed or the URL is none, `VectorsUnavailable` where the server
    does not answer.
    """

    def __init__(self, *, fingerprint: str, path: Path | None = None, url: str = "") -> None:
        self._fingerprint = fingerprint
        with _translated():
            self._client = _client(path, url)

    def of(self, owner: str, version: int) -> VectorIndexes:
        """Return the factory of an owner's vector indexes, for the owner's records as they are at a version.

        Vectors of another embedder are in other collections.
        """
        digest = hashlib.sha256(f"{self._fingerprint}\0{owner}".encode()).hexdigest()[:32]

        def make(partition: str) -> ChromaVectors:
            def collection() -> Collection:
                return self._client.get_or_create_collection(
                    f"jc1-{digest}-{partition}",
                    embedding_function=None,
                    configuration={"hnsw": {"space": "ip", "ef_construction": EFFORT, "ef_search": EFFORT}},
                )

            return ChromaVectors(collection, version)

        return make

    def close(self) -> None:
        """Close the connections. Chroma's client leaves those to its server open."""
        components: Any = [self._client._admin_client._server, self._client._server]
        self._client.close()
        # Private attributes: no public call closes them.
        for component in components:
            session = getattr(component, "_session", None)
            if session is not None and not component._running:  # no other store of this process uses it
                session.close()


class ChromaVectors:
    """A `VectorIndex` in a collection. Keys end in the version of the owner's records that wrote them: `id.version`.

    The first `put` is of all vectors that there are at `version`: what else is there is of records that are gone,
    unless a later version put it.
    """

    def __init__(self, collection: Callable[[], Collection], version: int) -> None:
        with _translated():
            self._collection = collection()
        self._version = version
        self._keys: dict[int, str] = {}
        self._rows: dict[str, int] = {}
        self._begun = False
        self._last: tuple[bytes, Rows, Vectors] | None = None

    def __len__(self) -> int:
        return len(self._keys)

    def put(self, rows: Rows, vectors: Vectors, keys: Sequence[str]) -> None:
        # Only the first call may find vectors of an earlier process: keys are never used twice.
        missing = np.arange(len(keys)) if self._begun else self._reconcile(keys)
        self._begun, self._last = True, None
        with _translated():
            for part in _parts(missing):
                self._collection.upsert(ids=[keys[i] for i in part], embeddings=vectors[part])
        self._keys.update(zip(rows.tolist(), keys, strict=True))
        self._rows.update(zip(keys, rows.tolist(), strict=True))

    def remove(self, rows: Rows) -> None:
        self._last = None
        keys = [self._keys.pop(row) for row in rows.tolist()]
        for key in keys:
            del self._rows[key]
        with _translated():
            for start in range(0, len(keys), AT_ONCE):
                self._collection.delete(ids=keys[start : start + AT_ONCE])

    def nearest(self, query: Vectors, depth: int) -> tuple[Rows, Vectors]:
        rows, cosines = self._ask(query)
        return rows[:depth], cosines[:depth]

    def cosines(self, query: Vectors, rows: Rows) -> Vectors:
        seen, cosines = self._ask(query)
        every = np.full(max(self._keys, default=0) + 1, cosines.min(initial=1.0), np.float32)  # (highest row + 1,)
        every[seen] = cosines
        return every[rows]

    def close(self) -> None:
        self._keys.clear()
        self._rows.clear()

    def _ask(self, query: Vectors) -> tuple[Rows, Vectors]:
        """Return the rows nearest to the query and their cosines, highest first."""
        if not len(self):
            return np.empty(0, np.int64), np.empty(0, np.float32)
        query_bytes = query.tobytes()
        if self._last is None or self._last[0] != query_bytes:
            with _translated():
                # Other processes may have put what this one does not know yet: it is asked for and passed over.
                unknown = max(self._collection.count() - len(self), 0)
                hits: Any = self._collection.query(
                    query_embeddings=[query], n_results=min(len(self), SEEN) + unknown, include=["distances"]
                )
            pairs = zip(hits["ids"][0], hits["distances"][0], strict=True)
            # The distance of the space "ip" is one minus the inner product, which is the cosine of unit vectors.
            known = [(self._rows[key], 1.0 - distance) for key, distance in pairs if key in self._rows]
            rows, cosines = zip(*known, strict=True) if known else ((), ())
            self._last = query_bytes, np.array(rows, np.int64), np.array(cosines, np.float32)
        return self._last[1], self._last[2]

    def _reconcile(self, keys: Sequence[str]) -> Rows:
        """Delete what is left from records that are gone, and return which of `keys` are not there."""
        with _translated():
            there = set(self._collection.get(include=[])["ids"])
            leftovers = [key for key in there.difference(keys) if _version(key) <= self._version]
            for start in range(0, len(leftovers), AT_ONCE):
                self._collection.delete(ids=leftovers[start : start + AT_ONCE])
        return np.array([i for i, key in enumerate(keys) if key not in there], np.int64)


def _client(path: Path | None, url: str) -> ClientAPI:
    """Return the client of the server at `url`, or where that is empty, of the folder `path`."""
    try:
        import chromadb
        from chromadb.config import Settings
    except ModuleNotFoundError:
        raise InvalidSettings("Chroma is not installed: pip install -e '.[stores]' in JC1's folder.") from None
    settings = Settings(anonymized_telemetry=False)
    if not url:
        return chromadb.PersistentClient(str(path), settings)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidSettings("chroma_url is not one: write http://HOST:PORT.")
    secure = parts.scheme == "https"
    return chromadb.HttpClient(parts.hostname, parts.port or (443 if secure else 8000), ssl=secure, settings=settings)


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what Chroma and its HTTP client raise into JC1's own error."""
    try:
        yield
    except InvalidSettings:
        raise
    except Exception as error:
        # Chroma raises bare ValueErrors for a server that is not there, besides its own errors and those of httpx.
        log.warning("Chroma failed: %s: %s", type(error).__name__, error)
        raise VectorsUnavailable(
            "Chroma, which holds the vectors of memory, does not answer: see that it runs, then try again."
        ) from None


def _parts(indices: Rows) -> Iterator[Rows]:
    for start in range(0, len(indices), AT_ONCE):
        yield indices[start : start + AT_ONCE]


def _version(key: str) -> int:
    return int(key.rpartition(".")[2])
