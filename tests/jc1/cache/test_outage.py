"""Redis dies under real chats and comes back: no chat fails, and the cache is used again by itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from jc1 import Settings, Workbench
from jc1.access.keys import Keys
from jc1.cache.breaker import Breaker
from jc1.cache.redis import RedisCache
from jc1.cache.replies import ReplyCache
from jc1.database.keys import KeyRepository
from jc1.database.presets import PresetRepository
from jc1.embedding.base import Embedder
from jc1.embedding.cached import CachedEmbedder
from jc1.engines.echo import EchoEngine
from jc1.memory.store import DatabaseMemory
from jc1.presets import Presets
from jc1.sessions import Sessions
from jc1.telemetry import Telemetry
from tests.support.database import new_database
from tests.support.redis_server import RedisServer, running

AT_ONCE = 8


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with running() as made:
        yield made


@pytest.fixture
async def workbench(home: Path, embedder: Embedder, server: RedisServer) -> AsyncIterator[Workbench]:
    """Everything that is cached is cached in Redis, which is left alone for a twentieth of a second at a time."""
    settings = Settings(home=home, engine="echo", cache="redis", redis_url=server.url, cache_replies=3600)
    settings.prepare_home()
    database = new_database(home / "jc1.db")
    cache = RedisCache(settings.redis_url, breaker=Breaker(seconds=0.05))
    replies = ReplyCache(cache, settings)
    made = Workbench(
        settings,
        engine=EchoEngine(),
        memory=DatabaseMemory(database, CachedEmbedder(embedder, cache)),
        sessions=Sessions(database, cache=cache, on_delete=replies.forget),
        presets=Presets(PresetRepository(database)),
        keys=Keys(KeyRepository(database)),
        telemetry=Telemetry(cache=cache),
        replies=replies,
        resources=(cache,),
    )
    async with made:
        yield made


def figure(workbench: Workbench, name: str, **labels: str) -> float:
    found = workbench.telemetry.registry.get_sample_value(name, labels)
    assert found is not None
    return found


def state(workbench: Workbench) -> str:
    (breaker,) = [found for found in workbench.telemetry.registry.collect() if found.name == "jc1_cache_breaker"]
    (state,) = [sample.labels["state"] for sample in breaker.samples if sample.value]
    return state


def hits(workbench: Workbench, kind: str) -> float:
    return figure(workbench, "jc1_cache_lookups_total", kind=kind, result="hit")


async def test_chats_under_way_do_not_notice_that_redis_is_killed_and_started_again(
    workbench: Workbench, server: RedisServer
) -> None:
    stop, answered = asyncio.Event(), asyncio.Condition()
    outcomes: Counter[str] = Counter()

    async def talk(number: int) -> None:
        """The same few sentences again and again, half of them stored in a session."""
        turn = 0
        while not stop.is_set():
            turn += 1
            text = f"Sentence {turn % 5} of {number % 4}."
            session = f"s{number}.{turn // 30}" if turn % 2 else None
            reply = await workbench.pipeline.chat(
                text, owner=f"owner {number}", session=session, memory="on" if turn % 7 == 0 else "read"
            )
            async with answered:
                outcomes[reply.trace.outcome if reply.text == text else "wrong"] += 1
                answered.notify_all()

    async def until(condition: Callable[[], bool], chats: int = 1) -> None:
        """Return when the condition holds after at least so many more chats."""
        target = outcomes.total() + chats
        async with asyncio.timeout(60), answered:
            await answered.wait_for(lambda: outcomes.total() >= target and condition())

    async with asyncio.TaskGroup() as group:
        for number in range(AT_ONCE):
            group.create_task(talk(number))
        await until(lambda: hits(workbench, "embedding") > 0 and hits(workbench, "reply") > 0, chats=50)
        assert state(workbench) == "closed"

        await asyncio.to_thread(server.kill)
        await until(lambda: state(workbench) == "open")
        await until(lambda: True, chats=50)
        assert figure(workbench, "jc1_cache_lookups_total", kind="embedding", result="error") > 0
        before = hits(workbench, "embedding"), hits(workbench, "reply")

        await asyncio.to_thread(server.start)
        await until(lambda: state(workbench) == "closed")
        await until(lambda: hits(workbench, "embedding") > before[0] and hits(workbench, "reply") > before[1])
        stop.set()

    assert set(outcomes) == {"ok"}
    assert figure(workbench, "jc1_requests_total", outcome="ok", engine="echo", model="echo") == outcomes.total()
    assert figure(workbench, "jc1_requests_in_flight") == 0
