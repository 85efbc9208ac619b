"""From the pipeline's events to OpenAI's older completions, whole or as a stream of chunks.

Knows their shapes, the older form of log probabilities among them, and where `jc1` rides in them. Knows nothing about
HTTP connections.
"""

from __future__ import annotations

import codecs
import math
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any, Literal

from pydantic import BaseModel, Field

from jc1.access.guarded import GuardedEvent
from jc1.engines.base import Alternative, TokenLogprob
from jc1.errors import Jc1Error
from jc1.reply import Done, Event, Reply, Token
from jc1_api.errors import error_body, unexpected
from jc1_api.openai_format import IMPOSSIBLE, Story, Usage, story, usage_of
from jc1_api.replies import chained
from jc1_api.sse import event

Before = Callable[[int], str]
"""What stands before the text of a choice: its prompt, where it is to be echoed, or nothing."""
Finish = Literal["stop", "length", "content_filter"]


class CompletionLogprobs(BaseModel):
    """Log probabilities in the older form: a list for each thing that is told of a token."""

    tokens: list[str] = Field(description="A token that is no whole character reads `bytes:\\xe2\\x82`.")
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]] = Field(description="The likeliest tokens, and the one that was taken.")
    text_offset: list[int] = Field(description="Where each begins in the text, in characters.")


class CompletionChoice(BaseModel):
    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: Finish


class Completion(BaseModel):
    """OpenAI's completion, with `jc1`."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage
    system_fingerprint: None = None
    jc1: Story


class CompletionChunkChoice(BaseModel):
    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: Finish | None


class CompletionChunk(BaseModel):
    """One event of a stream; the last one before `[DONE]` has `jc1`."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChunkChoice]
    usage: Usage | None = None
    system_fingerprint: None = None
    jc1: Story | None = None


def completion(reply: Reply, model: str, before: Before) -> dict[str, Any]:
    """Return a whole reply as a `text_completion`."""
    return {
        **_head(model),
        "choices": [
            {
                "index": choice.index,
                "text": before(choice.index) + choice.text,
                "logprobs": _Logprobs().shown(choice.logprobs),
                "finish_reason": choice.finish_reason,
            }
            for choice in reply.choices
        ],
        "usage": usage_of(reply.trace),
        "jc1": story(reply.trace),
    }


async def chunks(
    first: Sequence[Event],
    events: AsyncGenerator[GuardedEvent, None],
    *,
    model: str,
    before: Before,
    include_usage: bool,
) -> AsyncGenerator[bytes, None]:
    """Yield a reply as server-sent `text_completion` events: of each choice its texts, then its finish reason, the
    usage if asked for, `[DONE]`.

    `first`, `jc1` and errors are as in `jc1_api.openai_format.chunks`. Closing this generator closes `events`.
    """
    head = _head(model)
    if include_usage:
        head["usage"] = None

    def chunk(index: int, text: str, *, logprobs: Any = None, finish: str | None = None) -> dict[str, Any]:
        return {**head, "choices": [{"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}]}

    begun: set[int] = set()
    reported: defaultdict[int, _Logprobs] = defaultdict(_Logprobs)
    async with aclosing(events):
        try:
            async for happened in chained(first, events):
                if isinstance(happened, Token):
                    index = happened.index
                    text = happened.text if index in begun else before(index) + happened.text
                    begun.add(index)
                    logprobs = reported[index].shown(happened.logprobs)
                    if text or (logprobs and logprobs["tokens"]):
                        yield event(chunk(index, text, logprobs=logprobs))
                elif isinstance(happened, Done):
                    choices, trace = happened.reply.choices, happened.reply.trace
                    closing = [
                        chunk(index, "" if index in begun else before(index), finish=choice.finish_reason)
                        for index, choice in enumerate(choices)
                    ]
                    if include_usage:
                        closing.append({**head, "choices": [], "usage": usage_of(trace)})
                    closing[-1]["jc1"] = story(trace)
                    yield b"".join(map(event, closing)) + b"data: [DONE]\n\n"
        except Jc1Error as error:
            yield event(error_body(error))
        except Exception as error:
            yield event(error_body(unexpected(error, "a stream of completion chunks")))


class _Logprobs:
    """The log probabilities of one choice as they come: it knows how far its text has come."""

    def __init__(self) -> None:
        self._offset = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def shown(self, tokens: Sequence[TokenLogprob] | None) -> dict[str, Any] | None:
        """Return what is reported of the next tokens; None where nothing was asked for."""
        if tokens is None:
            return None
        entries = [token for token in tokens if token.in_text]
        return {
            "tokens": [_spelled(token) for token in entries],
            "token_logprobs": [_finite(token.logprob) for token in entries],
            "top_logprobs": [_top(token) for token in entries],
            "text_offset": [self._next_offset(token) for token in entries],
        }

    def _next_offset(self, token: TokenLogprob) -> int:
        """Return where the next token begins, which is that one."""
        offset = self._offset
        new = token.text if token.bytes is None else self._decoder.decode(bytes(token.bytes))
        self._offset += len(new)
        return offset


def _top(token: TokenLogprob) -> dict[str, float]:
    """Return the likeliest tokens of a place, and the one that was taken."""
    shown: Sequence[TokenLogprob | Alternative] = (*token.top, token)
    return {_spelled(other): _finite(other.logprob) for other in shown}


def _spelled(token: TokenLogprob | Alternative) -> str:
    """Return the text of a token; of a piece of a character its bytes, or several would be one."""
    if token.bytes is None:
        return token.text
    try:
        return bytes(token.bytes).decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token.bytes)


def _finite(logprob: float) -> float:
    return logprob if math.isfinite(logprob) else IMPOSSIBLE


def _head(model: str) -> dict[str, Any]:
    return {
        "id": f"cmpl-{uuid.uuid4().hex}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": model,
        "system_fingerprint": None,
    }
