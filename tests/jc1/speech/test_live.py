"""A hands-free talk: turns that end by themselves, and replies that are broken off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import numpy as np
import pytest

from jc1.errors import DamagedAudio, NoSpeech, RequestTooLarge
from jc1.messages import PCM, AudioPart
from jc1.reply import Event, Spoken
from jc1.speech.activity import Knobs
from jc1.speech.base import HEARING_RATE, Audio
from jc1.speech.live import FRAME_BYTES, Failed, Interrupted, Manners, Talk, TalkEvent, TurnBegan, TurnEnded
from tests.support.sounds import silence

FRAME = HEARING_RATE // 10


class Replies:
    """Answers every turn with so many seconds of sound, and notes what it was asked and how it ended."""

    def __init__(self, seconds: int = 1) -> None:
        self.seconds = seconds
        self.asked: list[float] = []
        self.broken_off = 0

    async def __call__(self, part: AudioPart) -> AsyncGenerator[Event, None]:
        assert part.media_type == PCM
        self.asked.append(len(part.data) / 2 / HEARING_RATE)
        try:
            for number in range(self.seconds):
                yield Spoken(f"{number} ", silence(1.0))
        except (GeneratorExit, asyncio.CancelledError):
            self.broken_off += 1
            raise


async def hear(talk: Talk, *sounds: Audio) -> None:
    """Feed a talk with sounds, a tenth of a second at a time."""
    for sound in sounds:
        samples = (sound.samples * 32767).astype("<i2")
        for start in range(0, len(samples), FRAME):
            await talk.feed(samples[start : start + FRAME].tobytes())
            await asyncio.sleep(0)  # as frames over a network come: others run between them


async def told(talk: Talk) -> list[TalkEvent]:
    """Close a talk and return what it has to tell."""
    await talk.close()
    async with aclosing(talk.events()) as events:
        return [event async for event in events]


@pytest.fixture(scope="module")
def sentence(say: Callable[[str], Audio]) -> Audio:
    return say("The walrus sleeps on the ice today.")


async def test_a_turn_ends_when_the_person_is_silent_and_is_answered_with_what_was_said(sentence: Audio) -> None:
    replies = Replies()
    talk = Talk(replies)
    await hear(talk, silence(1.0), sentence, silence(1.0))
    began, ended, *rest = await told(talk)
    assert isinstance(began, TurnBegan)
    assert isinstance(ended, TurnEnded)
    assert 0.5 < began.start < 1.3
    assert ended.end == pytest.approx(1.0 + sentence.seconds, abs=0.5)
    assert [type(event) for event in rest] == [Spoken]
    assert replies.asked == [pytest.approx(sentence.seconds, abs=0.8)]


async def test_who_says_nothing_is_not_answered() -> None:
    replies = Replies()
    talk = Talk(replies)
    noise = np.random.default_rng(1).standard_normal(5 * HEARING_RATE) * 0.01
    await hear(talk, silence(5.0), Audio(noise.astype(np.float32), HEARING_RATE))
    assert await told(talk) == []
    assert replies.asked == []


async def test_a_reply_is_broken_off_when_the_person_speaks_and_the_person_is_answered(sentence: Audio) -> None:
    replies = Replies(seconds=60)
    talk = Talk(replies)
    await hear(talk, sentence, silence(1.0))
    await hear(talk, sentence, silence(1.0))
    kinds = [type(event) for event in await told(talk) if not isinstance(event, Spoken)]
    assert kinds == [TurnBegan, TurnEnded, TurnBegan, Interrupted, TurnEnded]
    assert len(replies.asked) == 2
    assert replies.broken_off == 2  # the second by the talk's end


async def test_a_short_sound_breaks_no_reply_off(say: Callable[[str], Audio]) -> None:
    replies = Replies(seconds=60)
    talk = Talk(replies, Manners(min_interruption_duration=3.0))
    await hear(talk, say("What do you think of the weather?"), silence(1.0), say("Yes."), silence(1.0))
    assert not [event for event in await told(talk) if isinstance(event, Interrupted)]
    assert len(replies.asked) == 1


async def test_sound_is_handed_out_a_little_before_it_is_due(sentence: Audio) -> None:
    """So that what a person interrupts was hardly heard, and memory keeps little that was not."""
    replies = Replies(seconds=60)
    talk = Talk(replies, Manners(lead=2.0))
    await hear(talk, sentence, silence(1.0))
    spoken = [event for event in await told(talk) if isinstance(event, Spoken)]
    # Two seconds ahead, the one that is playing, and what the test itself took.
    assert 2 <= len(spoken) < 20


async def test_who_goes_on_before_the_answer_is_heard_is_answered_for_all_that_was_said(sentence: Audio) -> None:
    waiting = asyncio.Event()
    asked: list[float] = []

    async def reply(part: AudioPart) -> AsyncGenerator[Event, None]:
        asked.append(len(part.data) / 2 / HEARING_RATE)
        await waiting.wait()
        yield Spoken("", None)

    talk = Talk(reply)
    await hear(talk, sentence, silence(0.8), sentence, silence(1.0))
    await talk.close()
    assert len(asked) == 2
    assert asked[1] == pytest.approx(2 * asked[0], rel=0.3)


async def test_a_turn_that_fails_is_told_and_the_talk_goes_on(sentence: Audio) -> None:
    failures = iter([NoSpeech(), ValueError("secret")])

    async def reply(part: AudioPart) -> AsyncGenerator[Event, None]:
        if (failure := next(failures, None)) is not None:
            raise failure
        yield Spoken("Yes.", silence(0.1))

    talk = Talk(reply)
    for _ in range(3):
        await hear(talk, sentence, silence(1.0))
    outcomes = [event for event in await told(talk) if isinstance(event, Failed | Spoken)]
    assert [event.error.code if isinstance(event, Failed) else "spoken" for event in outcomes] == [
        "no_speech",
        "speech_failed",
        "spoken",
    ]
    assert "secret" not in str(outcomes)


async def test_a_turn_without_end_is_answered_as_far_as_it_goes(sentence: Audio) -> None:
    replies = Replies()
    talk = Talk(replies, Manners(knobs=Knobs(min_silence_duration=9.0), max_turn_duration=3.0))
    await hear(talk, sentence, silence(0.3), sentence, silence(0.3), sentence)
    await talk.close()
    assert replies.asked
    assert max(replies.asked) < 4


async def test_an_hour_of_silence_takes_no_more_memory_than_a_second() -> None:
    talk = Talk(Replies())
    for _ in range(100):
        await talk.feed(bytes(FRAME_BYTES))
    assert len(talk._sound) <= 3 * 2 * HEARING_RATE


@pytest.mark.parametrize(("frame", "error"), [(b"abc", DamagedAudio), (bytes(FRAME_BYTES + 2), RequestTooLarge)])
async def test_a_frame_that_is_none_is_refused(frame: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        await Talk(Replies()).feed(frame)
