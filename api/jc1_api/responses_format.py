"""From the pipeline's events to OpenAI's responses, whole or as a stream of events.

Knows the shapes of a response, its items and its events, and where `jc1` rides in them. Replies are written by hand;
the tests hold them against OpenAI's own types. Knows nothing about HTTP connections, or how a request is read.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from jc1.errors import Jc1Error, RateLimited
from jc1.reply import Choice, Done, Event, Reply, Token
from jc1.tools import ToolCall, ToolCallDelta
from jc1.trace import Trace, Usage
from jc1_api.openai_format import story
from jc1_api.sse import event

Kind = Literal["reasoning", "message", "function_call"]
PREFIXES: dict[Kind, str] = {"reasoning": "rs", "message": "msg", "function_call": "fc"}
"""How ids of items begin, by what they are."""
STREAMED: dict[Kind, str] = {
    "reasoning": "reasoning_text",
    "message": "output_text",
    "function_call": "function_call_arguments",
}
"""What of an item comes piece by piece, as the names of its events have it."""
REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Why a response is incomplete, by the finish reason of the reply."""
NO_LOGPROBS: dict[Kind, dict[str, Any]] = {"reasoning": {}, "message": {"logprobs": []}, "function_call": {}}
"""What the events of a text carry besides."""


@dataclass(slots=True)
class Item:
    """An item of the output, whole or while it is being written."""

    kind: Kind
    text: str = ""
    """What was written: the message's text, the thoughts, or a call's arguments."""
    call: ToolCall | None = None
    status: str = "in_progress"
    id: str = field(init=False)

    def __post_init__(self) -> None:
        self.id = f"{PREFIXES[self.kind]}_{uuid.uuid4().hex}"

    def part(self) -> dict[str, Any]:
        """Return the one part of which the content of a message, or of thoughts, consists."""
        if self.kind == "message":
            return {"type": "output_text", "text": self.text, "annotations": [], "logprobs": []}
        return {"type": "reasoning_text", "text": self.text}

    def to_dict(self) -> dict[str, Any]:
        """Return the item as clients read it; one that is being written has no content yet."""
        shown = {"type": self.kind, "id": self.id, "status": self.status}
        content = [self.part()] if self.status != "in_progress" and self.kind != "function_call" else []
        if self.call is not None:
            return shown | {"call_id": self.call.id, "name": self.call.name, "arguments": self.text}
        if self.kind == "message":
            return shown | {"role": "assistant", "content": content}
        return shown | {"summary": [], "content": content}


