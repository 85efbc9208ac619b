"""Who has asked for as much as it may is told so, with what it needs to come back at the right time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jc1 import Settings
from jc1.access.limits import Limiter, duration
from jc1.access.principal import Limits, Principal
from jc1.access.usage import NO_KEY, Usage
from jc1.errors import RateLimited
from tests.support.redis_server import RedisServer

Made = Callable[..., Limiter]


@pytest.fixture
def hits() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def usage() -> Usage:
    return Usage()


@pytest.fixture
def limiter(home: Path, usage: Usage, hits: list[tuple[str, str]]) -> Made:
    def made(**settings: Any) -> Limiter:
        return Limiter(Settings(home=home, **settings), usage, on_hit=lambda *hit: hits.append(hit))

    return made


def key(name: str = "a", **limits: int) -> Principal:
    return Principal("ann", frozenset(), name, Limits(**limits))


async def refusal(limiter: Limiter, principal: Principal, tokens: int = 0, model: str = "tiny") -> RateLimited:
    with pytest.raises(RateLimited) as refused:
        await limiter.take(principal, model, tokens)
    return refused.value


async def test_a_key_that_reached_its_requests_is_refused_and_told_when_to_come_back(
    limiter: Made, hits: list[tuple[str, str]]
) -> None:
    made = limiter()
    for left in (1, 0):
        headers = (await made.take(key(requests_per_minute=2), "tiny", 0)).headers()
        assert headers["x-ratelimit-limit-requests"] == "2"
        assert headers["x-ratelimit-remaining-requests"] == str(left)
        assert headers["x-ratelimit-reset-requests"].endswith("s")
        assert "x-ratelimit-limit-tokens" not in headers
    error = await refusal(made, key(requests_per_minute=2))
    assert error.code == "rate_limit_exceeded"
    assert 50 <= int(error.headers["retry-after"]) <= 60
    assert error.headers["x-ratelimit-remaining-requests"] == "0"
    assert hits == [("requests_per_minute", "key")]
    await made.take(key("b", requests_per_minute=2), "tiny", 0)


async def test_a_keys_own_limit_takes_the_place_of_the_settings_and_without_keys_all_are_one(limiter: Made) -> None:
    made = limiter(requests_per_minute=1)
    for _ in range(3):
        await made.take(key(requests_per_minute=3), "tiny", 0)
    await made.take(key("b", tokens_per_minute=10), "tiny", 1)
    await refusal(made, key("b", tokens_per_minute=10), 1)
    await made.take(Principal("ann", frozenset()), "tiny", 0)
    assert "retry-after" in (await refusal(made, Principal("ben", frozenset()))).headers


async def test_tokens_are_taken_as_estimated_and_what_was_not_used_is_given_back(limiter: Made) -> None:
    made, ann = limiter(), key(tokens_per_minute=100)
    grant = await made.take(ann, "tiny", 80)
    assert grant.headers()["x-ratelimit-remaining-tokens"] == "20"
    error = await refusal(made, ann, 30)
    assert "20 are left" in error.message
    await grant.settle(10)
    assert (await made.take(ann, "tiny", 90)).headers()["x-ratelimit-remaining-tokens"] == "0"


async def test_what_was_used_beyond_the_estimate_is_taken_too(limiter: Made) -> None:
    made, ann = limiter(), key(tokens_per_minute=100)
    await (await made.take(ann, "tiny", 10)).settle(150)
    assert (await refusal(made, ann, 1)).headers["x-ratelimit-remaining-tokens"] == "0"


async def test_a_request_that_no_minute_could_serve_is_told_so_and_not_to_come_back(limiter: Made) -> None:
    error = await refusal(limiter(), key(tokens_per_minute=100), 101)
    assert "max_tokens" in error.message
    assert "retry-after" not in error.headers
    assert error.headers["x-should-retry"] == "false"


async def test_what_one_limit_refuses_takes_nothing_from_the_others(limiter: Made, usage: Usage) -> None:
    made = limiter(model_limits={"tiny": {"tokens_per_minute": 50}})
    ann = key(requests_per_minute=2, tokens_per_minute=100, tokens_per_day=1000, concurrent=1)
    await refusal(made, ann, 60)
    await refusal(made, ann, 60)
    grant = await made.take(ann, "tiny", 50)
    assert grant.headers()["x-ratelimit-remaining-requests"] == "1"


async def test_what_a_models_limit_refuses_a_key_may_still_spend_elsewhere(limiter: Made) -> None:
    made = limiter(model_limits={"tiny": {"tokens_per_minute": 50}})
    ann = key(requests_per_minute=3, tokens_per_minute=100)
    await made.take(ann, "large", 0)
    await refusal(made, ann, 60)
    headers = (await made.take(ann, "large", 100)).headers()
    assert headers["x-ratelimit-remaining-tokens"] == "0"
    assert headers["x-ratelimit-remaining-requests"] == "1"


async def test_a_models_limit_holds_for_all_keys_together(limiter: Made, hits: list[tuple[str, str]]) -> None:
    made = limiter(model_limits={"tiny": {"requests_per_minute": 2}})
    await made.take(key("a"), "tiny", 0)
    await made.take(key("b"), "tiny", 0)
    assert "all callers" in (await refusal(made, key("c"))).message
    assert hits == [("requests_per_minute", "model")]
    await made.take(key("c"), "large", 0)


async def test_the_tokens_of_a_day_are_those_used_and_those_that_running_requests_may_use(
    limiter: Made, usage: Usage
) -> None:
    made, ann = limiter(), key(tokens_per_day=100)
    usage.record("a", "large", prompt_tokens=30, completion_tokens=20)
    grant = await made.take(ann, "tiny", 40)
    assert grant.headers()["x-ratelimit-remaining-tokens"] == "10"
    error = await refusal(made, ann, 11)
    assert int(error.headers["retry-after"]) == pytest.approx(86_400 - time.time() % 86_400, abs=30)
    assert error.headers["x-ratelimit-remaining-tokens"] == "10"
    usage.record("a", "tiny", prompt_tokens=5)
    await grant.settle(5)
    assert (await made.take(ann, "tiny", 45)).headers()["x-ratelimit-remaining-tokens"] == "0"
    await refusal(made, ann, 1)
    usage.record("a", "tiny", completion_tokens=500)
    assert (await refusal(made, ann, 1)).headers["x-ratelimit-remaining-tokens"] == "0"


async def test_without_keys_the_tokens_of_a_day_are_everybodys(limiter: Made, usage: Usage) -> None:
    made = limiter(tokens_per_day=100)
    usage.record(NO_KEY, "tiny", prompt_tokens=90)
    assert "retry-after" in (await refusal(made, Principal("ann", frozenset()), 11)).headers
    await made.take(Principal("ben", frozenset()), "tiny", 10)


@pytest.mark.parametrize("limit", ["tokens_per_minute", "tokens_per_day"])
async def test_a_request_that_needs_more_than_was_estimated_takes_it_where_a_limit_leaves_it(
    limiter: Made, limit: str
) -> None:
    held: dict[str, Any] = {limit: 100}
    made, ann = limiter(), key(**held)
    grant = await made.take(ann, "tiny", 10)
    for needed in (60, 20):  # less than it took already changes nothing
        await grant.raise_to(needed)
        assert (await refusal(made, ann, 41)).headers["x-ratelimit-remaining-tokens"] == "40"
    other = await made.take(ann, "tiny", 40)
    with pytest.raises(RateLimited):
        await grant.raise_to(61)
    await grant.settle(0)
    await other.settle(0)
    await made.take(ann, "tiny", 100)


@pytest.mark.parametrize("asking", [key(), Principal("ann", frozenset())], ids=["key", "no key"])
async def test_a_request_that_asks_no_model_is_one_of_the_callers_requests(limiter: Made, asking: Principal) -> None:
    made = limiter(requests_per_minute=2)
    await made.take(asking, "tiny", 0)
    await made.take_request(asking)
    await refusal(made, asking)
    with pytest.raises(RateLimited):
        await made.take_request(asking)


async def test_a_request_counts_once_whether_it_runs_or_is_over(limiter: Made) -> None:
    made, ann = limiter(), key(requests_per_minute=2)
    for left in ("1", "0"):
        grant = await made.take(ann, "tiny", 0)
        assert grant.headers()["x-ratelimit-remaining-requests"] == left
        await grant.settle(0)
    await refusal(made, ann)


async def test_of_several_limits_of_the_same_thing_that_is_told_which_leaves_least(limiter: Made) -> None:
    made = limiter(model_limits={"small": {"tokens_per_minute": 20}, "large": {"tokens_per_minute": 500}})
    ann = key(tokens_per_minute=100)
    for model, limit, left in (("small", "20", "10"), ("large", "100", "80")):
        headers = (await made.take(ann, model, 10)).headers()
        assert headers["x-ratelimit-limit-tokens"] == limit
        assert headers["x-ratelimit-remaining-tokens"] == left


async def test_tokens_are_estimated_where_a_limit_counts_them_and_not_elsewhere(limiter: Made) -> None:
    made = limiter(model_limits={"tiny": {"tokens_per_minute": 50}, "large": {"requests_per_minute": 1}})
    assert made.holds_tokens(key(), "tiny")
    for limit in ("tokens_per_minute", "tokens_per_day"):
        held: dict[str, Any] = {limit: 1}
        assert made.holds_tokens(key(**held), "large")
        assert limiter(**held).holds_tokens(key(), "large")
    assert not made.holds_tokens(key(requests_per_minute=1, concurrent=1), "large")


async def test_only_so_many_replies_are_written_at_the_same_time(limiter: Made, hits: list[tuple[str, str]]) -> None:
    made, ann = limiter(), key(concurrent=2)
    first = await made.take(ann, "tiny", 0)
    await made.take(ann, "tiny", 0)
    assert (await refusal(made, ann)).headers["retry-after"] == "1"
    await made.take(key("b", concurrent=2), "tiny", 0)
    await first.settle(0)
    await made.take(ann, "tiny", 0)
    await refusal(made, ann)
    assert hits == [("concurrent", "key")] * 2


async def test_tokens_are_given_back_also_where_the_request_is_cancelled_meanwhile(limiter: Made) -> None:
    made, ann = limiter(), key(tokens_per_minute=100)
    grant = await made.take(ann, "tiny", 100)
    settling = asyncio.create_task(grant.settle(0))
    await asyncio.sleep(0)
    settling.cancel()
    await asyncio.gather(settling, return_exceptions=True)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others)
    await made.take(ann, "tiny", 100)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.0201, "21ms"), (1, "1s"), (1.5, "1.5s"), (59.9994, "60s"), (60, "1m0s"), (360, "6m0s"),
     (86_399, "23h59m59s")],
)  # fmt: skip
def test_times_are_written_as_openai_writes_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


async def test_servers_with_one_redis_share_a_keys_minute_and_serve_on_without_it(
    home: Path, limiter: Made, redis_server: RedisServer
) -> None:
    ann, shared = key(requests_per_minute=3), {"cache": "redis", "redis_url": redis_server.url}
    one, two = limiter(**shared), limiter(**shared)
    for made in (one, two, one):
        await made.take(ann, "tiny", 0)
    await refusal(two, ann)
    await limiter(redis_url=redis_server.url).take(ann, "tiny", 0)  # whose cache is its own, and so are its counters
    await one.close()
    await two.close()
    alone = limiter(cache="redis", redis_url=f"unix://{home}/nobody")
    for _ in range(3):
        await alone.take(ann, "tiny", 0)
    await refusal(alone, ann)
    await alone.close()
