"""How fast memory searches and stores, and how much it holds, at sizes that people reach in years.

    python -m experiments.benchmarks.memory one|many|insert

`one`: 10,000 and 60,000 records of one owner: milliseconds of the first search, of one whose query was embedded before,
and of one whose was not. `many`: a million records of 1,000 owners, of whom five percent are asked again and again and
the others now and then: milliseconds of a search in an index that is there and of an owner's first, and the memory of
the process. `insert`: durable inserts a second, embedding included and not. Texts are made up of words as frequent as a
language's; where no embedding is measured their vectors are random.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from experiments.benchmarks.embedding import SENTENCES
from experiments.benchmarks.harness import Figures, main
from jc1.database import open_database
from jc1.embedding.base import Embedder, Vectors
from jc1.embedding.openvino import OpenVinoEmbedder
from jc1.memory.base import NewRecord, Retrieval
from jc1.memory.store import DatabaseMemory

DIMENSION = 384
TURNS = 20
"""Records of a session."""
SIZES = (10_000, 60_000)
"""Records of the one owner, where none are named."""
BATCH = 1000
"""Records of an insert where inserts are not what is measured."""


class RandomEmbedder:
    """A vector for each text, at no cost that counts: the measured time is memory's own."""

    model = "random"
    dimension = DIMENSION
    fingerprint = "random/1"

    def __init__(self) -> None:
        self._random = np.random.default_rng(1)

    def load(self) -> None:
        """Do nothing: there is nothing to load."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        vectors = self._random.standard_normal((len(texts), DIMENSION), np.float32)  # (texts, dimension)
        unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit

    def count(self, texts: Sequence[str]) -> int:
        return sum(map(len, texts))

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


class EnglishEmbedder(OpenVinoEmbedder):
    """The default embedder, which is given a question in English whatever is asked: made-up words have many tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.fingerprint = RandomEmbedder.fingerprint  # or the records would be embedded anew

    def embed(self, texts: Sequence[str]) -> Vectors:
        return super().embed(["What did they say about the old lighthouse near the harbour?"] * len(texts))


class Texts:
    """Sentences of 5 to 25 words; the n-th most frequent word is said 1/n as often as the first."""

    def __init__(self, vocabulary: int = 20_000) -> None:
        self._random = np.random.default_rng(2)
        letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
        self._words = np.array(["".join(self._random.choice(letters, 3 + i % 6)) for i in range(vocabulary)])
        self._shares = 1 / np.arange(1, vocabulary + 1)

    def sentences(self, count: int) -> list[str]:
        return self._texts(count, 5, 25, self._shares)

    def queries(self, count: int) -> list[str]:
        """Return queries of 3 to 8 words, none among the 100 most frequent ones, as a search leaves stopwords out."""
        return self._texts(count, 3, 8, np.where(np.arange(len(self._shares)) < 100, 0, self._shares))

    def _texts(self, count: int, least: int, most: int, shares: NDArray[np.float64]) -> list[str]:
        lengths = self._random.integers(least, most + 1, count)
        up_to = np.cumsum(shares / shares.sum())
        chosen = np.searchsorted(up_to, self._random.random(int(lengths.sum())))
        return [" ".join(part) for part in np.split(self._words[chosen], np.cumsum(lengths)[:-1])]


@contextmanager
def memory_of(embedder: Embedder) -> Iterator[DatabaseMemory]:
    with tempfile.TemporaryDirectory() as home:
        memory = DatabaseMemory(open_database(f"sqlite:///{Path(home) / 'jc1.db'}"), embedder)
        try:
            yield memory
        finally:
            memory.close()


def fill(memory: DatabaseMemory, owner: str, texts: Sequence[str]) -> None:
    for start in range(0, len(texts), BATCH):
        memory.add(
            owner,
            [
                NewRecord(
                    text, kind="statement", session=f"s{i // TURNS}", turn=i % TURNS, speaker=("Ann", "Ben")[i % 2]
                )
                for i, text in enumerate(texts[start : start + BATCH], start)
            ],
        )


