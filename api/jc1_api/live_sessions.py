"""Hands-free talks over connections: what a client may choose, and the talks that are open.

Knows options, how many talks there may be and for how long one may say nothing, and how events are written. Knows
nothing about turns (`jc1.speech.live`) or about which transport carries frames (`jc1_api.routes.live`).
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from jc1.access.guarded import Admitted
from jc1.access.principal import Principal
from jc1.errors import Conflict, Jc1Error, Overloaded, UnknownSession
from jc1.messages import AudioPart, Message
from jc1.reply import Event, Spoken
from jc1.request import MemoryMode
from jc1.speech.activity import Knobs
from jc1.speech.base import FASTEST, HEARING_RATE, SLOWEST, Hearing, Speaking
from jc1.speech.encode import pcm16
from jc1.speech.live import FRAME_BYTES, Failed, Interrupted, Manners, Talk, TalkEvent, TurnBegan, TurnEnded
from jc1.workbench import Workbench
from jc1_api.errors import error_body
from jc1_api.fields import Body, Name, NewName, Number, Text
from jc1_api.replies import preset_of
from jc1_api.spoken_format import shown

MOST_TALKS = 64
"""Talks that are open at the same time; each may hold a minute of sound, 2 MB."""
IDLE_SECONDS = 60.0
"""For how long a talk may get no frame before it ends. Microphones send silence too."""
LONGEST_SECONDS = 3600.0
"""After which a talk ends: a key that was revoked meanwhile opens no other."""

Seconds = Annotated[Number, Field(ge=0, le=10)]


class TalkOptions(Body):
    """How a talk goes. What is not listed is refused."""

    model: Name | None = Field(None, description="The served model, or `model@preset`.")
    user: Text | None = Field(None, description="Whose memories, sessions and traces: the owner.")
    session: NewName | None = Field(None, description="The conversation; without it each turn stands alone.")
    memory: MemoryMode | None = Field(None, description="on (default) recalls and remembers, read recalls, off.")
    preset: Name | None = Field(None, description="Preset or alias, where `model` names none.")
    language: Annotated[Text, Field(max_length=10)] | None = Field(None, description="What is spoken, as ISO 639-1.")
    voice: Name | None = Field(None, description="Who speaks: a voice of the synthesizer.")
    speed: Annotated[Number, Field(ge=SLOWEST, le=FASTEST)] | None = Field(None, description="1 is the voice's own.")

    activation_threshold: Annotated[Number, Field(gt=0, lt=1)] | None = Field(
        None, description=f"Probability from which on somebody speaks ({Knobs().activation_threshold})."
    )
    min_speech_duration: Seconds | None = Field(
        None, description=f"Shorter sounds are no speech ({Knobs().min_speech_duration} s)."
    )
    min_silence_duration: Seconds | None = Field(
        None, description=f"Silence that ends a turn ({Knobs().min_silence_duration} s)."
    )
    prefix_padding_duration: Seconds | None = Field(
        None, description=f"What belongs to a turn before its start ({Knobs().prefix_padding_duration} s)."
    )
    min_interruption_duration: Seconds | None = Field(
        None, description=f"Speech that breaks a reply off ({Manners().min_interruption_duration} s)."
    )

    def manners(self) -> Manners:
        """Return how turns are taken."""
        knobs = Knobs(**self._chosen(*Knobs.__dataclass_fields__))
        return Manners(knobs=knobs, **self._chosen("min_interruption_duration"))

    def _chosen(self, *names: str) -> dict[str, Any]:
        return {name: value for name in names if (value := getattr(self, name, None)) is not None}


class TalkOpened(BaseModel):
    """A talk that waits for frames."""

    type: Literal["ready"] = "ready"
    id: str
    input_rate: int = Field(HEARING_RATE, description="Samples a second of the frames: 16 bits, little-endian, mono.")
    output_rate: int = Field(description="Samples a second of `audio` events, likewise.")
    frame_bytes: int = Field(FRAME_BYTES, description="Most bytes of a frame.")


def open_talk(workbench: Workbench, principal: Principal, options: TalkOptions) -> tuple[Talk, int]:
    """Return a talk whose turns the principal asks for, and the rate of its voice.

    Raises:
        Jc1Error: It may not, or asks for what there is not. What is wrong with a turn is the turn's event.
    """
    for scope in ("chat", "speech"):
        principal.require(scope)
    owner = principal.acting_for(options.user)
    preset = preset_of(options.model or workbench.engine.model, options.preset, workbench)
    hearing = Hearing(language=options.language)
    voice = Speaking(options.voice, 1.0 if options.speed is None else options.speed)

    async def reply(recording: AudioPart) -> AsyncGenerator[Event, None]:
        events = workbench.guarded.stream(
            principal,
            [Message.user((recording,))],
            owner=owner,
            session=options.session,
            memory=options.memory or "on",
            preset=preset,
            hearing=hearing,
            voice=voice,
        )
        async with aclosing(events):
            async for event in events:
                if not isinstance(event, Admitted):
                    yield event

    return Talk(reply, options.manners()), workbench.voice.rate


def as_event(happened: TalkEvent) -> dict[str, Any] | None:
    """Return what happened in a talk as JSON can say it; None for what is not told."""
    match happened:
        case TurnBegan(start):
            return {"type": "speech_started", "start": round(start, 3)}
        case TurnEnded(start, end):
            return {"type": "speech_ended", "start": round(start, 3), "end": round(end, 3)}
        case Interrupted():
            return {"type": "interrupted"}
        case Failed(error):
            return failed(error)
        case Spoken(text, audio):
            sound = b"" if audio is None else pcm16(audio.samples).tobytes()
            return {"type": "audio", "text": text, "audio": base64.b64encode(sound).decode()}
    return shown(happened)


def failed(error: Jc1Error) -> dict[str, Any]:
    """Return an error as an event of a talk."""
    return {"type": "error", **error_body(error)}


class Talks:
    """The talks that are open, by their ids. All calls come from one event loop."""

    def __init__(self) -> None:
        self._open: dict[str, OpenTalk] = {}

    def __len__(self) -> int:
        return len(self._open)

    def add(self, talk: Talk, principal: Principal) -> OpenTalk:
        """Return an opened talk under a new id. Raises `Overloaded` where there are too many."""
        if len(self._open) >= MOST_TALKS:
            raise Overloaded("Too many talks are open: come back in a moment.", headers={"retry-after": "5"})
        entry = OpenTalk(secrets.token_urlsafe(16), talk, (principal.key, principal.owner), self)
        self._open[entry.id] = entry
        return entry

    def get(self, talk_id: str, principal: Principal) -> OpenTalk:
        """Return a principal's own talk. Raises `UnknownSession`."""
        entry = self._open.get(talk_id)
        if entry is None or entry.caller != (principal.key, principal.owner):
            raise UnknownSession(talk_id)
        return entry

    def discard(self, talk_id: str) -> None:
        self._open.pop(talk_id, None)

    async def aclose(self) -> None:
        """End all of them."""
        for entry in list(self._open.values()):
            await entry.close()


