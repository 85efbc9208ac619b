"""Hearing and speaking, as strangers may ask for them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from jc1 import Message, Settings, Workbench
from jc1.access.estimates import scopes_of, tokens_of
from jc1.access.principal import Limits, Principal
from jc1.access.speech import Listening, Reading, read_out, transcribe
from jc1.errors import Jc1Error, NothingToSay, RateLimited, Refused, SpeechTooLong, UnknownVoice
from jc1.messages import PCM, AudioPart, TextPart
from jc1.speech.base import Audio, Hearing, Segment, Speaking
from jc1.speech.piper import Piper
from jc1.speech.whisper import Whisper
from tests.support import sounds
from tests.support.speech import lend, samples_of


@pytest.fixture
async def workbench(home: Path, whisper: Whisper, piper: Piper) -> AsyncIterator[Workbench]:
    async with lend(Workbench.open(Settings(home=home, engine="echo", max_speech_characters=100)), whisper, piper) as b:
        yield b


def holding(*scopes: str, **fields: Any) -> Principal:
    return Principal("ann", frozenset(scopes), **fields)


async def test_a_recording_is_heard_segment_by_segment_and_counted(
    workbench: Workbench, say: Callable[[str], Audio]
) -> None:
    spoken = say("The weather is fine today.")
    anybody = holding("speech", limits=Limits(tokens_per_minute=1000))
    events = [event async for event in transcribe(workbench, anybody, samples_of(spoken), Hearing())]
    listening, *segments = events
    assert isinstance(listening, Listening)
    assert (listening.model, listening.language) == ("whisper-tiny.en", "en")
    assert listening.seconds == pytest.approx(spoken.seconds, abs=0.01)
    text = "".join(segment.text for segment in segments if isinstance(segment, Segment))
    assert text.strip().lower().startswith("the weather")
    left = int(listening.headers["x-ratelimit-remaining-tokens"])
    assert 1000 - left == pytest.approx(3 * spoken.seconds, abs=2)


async def test_a_text_is_read_out_piece_by_piece(workbench: Workbench) -> None:
    events = [event async for event in read_out(workbench, holding("speech"), "All is well. Yes.", Speaking())]
    reading, *sound = events
    assert isinstance(reading, Reading)
    assert (reading.model, reading.rate) == ("en_US-joe-medium", 22050)
    assert [isinstance(piece, Audio) for piece in sound] == [True, True]


@pytest.mark.parametrize(
    ("text", "speaking", "error"),
    [
        ("x" * 101, Speaking(), SpeechTooLong),
        ("Yes.", Speaking(voice="nobody"), UnknownVoice),
        ("😀", Speaking(), NothingToSay),
    ],
    ids=["too long", "no such voice", "no word"],
)
async def test_what_cannot_be_read_out_is_refused(
    workbench: Workbench, text: str, speaking: Speaking, error: type[Jc1Error]
) -> None:
    with pytest.raises(error):
        async for _ in read_out(workbench, holding("speech"), text, speaking):
            pass


async def test_who_lacks_the_scope_neither_is_heard_nor_read_to(workbench: Workbench) -> None:
    stranger = holding("chat")
    for events in (
        transcribe(workbench, stranger, samples_of(sounds.silence(1.0)), Hearing()),
        read_out(workbench, stranger, "Yes.", Speaking()),
        workbench.guarded.stream(stranger, "Yes.", voice=Speaking()),
        workbench.guarded.stream(stranger, [Message.user((samples_of(sounds.silence(1.0)),))]),
    ):
        async with aclosing(events):
            with pytest.raises(Refused, match="'speech'"):
                await anext(events)


async def test_a_recording_counts_against_the_limit_before_it_is_decoded(workbench: Workbench) -> None:
    frugal = holding("speech", "chat", limits=Limits(tokens_per_minute=20))
    with pytest.raises(RateLimited):
        await anext(transcribe(workbench, frugal, AudioPart(bytes(32_000 * 60), PCM), Hearing()))
    with pytest.raises(RateLimited):
        await anext(workbench.guarded.stream(frugal, [Message.user((AudioPart(bytes(32_000 * 60), PCM),))]))


def test_what_a_conversation_needs_is_seen_before_it_is_read() -> None:
    recording = AudioPart(b"", PCM)
    assert scopes_of("Hello.", None) == ()
    assert scopes_of("Hello.", Speaking()) == ("speech",)
    assert scopes_of([Message.user((TextPart("a"), recording))], None) == ("speech",)


def test_seconds_of_a_recording_are_about_three_tokens_each() -> None:
    def tokens(data: bytes, media_type: str) -> int:
        return tokens_of([Message.user((AudioPart(data, media_type),))])

    assert tokens(bytes(32_000 * 60), PCM) == pytest.approx(180, abs=3)
    head = b"RIFF" + bytes(24) + (88_200).to_bytes(4, "little")
    assert tokens(head + bytes(88_200 * 60), "audio/wav") == pytest.approx(180, abs=3)
    assert tokens(sounds.JFK.read_bytes(), "audio/ogg") == pytest.approx(33, abs=15)