def one(sizes: Sequence[int], queries: int) -> dict[str, Any]:
    """Measure the first search, later ones, and ones with a query to embed, in the memory of one owner."""
    texts = Texts()
    results: dict[str, Any] = {}
    for size in sizes:
        with memory_of(RandomEmbedder()) as memory:
            fill(memory, "ann", texts.sentences(size))
            began = time.perf_counter()
            memory.search("ann", "warm", Retrieval())
            first = time.perf_counter() - began
            times = [memory.search("ann", query, Retrieval(k=10)).seconds["recall"] for query in texts.queries(queries)]
            results[f"{size} records"] = {"first_ms": _ms(first), "search_ms": _percentiles(times)}
    embedder = EnglishEmbedder()
    with memory_of(RandomEmbedder()) as memory:
        fill(memory, "ann", texts.sentences(sizes[0]))
        memory._embedder = embedder  # the records' vectors stay as they are: only queries are embedded from here on
        times = []
        for query in texts.queries(queries):
            began = time.perf_counter()
            memory.search("ann", query, Retrieval(k=10))
            times.append(time.perf_counter() - began)
        results[f"{sizes[0]} records"]["with_embedding_ms"] = _percentiles(times[1:])
    embedder.close()
    return results


def many(owners: int, size: int, queries: int) -> dict[str, Any]:
    """Measure searches of many owners, some asked often and most seldom, and the memory that the process takes."""
    texts = Texts()
    random = np.random.default_rng(3)
    with memory_of(RandomEmbedder()) as memory:
        for n in range(owners):
            fill(memory, f"owner-{n}", texts.sentences(size))
            if n % 100 == 99:
                print(f"{(n + 1) * size:,} records stored", flush=True)
        often = max(owners // 20, 1)
        touched: set[int] = set()
        first: list[float] = []
        warm: list[float] = []
        for query in texts.queries(queries):
            owner = int(random.integers(often) if random.random() < 0.9 else random.integers(owners))
            in_memory = memory.holds(f"owner-{owner}")
            began = time.perf_counter()
            memory.search(f"owner-{owner}", query, Retrieval(k=10))
            (warm if in_memory else first).append(time.perf_counter() - began)
            touched.add(owner)
        return {
            "records": owners * size,
            "owners": owners,
            "owners_asked": len(touched),
            "warm_ms": _percentiles(warm),
            "first_touch_ms": _percentiles(first),
            "resident_gib": round(_resident() / 2**30, 2),
        }


def insert(count: int, batch: int) -> dict[str, Any]:
    """Measure durable inserts a second, embedding included and not."""
    rates: dict[str, float] = {}
    texts = [f"{SENTENCES[i % len(SENTENCES)]} That was on day {i}." for i in range(count)]
    embedder = OpenVinoEmbedder()
    embedder.embed(["warm"])
    embedders: dict[str, Embedder] = {"with_embedding": embedder, "without_embedding": RandomEmbedder()}
    for name, used in embedders.items():
        with memory_of(used) as memory:
            began = time.perf_counter()
            for start in range(0, count, batch):
                memory.add("ann", [NewRecord(text) for text in texts[start : start + batch]])
            rates[name] = round(count / (time.perf_counter() - began))
    embedder.close()
    return {"records": count, "batch": batch, "records_per_s": rates}


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    if not seconds:
        return {}
    return {"p50": _ms(median(seconds)), "p99": _ms(float(np.percentile(seconds, 99))), "samples": len(seconds)}


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 2)


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def measure(
    part: Literal["one", "many", "insert"],
    sizes: list[int] | None = None,
    owners: int = 1000,
    records: int = 1000,
    queries: int = 1000,
    batch: int = 256,
) -> Figures:
    """Measure a part: `sizes` are the records of the one owner, `records` those of each of many, or half of all that
    are inserted, `batch` at a time."""
    if part == "one":
        return one(sizes or SIZES, queries)
    return many(owners, records, queries) if part == "many" else insert(records * 2, batch)


if __name__ == "__main__":
    main(measure, packages=("faiss-cpu", "numpy", "sqlalchemy", "openvino"))
