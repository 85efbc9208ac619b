"""How fast texts become vectors: the default embedder against sentence-transformers, and the cache in front of it.

Prints texts per second on 64 sentences, milliseconds for one sentence, seconds from a new process to the first vector,
microseconds for a cached lookup in LMDB and in the Redis servers that are named, and how near the vectors of both
precisions are to those of torch in float32. `--cached-only` leaves out all but the lookups.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from experiments.benchmarks.report import report
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


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repetitions", type=int, default=20, help="how often each thing is measured")
    parser.add_argument("--threads", type=int, help="OpenVINO's threads; every available core by default")
    parser.add_argument("--redis", nargs="*", default=[], metavar="URL", help="running Redis servers to measure too")
    parser.add_argument("--cached-only", action="store_true", help="measure cached lookups alone")
    arguments = parser.parse_args()

    default = OpenVinoEmbedder(threads=arguments.threads)
    cached = _cached_lookups(default, arguments.redis)
    if arguments.cached_only:
        report("embedding", {"cached_us": cached}, packages=("lmdb", "redis"))
        return
    embedders: dict[str, Embedder] = {
        "openvino_f32": OpenVinoEmbedder(precision="f32", threads=arguments.threads),
        "openvino_bf16": OpenVinoEmbedder(precision="bf16", threads=arguments.threads),
        "sentence_transformers_f32": SentenceTransformersEmbedder(bundled_folder(), device="cpu"),
    }
    batches = _in_turns(embedders, SENTENCES, arguments.repetitions)
    singles = _in_turns(embedders, SENTENCES[:1], arguments.repetitions)
    results: dict[str, Any] = {
        "sentences": len(SENTENCES),
        "chosen": f"openvino_{default.precision}",
        "threads": default.threads,
        "texts_per_s": {name: round(len(SENTENCES) / median(seconds), 1) for name, seconds in batches.items()},
        "one_sentence_ms": {name: round(median(seconds) * 1e3, 2) for name, seconds in singles.items()},
        "one_sentence_ms_least": {name: round(min(seconds) * 1e3, 2) for name, seconds in singles.items()},
    }
    rates = results["texts_per_s"]
    results["ratio_to_sentence_transformers"] = round(rates[results["chosen"]] / rates["sentence_transformers_f32"], 2)
    reference = embedders["sentence_transformers_f32"].embed(SENTENCES)
    for name in ("openvino_f32", "openvino_bf16"):
        cosines = (embedders[name].embed(SENTENCES) * reference).sum(axis=1)
        results[f"cosine_{name}"] = {"least": round(float(cosines.min()), 6), "mean": round(float(cosines.mean()), 6)}
    results["cached_us"] = cached
    results["cold_start_s"] = round(min(_seconds(_new_process) for _ in range(3)), 2)
    report("embedding", results, packages=("openvino", "sentence-transformers", "torch", "tokenizers", "lmdb", "redis"))


def _in_turns(embedders: dict[str, Embedder], texts: Sequence[str], repetitions: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in embedders}
    for embedder in embedders.values():
        embedder.embed(texts)  # warm
    for _ in range(repetitions):
        for name, embedder in embedders.items():
            seconds[name].append(_seconds(partial(embedder.embed, texts)))
    return seconds


def _cached_lookups(embedder: Embedder, urls: Sequence[str]) -> dict[str, dict[str, float]]:
    """Microseconds from a text to its cached vector, by where it is kept."""
    with tempfile.TemporaryDirectory() as folder:
        caches: dict[str, Cache] = {"lmdb": LmdbCache(Path(folder) / "cache")}
        caches |= {f"redis_{url.partition(':')[0]}": RedisCache(url) for url in urls}  # no password is printed
        found = {name: _cached_lookup(embedder, cache) for name, cache in caches.items()}
        for cache in caches.values():
            cache.close()
    return found


def _cached_lookup(embedder: Embedder, cache: Cache, lookups: int = 5000) -> dict[str, float]:
    cached = CachedEmbedder(embedder, cache)
    cached.embed(SENTENCES)
    seconds = sorted(_seconds(partial(cached.embed, [SENTENCES[index % len(SENTENCES)]])) for index in range(lookups))
    totals = cache.lookups.totals()
    assert totals["embedding", "error"] == 0, "the cache does not answer"
    assert totals["embedding", "hit"] >= lookups
    return {"median": round(median(seconds) * 1e6, 1), "p90": round(seconds[lookups * 9 // 10] * 1e6, 1)}


def _new_process() -> None:
    subprocess.run([sys.executable, "-c", COLD_START], check=True)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
