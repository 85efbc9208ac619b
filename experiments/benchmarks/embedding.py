"""How fast texts become vectors: the default embedder against sentence-transformers, and the cache in front of it.

Prints texts per second on 64 sentences, milliseconds for one sentence, seconds from a new process to the first vector,
microseconds for a cached lookup in LMDB and in the Redis servers that are named, and how near the vectors of both
precisions are to those of torch in float32. `--cached-only` leaves out all but the lookups.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median

from experiments.benchmarks.harness import Figures, in_turns, main, seconds
from jc1.cache.base import Cache
from jc1.cache.lmdb import LmdbCache
from jc1.cache.redis import RedisCache
from jc1.embedding.base import Embedder
from jc1.embedding.cached import CachedEmbedder
from jc1.embedding.openvino import OpenVinoEmbedder, bundled_folder
from jc1.embedding.sentence_transformers import SentenceTransformersEmbedder

SENTENCES = [
    f"The {colour} {thing} was seen near the {place} by people who {act}."
    for colour, thing, place, act in product(
        ("red", "old", "tiny", "broken"),
        ("cat", "lighthouse", "motorcycle", "umbrella"),
        ("harbour", "railway station"),
        ("laughed", "had been waiting there since the early afternoon"),
    )
]
COLD_START = "from jc1.embedding.openvino import OpenVinoEmbedder; OpenVinoEmbedder().embed(['text'])"


def measure(
    repetitions: int = 20, threads: int | None = None, redis: list[str] | None = None, cached_only: bool = False
) -> Figures:
    """Measure both embedders with so many threads (every available core unless given), and cached lookups, in running
    Redis servers too, by their URLs."""
    default = OpenVinoEmbedder(threads=threads)
    cached = _cached_lookups(default, redis or ())
    if cached_only:
        return {"cached_us": cached}
    embedders: dict[str, Embedder] = {
        "openvino_f32": OpenVinoEmbedder(precision="f32", threads=threads),
        "openvino_bf16": OpenVinoEmbedder(precision="bf16", threads=threads),
        "sentence_transformers_f32": SentenceTransformersEmbedder(bundled_folder(), device="cpu"),
    }
    batches = _in_turns(embedders, SENTENCES, repetitions)
    singles = _in_turns(embedders, SENTENCES[:1], repetitions)
    results: Figures = {
        "sentences": len(SENTENCES),
        "chosen": f"openvino_{default.precision}",
        "threads": default.threads,
        "texts_per_s": {name: round(len(SENTENCES) / median(times), 1) for name, times in batches.items()},
        "one_sentence_ms": {name: round(median(times) * 1e3, 2) for name, times in singles.items()},
        "one_sentence_ms_least": {name: round(min(times) * 1e3, 2) for name, times in singles.items()},
    }
    rates = results["texts_per_s"]
    results["ratio_to_sentence_transformers"] = round(rates[results["chosen"]] / rates["sentence_transformers_f32"], 2)
    reference = embedders["sentence_transformers_f32"].embed(SENTENCES)
    for name in ("openvino_f32", "openvino_bf16"):
        cosines = (embedders[name].embed(SENTENCES) * reference).sum(axis=1)
        results[f"cosine_{name}"] = {"least": round(float(cosines.min()), 6), "mean": round(float(cosines.mean()), 6)}
    results["cached_us"] = cached
    results["cold_start_s"] = round(min(seconds(_new_process) for _ in range(3)), 2)
    return results


def _in_turns(embedders: dict[str, Embedder], texts: Sequence[str], repetitions: int) -> dict[str, list[float]]:
    return in_turns({name: partial(embedder.embed, texts) for name, embedder in embedders.items()}, repetitions)


def _cached_lookups(embedder: Embedder, urls: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the microseconds from a text to its cached vector, median and p90, by the cache that holds it."""
    with tempfile.TemporaryDirectory() as folder:
        caches: dict[str, Cache] = {"lmdb": LmdbCache(Path(folder) / "cache")}
        caches |= {f"redis_{url.partition(':')[0]}": RedisCache(url) for url in urls}  # no password is printed
        figures = {name: _cached_lookup(embedder, cache) for name, cache in caches.items()}
        for cache in caches.values():
            cache.close()
    return figures


def _cached_lookup(embedder: Embedder, cache: Cache, lookups: int = 5000) -> dict[str, float]:
    cached = CachedEmbedder(embedder, cache)
    cached.embed(SENTENCES)
    times = sorted(seconds(partial(cached.embed, [SENTENCES[index % len(SENTENCES)]])) for index in range(lookups))
    totals = cache.lookups.totals()
    assert totals["embedding", "error"] == 0, "the cache does not answer"
    assert totals["embedding", "hit"] >= lookups
    return {"median": round(median(times) * 1e6, 1), "p90": round(times[lookups * 9 // 10] * 1e6, 1)}


def _new_process() -> None:
    subprocess.run([sys.executable, "-c", COLD_START], check=True)


if __name__ == "__main__":
    main(measure, packages=("openvino", "sentence-transformers", "torch", "tokenizers", "lmdb", "redis"))
