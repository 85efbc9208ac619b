"""Reading aloud: a text, and a reply while it is being written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import pytest

from jc1.errors import EngineFailed, InvalidRequest, NothingToSay, UnknownVoice
from jc1.reply import Event, Spoken, Token
from jc1.speech.aloud import EVENTS_AHEAD, Aloud, read
from jc1.speech.base import Speaking
from jc1.speech.piper import Piper
from jc1.trace import Trace


class Writing:
    """A reply that is written as far as the test lets it."""

    def __init__(self, first: str, then: str, *, error: Exception | None = None) -> None:
        self._first, self._then, self._error = first, then, error
        self.may_go_on = asyncio.Event()
        self.closed = False
        self.written = 0

    async def pieces(self) -> AsyncGenerator[Event, None]:
        try:
            yield Token(0, self._first)
            await self.may_go_on.wait()
            if self._error:
                raise self._error
            for letter in self._then:
                self.written += 1
                yield Token(0, letter)
        finally:
            self.closed = True


def texts(events: Sequence[Event]) -> tuple[str, str]:
    """Return what was written, and what was said."""
    written = "".join(event.text for event in events if isinstance(event, Token))
    return written, "".join(event.text for event in events if isinstance(event, Spoken))


async def test_a_sentence_is_said_while_the_next_ones_are_being_written(piper: Piper) -> None:
    writing, trace = Writing("All is well. The", " cat sleeps."), Trace(owner="a")
    aloud = Aloud(piper, Speaking(), trace)
    events: list[Event] = []
    async with aclosing(aloud.over(writing.pieces())) as spoken:
        async for event in spoken:
            events.append(event)
            if isinstance(event, Spoken):
                writing.may_go_on.set()  # the reply is not written before its first sentence is heard
    assert texts(events) == ("All is well. The cat sleeps.",) * 2
    assert aloud.said == "All is well. The cat sleeps."
    assert 0 < trace.first_audio <= trace.elapsed()  # type: ignore[operator]
    assert [span.stage for span in trace.spans] == ["speak"] * len([e for e in events if isinstance(e, Spoken)])


async def test_who_closes_stops_the_writing_and_what_was_said_is_known(piper: Piper) -> None:
    writing = Writing("All is well. The", " cat sleeps.")
    aloud = Aloud(piper, Speaking(), Trace(owner="a"))
    async with aclosing(aloud.over(writing.pieces())) as events:
        async for event in events:
            if isinstance(event, Spoken):
                break
    assert writing.closed
    assert aloud.said == "All is well. "


async def test_who_is_cancelled_stops_the_writing(piper: Piper) -> None:
    writing = Writing("All is", " well.")
    aloud = Aloud(piper, Speaking(), Trace(owner="a"))
    read_first = asyncio.Event()

    async def listen() -> None:
        async with aclosing(aloud.over(writing.pieces())) as events:
            async for _ in events:
                read_first.set()

    listening = asyncio.create_task(listen())
    await read_first.wait()
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening
    assert writing.closed
    assert aloud.said == ""


async def test_what_breaks_the_writing_reaches_who_listens(piper: Piper) -> None:
    writing = Writing("All is", "", error=EngineFailed("broken"))
    writing.may_go_on.set()
    async with aclosing(Aloud(piper, Speaking(), Trace(owner="a")).over(writing.pieces())) as events:
        assert await anext(events) == Token(0, "All is")
        with pytest.raises(EngineFailed, match="broken"):
            await anext(events)


async def test_who_reads_slowly_makes_the_writing_wait(piper: Piper) -> None:
    writing = Writing("a", "b" * 10 * EVENTS_AHEAD)
    writing.may_go_on.set()
    async with aclosing(Aloud(piper, Speaking(), Trace(owner="a")).over(writing.pieces())) as events:
        await anext(events)
        for _ in range(20 * EVENTS_AHEAD):  # turns of the loop, in each of which it could write
            await asyncio.sleep(0)
        assert writing.written <= EVENTS_AHEAD + 2


async def test_only_the_first_choice_is_read_out_and_no_reasoning(piper: Piper) -> None:
    async def pieces() -> AsyncGenerator[Event, None]:
        yield Token(1, "Not this. ")
        yield Token(0, "", reasoning="Nor this. ")
        yield Token(0, "But this.")

    async with aclosing(Aloud(piper, Speaking(), Trace(owner="a")).over(pieces())) as events:
        said = [event.text async for event in events if isinstance(event, Spoken)]
    assert said == ["But this."]


def test_a_text_is_read_sentence_by_sentence(piper: Piper) -> None:
    sounds = list(read(piper, "**All** is well. The cat sleeps.", Speaking(speed=1.5)))
    assert len(sounds) == 2


def test_a_text_without_a_word_is_refused(piper: Piper) -> None:
    with pytest.raises(NothingToSay):
        list(read(piper, "😀 ...", Speaking()))


@pytest.mark.parametrize("speed", [0.1, 5, float("nan")])
def test_a_voice_or_a_speed_that_cannot_be_had_is_refused_before_a_word_is_said(piper: Piper, speed: float) -> None:
    with pytest.raises(UnknownVoice, match=r"'nobody'.*en_US-joe-medium"):
        list(read(piper, "Yes.", Speaking(voice="nobody")))
    with pytest.raises(InvalidRequest, match=r"goes from 0\.25 to 4"):
        list(read(piper, "Yes.", Speaking(speed=speed)))
