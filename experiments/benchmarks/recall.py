"""How much of what was said is recalled: LoCoMo's questions, asked through the memory that chat uses.

    python -m experiments.benchmarks.recall --data locomo.json [--store local|chroma] [--k 10]

Each conversation becomes an owner's sessions: a turn is a record with its speaker, text, image caption and session
date. Each question of the categories 1 to 4 is searched as chat would; what counts is how many of the turns that hold
its answer are among the first k distinct turns returned. Beside it, from the same vectors and words: BM25 alone, the
vectors alone, both fused plainly, Chroma's default query, JC1 without the removal of stopwords, and JC1 without each of
its signals. Knows the measures. Knows nothing about how memory searches or the file's format (jc1_lab.suites.locomo).
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from experiments.benchmarks.harness import Figures, main
from jc1_lab.suites.locomo import CATEGORIES, Conversation, Question, Turn, read, records

if TYPE_CHECKING:
    from jc1.embedding.base import Embedder
    from jc1.memory.store import DatabaseMemory

WANTED = 0.80
"""Mean recall@10 that was to be reached on the development half."""
PLAIN_K = 60
"""The constant k of plain reciprocal rank fusion, score = sum over the lists of 1 / (k + rank), as its authors chose it
(Cormack, Clarke and Buettcher, SIGIR 2009)."""
DEPTH = 50
"""How far plain fusion reads each list."""


@dataclass(slots=True)
class Measured:
    """The results of one way of searching, question by question: its category and the rank of each wanted turn, from 0,
    None where it was not returned."""

    ranks: list[tuple[int, list[int | None]]] = field(default_factory=list)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, question: Question, returned: Iterable[Turn]) -> None:
        """Count the distinct turns in the order in which they were returned."""
        places = {turn: i for i, turn in enumerate(dict.fromkeys(returned))}
        self.ranks.append((question.category, [places.get(turn) for turn in sorted(question.evidence)]))

    def figures(self) -> dict[str, Any]:
        """Return the means over all questions and by category, and the median milliseconds of each stage."""
        by_category = {
            f"{number} {name}": _means([ranks for category, ranks in self.ranks if category == number])
            for number, name in CATEGORIES.items()
        }
        return {
            **_means([ranks for _, ranks in self.ranks]),
            "by_category": {name: means for name, means in by_category.items() if means["questions"]},
            "ms_p50": {stage: 1000 * statistics.median(values) for stage, values in self.seconds.items()},
        }


def _means(questions: Sequence[Sequence[int | None]]) -> dict[str, float]:
    def mean(values: Iterable[float]) -> float:
        numbers = list(values)
        return round(sum(numbers) / len(numbers), 4) if numbers else 0.0

    def recall(depth: int) -> float:
        return mean(sum(r is not None and r < depth for r in ranks) / len(ranks) for ranks in questions)

    first = [min((r for r in ranks if r is not None), default=None) for ranks in questions]
    return {
        "questions": len(questions),
        "recall@5": recall(5),
        "recall@10": recall(10),
        "hit@10": mean(float(r is not None and r < 10) for r in first),
        "mrr": mean(0.0 if r is None else 1 / (r + 1) for r in first),
    }


def measure(
    conversations: Sequence[Conversation], embedder: Embedder, *, k: int = 10, store: str = "local"
) -> dict[str, Measured]:
    """Ask every question of JC1's memory, its vectors in FAISS (local) or in Chroma, and of the baselines."""
    measured: dict[str, Measured] = defaultdict(Measured)
    for conversation in conversations:
        with tempfile.TemporaryDirectory() as home:
            _ask_memory(conversation, embedder, Path(home), k, store, measured)
        for name, search in _baselines(conversation, embedder, k).items():
            for question in conversation.questions:
                began = time.perf_counter()
                turns = search(question.text)
                measured[name].seconds["search"].append(time.perf_counter() - began)
                measured[name].add(question, turns)
    return measured


def _ask_memory(
    conversation: Conversation, embedder: Embedder, home: Path, k: int, store: str, measured: dict[str, Measured]
) -> None:
    from jc1.database import open_database
    from jc1.memory import open_memory
    from jc1.memory.base import Retrieval
    from jc1.memory.index.ranking import WEIGHTS
    from jc1.settings import Settings

    settings = Settings(home=home, vectors="faiss" if store == "local" else "chroma")
    memory = open_memory(settings, open_database(settings.database_url), embedder)
    try:
        began = time.perf_counter()
        _ingest(memory, conversation)
        measured["jc1"].seconds["ingest a turn"].append((time.perf_counter() - began) / len(conversation.turns))
        plain = Retrieval(k=k)
        ways = {"jc1": plain, "jc1 with stopwords": replace(plain, stopwords=False)}
        ways |= {f"jc1 without {name}": replace(plain, weights={name: 0.0}) for name in WEIGHTS}
        for name, retrieval in ways.items():
            for question in conversation.questions:
                recall = memory.search(conversation.name, question.text, retrieval)
                for stage, seconds in recall.seconds.items():
                    measured[name].seconds[stage].append(seconds)
                measured[name].add(question, [_source(receipt.record) for receipt in recall.receipts])
    finally:
        memory.close()


