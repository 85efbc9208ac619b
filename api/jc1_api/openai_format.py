"""From the pipeline's events to OpenAI's chat completions, whole or as a stream of chunks.

Knows OpenAI's shapes, as the schema shows them, and where `jc1` rides in them. Replies are written by hand, a
dictionary a token; the tests hold them against the models. Knows nothing about HTTP connections.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from jc1.engines import base
from jc1.engines.base import FinishReason
from jc1.errors import Jc1Error
from jc1.reply import Choice as WrittenChoice
from jc1.reply import Done, Event, Reply, Token
from jc1.tools import ToolCallDelta
from jc1.trace import Trace
from jc1_api.openai_tools import Call, CallPiece, piece
from jc1_api.sse import event, openai_failure

IMPOSSIBLE = -9999.0
"""What OpenAI reports for a token of probability 0: JSON has no minus infinity."""

Chunk = dict[str, Any]

ROLE = {"role": "assistant", "content": ""}
"""What the first chunk of a choice says."""


class Alternative(BaseModel):
    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(Alternative):
    top_logprobs: list[Alternative]


class Logprobs(BaseModel):
    content: list[TokenLogprob]
    refusal: None = None


class ReplyMessage(BaseModel):
    role: Literal["assistant"]
    content: str | None = Field(description="null where the reply is calls alone.")
    refusal: None = None
    tool_calls: list[Call] | None = None
    reasoning: str | None = Field(None, description="What the model thought first, where a remote server tells it.")


class Choice(BaseModel):
    index: int
    message: ReplyMessage
    logprobs: Logprobs | None
    finish_reason: FinishReason


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class RecallScores(BaseModel):
    """Where a memory stands among those that were found, and why."""

    rank: int
    score: float
    parts: dict[str, float] = Field(description="What each signal added to the score; empty for a mere neighbour.")
    dense_score: float | None
    dense_rank: int | None
    lexical_score: float | None
    lexical_rank: int | None
    expanded_from: str | None


class RecalledMemory(RecallScores):
    """Why a memory was recalled; its text is at /v1/memory/{id}."""

    id: str
    session: str | None
    turn: int | None
    created: datetime


class Dropped(BaseModel):
    """What had no room in the prompt: ids of recalled memories, and how many messages of the history."""

    memories: list[str]
    messages: int


class NoticeShown(BaseModel):
    """One remark: `language_not_known` where the model was trained on no text in the message's script."""

    code: str
    message: str


class PictureShown(BaseModel):
    """One picture that the model was shown."""

    width: int = Field(description="Pixels, as it was read.")
    height: int
    tokens: int = Field(description="Of the prompt.")


class Story(BaseModel):
    """JC1's own part of a reply."""

    trace_id: str = Field(description="The whole trace is at /v1/traces/{trace_id}.")
    session: str | None
    preset: str | None
    cached: bool = Field(description="Whether it is an earlier reply to the same request (`cache_replies`).")
    stages: dict[str, float] = Field(description="Seconds by stage, in the order of the request path.")
    first_token: float | None = Field(description="Seconds to the first token.")
    total: float | None = Field(description="Seconds in all.")
    recalled: list[RecalledMemory]
    dropped: Dropped
    remembered: bool | None = Field(description="null where nothing was to be remembered.")
    remember_error: str | None = Field(description="The code of the error that kept it from being remembered.")
    speculation: dict[str, Any] | None = Field(description="Drafted and accepted tokens, where the engine speculates.")
    scores: list[float] | None = Field(description="Of each choice, where beams were searched.")
    pictures: list[PictureShown]
    notices: list[NoticeShown] = Field(description="What to know about a reply that was given all the same.")


class ChatCompletion(BaseModel):
    """OpenAI's chat completion, with `jc1`."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    system_fingerprint: None = None
    jc1: Story


class Delta(BaseModel):
    role: Literal["assistant"] | None = None
    content: str | None = None
    reasoning: str | None = None
    tool_calls: list[CallPiece] | None = None


class ChunkChoice(BaseModel):
    index: int
    delta: Delta
    logprobs: Logprobs | None
    finish_reason: FinishReason | None


class ChatCompletionChunk(BaseModel):
    """One event of a stream; the last one before `[DONE]` has `jc1`."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None
    system_fingerprint: None = None
    jc1: Story | None = None


