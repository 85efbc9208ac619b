"""A spoken turn as events: what was heard, the reply's tokens and their sound, the whole with its trace.

Knows the shapes, as the schema shows them, for `/v1/speech` and the live session alike. Knows nothing about requests or
connections.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, Field

from jc1.engines.base import FinishReason
from jc1.errors import Jc1Error
from jc1.reply import Done, Event, Heard, Recalled, Spoken, Token
from jc1.speech.encode import Encoder
from jc1.trace import Trace
from jc1_api.openai_format import Story, Usage, story, usage_of
from jc1_api.sse import event, openai_failure


class TranscriptEvent(BaseModel):
    """What was said in the recording. The first event."""

    type: Literal["transcript"]
    text: str
    language: str = Field(description="ISO 639-1.")
    duration: float = Field(description="Seconds of the recording.")


class RecalledEvent(BaseModel):
    """What memory gave, best first; texts are at /v1/memory/{id}."""

    type: Literal["recalled"]
    memories: list[str]


class TokenEvent(BaseModel):
    """New text of the reply."""

    type: Literal["token"]
    text: str


class AudioEvent(BaseModel):
    """The next piece of the reply's sound, one file in all. It comes while tokens go on."""

    type: Literal["audio"]
    text: str = Field(description="The sentence that it begins; empty where it goes on with one.")
    audio: str = Field(description="Base64; empty where the sentence holds nothing that can be said.")


class DoneEvent(BaseModel):
    """The whole reply, after it was remembered. The last event."""

    type: Literal["done"]
    text: str
    finish_reason: FinishReason
    usage: Usage
    jc1: Story


EVENTS = (TranscriptEvent, RecalledEvent, TokenEvent, AudioEvent, DoneEvent)


def shown(happened: Event) -> dict[str, Any] | None:
    """Return an event of the pipeline as its model has it; None for one that is not shown, or is sound."""
    match happened:
        case Heard(transcript):
            said = {"text": transcript.text, "language": transcript.language}
            return {"type": "transcript", **said, "duration": round(transcript.duration, 2)}
        case Recalled(receipts):
            return {"type": "recalled", "memories": [receipt.record.id for receipt in receipts]}
        case Token(index=0, text=text) if text:
            return {"type": "token", "text": text}
        case Done(reply):
            choice = reply.choices[0]
            ending = {"usage": usage_of(reply.trace), "jc1": story(reply.trace)}
            return {"type": "done", "text": choice.text, "finish_reason": choice.finish_reason, **ending}
    return None


class SpokenFormat:
    """One spoken turn as server-sent events, each under its own name."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def whole(self, reply: object) -> dict[str, Any]:
        """Return nothing: a spoken turn is a stream."""
        raise AssertionError("a spoken turn comes as events")

    def opening(self, trace: Trace) -> Iterator[bytes]:
        """Yield nothing: what was heard comes first."""
        yield from ()

    def take(self, happened: Event) -> Iterator[bytes]:
        """Yield the event of the next piece, and before the last the end of the file."""
        match happened:
            case Spoken(text, audio):
                # Some milliseconds for a sentence: a thread would cost about as much.
                yield _audio(text, self._encoder.add(audio) if audio is not None else b"")
            case Done():
                if rest := self._encoder.finish():
                    yield _audio("", rest)
        if (fields := shown(happened)) is not None:
            yield event(fields, fields["type"])

    def failed(self, error: Jc1Error, trace: Trace) -> bytes:
        """Return the event of a turn that broke off."""
        return openai_failure(error)


def _audio(text: str, data: bytes) -> bytes:
    return event({"type": "audio", "text": text, "audio": base64.b64encode(data).decode()}, "audio")
