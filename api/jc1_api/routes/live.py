"""`/v1/speech/live`: hands-free talk, over a WebSocket or over plain HTTP: frames posted, events in one stream.

Knows both transports. What goes over them, and how many talks there may be, is `jc1_api.live_sessions`' alone, so that
a page and a program meet the same.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any, Literal

from fastapi import Request, WebSocket
from fastapi.responses import Response
from pydantic import BaseModel, Field, ValidationError
from starlette.websockets import WebSocketDisconnect

from jc1.errors import InvalidRequest, Jc1Error
from jc1_api.deps import TheWorkbench, requires
from jc1_api.docs import events_of
from jc1_api.errors import Error, explain, unexpected
from jc1_api.live_sessions import OpenTalk, TalkOpened, TalkOptions, Talks, failed, open_talk
from jc1_api.routing import Router
from jc1_api.spoken_format import EVENTS
from jc1_api.sse import EventStream, event

router = Router(tags=["speech"])

PATH = "/v1/speech/live"
POLICY_VIOLATION, GOING_AWAY = 1008, 1001
"""WebSocket close codes, RFC 6455 section 7.4.1."""
HEARTBEAT_SECONDS = 0.5
"""How often a silent stream sends something: it takes two to notice that its client has gone."""
OPTIONS_SECONDS = 10.0
"""How long a WebSocket may take to say its options."""

_FRAMES = {"requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}}


class ReadyEvent(BaseModel):
    """The stream has begun. The first event."""

    type: Literal["ready"]
    id: str


class TurnEvent(BaseModel):
    """`speech_started` where the person begins to speak, `speech_ended` where a turn is answered; seconds of the talk.

    `interrupted` where the person speaks into a reply: what was not played of it is to be thrown away.
    """

    type: str
    start: float | None = None
    end: float | None = None


class TalkError(Error):
    """A turn that got no reply. The talk goes on."""

    type: str


class Fed(BaseModel):
    bytes: int = Field(description="Taken in.")


class Ended(BaseModel):
    id: str
    ended: bool = True


def _talks(request: Request | WebSocket) -> Talks:
    talks: Talks = request.app.state.talks
    return talks


@router.post(PATH, status_code=201, response_model=TalkOpened, dependencies=[requires("chat"), requires("speech")])
async def begin(body: TalkOptions, request: Request, workbench: TheWorkbench) -> TalkOpened:
    """Begin a talk. Then post frames to its id, one after the other, and read its events."""
    principal = request.state.principal
    talk, rate = await asyncio.to_thread(open_talk, workbench, principal, body)
    return TalkOpened(id=_talks(request).add(talk, principal).id, output_rate=rate)


@router.post(
    f"{PATH}/{{talk_id}}",
    response_model=Fed,
    openapi_extra=_FRAMES,
    dependencies=[requires("chat"), requires("speech")],
)
async def feed(talk_id: str, request: Request) -> Fed:
    """Send the next frame: samples of 16 bits, little-endian, mono, 16,000 a second; about a tenth of a second."""
    entry = _talks(request).get(talk_id, request.state.principal)
    frame = await request.body()
    await entry.feed(frame)
    return Fed(bytes=len(frame))


@router.get(
    f"{PATH}/{{talk_id}}",
    response_class=Response,
    responses=events_of(ReadyEvent, TurnEvent, *EVENTS, TalkError),
    dependencies=[requires("chat"), requires("speech")],
)
async def listen(talk_id: str, request: Request) -> Response:
    """Read what happens in a talk, as server-sent events, once. The talk ends with this stream."""
    entry = _talks(request).get(talk_id, request.state.principal)
    return EventStream(_written(entry), failed=lambda error: event(failed(error), "error"), heartbeat=HEARTBEAT_SECONDS)


@router.delete(f"{PATH}/{{talk_id}}", response_model=Ended, dependencies=[requires("chat"), requires("speech")])
async def end(talk_id: str, request: Request) -> Ended:
    """End a talk."""
    await _talks(request).get(talk_id, request.state.principal).close()
    return Ended(id=talk_id)


@router.websocket(PATH)
async def talk(socket: WebSocket) -> None:
    """The same over a WebSocket: options as JSON, then frames as binary messages; events come back as JSON."""
    principal = socket.state.principal
    try:
        for scope in ("chat", "speech"):
            principal.require(scope)
    except Jc1Error:
        await socket.close(POLICY_VIOLATION)
        return
    await socket.accept()
    try:
        options = await _options(socket)
        talk, rate = await asyncio.to_thread(open_talk, socket.app.state.workbench, principal, options)
        entry = _talks(socket).add(talk, principal)
    except WebSocketDisconnect:
        return
    except Jc1Error as error:
        await _send(socket, failed(error))
        await socket.close(POLICY_VIOLATION)
        return
    await _send(socket, TalkOpened(id=entry.id, output_rate=rate).model_dump())
    await _carry(socket, entry)


async def _carry(socket: WebSocket, entry: OpenTalk) -> None:
    """Carry frames in and events out until either end has enough."""

    async def read() -> None:
        with suppress(WebSocketDisconnect):
            while True:
                await entry.feed(await socket.receive_bytes())

    async def write() -> None:
        async with aclosing(entry.events()) as events:
            async for happened in events:
                await _send(socket, happened)

    tasks = [asyncio.create_task(read()), asyncio.create_task(write())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await entry.close()
    code = GOING_AWAY
    for task in done:
        problem = task.exception()
        if isinstance(problem, Jc1Error | KeyError):
            wrong = problem if isinstance(problem, Jc1Error) else InvalidRequest("Frames are binary messages.")
            with suppress(RuntimeError, WebSocketDisconnect):
                await _send(socket, failed(wrong))
            code = POLICY_VIOLATION
        elif problem is not None and not isinstance(problem, WebSocketDisconnect):
            unexpected(problem, "a talk")
    with suppress(RuntimeError, WebSocketDisconnect):  # the client has closed it
        await socket.close(code)


async def _options(socket: WebSocket) -> TalkOptions:
    """Return what the first message says. Raises `InvalidRequest`, `WebSocketDisconnect`."""
    try:
        async with asyncio.timeout(OPTIONS_SECONDS):
            text = await socket.receive_text()
        return TalkOptions.model_validate(json.loads(text))
    except ValidationError as error:
        raise explain([{**first, "loc": ("body", *first["loc"])} for first in error.errors()], {}) from None
    except (ValueError, KeyError, RecursionError, TimeoutError):
        raise InvalidRequest("The first message says the options, as a JSON object: {} takes the usual.") from None


async def _send(socket: WebSocket, message: dict[str, Any]) -> None:
    await socket.send_text(event(message).decode().removeprefix("data: ").rstrip("\n"))


async def _written(entry: OpenTalk) -> AsyncGenerator[bytes, None]:
    """Yield a talk's events. What goes wrong with a turn is one of them."""
    async with aclosing(entry.events()) as events:
        try:
            # At once: until something is sent the client does not see that its request was accepted.
            yield event({"type": "ready", "id": entry.id}, "ready")
            async for happened in events:
                yield event(happened, happened["type"])
        except Jc1Error as error:
            yield event(failed(error), "error")
