"""From the pipeline's events to OpenAI's chat completions, whole or as a stream of chunks.

Knows OpenAI's shapes and where `jc1` rides in them. Knows nothing about HTTP connections.
"""

from __future__ import annotations

import json
import math
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from jc1.engines.base import Alternative, TokenLogprob
from jc1.errors import Jc1Error
from jc1.reply import Done, Event, Reply, Token
from jc1.trace import Trace
from jc1_api.errors import error_body, unexpected

IMPOSSIBLE = -9999.0
"""What OpenAI reports for a token of probability 0: JSON has no minus infinity."""

_LINE_ENDS = {end: f"\\u{ord(end):04x}" for end in "\u0085\u2028\u2029"}
"""Some clients end an event's line where Unicode does, and would cut the JSON in two there."""

ROLE = {"role": "assistant", "content": ""}
"""What the first chunk of a choice says."""


def completion(reply: Reply, model: str) -> dict[str, Any]:
    """A whole reply as a `chat.completion`."""
    return {
        **_head("chat.completion", model),
        "choices": [
            {
                "index": choice.index,
                "message": {
                    "role": "assistant",
                    "content": choice.text,
                    "refusal": None,
                    **({"reasoning": choice.reasoning} if choice.reasoning else {}),
                },
                "logprobs": _logprobs(choice.logprobs),
                "finish_reason": choice.finish_reason,
            }
            for choice in reply.choices
        ],
        "usage": _usage(reply.trace),
        "jc1": story(reply.trace),
    }


async def chunks(
    first: Sequence[Event], events: AsyncGenerator[Event, None], *, model: str, include_usage: bool
) -> AsyncGenerator[bytes, None]:
    """A reply as server-sent `chat.completion.chunk` events: of each choice its role and contents, then its
    finish reason, the usage if asked for, `[DONE]`.

    `first` are the events that were taken from `events` already. `jc1` rides on the last chunk before `[DONE]`: the
    usage chunk where there is one, else the last finish reason. An error ends the stream as an event of its own.
    Closing this generator closes `events`.
    """
    head = _head("chat.completion.chunk", model)
    if include_usage:
        head["usage"] = None

    def chunk(index: int, delta: dict[str, Any], *, logprobs: Any = None, finish: str | None = None) -> dict[str, Any]:
        return {**head, "choices": [{"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}]}

    begun: set[int] = set()
    async with aclosing(events):
        try:
            async for happened in _chained(first, events):
                if isinstance(happened, Token):
                    index, text = happened.index, happened.text
                    if index not in begun:
                        begun.add(index)
                        yield event(chunk(index, ROLE))
                    delta = {"content": text} if text or not happened.reasoning else {}
                    delta |= {"reasoning": happened.reasoning} if happened.reasoning else {}
                    yield event(chunk(index, delta, logprobs=_logprobs(happened.logprobs)))
                elif isinstance(happened, Done):
                    reply = happened.reply
                    choices = reply.choices
                    closing = [chunk(choice.index, ROLE) for choice in choices if choice.index not in begun]
                    closing += [chunk(choice.index, {}, finish=choice.finish_reason) for choice in choices]
                    if include_usage:
                        closing.append({**head, "choices": [], "usage": _usage(reply.trace)})
                    closing[-1]["jc1"] = story(reply.trace)
                    for last in closing:
                        yield event(last)
                    yield b"data: [DONE]\n\n"
        except Jc1Error as error:
            yield event(error_body(error))
        except Exception as error:
            yield event(error_body(unexpected(error, "a stream of chat completion chunks")))


def story(trace: Trace) -> dict[str, Any]:
    """The `jc1` object: what happened to the request, in figures and ids, never in texts."""
    told = trace.to_dict()
    return {
        "trace_id": told["id"],
        "session": told["session"],
        "preset": told["preset"],
        "cached": told["cached"],
        "stages": told["stages"],
        "first_token": told["first_token"],
        "total": told["total"],
        "recalled": told["recalled"],
        "dropped": {"memories": told["dropped_memories"], "messages": told["dropped_messages"]},
        "remembered": told["remembered"],
        "remember_error": told["remember_error"],
        "speculation": told["speculation"],
        "scores": told["scores"],
    }


async def _chained(first: Sequence[Event], rest: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
    for event in first:
        yield event
    async for event in rest:
        yield event


def _head(kind: str, model: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
        "system_fingerprint": None,
    }


def event(value: dict[str, Any]) -> bytes:
    """Return a JSON value as one server-sent event."""
    data = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for end, escaped in _LINE_ENDS.items():
        data = data.replace(end, escaped)
    return b"data: " + data.encode() + b"\n\n"


def _usage(trace: Trace) -> dict[str, int]:
    usage = trace.usage
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


def _logprobs(tokens: Sequence[TokenLogprob] | None) -> dict[str, Any] | None:
    if tokens is None:
        return None
    content = [{**_token(token), "top_logprobs": [_token(other) for other in token.top]} for token in tokens]
    return {"content": content, "refusal": None}


def _token(token: TokenLogprob | Alternative) -> dict[str, Any]:
    """`bytes` is null for a token that is a piece of a character: its text does not tell them."""
    whole = "\ufffd" not in token.text
    return {
        "token": token.text,
        "logprob": token.logprob if math.isfinite(token.logprob) else IMPOSSIBLE,
        "bytes": list(token.text.encode()) if whole else None,
    }