class ChatFormat:
    """A chat completion, whole or as chunks: of each choice its role, contents and calls, then its finish reason."""

    def __init__(self, model: str, *, include_usage: bool) -> None:
        self._model = model
        self._head = head("chatcmpl", "chat.completion.chunk", model, streamed_usage=include_usage)
        self._begun: set[int] = set()

    def whole(self, reply: Reply) -> dict[str, Any]:
        """Return a whole reply as a `chat.completion`."""
        choices = [
            {
                "index": choice.index,
                "message": _message(choice),
                "logprobs": _logprobs(choice.logprobs),
                "finish_reason": choice.finish_reason,
            }
            for choice in reply.choices
        ]
        return {**head("chatcmpl", "chat.completion", self._model), "choices": choices, **ending(reply.trace)}

    def opening(self, trace: Trace) -> Iterator[bytes]:
        """Yield nothing: each choice begins with a chunk of its own."""
        yield from ()

    def take(self, happened: Event) -> Iterator[bytes]:
        """Yield the chunks of the next piece."""
        match happened:
            case ToolCallDelta(index=index):
                yield self._open(index) + event(self._chunk(index, {"tool_calls": [piece(happened)]}))
            case Token(index=index):
                if chunks := self._open(index) + self._text(happened):
                    yield chunks
            case Done(reply):
                closing = [self._chunk(c.index, ROLE) for c in reply.choices if c.index not in self._begun]
                closing += [self._chunk(c.index, {}, finish=c.finish_reason) for c in reply.choices]
                yield closed(closing, self._head, reply.trace)

    def failed(self, error: Jc1Error, trace: Trace) -> bytes:
        """Return the event of a chat completion that broke off."""
        return openai_failure(error)

    def _open(self, index: int) -> bytes:
        """Return the first chunk of a choice; nothing where it has begun."""
        if index in self._begun:
            return b""
        self._begun.add(index)
        return event(self._chunk(index, ROLE))

    def _text(self, token: Token) -> bytes:
        """Return the chunk of new text or thoughts; nothing where there is nothing to show."""
        logprobs = _logprobs(token.logprobs)
        if not token.text and not token.reasoning and not (logprobs and logprobs["content"]):
            return b""
        delta = {"content": token.text} if token.text or not token.reasoning else {}
        delta |= {"reasoning": token.reasoning} if token.reasoning else {}
        return event(self._chunk(token.index, delta, logprobs=logprobs))

    def _chunk(self, index: int, delta: dict[str, Any], *, logprobs: Any = None, finish: str | None = None) -> Chunk:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return {**self._head, "choices": [choice]}


def _message(choice: WrittenChoice) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": choice.text, "refusal": None}
    if choice.tool_calls:
        message["content"] = choice.text or None
        message["tool_calls"] = [call.to_dict() for call in choice.tool_calls]
    if choice.reasoning:
        message["reasoning"] = choice.reasoning
    return message


def story(trace: Trace) -> dict[str, Any]:
    """Return the `jc1` object: what happened to the request, in figures and ids, never in texts."""
    whole = trace.to_dict()
    dropped = {"memories": whole["dropped_memories"], "messages": whole["dropped_messages"]}
    fields = {**whole, "trace_id": whole["id"], "dropped": dropped}
    return {name: fields[name] for name in Story.model_fields}


def head(prefix: str, kind: str, model: str, *, streamed_usage: bool = False) -> dict[str, Any]:
    """Return how a completion, or each of its chunks, begins; with `usage` where a stream is to end with it."""
    begun = {
        "id": f"{prefix}-{uuid.uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
        "system_fingerprint": None,
    }
    return {**begun, "usage": None} if streamed_usage else begun


def ending(trace: Trace) -> dict[str, Any]:
    """Return how a completion ends: what it took, and its story."""
    return {"usage": usage_of(trace), "jc1": story(trace)}


def closed(chunks: Sequence[Chunk], head: Chunk, trace: Trace) -> bytes:
    """Return the last chunks of a stream and its end as one; `jc1` rides on the last of them.

    That is one with the usage where `head` says that there is to be one, else the last finish reason.
    """
    last = [{**head, "choices": [], "usage": usage_of(trace)}] if "usage" in head else []
    closing = [*chunks, *last]
    closing[-1]["jc1"] = story(trace)
    return b"".join(map(event, closing)) + b"data: [DONE]\n\n"


def usage_of(trace: Trace) -> dict[str, int]:
    """Return the tokens of a request as OpenAI counts them."""
    usage = trace.usage
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


def _logprobs(tokens: Sequence[base.TokenLogprob] | None) -> dict[str, Any] | None:
    if tokens is None:
        return None
    content = [
        {**_token(token), "top_logprobs": [_token(other) for other in token.top]} for token in tokens if token.in_text
    ]
    return {"content": content, "refusal": None}


def _token(token: base.TokenLogprob | base.Alternative) -> dict[str, Any]:
    """Return a token as OpenAI reports it; `bytes` is null where nobody knows them."""
    return {
        "token": token.text,
        "logprob": token.logprob if math.isfinite(token.logprob) else IMPOSSIBLE,
        "bytes": None if token.bytes is None else list(token.bytes),
    }
