"""The embedder behind a cache: each text is embedded once, and the cache can break nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from jc1.cache.base import Cache
from jc1.cache.lmdb import LmdbCache
from jc1.cache.namespaces import EMBEDDING
from jc1.cache.null import NullCache
from jc1.embedding.base import Vectors
from jc1.embedding.cached import CachedEmbedder


class CountingEmbedder:
    """Vectors that depend on the text alone, and a list of what was asked."""

    model = "counting"
    dimension = 8

    def __init__(self, fingerprint: str = "counting") -> None:
        self.fingerprint = fingerprint
        self.asked: list[str] = []
        self.state = "new"

    def load(self) -> None:
        self.state = "loaded"

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.asked += texts
        rows = [np.random.default_rng(list(text.encode("utf-8", "surrogatepass"))).normal(size=8) for text in texts]
        vectors = np.array(rows, np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def count(self, texts: Sequence[str]) -> int:
        return sum(map(len, texts))

    def close(self) -> None:
        self.state = "closed"


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[LmdbCache]:
    made = LmdbCache(tmp_path / "cache")
    yield made
    made.close()


def test_a_text_is_embedded_once_and_has_the_same_vector_ever_after(cache: LmdbCache) -> None:
    inner = CountingEmbedder()
    embedder = CachedEmbedder(inner, cache)
    first = embedder.embed(["a", "b"])
    second = embedder.embed(["b", "c", "a"])
    assert inner.asked == ["a", "b", "c"]
    np.testing.assert_array_equal(second, CountingEmbedder().embed(["b", "c", "a"]))
    np.testing.assert_array_equal(second[[2, 0]], first)
    assert second.dtype == np.float32


def test_a_text_that_comes_twice_in_a_call_is_embedded_once(cache: LmdbCache) -> None:
    inner = CountingEmbedder()
    vectors = CachedEmbedder(inner, cache).embed(["a", "b", "a", "a"])
    assert inner.asked == ["a", "b"]
    np.testing.assert_array_equal(vectors, CountingEmbedder().embed(["a", "b", "a", "a"]))


def test_vectors_of_another_embedder_are_not_taken(cache: LmdbCache) -> None:
    CachedEmbedder(CountingEmbedder("one"), cache).embed(["a"])
    other = CountingEmbedder("other")
    CachedEmbedder(other, cache).embed(["a"])
    assert other.asked == ["a"]


def test_the_caller_may_change_what_it_got(cache: LmdbCache) -> None:
    embedder = CachedEmbedder(CountingEmbedder(), cache)
    embedder.embed(["a"])
    embedder.embed(["a"])[:] = 0
    np.testing.assert_array_equal(embedder.embed(["a"]), CountingEmbedder().embed(["a"]))


def test_bytes_of_the_wrong_length_are_computed_again(cache: LmdbCache) -> None:
    class Truncating(NullCache):
        def get_many(self, namespace: str, keys: Sequence[bytes]) -> list[bytes | None]:
            return [b"\0\0\0"] * len(keys)

    inner = CountingEmbedder()
    np.testing.assert_array_equal(CachedEmbedder(inner, Truncating()).embed(["a"]), CountingEmbedder().embed(["a"]))


def test_without_a_working_cache_every_text_is_embedded(cache: LmdbCache) -> None:
    closed: list[Cache] = [cache, NullCache()]
    cache.close()
    for broken in closed:
        inner = CountingEmbedder()
        embedder = CachedEmbedder(inner, broken)
        np.testing.assert_array_equal(embedder.embed(["a"]), embedder.embed(["a"]))
        assert inner.asked == ["a", "a"]


def test_no_texts_are_no_rows_and_odd_texts_have_keys_of_their_own(cache: LmdbCache) -> None:
    inner = CountingEmbedder()
    embedder = CachedEmbedder(inner, cache)
    assert embedder.embed([]).shape == (0, 8)
    odd = ["", "\0", "\ud800", "a" * 100_000, "\u00e9", "e\u0301"]
    embedder.embed(odd)
    embedder.embed(odd)
    assert inner.asked == odd


def test_the_cache_holds_raw_float32_in_its_own_namespace(cache: LmdbCache) -> None:
    stored: dict[bytes, bytes] = {}

    class Recording(NullCache):
        def put_many(self, namespace: str, items: dict[bytes, bytes], *, ttl: float | None = None) -> None:  # type: ignore[override]
            assert (namespace, ttl) == (EMBEDDING, None)
            stored.update(items)

    [vector] = CachedEmbedder(CountingEmbedder(), Recording()).embed(["a"])
    [value] = stored.values()
    np.testing.assert_array_equal(np.frombuffer(value, "<f4"), vector)


def test_loading_and_closing_reach_the_embedder_and_leave_the_cache_open(cache: LmdbCache) -> None:
    inner = CountingEmbedder()
    embedder = CachedEmbedder(inner, cache)
    embedder.load()
    assert inner.state == "loaded"
    embedder.close()
    assert inner.state == "closed"
    cache.put_many("n", {b"key": b"value"})
    assert cache.get("n", b"key") == b"value"