def begin(model: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return a response that has begun.

    Args:
        chosen: The fields that repeat what the request asked for.
    """
    return {
        "id": f"resp_{uuid.uuid4().hex}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [],
        "previous_response_id": None,
        "reasoning": None,
        "service_tier": "default",
        "store": False,
        "truncation": "auto",
        "usage": None,
        "jc1": None,
        **chosen,
    }


def empty(response: Mapping[str, Any]) -> dict[str, Any]:
    """Return the response to an input that holds nothing: no model was asked."""
    return {**response, "status": "completed", "completed_at": int(time.time()), "usage": _usage(Usage())}


def items_of(choice: Choice) -> list[Item]:
    """Return what a choice consists of; without calls there is a message, which may be empty."""
    items = [Item("reasoning", choice.reasoning)] if choice.reasoning else []
    if choice.text or not choice.tool_calls:
        items.append(Item("message", choice.text))
    return items + [Item("function_call", call.arguments, call) for call in choice.tool_calls]


class ResponseFormat:
    """A response, whole or as events, which count from 0 and each carry all that is needed to read them alone.

    `response` is one that has begun; `ignored` names what was sent and has no effect.
    """

    def __init__(self, response: Mapping[str, Any], ignored: Sequence[str]) -> None:
        self._response = dict(response)
        self._ignored = ignored
        self._number = 0
        self._items: list[Item] = []
        self._calls: dict[int, Item] = {}

    def whole(self, reply: Reply) -> dict[str, Any]:
        """Return the response with a whole reply."""
        return _ended(self._response, items_of(reply.choices[0]), reply, self._ignored)

    async def nothing(self) -> AsyncGenerator[bytes, None]:
        """Yield the response to an input that holds nothing."""
        for chunk in self.opening():
            yield chunk
        yield self._event("response.completed", response=empty(self._response))

    def opening(self, trace: Trace | None = None) -> Iterator[bytes]:
        """Yield the events with which every response begins."""
        for kind in ("response.created", "response.in_progress"):
            yield self._event(kind, response=self._response)

    def failed(self, error: Jc1Error, trace: Trace | None = None) -> bytes:
        """Return the event of a response that broke off. OpenAI knows few codes there; ours is beside them."""
        code = "rate_limit_exceeded" if isinstance(error, RateLimited) else "server_error"
        told = {"code": code, "message": error.message, "param": error.param, "jc1_code": error.code}
        output = [item.to_dict() for item in self._items]
        response = {**self._response, "status": "failed", "error": told, "output": output}
        return self._event("response.failed", response=response)

    def take(self, happened: Event) -> Iterator[bytes]:
        """Yield the events of the next piece of a response."""
        match happened:
            case Token(index=0, text=text, reasoning=reasoning):
                yield from self._write("reasoning", reasoning)
                yield from self._write("message", text)
            case ToolCallDelta(index=0):
                yield from self._write_call(happened)
            case Done(reply):
                yield from self._end(reply)

    def _write(self, kind: Kind, text: str) -> Iterator[bytes]:
        """Yield the events of new text: where the newest item is another kind's, that one ends and a new one begins."""
        if not text:
            return
        if self._newest != kind:
            yield from self._close("reasoning", "message")
            yield from self._open(Item(kind))
        yield from self._add(self._items[-1], text)

    def _write_call(self, delta: ToolCallDelta) -> Iterator[bytes]:
        """Yield the events of a piece of a call. Calls end together: those of a remote server may come in turns."""
        if delta.call not in self._calls:
            yield from self._close("reasoning", "message")
            self._calls[delta.call] = Item("function_call", call=ToolCall(delta.id, delta.name, ""))
            yield from self._open(self._calls[delta.call])
        if delta.arguments:
            yield from self._add(self._calls[delta.call], delta.arguments)

    def _end(self, reply: Reply) -> Iterator[bytes]:
        if not self._items:
            yield from self._open(Item("message"))
        yield from self._close("reasoning", "message", "function_call")
        response = _ended(self._response, self._items, reply, self._ignored)
        yield self._event(f"response.{response['status']}", response=response)

    @property
    def _newest(self) -> Kind | None:
        """Return what is being written, None where nothing is."""
        newest = self._items[-1] if self._items else None
        return newest.kind if newest and newest.status == "in_progress" else None

    def _open(self, item: Item) -> Iterator[bytes]:
        self._items.append(item)
        yield self._event("response.output_item.added", item=item.to_dict(), output_index=self._index(item))
        if item.call is None:
            yield self._of_item("response.content_part.added", item, part=item.part())

    def _add(self, item: Item, text: str) -> Iterator[bytes]:
        item.text += text
        yield self._of_item(f"response.{STREAMED[item.kind]}.delta", item, delta=text, **NO_LOGPROBS[item.kind])

    def _close(self, *kinds: Kind) -> Iterator[bytes]:
        """Yield the ends of the items of these kinds that are being written."""
        for item in self._items:
            if item.status != "in_progress" or item.kind not in kinds:
                continue
            item.status = "completed"
            named = {"arguments": item.text, "name": item.call.name} if item.call else {"text": item.text}
            yield self._of_item(f"response.{STREAMED[item.kind]}.done", item, **named, **NO_LOGPROBS[item.kind])
            if item.call is None:
                yield self._of_item("response.content_part.done", item, part=item.part())
            yield self._event("response.output_item.done", item=item.to_dict(), output_index=self._index(item))

    def _index(self, item: Item) -> int:
        return self._items.index(item)

    def _of_item(self, kind: str, item: Item, **fields: Any) -> bytes:
        place = {"item_id": item.id, "output_index": self._index(item)}
        return self._event(kind, **place, **({"content_index": 0} if item.call is None else {}), **fields)

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        return event({"type": kind, "sequence_number": self._number - 1, **fields}, kind)


def _ended(response: Mapping[str, Any], items: Sequence[Item], reply: Reply, ignored: Sequence[str]) -> dict[str, Any]:
    """Return a response with its output, how it ended, what it took, and its story."""
    reason = REASONS.get(reply.choices[0].finish_reason)
    for item in items:
        item.status = "completed"
    if reason is not None:
        items[-1].status = "incomplete"
    return {
        **response,
        "status": "incomplete" if reason else "completed",
        "completed_at": None if reason else int(time.time()),
        "incomplete_details": {"reason": reason} if reason else None,
        "output": [item.to_dict() for item in items],
        "usage": _usage(reply.trace.usage),
        "jc1": {**story(reply.trace), "ignored": list(ignored)},
    }


def _usage(usage: Usage) -> dict[str, Any]:
    """Return the tokens; how many of them a cache held, or were thoughts, is not counted."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.total_tokens,
    }
