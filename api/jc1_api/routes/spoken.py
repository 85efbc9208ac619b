"""`/v1/speech`: a spoken turn. A recording goes in; what was heard, the reply and its sound come out as events.

Knows the form's fields and how they become a call of the pipeline. What events look like is `jc1_api.spoken_format`'s.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import File, Form, Request, UploadFile
from fastapi.responses import Response
from pydantic import Field

from jc1.messages import AudioPart, Message
from jc1.request import MemoryMode
from jc1.speech import decode
from jc1.speech.base import FASTEST, SLOWEST, Hearing, Speaking
from jc1.speech.encode import Encoder
from jc1_api.deps import TheWorkbench, requires
from jc1_api.docs import events_of
from jc1_api.errors import Error
from jc1_api.fields import Name, NewName, Text
from jc1_api.replies import answer, preset_of
from jc1_api.routes.speech import SoundFormat
from jc1_api.routes.transcriptions import PROMPT_LENGTH
from jc1_api.routing import Router
from jc1_api.spoken_format import EVENTS, SpokenFormat

router = Router(tags=["speech"])

PATH = "/v1/speech"
Speed = Annotated[float, Field(ge=SLOWEST, le=FASTEST, allow_inf_nan=False)]


@router.post(
    PATH,
    response_class=Response,
    responses=events_of(*EVENTS, Error),
    dependencies=[requires("chat"), requires("speech")],
)
async def reply_aloud(
    request: Request,
    workbench: TheWorkbench,
    audio: Annotated[UploadFile, File(description="The recording, as /v1/audio/transcriptions takes it.")],
    model: Annotated[Name | None, Form(description="The served model, or `model@preset`.")] = None,
    user: Annotated[Text | None, Form(description="Whose memories, sessions and traces: the owner.")] = None,
    session: Annotated[NewName | None, Form(description="The conversation that this is a turn of.")] = None,
    memory: Annotated[
        MemoryMode | None, Form(description="on (default) recalls and remembers, read recalls, off.")
    ] = None,
    preset: Annotated[Name | None, Form(description="Preset or alias, where `model` names none.")] = None,
    max_tokens: Annotated[int | None, Form(ge=1, description="Most tokens of the reply.")] = None,
    language: Annotated[Text | None, Form(max_length=10, description="What is spoken, as ISO 639-1.")] = None,
    prompt: Annotated[Text | None, Form(max_length=PROMPT_LENGTH, description="Names that may come.")] = None,
    voice: Annotated[Name | None, Form(description="Who speaks: a voice of the synthesizer.")] = None,
    speed: Annotated[Speed | None, Form(description="1 is the voice's own.")] = None,
    response_format: Annotated[SoundFormat | None, Form(description="What the sound is: wav (default).")] = None,
) -> Response:
    """Hear a recording and reply to it aloud, sentence by sentence while the reply is written.

    Errors before something was heard are HTTP errors; later ones are an event with an `error`. A client that goes away
    ends the turn, and memory keeps what was said up to there.
    """
    # Where one person speaks, the next turn is near: its recording will find a process that waits for it.
    await asyncio.to_thread(decode.prepare)
    principal = request.state.principal
    served = workbench.engine.model
    recording = Message.user((AudioPart(await audio.read(), "audio/*"),))
    chosen: dict[str, Any] = {} if max_tokens is None else {"max_tokens": max_tokens}
    events = workbench.guarded.stream(
        principal,
        [recording],
        owner=principal.acting_for(user),
        session=session,
        memory=memory or "on",
        preset=preset_of(model or served, preset, workbench),
        hearing=Hearing(language=language or None, prompt=prompt),
        voice=Speaking(voice, 1.0 if speed is None else speed),
        **chosen,
    )
    form = SpokenFormat(Encoder(response_format or "wav", workbench.voice.rate))
    return await answer(events, form, request, stream=True, names={})
