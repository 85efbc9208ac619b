"""What the tests of memory share: an embedder that needs no model, and a memory in a new database."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine

from jc1.embedding.base import Vectors
from jc1.memory.store import DatabaseMemory
from tests.jc1.memory.chroma_server import ChromaServer
from tests.support.database import new_database


class HashingEmbedder:
    """Each word has a place of its own in the vector, so the cosine of two texts tells how many words they share."""

    model = "hashing"
    dimension = 128

    def __init__(self, fingerprint: str = "hashing/1") -> None:
        self.fingerprint = fingerprint
        self.texts: list[str] = []

    def load(self) -> None:
        """Do nothing: there is nothing to load."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.texts.extend(texts)
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            for word in re.findall(r"\w+", text.lower()) or [text]:
                digest = hashlib.sha256(word.encode("utf-8", "replace")).digest()
                vector[int.from_bytes(digest[:4], "little") % self.dimension] += 1.0
            vector /= np.linalg.norm(vector)
        return vectors

    def count(self, texts: Sequence[str]) -> int:
        return sum(len(text.split()) for text in texts)

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


@pytest.fixture(scope="session")
def chroma_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChromaServer]:
    server = ChromaServer(tmp_path_factory.mktemp("chroma"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def embedder() -> HashingEmbedder:
    return HashingEmbedder()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Engine]:
    engine = new_database(tmp_path / "jc1.db")
    yield engine
    engine.dispose()


@pytest.fixture
def memory(database: Engine, embedder: HashingEmbedder) -> Iterator[DatabaseMemory]:
    store = DatabaseMemory(database, embedder)
    yield store
    store.close()
