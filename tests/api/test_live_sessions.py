"""The talks that are open: whose they are, how many, and when they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from jc1.access.principal import Principal
from jc1.errors import Conflict, Overloaded, UnknownSession
from jc1.messages import AudioPart
from jc1.reply import Event
from jc1.speech.live import Talk
from jc1_api import live_sessions
from jc1_api.live_sessions import Talks

ANN = Principal("ann", frozenset({"chat", "speech"}), key="1")
BOB = Principal("bob", frozenset({"chat", "speech"}), key="2")


async def nothing(part: AudioPart) -> AsyncGenerator[Event, None]:
    """Reply nothing."""
    for event in ():
        yield event


async def test_a_talk_that_gets_no_frame_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_sessions, "IDLE_SECONDS", 0.05)
    talks = Talks()
    entry = talks.add(Talk(nothing), ANN)
    assert [event async for event in entry.events()] == []
    assert len(talks) == 0


async def test_a_talk_ends_when_it_has_lasted_for_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_sessions, "LONGEST_SECONDS", 0.05)
    entry = Talks().add(Talk(nothing), ANN)
    assert [event async for event in entry.events()] == []


async def test_a_talk_is_its_callers_own() -> None:
    talks = Talks()
    entry = talks.add(Talk(nothing), ANN)
    assert talks.get(entry.id, ANN) is entry
    with pytest.raises(UnknownSession):
        talks.get(entry.id, BOB)
    await talks.aclose()
    with pytest.raises(UnknownSession):
        talks.get(entry.id, ANN)


async def test_more_talks_than_may_be_are_refused_until_one_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_sessions, "MOST_TALKS", 1)
    talks = Talks()
    first = talks.add(Talk(nothing), ANN)
    with pytest.raises(Overloaded):
        talks.add(Talk(nothing), BOB)
    await first.close()
    await talks.add(Talk(nothing), BOB).close()


async def test_a_talk_has_one_listener() -> None:
    talks = Talks()
    entry = talks.add(Talk(nothing), ANN)
    listening = asyncio.create_task(anext(entry.events(), None))
    await asyncio.sleep(0)  # it waits for an event now
    with pytest.raises(Conflict):
        await anext(entry.events())
    await talks.aclose()
    assert await listening is None
