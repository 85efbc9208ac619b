"""A reply while it is written: frames at a page's pace, figures, an end in every case."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from jc1.errors import EngineFailed
from jc1.reply import Choice, Done, Event, Recalled, Reply, Token
from jc1.telemetry.context import current
from jc1.trace import Trace
from jc1_ui.components.live import FRAME_SECONDS, LiveReply
from tests.ui.conftest import until


def trace(tokens: int) -> Trace:
    made = Trace(owner="local", outcome="ok", first_token=0.25)
    made.usage.completion_tokens = tokens
    made.add("decode", 0.25, 2.0)
    return made


async def written(tokens: int, pause: float = 0.0) -> AsyncGenerator[Event, None]:
    yield Recalled(())
    for number in range(tokens):
        await asyncio.sleep(pause)
        yield Token(0, "a", (number,), reasoning="b")
        yield Token(1, "another choice", (number,))
    yield Done(Reply((Choice(0, "a" * tokens, "stop", reasoning="b" * tokens),), trace(tokens)))


async def failing(error: Exception) -> AsyncGenerator[Event, None]:
    yield Token(0, "begun", (1,))
    raise error


def started(events: AsyncGenerator[Event, None]) -> LiveReply:
    reply = LiveReply(events)
    reply.start()
    return reply


async def look(reply: LiveReply) -> list[dict[str, Any]]:
    return [{"stage": f.stage, "text": f.text, "tokens": f.tokens} async for f in reply.frames()]


async def test_frames_show_the_first_choice_growing_and_the_last_is_whole() -> None:
    reply = started(written(30, pause=0.02))
    seen = [frame["text"] for frame in await look(reply)]
    assert seen == sorted(seen)
    assert len(set(seen)) > 2
    assert seen[-1] == reply.text == "a" * 30
    assert reply.reasoning == "b" * 30
    assert reply.finished
    assert not reply.stopped


async def test_a_quick_engine_does_not_flood_the_page() -> None:
    began = asyncio.get_running_loop().time()
    frames = await look(started(written(5_000)))
    passed = asyncio.get_running_loop().time() - began
    assert len(frames) <= 2 + passed / FRAME_SECONDS


async def test_stages_follow_the_events() -> None:
    reply = started(written(2, pause=0.15))
    stages = [frame["stage"] for frame in await look(reply)]
    assert stages[0] == "prefill"
    assert stages[-1] == "decode"
    assert stages == sorted(stages, reverse=True)


async def test_figures_of_a_whole_reply_are_the_traces() -> None:
    reply = started(written(5))
    await look(reply)
    assert (reply.first_token, reply.tokens_per_second, reply.tokens) == (0.25, 2.0, 5)


async def test_figures_of_an_unfinished_reply_are_measured_here() -> None:
    reply = started(written(1000, pause=0.01))
    assert (reply.first_token, reply.tokens_per_second) == (None, None)
    async for frame in reply.frames():
        if frame.tokens > 10:
            break
    assert 0 < reply.first_token < 10
    assert 0 < reply.tokens_per_second <= 100
    reply.stop()


async def test_stop_ends_a_silent_engine_and_closes_its_stream() -> None:
    silent, closed = asyncio.Event(), asyncio.Event()

    async def never() -> AsyncGenerator[Event, None]:
        try:
            silent.set()
            await asyncio.Event().wait()
            yield Recalled(())
        finally:
            closed.set()

    reply = started(never())
    await silent.wait()
    reply.stop()
    await look(reply)
    assert (reply.stopped, reply.finished, closed.is_set()) == (True, True, True)


async def test_a_page_that_looks_away_stops_the_reply() -> None:
    reply = started(written(100_000, pause=0.001))
    frames = reply.frames()
    await anext(frames)
    await frames.aclose()
    await until(lambda: reply.finished)
    assert reply.stopped


async def test_stopping_a_reply_that_is_over_changes_nothing() -> None:
    reply = started(written(3))
    await look(reply)
    reply.stop()
    assert not reply.stopped


@pytest.mark.parametrize("begun", [False, True])
async def test_a_reply_that_is_stopped_before_its_first_step_is_over(begun: bool) -> None:
    reply = LiveReply(written(3))
    if begun:
        reply.start()
    reply.leave()
    if not begun:
        reply.start()
    assert [frame["text"] for frame in await look(reply)] == [""]
    assert (reply.left, reply.stopped, reply.finished) == (True, True, True)


async def test_a_reply_is_written_under_the_id_of_its_key() -> None:
    requests = []

    async def noting() -> AsyncGenerator[Event, None]:
        requests.append(current())
        yield Recalled(())

    reply = LiveReply(noting(), "0123456789ab")
    reply.start()
    await look(reply)
    assert [request.key for request in requests if request] == ["0123456789ab"]
    assert current() is None


async def test_our_errors_are_kept_as_they_are() -> None:
    error = EngineFailed("The engine broke: start it again.")
    reply = started(failing(error))
    await look(reply)
    assert reply.error is error
    assert reply.text == "begun"


async def test_the_text_of_a_foreign_exception_is_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    reply = started(failing(RuntimeError("password=1234")))
    with caplog.at_level(logging.ERROR):
        await look(reply)
    assert reply.error.code == "internal_error"
    assert "1234" not in reply.error.message
    assert "1234" in caplog.text