def _ingest(memory: DatabaseMemory, conversation: Conversation) -> None:
    for _, session in groupby(records(conversation), key=lambda record: record.session):
        memory.add(conversation.name, list(session))


def _source(record: Any) -> Turn:
    return int(record.session.removeprefix("session-")), record.turn


def _baselines(conversation: Conversation, embedder: Embedder, k: int) -> dict[str, Callable[[str], list[Turn]]]:
    """Return searches over the same texts, without JC1's own, by name: each returns the k best turns."""
    import chromadb
    import numpy as np
    from chromadb.config import Settings

    from jc1.memory.base import Record
    from jc1.memory.index.index import OwnerIndex, Row
    from jc1.memory.index.vectors import FaissVectors
    from jc1.memory.index.words import terms
    from jc1.stopwords import remove_stopwords

    turns = [turn.turn for turn in conversation.turns]
    texts = [f"{turn.speaker}: {turn.text}" for turn in conversation.turns]
    vectors = np.concatenate([embedder.embed(texts[i : i + 256]) for i in range(0, len(texts), 256)])
    index = OwnerIndex(lambda _: FaissVectors(embedder.dimension))
    index.put(
        [Row(i, Record(str(i), "o", text, "user", "statement", datetime.now(UTC))) for i, text in enumerate(texts)],
        vectors,
    )
    client = chromadb.EphemeralClient(Settings(anonymized_telemetry=False))
    collection = client.get_or_create_collection(conversation.name, embedding_function=None)
    for i in range(0, len(texts), 1000):
        part = range(i, min(i + 1000, len(texts)))
        collection.add(ids=[str(j) for j in part], embeddings=[vectors[j] for j in part])

    def by_words(question: str, depth: int = k) -> list[int]:
        scores = index.bm25(terms(remove_stopwords(question))).text
        best: list[int] = np.argsort(-scores, kind="stable")[:depth].tolist()
        return best

    def by_vector(question: str, depth: int = k) -> list[int]:
        nearest: list[int] = index.statements.vectors.nearest(embedder.embed([question])[0], depth)[0].tolist()
        return nearest

    def fused(question: str) -> list[int]:
        scores: dict[int, float] = defaultdict(float)
        for ranking in (by_words(question, DEPTH), by_vector(question, DEPTH)):
            for rank, i in enumerate(ranking, start=1):
                scores[i] += 1 / (PLAIN_K + rank)
        return sorted(scores, key=lambda i: -scores[i])[:k]

    def chroma(question: str) -> list[int]:
        hits = collection.query(query_embeddings=[embedder.embed([question])[0]], n_results=k)
        return [int(i) for i in hits["ids"][0]]

    searches: dict[str, Callable[[str], list[int]]] = {
        "bm25": by_words,
        "dense": by_vector,
        "plain fusion": fused,
        "chroma": chroma,
    }

    def turns_of(ask: Callable[[str], list[int]], question: str) -> list[Turn]:
        return [turns[i] for i in ask(question)]

    return {name: partial(turns_of, ask) for name, ask in searches.items()}


def benchmark(
    data: Annotated[Path, typer.Option()], store: Literal["local", "chroma"] = "local", k: int = 10
) -> Figures:
    """Measure a file in LoCoMo's format, asking for `k` records, JC1's vectors in FAISS (local) or in Chroma. A table
    goes to standard error."""
    from jc1.embedding.openvino import OpenVinoEmbedder

    embedder = OpenVinoEmbedder()
    figures = {name: one.figures() for name, one in measure(read(data), embedder, k=k, store=store).items()}
    embedder.close()
    print(*_table(figures), sep="\n", file=sys.stderr)
    return figures


def _table(figures: Figures) -> Iterator[str]:
    categories = [f"{number} {name}" for number, name in CATEGORIES.items()]
    measures = ("recall@5", "recall@10", "hit@10", "mrr")
    yield f"{'':<27}" + "".join(f"{title:>14}" for title in (*measures, *categories))
    for name, means in figures.items():
        each = [means["by_category"].get(category, {}).get("recall@10", 0.0) for category in categories]
        yield f"{name:<27}" + "".join(f"{value:>14.3f}" for value in (*(means[m] for m in measures), *each))
    yield "The columns by category are recall@10."
    yield f"wanted: recall@10 of {WANTED:.2f}; reached {figures['jc1']['recall@10']:.3f}"
    for name in ("jc1", "jc1 with stopwords"):
        stages = ", ".join(f"{stage} {ms:.2f}" for stage, ms in figures[name]["ms_p50"].items())
        yield f"{name}, ms, median: {stages}"


if __name__ == "__main__":
    main(benchmark, packages=["faiss-cpu", "openvino", "chromadb"])
