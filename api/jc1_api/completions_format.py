"""From the pipeline's events to OpenAI's older completions, whole or as a stream of chunks.

Knows their shapes, the older form of log probabilities among them, and where `jc1` rides in them. Knows nothing about
HTTP connections.
"""

from __future__ import annotations

import codecs
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field

from jc1.engines.base import Alternative, TokenLogprob
from jc1.errors import Jc1Error
from jc1.reply import Done, Event, Reply, Token
from jc1.trace import Trace
from jc1_api.openai_format import IMPOSSIBLE, Chunk, Story, Usage, closed, ending, head
from jc1_api.sse import event, openai_failure

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


class CompletionFormat:
    """A completion, whole or as chunks: of each choice its texts, then its finish reason."""

    def __init__(self, model: str, before: Before, *, include_usage: bool) -> None:
        self._model = model
        self._before = before
        self._head = head("cmpl", "text_completion", model, streamed_usage=include_usage)
        self._begun: set[int] = set()
        self._reported: defaultdict[int, _Logprobs] = defaultdict(_Logprobs)

    def whole(self, reply: Reply) -> dict[str, Any]:
        """Return a whole reply as a `text_completion`."""
        choices = [
            {
                "index": choice.index,
                "text": self._before(choice.index) + choice.text,
                "logprobs": _Logprobs().shown(choice.logprobs),
                "finish_reason": choice.finish_reason,
            }
            for choice in reply.choices
        ]
        return {**head("cmpl", "text_completion", self._model), "choices": choices, **ending(reply.trace)}

    def opening(self, trace: Trace) -> Iterator[bytes]:
        """Yield nothing: what comes first is text."""
        yield from ()

    def take(self, happened: Event) -> Iterator[bytes]:
        """Yield the chunks of the next piece."""
        match happened:
            case Token(index=index):
                text = self._open(index) + happened.text
                logprobs = self._reported[index].shown(happened.logprobs)
                if text or (logprobs and logprobs["tokens"]):
                    yield event(self._chunk(index, text, logprobs=logprobs))
            case Done(reply):
                closing = [self._chunk(c.index, self._open(c.index), finish=c.finish_reason) for c in reply.choices]
                yield closed(closing, self._head, reply.trace)

    def failed(self, error: Jc1Error, trace: Trace) -> bytes:
        """Return the event of a completion that broke off."""
        return openai_failure(error)

    def _open(self, index: int) -> str:
        """Return what stands before a choice; nothing where it has begun."""
        if index in self._begun:
            return ""
        self._begun.add(index)
        return self._before(index)

    def _chunk(self, index: int, text: str, *, logprobs: Any = None, finish: str | None = None) -> Chunk:
        return {
            **self._head,
            "choices": [{"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}],
        }


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
