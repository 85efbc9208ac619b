"""A minute's counter: in this process, in a Redis that several share, and while that is down."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest

from jc1.access.rates import Rates
from jc1.cache.breaker import Breaker
from tests.support.redis_server import RedisServer, running


@pytest.fixture(params=["own", "redis"])
async def rates(request: pytest.FixtureRequest) -> AsyncIterator[Rates]:
    url = None if request.param == "own" else request.getfixturevalue("redis_server").url
    made = Rates(url)
    yield made
    await made.close()


async def test_as_much_is_taken_as_the_limit_allows_and_what_is_left_is_told(rates: Rates) -> None:
    first = await rates.take("k", 10, 6)
    assert (first.granted, first.budget.limit, first.budget.remaining) == (True, 10, 4)
    assert 55 < first.budget.reset <= 60
    refused = await rates.take("k", 10, 5)
    assert (refused.granted, refused.budget.remaining) == (False, 4)
    await refused.correct(0)
    assert (await rates.take("k", 10, 4)).granted, "what was refused took nothing"
    assert not (await rates.take("k", 10, 1)).granted, "and gives nothing back"
    assert (await rates.take("other", 10, 10)).granted


async def test_what_was_not_used_is_given_back_and_what_was_used_besides_is_taken(rates: Rates) -> None:
    taken = await rates.take("k", 100, 90)
    await taken.correct(20)
    assert (await rates.take("k", 100, 70)).budget.remaining == 10
    await taken.correct(50)
    refused = await rates.take("k", 100, 1)
    assert (refused.granted, refused.budget.remaining) == (False, 0)
    await taken.correct(0)
    assert (await rates.take("k", 100, 30)).budget.remaining == 0


async def test_what_was_taken_from_a_minute_that_is_over_is_not_given_back_to_the_next(
    rates: Rates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jc1.access.rates.WINDOW_SECONDS", 1)
    taken = await rates.take("k", 10, 9)
    await asyncio.sleep(1.1)  # the store's clock
    await taken.correct(1)
    assert (await rates.take("k", 10, 10)).granted
    assert not (await rates.take("k", 10, 1)).granted


async def test_in_the_last_second_of_a_minute_nothing_is_corrected(
    rates: Rates, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = await rates.take("k", 10, 9)
    for seconds, used, left in ((50, 5, 5), (59.5, 1, 5)):
        later = SimpleNamespace(time=time.time, monotonic=lambda by=seconds: time.monotonic() + by)
        monkeypatch.setattr("jc1.access.rates.time", later)
        await taken.correct(used)
        assert (await rates.take("k", 10, 11)).budget.remaining == left


async def test_what_no_minute_could_give_is_refused_and_begins_none(rates: Rates) -> None:
    refused = await rates.take("k", 10, 11)
    assert (refused.granted, refused.budget.remaining, refused.budget.reset) == (False, 10, 0)


async def test_in_redis_the_counters_stand_apart_from_what_else_is_there(redis_server: RedisServer) -> None:
    rates = Rates(redis_server.url)
    await rates.take("key/a/requests", 10, 1)
    await rates.close()
    with redis_server.client() as client:
        (key,) = client.keys()
    assert key.startswith(b"jc1:limits")


async def test_of_many_at_the_same_moment_exactly_as_many_are_granted_as_the_limit_says(rates: Rates) -> None:
    taken = await asyncio.gather(*(rates.take("k", 25, 1) for _ in range(60)))
    assert sum(one.granted for one in taken) == 25


TAKER = """
import asyncio, json, sys
from jc1.access.rates import Rates

async def main():
    rates = Rates(sys.argv[1])
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps([(await rates.take("k", 50, 1)).granted for _ in range(40)]))
    await rates.close()

asyncio.run(main())
"""


def test_two_processes_share_one_budget(redis_server: RedisServer) -> None:
    command = [sys.executable, "-c", TAKER, redis_server.url]
    takers = [subprocess.Popen(command, stdin=-1, stdout=-1, text=True) for _ in range(2)]
    for taker in takers:
        assert taker.stdout
        assert taker.stdout.readline() == "ready\n"
    granted = [json.loads(taker.communicate("go\n", timeout=60)[0]) for taker in takers]
    assert sum(map(sum, granted)) == 50


async def test_while_redis_is_down_this_process_counts_alone_says_so_once_and_goes_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "jc1.access.rates")
    now = 0.0
    with running() as server:
        rates = Rates(server.url, breaker=Breaker(clock=lambda: now))
        taken = await rates.take("k", 10, 3)
        server.kill()
        await taken.correct(1)
        assert [(await rates.take("k", 3, 1)).granted for _ in range(5)] == [True, True, True, False, False]
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        server.start()
        assert not (await rates.take("k", 3, 1)).granted, "it is left alone for a while"
        now = 60.0
        assert (await rates.take("k", 3, 1)).budget.remaining == 2
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
        await rates.close()
