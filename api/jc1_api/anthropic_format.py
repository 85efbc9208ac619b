"""From the pipeline's events to Anthropic's messages, whole or as a stream of events.

Knows Anthropic's shapes, as the schema shows them, and where `jc1` rides in them. Replies are written by hand; the
tests hold them against Anthropic's own types. Knows nothing about HTTP connections, or how a request is read.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from jc1.errors import Jc1Error
from jc1.reply import Choice, Done, Event, Reply, Token
from jc1.tools import ToolCallDelta
from jc1.trace import Trace
from jc1_api.anthropic_errors import anthropic_error_body
from jc1_api.openai_format import Story, story
from jc1_api.sse import event

StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use", "refusal"]
STOP_REASONS: dict[str, StopReason] = {"length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
"""Why a message ended, by the finish reason of the reply; a natural end and a stop string are told apart by hand."""

Block = Literal["thinking", "text"] | int
"""What is being written: thoughts, text, or the call of this number."""


class ThinkingBlock(BaseModel):
    """What the model thought first, where a remote server tells it."""

    type: Literal["thinking"]
    thinking: str
    signature: str = Field(description="Empty: thoughts are not signed.")


class TextBlock(BaseModel):
    type: Literal["text"]
    text: str


class ToolUseBlock(BaseModel):
    """What the model asks for."""

    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]


class MessageUsage(BaseModel):
    input_tokens: int
    output_tokens: int


class MessageStory(Story):
    """JC1's own part of a message."""

    ignored: list[str] = Field(
        description="What was sent and has no effect: `output_config.effort`, and tools of types that this server does "
        "not have, such as `tools.web_search_20250305`."
    )


class AnthropicMessage(BaseModel):
    """Anthropic's message, with `jc1`."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[ThinkingBlock | TextBlock | ToolUseBlock]
    stop_reason: StopReason
    stop_sequence: str | None = Field(description="The stop sequence that ended the message, where one did.")
    usage: MessageUsage
    jc1: MessageStory


class MessageEvent(BaseModel):
    """One event of a stream, as Anthropic has them; `message_delta` has `jc1`."""

    model_config = ConfigDict(extra="allow")
    type: Literal[
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "ping",
        "error",
    ]


class TokenCount(BaseModel):
    input_tokens: int = Field(description="Of the prompt, its template and the preset's system prompt included.")


class MessageFormat:
    """A message, whole or as events: text comes in the open block; where another kind follows, that one is closed.

    `ignored` names what was sent and has no effect.
    """

    def __init__(self, model: str, ignored: Sequence[str]) -> None:
        self._model = model
        self._ignored = ignored
        self._open: dict[Block, int] = {}
        self._blocks = 0

    def whole(self, reply: Reply) -> dict[str, Any]:
        """Return a whole reply as a message."""
        choice = reply.choices[0]
        content: list[dict[str, Any]] = []
        if choice.reasoning:
            content.append({"type": "thinking", "thinking": choice.reasoning, "signature": ""})
        if choice.text or not choice.tool_calls:
            content.append({"type": "text", "text": choice.text})
        for call in choice.tool_calls:
            content.append({"type": "tool_use", "id": call.id, "name": call.name, "input": _input(call.arguments)})
        return {**_opened(self._model, reply.trace), "content": content, **_ending(choice, reply.trace, self._ignored)}

    def opening(self, trace: Trace) -> Iterator[bytes]:
        """Yield the events with which every message begins."""
        yield _event("message_start", message=_opened(self._model, trace))
        yield _event("ping")

    def failed(self, error: Jc1Error, trace: Trace) -> bytes:
        """Return the event of a message that broke off."""
        return event(anthropic_error_body(error, trace.id), "error")

    def take(self, happened: Event) -> Iterator[bytes]:
        """Yield the events of the next piece of a message."""
        match happened:
            case Token(index=0, text=text, reasoning=reasoning):
                if reasoning:
                    yield from self._begin("thinking", {"type": "thinking", "thinking": "", "signature": ""})
                    yield self._delta("thinking", {"type": "thinking_delta", "thinking": reasoning})
                if text:
                    yield from self._begin("text", {"type": "text", "text": ""})
                    yield self._delta("text", {"type": "text_delta", "text": text})
            case ToolCallDelta(index=0, call=number):
                block = {"type": "tool_use", "id": happened.id, "name": happened.name, "input": {}}
                yield from self._begin(number, block)
                if happened.arguments:
                    yield self._delta(number, {"type": "input_json_delta", "partial_json": happened.arguments})
            case Done(reply):
                yield from self._end(reply)

    def _begin(self, block: Block, content: dict[str, Any]) -> Iterator[bytes]:
        """Yield the events with which a block begins, unless it is open. Calls stay open: they may come in turns."""
        if block in self._open:
            return
        yield from self._close([open_ for open_ in self._open if not isinstance(open_, int)])
        self._open[block] = self._blocks
        self._blocks += 1
        yield _event("content_block_start", index=self._open[block], content_block=content)

    def _delta(self, block: Block, delta: dict[str, Any]) -> bytes:
        return _event("content_block_delta", index=self._open[block], delta=delta)

    def _close(self, blocks: Sequence[Block]) -> Iterator[bytes]:
        for block in blocks:
            yield _event("content_block_stop", index=self._open.pop(block))

    def _end(self, reply: Reply) -> Iterator[bytes]:
        if not self._blocks:
            yield from self._begin("text", {"type": "text", "text": ""})
        yield from self._close(list(self._open))
        ending = _ending(reply.choices[0], reply.trace, self._ignored)
        delta = {name: ending.pop(name) for name in ("stop_reason", "stop_sequence")}
        yield _event("message_delta", delta=delta, **ending)
        yield _event("message_stop")


def _opened(model: str, trace: Trace) -> dict[str, Any]:
    return {
        "id": f"msg_{uuid.uuid4().hex}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _usage(trace),
    }


def _ending(choice: Choice, trace: Trace, ignored: Sequence[str]) -> dict[str, Any]:
    natural: StopReason = "stop_sequence" if choice.stop else "end_turn"
    return {
        "stop_reason": STOP_REASONS.get(choice.finish_reason, natural),
        "stop_sequence": choice.stop,
        "usage": _usage(trace),
        "jc1": {**story(trace), "ignored": list(ignored)},
    }


def _usage(trace: Trace) -> dict[str, int]:
    return {"input_tokens": trace.usage.prompt_tokens, "output_tokens": trace.usage.completion_tokens}


def _input(arguments: str) -> dict[str, Any]:
    """Return a call's arguments as an object; empty where a remote model wrote something else."""
    try:
        parsed = json.loads(arguments or "{}")
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _event(kind: str, **fields: Any) -> bytes:
    return event({"type": kind, **fields}, kind)
