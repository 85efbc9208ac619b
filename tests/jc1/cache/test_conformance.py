"""What every cache that keeps things must do. A new implementation joins by adding its name to `IMPLEMENTATIONS`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jc1.cache.base import Cache
from jc1.cache.lmdb import LmdbCache
from jc1.cache.namespaces import HISTORY, owned
from jc1.cache.redis import RedisCache
from tests.support.redis_server import RedisServer

IMPLEMENTATIONS = ["lmdb", "redis"]


class LmdbUnderTest:
    """An LMDB cache by a clock that moves when the test says so."""

    def __init__(self, folder: Path) -> None:
        self.now = 1_800_000_000.0
        self.cache: Cache = LmdbCache(folder, clock=lambda: self.now)

    def let_pass(self, seconds: float) -> None:
        self.now += seconds


class RedisUnderTest:
    """A Redis cache. The server's clock is its own, so every value's end is moved towards it instead."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.cache: Cache = RedisCache(server.url)

    def let_pass(self, seconds: float) -> None:
        with self.server.client() as client:
            for key in client.scan_iter():
                client.pexpireat(key, client.pexpiretime(key) - int(seconds * 1000))


UnderTest = LmdbUnderTest | RedisUnderTest


@pytest.fixture(params=IMPLEMENTATIONS)
def under_test(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[UnderTest]:
    made: UnderTest
    if request.param == "lmdb":
        made = LmdbUnderTest(tmp_path / "cache")
    else:
        made = RedisUnderTest(request.getfixturevalue("redis_server"))
    yield made
    made.cache.close()


@pytest.fixture
def cache(under_test: UnderTest) -> Cache:
    return under_test.cache


def test_a_value_comes_back_as_the_bytes_it_was(cache: Cache) -> None:
    value = bytes(range(256)) * 10
    cache.put_many("n", {b"key": value, b"empty": b""})
    assert cache.get("n", b"key") == value
    assert cache.get("n", b"empty") == b""


def test_an_unknown_key_finds_nothing(cache: Cache) -> None:
    assert cache.get("n", b"key") is None
    assert cache.get_many("n", [b"a", b"b"]) == [None, None]
    assert cache.get_many("n", []) == []


def test_many_values_come_in_the_order_of_the_keys_with_none_in_the_gaps(cache: Cache) -> None:
    cache.put_many("n", {b"a": b"1", b"b": b"2"})
    assert cache.get_many("n", [b"b", b"?", b"a", b"b"]) == [b"2", None, b"1", b"2"]


def test_a_later_value_replaces_the_earlier_and_its_lifetime(cache: Cache, under_test: UnderTest) -> None:
    cache.put_many("n", {b"key": b"old"}, ttl=1000)
    cache.put_many("n", {b"key": b"new"})
    under_test.let_pass(1100)
    assert cache.get("n", b"key") == b"new"


def test_a_value_is_gone_when_its_lifetime_is_over_and_not_before(cache: Cache, under_test: UnderTest) -> None:
    cache.put_many("n", {b"key": b"value"}, ttl=1000)
    under_test.let_pass(800)
    assert cache.get("n", b"key") == b"value"
    under_test.let_pass(201)
    assert cache.get("n", b"key") is None
    assert cache.get_many("n", [b"key"]) == [None]


def test_a_lifetime_of_nothing_keeps_nothing(cache: Cache) -> None:
    cache.put_many("n", {b"key": b"earlier"})
    cache.put_many("n", {b"key": b"value"}, ttl=0)
    assert cache.get("n", b"key") is None


@pytest.mark.parametrize(
    "key", [b"", b"\0", b"a\0b", b"\xff" * 32, b"k" * 512, b"k" * 100_000], ids=lambda key: f"{len(key)} bytes"
)
def test_any_bytes_are_a_key(cache: Cache, key: bytes) -> None:
    cache.put_many("n", {key: b"value", key + b"!": b"other"})
    assert cache.get("n", key) == b"value"
    cache.delete("n", key)
    assert cache.get("n", key) is None
    assert cache.get("n", key + b"!") == b"other"


def test_namespaces_do_not_see_each_other_even_where_one_name_begins_with_the_other(cache: Cache) -> None:
    cache.put_many("a", {b"key": b"a"})
    cache.put_many("ab", {b"key": b"ab"})
    cache.put_many("b", {b"akey": b"b"})
    assert [cache.get(n, b"key") for n in ("a", "ab", "b")] == [b"a", b"ab", None]


def test_clearing_a_namespace_leaves_the_others(cache: Cache) -> None:
    for namespace in ("a", "ab", "b"):
        cache.put_many(namespace, {str(i).encode() * 300: b"value" for i in range(1, 50)})
    cache.clear("a")
    assert cache.get_many("a", [str(i).encode() * 300 for i in range(1, 50)]) == [None] * 49
    assert cache.get("ab", b"7" * 300) == b"value"
    assert cache.get("b", b"7" * 300) == b"value"


def test_a_namespace_that_looks_like_a_pattern_is_cleared_to_the_letter(cache: Cache) -> None:
    for namespace in ("a*", "ab", r"[a-z]?\\", "q"):
        cache.put_many(namespace, {b"key": b"value"})
    cache.clear("a*")
    cache.clear(r"[a-z]?\\")
    assert [cache.get(n, b"key") for n in ("a*", "ab", r"[a-z]?\\", "q")] == [None, b"value", None, b"value"]


def test_lookups_are_counted_by_kind_of_namespace_and_result(cache: Cache) -> None:
    cache.put_many(owned(HISTORY, "ann"), {b"key": b"value"})
    cache.put_many("made up", {b"key": b"value"})
    cache.get_many(owned(HISTORY, "ann"), [b"key", b"?", b"??"])
    cache.get("made up", b"key")
    assert cache.state == "closed"
    cache.close()
    cache.get_many(owned(HISTORY, "ann"), [b"key", b"?"])
    counted = {key: count for key, count in cache.lookups.totals().items() if count}
    assert counted == {("history", "hit"): 1, ("history", "miss"): 2, ("history", "error"): 2, ("other", "hit"): 1}


@pytest.mark.parametrize("name", ["nul\0", "n" * 201])
def test_a_namespace_that_cannot_be_one_is_refused(cache: Cache, name: str) -> None:
    with pytest.raises(ValueError, match="namespace"):
        cache.get(name, b"key")


def test_deleting_and_clearing_what_is_not_there_is_no_error(cache: Cache) -> None:
    cache.delete("n", b"key")
    cache.clear("n")
    assert cache.get("n", b"key") is None


def test_threads_read_what_other_threads_wrote(cache: Cache) -> None:
    start = threading.Barrier(8)
    wrong: list[str] = []

    def work(number: int) -> None:
        start.wait()
        for i in range(50):
            key, value = f"{number}/{i}".encode(), f"value {number}/{i}".encode()
            cache.put_many("n", {key: value, b"shared": value})
            if cache.get("n", key) != value:
                wrong.append(key.decode())
            if cache.get("n", b"shared") is None:
                wrong.append("shared")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert None not in cache.get_many("n", [f"{n}/{i}".encode() for n in range(8) for i in range(50)])


def test_a_closed_cache_finds_nothing_and_loses_writes_without_an_error(cache: Cache) -> None:
    cache.put_many("n", {b"key": b"value"})
    cache.close()
    cache.put_many("n", {b"other": b"value"})
    cache.delete("n", b"key")
    cache.clear("n")
    cache.close()
    assert cache.get_many("n", [b"key", b"other"]) == [None, None]
