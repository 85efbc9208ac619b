"""`/v1/audio/speech`: texts read out, to OpenAI's letter, and sent while they are read.

Knows the fields, and how sound becomes a body or events. Formats are `jc1.speech.encode`'s, who may ask for how much is
`jc1.access.speech`'s.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Literal

from fastapi import Request
from fastapi.responses import Response
from pydantic import BaseModel, Field, model_validator

from jc1.access.estimates import tokens_in
from jc1.access.speech import Reading, read_out
from jc1.errors import Jc1Error, UnknownModel
from jc1.speech.base import FASTEST, SLOWEST, Audio, Speaking
from jc1.speech.encode import FORMATS, Encoder
from jc1_api.deps import TheWorkbench, requires
from jc1_api.docs import events_of
from jc1_api.errors import Error, unexpected
from jc1_api.fields import NOT_BLANK, Body, Name, Number, without_refused
from jc1_api.routing import Router
from jc1_api.sse import ByteStream, EventStream, begun, event, openai_failure, until_disconnect

router = Router(tags=["audio"])

PATH = "/v1/audio/speech"
SoundFormat = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]
UNSUPPORTED: dict[str, tuple[tuple[Any, ...], str]] = {
    "instructions": (("",), "the voice reads as it was trained, and takes no directions; 'speed' it does")
}
"""OpenAI's fields that cannot be honoured, each with the values that ask for nothing, and why."""


class SpeechRequest(Body):
    """OpenAI's speech request. What is not listed is refused, not dropped."""

    model: Annotated[Name, Field(description="The model that speaks, as /v1/models lists it.")]
    input: Annotated[str, NOT_BLANK, Field(description="What is read out; Markdown becomes what can be said.")]
    voice: Name | None = Field(None, description="One of the model's voices; its first where it is left out.")
    response_format: SoundFormat | None = Field(
        None, description="mp3 (default), opus (in ogg), aac, flac, wav, or pcm: 24 kHz, 16 bits, little-endian."
    )
    speed: Annotated[Number, Field(ge=SLOWEST, le=FASTEST)] | None = Field(None, description="1 is the voice's own.")
    stream_format: Literal["audio", "sse"] | None = Field(
        None, description="audio (default): the file, as it is made. sse: the same in events."
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_by_name(cls, values: Any) -> Any:
        return without_refused(values, UNSUPPORTED)


class SpeechUsage(BaseModel):
    input_tokens: int = Field(description="As they count for the caller's limits: four characters each.")
    output_tokens: int
    total_tokens: int


class SpeechDelta(BaseModel):
    """One event of a stream: the next piece of the file, in base64."""

    type: Literal["speech.audio.delta"]
    audio: str


class SpeechDone(BaseModel):
    """The last event of a stream."""

    type: Literal["speech.audio.done"]
    usage: SpeechUsage


_SOUND = {form.media_type: {"schema": {"type": "string", "format": "binary"}} for form in FORMATS.values()}
_EVENTS = events_of(SpeechDelta, SpeechDone, Error)[200]["content"]


@router.post(
    PATH,
    response_class=Response,
    responses={200: {"content": {**_SOUND, **_EVENTS}}},
    dependencies=[requires("speech")],
)
async def speak(body: SpeechRequest, request: Request, workbench: TheWorkbench) -> Response:
    """Read a text out. Its first sentence is sent before the last is made.

    Errors before the first sentence are HTTP errors. A later one breaks the connection off, or is an event of a stream.
    """
    voice = workbench.voice
    if body.model != voice.model:
        raise UnknownModel(f"{body.model!r} does not speak here: {voice.model!r} does, see /v1/models.", param="model")
    speaking = Speaking(body.voice, 1.0 if body.speed is None else body.speed)
    events = read_out(workbench, request.state.principal, body.input, speaking)
    name = body.response_format or "mp3"
    async with until_disconnect(request.receive):
        reading = await anext(events)
        assert isinstance(reading, Reading)
        file = encoded(await begun(events), Encoder(name, reading.rate))
    if body.stream_format == "sse":
        return EventStream(_events(file, tokens_in([body.input])), reading.headers)
    return ByteStream(file, FORMATS[name].media_type, reading.headers)


async def encoded(pieces: AsyncGenerator[Reading | Audio, None], encoder: Encoder) -> AsyncGenerator[bytes, None]:
    """Yield a file as its sound is made. Closing this closes the pieces."""
    async with aclosing(pieces):
        async for piece in pieces:
            assert isinstance(piece, Audio)
            if ready := await asyncio.to_thread(encoder.add, piece):
                yield ready
        if rest := await asyncio.to_thread(encoder.finish):
            yield rest


async def _events(file: AsyncGenerator[bytes, None], tokens: int) -> AsyncGenerator[bytes, None]:
    """Yield a file as OpenAI's events. An error is one, the last."""
    async with aclosing(file):
        try:
            async for piece in file:
                yield event({"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()})
            usage = {"input_tokens": tokens, "output_tokens": 0, "total_tokens": tokens}
            yield event({"type": "speech.audio.done", "usage": usage})
        except Jc1Error as error:
            yield openai_failure(error)
        except Exception as error:
            yield openai_failure(unexpected(error, "a stream of speech"))
