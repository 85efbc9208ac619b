"""Hearing and speaking alone, as strangers may ask for them: `/v1/audio` and what is like it.

Knows what is asked of a principal before its recording is decoded or its text read out. Knows nothing about formats
that are sent back (`jc1.speech.encode`), or about a conversation, which `jc1.access.guarded` answers.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from jc1.access.estimates import tokens_in
from jc1.errors import SpeechTooLong
from jc1.speech.aloud import check, read
from jc1.speech.base import Audio, Hearing, Segment, Speaking
from jc1.speech.hear import TOKENS_A_SECOND, language_of, sound_of, tokens_of_recording
from jc1.speech.threads import apart, steps

if TYPE_CHECKING:
    from jc1.access.principal import Principal
    from jc1.messages import AudioPart
    from jc1.workbench import Workbench


@dataclass(frozen=True, slots=True)
class Listening:
    """Event: the recording was let in and decoded. The first of all."""

    model: str
    seconds: float
    language: str
    """What is told where nobody speaks."""
    headers: Mapping[str, str]
    """What is left of the caller's limits, as OpenAI's `x-ratelimit-*`."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Event: the text was let in. The first of all."""

    model: str
    rate: int
    """Samples a second of the sound that follows."""
    headers: Mapping[str, str]


async def transcribe(
    bench: Workbench, principal: Principal, part: AudioPart, hearing: Hearing
) -> AsyncGenerator[Listening | Segment, None]:
    """Yield `Listening`, then the segments of a recording as they are heard. Closing it stops.

    Raises:
        Refused, RateLimited, Overloaded: The principal may not, or not now.
        Jc1Error: As `sound_of` and `Transcriber.transcribe` do.
    """
    ears = bench.ears
    async with bench.guarded.granted(principal, "speech", ears.model, partial(tokens_of_recording, part)) as granted:
        audio = await apart(partial(sound_of, part, bench.settings))
        granted.tokens = int(audio.seconds * TOKENS_A_SECOND) + 1
        yield Listening(ears.model, audio.seconds, language_of(ears, hearing), granted.headers)
        async with aclosing(steps(partial(ears.transcribe, audio, hearing))) as segments:
            async for segment in segments:
                yield segment


async def read_out(
    bench: Workbench, principal: Principal, text: str, speaking: Speaking
) -> AsyncGenerator[Reading | Audio, None]:
    """Yield `Reading`, then the sound of a text, a sentence or less at a time. Closing it stops.

    Raises:
        SpeechTooLong: The text is longer than the settings allow.
        UnknownVoice: There is no such voice.
        NothingToSay: No word of it can be said.
        Refused, RateLimited, Overloaded: The principal may not, or not now.
        Jc1Error: As `Synthesizer.synthesize` does.
    """
    allowed = bench.settings.max_speech_characters
    if len(text) > allowed:
        raise SpeechTooLong(
            f"The text has {len(text):,} characters, {allowed:,} are read out at most: send it in pieces.",
            param="input",
        )
    voice = bench.voice
    check(voice, speaking)
    tokens = tokens_in([text])
    async with bench.guarded.granted(principal, "speech", voice.model, lambda: tokens) as granted:
        granted.tokens = tokens
        yield Reading(voice.model, voice.rate, granted.headers)
        async with aclosing(steps(partial(read, voice, text, speaking))) as sounds:
            async for audio in sounds:
                yield audio
