"""What is Redis's own: its keys, a server that is away, refuses or hangs, and what was to be removed meanwhile."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jc1.cache.breaker import Breaker
from jc1.cache.redis import LONGEST_SECONDS, RedisCache
from jc1.errors import InvalidSettings
from tests.support.redis_server import RedisServer, running

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def own_server() -> Iterator[RedisServer]:
    with running() as server:
        yield server


@pytest.fixture
def server(own_server: RedisServer) -> Iterator[RedisServer]:
    """A server that a test may stop, kill or reconfigure."""
    yield own_server
    own_server.kill()
    own_server.start()


@pytest.fixture
def cache(server: RedisServer) -> Iterator[RedisCache]:
    """One that waits half a second for a server that hangs, and tries again at once."""
    made = RedisCache(f"{server.address}?socket_timeout=0.5", breaker=Breaker(failures=1, seconds=0))
    yield made
    made.close()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_keys_have_a_prefix_and_an_end_and_others_are_left_alone(redis_server: RedisServer) -> None:
    cache = RedisCache(redis_server.url)
    with redis_server.client() as client:
        client.mset({"somebody's": "own", "n\0key": "not ours"})
        cache.put_many("n", {b"key": b"value", b"short": b"value"})
        cache.put_many("n", {b"short": b"value"}, ttl=10)
        assert sorted(client.scan_iter("jc1:*")) == [b"jc1:n\0key", b"jc1:n\0short"]
        assert 0 < client.pttl("jc1:n\0short") <= 10_000 < client.pttl("jc1:n\0key") <= LONGEST_SECONDS * 1000
        cache.clear("n")
        assert sorted(client.scan_iter()) == [b"n\0key", b"somebody's"]
    cache.close()


def test_a_namespace_larger_than_one_step_of_the_scan_is_cleared_whole(redis_server: RedisServer) -> None:
    cache = RedisCache(redis_server.url)
    cache.put_many("n", {str(i).encode(): b"value" for i in range(3500)})
    cache.put_many("kept", {str(i).encode(): b"value" for i in range(3500)})
    cache.clear("n")
    with redis_server.client() as client:
        assert client.dbsize() == 3500
    cache.close()


def test_a_server_that_is_away_means_misses_and_one_warning_until_it_is_back(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "jc1.cache.redis")
    now = 0.0
    cache = RedisCache(server.url, breaker=Breaker(clock=lambda: now))
    cache.put_many("n", {b"key": b"value"})
    server.kill()
    for _ in range(4):
        assert cache.get_many("n", [b"key", b"other"]) == [None, None]
        cache.put_many("n", {b"key": b"lost"})
        cache.delete("n", b"key")
        cache.clear("n")
    assert cache.state == "open"
    server.start()
    cache.put_many("n", {b"key": b"lost too"})
    assert cache.get("n", b"key") is None
    now += 5
    cache.put_many("n", {b"key": b"new"})
    assert (cache.get("n", b"key"), cache.state) == (b"new", "closed")
    cache.close()
    assert [record.getMessage() for record in caplog.records] == [
        "The cache does not answer (ConnectionError): JC1 goes on without it.",
        "The cache answers again.",
    ]


def test_connections_that_the_server_closed_or_lost_cost_no_lookup(server: RedisServer) -> None:
    cache = RedisCache(server.url)
    cache.put_many("n", {b"key": b"value"})
    with server.client() as client:
        client.client_kill_filter(_type="normal", skipme=True)
    assert cache.get("n", b"key") == b"value"
    server.signal(signal.SIGSTOP)
    threads = [threading.Thread(target=cache.get, args=("n", b"key")) for _ in range(5)]
    for thread in threads:
        thread.start()
    server.signal(signal.SIGCONT)
    for thread in threads:
        thread.join(60)
    failed = cache.lookups.totals()["other", "error"]
    server.kill()
    server.start()
    for _ in range(5):
        assert cache.get("n", b"key") is None
    assert cache.lookups.totals()["other", "error"] == failed
    assert cache.state == "closed"
    cache.close()


@pytest.mark.parametrize("how", ["delete", "clear"])
def test_what_was_removed_while_the_server_hung_does_not_come_back(
    server: RedisServer, cache: RedisCache, how: str
) -> None:
    cache.put_many("n", {b"stale": b"value", b"other": b"value"})
    cache.put_many("kept", {b"key": b"value"})
    server.signal(signal.SIGSTOP)
    if how == "clear":
        cache.clear("n")
    else:
        cache.delete("n", b"stale")
    assert not cache.vacuum()
    assert cache.get("n", b"stale") is None
    server.signal(signal.SIGCONT)
    assert cache.get("n", b"stale") is None
    assert cache.vacuum()
    assert cache.get("kept", b"key") == b"value"
    with server.client() as client:
        assert client.exists("jc1:n\0stale") == 0
    cache.put_many("n", {b"stale": b"new"})
    assert cache.get("n", b"stale") == b"new"


def test_a_server_that_removes_nothing_is_not_read_from(
    server: RedisServer, cache: RedisCache, caplog: pytest.LogCaptureFixture
) -> None:
    cache.put_many("n", {b"stale": b"value", b"other": b"value"})
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-unlink")
        cache.delete("n", b"stale")
        assert cache.get_many("n", [b"stale", b"other"]) == [None, None]
        client.execute_command("ACL", "SETUSER", "default", "+unlink")
    assert cache.get_many("n", [b"stale", b"other"]) == [None, None]
    assert warnings(caplog) == ["The cache refuses what it is asked (NoPermissionError): see the Redis server's log."]


def test_a_full_server_loses_writes_and_goes_on_to_be_read(
    server: RedisServer, cache: RedisCache, caplog: pytest.LogCaptureFixture
) -> None:
    cache.put_many("n", {b"early": b"value"})
    with server.client() as client:
        client.config_set("maxmemory", "1")
    cache.put_many("n", {b"key": b"value"})
    cache.put_many("n", {b"more": b"value"})
    assert cache.get_many("n", [b"early", b"key", b"more"]) == [b"value", None, None]
    assert cache.state == "closed"
    assert warnings(caplog) == ["The cache refuses what it is asked (OutOfMemoryError): see the Redis server's log."]


def test_what_is_owed_when_it_is_closed_is_tried_once_more_or_told(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    hasty = f"{server.address}?socket_timeout=0.5"
    hung, closed = (RedisCache(hasty, breaker=Breaker(failures=1, seconds=1000)) for _ in range(2))
    hung.put_many("n", {b"a": b"value", b"b": b"value"})
    closed.put_many("n", {b"c": b"value"})
    server.signal(signal.SIGSTOP)
    hung.delete("n", b"a")
    closed.delete("n", b"c")
    closed.close()
    server.signal(signal.SIGCONT)
    hung.close()
    with server.client() as client:
        assert client.exists("jc1:n\0a") == 0
    (told,) = [message for message in warnings(caplog) if "closed" in message]
    assert told.startswith("The cache did not answer (TimeoutError)")


def test_a_password_is_used_and_a_wrong_one_is_neither_logged_nor_raised(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with running("--requirepass", "s3cret") as server:
        right, wrong = RedisCache(f"{server.url}&password=s3cret"), RedisCache(f"{server.url}&password=s3cret-not")
        right.put_many("n", {b"key": b"value"})
        assert right.get("n", b"key") == b"value"
        assert [wrong.get("n", b"key") for _ in range(4)] == [None] * 4
        assert wrong.state == "open"
        right.close()
        wrong.close()
    assert "AuthenticationError" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "http://ann:s3cret@host",
        "redis://:s3cret@host:port",
        "redis://:s3cret@host/0?socket_timeout=soon",
        "redis://:s3cret@host?colour=red",
        "",
    ],
)
def test_a_url_that_cannot_be_read_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(InvalidSettings, match="redis_url") as caught:
        RedisCache(url)
    assert "s3cret" not in caught.value.message


def test_threads_that_lose_the_server_all_find_it_again(server: RedisServer) -> None:
    cache = RedisCache(server.url, breaker=Breaker(seconds=0.01))
    cache.put_many("n", {b"key": b"value"})
    lost, back = threading.Barrier(9), threading.Barrier(9)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            while cache.get("n", b"key") is not None:
                pass
            lost.wait(60)
            back.wait(60)
            while cache.get("n", b"key") is None:
                cache.put_many("n", {b"key": b"value"})
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    server.kill()
    lost.wait(60)
    server.start()
    back.wait(60)
    for thread in threads:
        thread.join(60)
    assert failed == []
    assert cache.state == "closed"
    cache.close()


def test_a_forked_process_has_connections_of_its_own(redis_server: RedisServer) -> None:
    script = """
import os, sys
from jc1.cache.redis import RedisCache
cache = RedisCache(sys.argv[1])
cache.put_many("n", {b"key": b"value"})
child = os.fork()
if child == 0:
    right = all(cache.get("n", b"key") == b"value" for _ in range(200))
    cache.close()
    os._exit(0 if right else 1)
right = all(cache.get("n", b"none") is None for _ in range(200))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert right and cache.get("n", b"key") == b"value"
cache.close()
"""
    subprocess.run([sys.executable, "-c", script, redis_server.url], cwd=ROOT, check=True)