class OpenTalk:
    """A talk with a client at its other end, for as long as that sends frames."""

    def __init__(self, talk_id: str, talk: Talk, caller: tuple[str | None, str], talks: Talks) -> None:
        self.id = talk_id
        self.caller = caller
        self._talk = talk
        self._talks = talks
        self._feeding = asyncio.Lock()
        self._listened = False
        self._loop = asyncio.get_running_loop()
        self._closing: asyncio.Task[None] | None = None
        self._idle = self._loop.call_later(IDLE_SECONDS, self._end)
        self._longest = self._loop.call_later(LONGEST_SECONDS, self._end)

    async def feed(self, frame: bytes) -> None:
        """Take in the next frame. Raises as `Talk.feed` does."""
        self._idle.cancel()
        self._idle = self._loop.call_later(IDLE_SECONDS, self._end)
        async with self._feeding:
            await self._talk.feed(frame)

    async def events(self) -> AsyncGenerator[dict[str, Any], None]:
        """Yield what happens, as JSON can say it; the talk ends with whoever reads this.

        Raises `Conflict` where somebody reads it already.
        """
        if self._listened:
            raise Conflict("The events of this talk are being read: a talk has one listener.")
        self._listened = True
        try:
            async for happened in self._talk.events():
                if (event := as_event(happened)) is not None:
                    yield event
        finally:
            await self.close()

    async def close(self) -> None:
        """End the talk. Once is enough."""
        self._talks.discard(self.id)
        self._idle.cancel()
        self._longest.cancel()
        await self._talk.close()

    def _end(self) -> None:
        self._closing = self._loop.create_task(self.close())
