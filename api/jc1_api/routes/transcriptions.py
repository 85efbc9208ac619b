"""`/v1/audio/transcriptions` and `/v1/audio/translations`: recordings as text, to OpenAI's letter.

Knows the fields of both and which answer each asks for. Shapes are `jc1_api.transcripts`', who may ask for how much is
`jc1.access.speech`'s.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Literal

from fastapi import File, Form, Request, UploadFile
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import Field

from jc1.access.speech import Listening
from jc1.access.speech import transcribe as transcribed
from jc1.errors import InvalidRequest, Jc1Error, UnknownModel
from jc1.messages import AudioPart
from jc1.speech.base import Hearing, Segment, Transcript
from jc1.workbench import Workbench
from jc1_api import transcripts
from jc1_api.deps import TheWorkbench, requires
from jc1_api.docs import events_of
from jc1_api.errors import Error, unexpected
from jc1_api.fields import ACCEPTED, Name, Text
from jc1_api.routing import Router
from jc1_api.sse import EventStream, begun, event, openai_failure, until_disconnect
from jc1_api.transcripts import Granularity, Transcription, VerboseTranscription

router = Router(tags=["audio"])

TRANSCRIPTIONS, TRANSLATIONS = "/v1/audio/transcriptions", "/v1/audio/translations"
PROMPT_LENGTH = 4000
"""Most characters of a prompt. Whisper reads the last 224 tokens of it."""

_TEXT: dict[str, Any] = {"text/plain": {"schema": {"type": "string"}}}
_EVENTS = events_of(transcripts.TranscriptDelta, transcripts.TranscriptDone, Error)[200]["content"]

Recording = Annotated[UploadFile, File(description="wav, flac, mp3, ogg, m4a, mp4, webm or aac; its name is not read.")]
Model = Annotated[Name, Form(description="The model that hears, as /v1/models lists it.")]
Prompt = Annotated[
    Text | None,
    Form(max_length=PROMPT_LENGTH, description="What was said before, or names that come: spelt so then."),
]
Temperature = Annotated[
    Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None,
    Form(description="0 (default) takes the likeliest words, and rises where the model is unsure."),
]
Shape = Annotated[
    Literal["json", "text", "srt", "verbose_json", "vtt"] | None, Form(description="What is answered: json (default).")
]


@router.post(
    TRANSCRIPTIONS,
    response_model=Transcription | VerboseTranscription,
    responses={200: {"content": {**_EVENTS, **_TEXT}}},
    dependencies=[requires("speech")],
)
async def transcribe(
    request: Request,
    workbench: TheWorkbench,
    file: Recording,
    model: Model,
    language: Annotated[
        Text | None, Form(max_length=10, description="What is spoken, as ISO 639-1; found out where it is left out.")
    ] = None,
    prompt: Prompt = None,
    response_format: Shape = None,
    temperature: Temperature = None,
    timestamp_granularities: Annotated[
        list[Granularity] | None,
        Form(alias="timestamp_granularities[]", description="segment (default) and word, in verbose_json."),
    ] = None,
    stream: Annotated[bool | None, Form(description="Send the text as server-sent events as it is heard.")] = None,
    chunking_strategy: Annotated[
        Text | None, Form(description=f"{ACCEPTED}recordings are cut where nobody speaks either way.")
    ] = None,
) -> Response:
    """Write down what is said in a recording. Of one in which nobody speaks the text is empty."""
    shape = response_format or "json"
    granularities = set(timestamp_granularities or ())
    if granularities and shape != "verbose_json":
        raise InvalidRequest(
            "'timestamp_granularities[]' takes 'response_format': verbose_json.", param="timestamp_granularities[]"
        )
    if stream and shape not in ("json", "text"):
        raise InvalidRequest(f"A stream is text alone: it takes no {shape!r}.", param="response_format")
    hearing = Hearing(
        language=language or None, prompt=prompt, temperature=temperature or 0.0, words="word" in granularities
    )
    if stream:
        return await _streamed(request, workbench, file, model, hearing)
    transcript = await _heard(request, workbench, file, model, hearing)
    return _shown(transcript, shape, granularities or {"segment"}, task="transcribe")


@router.post(
    TRANSLATIONS,
    response_model=Transcription | VerboseTranscription,
    responses={200: {"content": _TEXT}},
    dependencies=[requires("speech")],
)
async def translate(
    request: Request,
    workbench: TheWorkbench,
    file: Recording,
    model: Model,
    prompt: Prompt = None,
    response_format: Shape = None,
    temperature: Temperature = None,
) -> Response:
    """Write in English what is said in another language, where the model can."""
    hearing = Hearing(prompt=prompt, temperature=temperature or 0.0, translate=True)
    transcript = await _heard(request, workbench, file, model, hearing)
    return _shown(transcript, response_format or "json", {"segment"}, task="translate")


async def _heard(
    request: Request, workbench: Workbench, file: UploadFile, model: str, hearing: Hearing
) -> tuple[Transcript, dict[str, str]]:
    """Return what is said, and the headers that go out with it."""
    events = await _events(request, workbench, file, model, hearing)
    async with until_disconnect(request.receive), aclosing(events):
        listening = await anext(events)
        assert isinstance(listening, Listening)
        segments = [segment async for segment in events if isinstance(segment, Segment)]
    return _transcript(segments, listening), dict(listening.headers)


async def _streamed(request: Request, workbench: Workbench, file: UploadFile, model: str, hearing: Hearing) -> Response:
    events = await _events(request, workbench, file, model, hearing)
    async with until_disconnect(request.receive):
        listening = await anext(events)
        assert isinstance(listening, Listening)
        rest = await begun(events)
    return EventStream(_written(rest, listening), listening.headers)


async def _events(
    request: Request, workbench: Workbench, file: UploadFile, model: str, hearing: Hearing
) -> AsyncGenerator[Listening | Segment, None]:
    """Return what hears the recording. Raises `UnknownModel` where another model is asked for than the one here."""
    ears = workbench.ears
    if model != ears.model:
        raise UnknownModel(f"{model!r} does not hear here: {ears.model!r} does, see /v1/models.", param="model")
    recording = AudioPart(await file.read(), "audio/*")
    return transcribed(workbench, request.state.principal, recording, hearing)


async def _written(
    events: AsyncGenerator[Listening | Segment, None], listening: Listening
) -> AsyncGenerator[bytes, None]:
    """Yield a transcript as events. An error is one, the last."""
    segments: list[Segment] = []
    async with aclosing(events):
        try:
            async for segment in events:
                assert isinstance(segment, Segment)
                segments.append(segment)
                for delta in transcripts.deltas(segments):
                    yield event(delta, delta["type"])
            last = transcripts.done(_transcript(segments, listening))
            yield event(last, last["type"])
        except Jc1Error as error:
            yield openai_failure(error)
        except Exception as error:
            yield openai_failure(unexpected(error, "a stream of a transcript"))


def _transcript(segments: list[Segment], listening: Listening) -> Transcript:
    return Transcript.of(segments, duration=listening.seconds, language=listening.language)


def _shown(
    heard: tuple[Transcript, dict[str, str]],
    shape: str,
    granularities: set[Granularity],
    *,
    task: Literal["transcribe", "translate"],
) -> Response:
    transcript, headers = heard
    match shape:
        case "json":
            return JSONResponse(transcripts.whole(transcript), headers=headers)
        case "verbose_json":
            return JSONResponse(transcripts.verbose(transcript, granularities, task=task), headers=headers)
        case "srt":
            return PlainTextResponse(transcripts.srt(transcript), headers=headers)
        case "vtt":
            return PlainTextResponse(transcripts.vtt(transcript), headers=headers)
    return PlainTextResponse(f"{transcript.text}\n", headers=headers)
