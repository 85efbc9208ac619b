"""The reply to a request and, on the way to it, the events.

Knows their shapes, and how the steps of an engine add up to a reply. Which steps come is the engine's, what becomes of
an event the caller's.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jc1.engines.base import FinishReason, Step, TokenLogprob
from jc1.memory.base import Receipt
from jc1.tools import ToolCall, ToolCallDelta
from jc1.trace import Trace

if TYPE_CHECKING:
    from jc1.speech.base import Audio, Transcript


@dataclass(frozen=True, slots=True)
class Choice:
    """One reply text of a request. `index` counts from 0."""

    index: int
    text: str
    finish_reason: FinishReason
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] | None = None
    reasoning: str = ""
    """What the model thought before it replied, where the engine tells the two apart."""
    stop: str | None = None
    """The stop string that ended the text, where one did and the engine tells which."""
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """The choices and the story of how they came about."""

    choices: tuple[Choice, ...]
    trace: Trace

    @property
    def text(self) -> str:
        """Return the text of the first choice."""
        return self.choices[0].text


@dataclass(frozen=True, slots=True)
class Recalled:
    """Event: what memory gave, best first. Comes once, before the first token; empty when nothing was found."""

    receipts: tuple[Receipt, ...]


@dataclass(frozen=True, slots=True)
class Token:
    """Event: new text, or reasoning, of one choice; one token or a few."""

    index: int
    text: str
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] | None = None
    reasoning: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """Event: the whole reply, after it was remembered. The last event."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Heard:
    """Event: what was said in a recording of the newest message. Comes first of all."""

    transcript: Transcript


@dataclass(frozen=True, slots=True)
class Spoken:
    """Event: the sound of a sentence of the reply, whole or a part of it. Comes while tokens go on."""

    text: str
    """The sentence as it was written, with its first sound; empty with what follows. Joined they are the reply."""
    audio: Audio | None
    """None where nothing of the sentence can be said, such as code."""


Event = Heard | Recalled | Token | ToolCallDelta | Spoken | Done


async def last(events: AsyncGenerator[Any, None]) -> Reply:
    """Return the reply that a stream of events ends with, and close the stream."""
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Done):
                return event.reply
    raise AssertionError("a stream ends with Done or raises")


@dataclass(slots=True)
class ChoiceBuilder:
    """A choice while it is being written."""

    text: str = ""
    reasoning: str = ""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] | None = None
    finish_reason: FinishReason | None = None
    stop: str | None = None
    calls: dict[int, ToolCall] = field(default_factory=dict)

    def add(self, step: Step) -> None:
        """Add what one step of the engine brought."""
        self.text += step.text
        self.reasoning += step.reasoning
        self.token_ids.extend(step.token_ids)
        if step.logprobs is not None:
            self.logprobs = self.logprobs or []
            self.logprobs.extend(step.logprobs)
        for piece in step.calls:
            call = self.calls.get(piece.call, ToolCall("", "", ""))
            self.calls[piece.call] = ToolCall(
                call.id or piece.id, call.name or piece.name, call.arguments + piece.arguments
            )
        self.finish_reason = step.finish_reason or self.finish_reason
        self.stop = step.stop or self.stop

    def choice(self, index: int) -> Choice:
        """Return the choice as it was written."""
        return Choice(
            index=index,
            text=self.text,
            finish_reason=self.finish_reason or "stop",
            token_ids=tuple(self.token_ids),
            logprobs=None if self.logprobs is None else tuple(self.logprobs),
            reasoning=self.reasoning,
            stop=self.stop,
            tool_calls=tuple(self.calls[number] for number in sorted(self.calls)),
        )


class ReplyBuilder:
    """A reply while it is being written: its choices, and what the engine's steps tell its trace."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._choices: dict[int, ChoiceBuilder] = {}
        self._began = 0.0
        self._queued = 0.0
        self._scores: dict[int, float] = {}

    @property
    def text(self) -> str:
        """Return the text of the first choice, as far as it was written."""
        return self._choices[0].text if 0 in self._choices else ""

    @property
    def calls_tools(self) -> bool:
        """Return whether the first choice asks for tools: then the turn goes on when they have answered."""
        return 0 in self._choices and bool(self._choices[0].calls)

    def add(self, step: Step) -> list[Token | ToolCallDelta]:
        """Add what one step of the engine brought; return its events, none where there is nothing to show."""
        trace = self._trace
        if trace.first_token is None:
            trace.first_token = trace.elapsed()
            self._queued = min(step.seconds.get("queue", 0.0), trace.first_token - self._began)
        if step.index not in self._choices:
            self._choices[step.index] = ChoiceBuilder()
        self._choices[step.index].add(step)
        trace.usage.completion_tokens += len(step.token_ids)
        trace.usage = step.usage or trace.usage
        trace.speculation = dict(step.speculation) if step.speculation else trace.speculation
        if step.score is not None:
            self._scores[step.index] = step.score
            trace.scores = [self._scores[index] for index in sorted(self._scores)]
        events: list[Token | ToolCallDelta] = list(step.calls)
        if step.text or step.reasoning or step.logprobs:
            events.insert(0, Token(step.index, step.text, step.token_ids, step.logprobs, step.reasoning))
        return events

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Time `queue`, `prefill` and `decode` while the body adds the steps, also when it raises."""
        trace = self._trace
        self._began = trace.elapsed()
        try:
            yield
        finally:
            ended = trace.elapsed()
            first = trace.first_token or ended
            trace.add("queue", self._began, self._queued)
            trace.add("prefill", self._began + self._queued, first - self._began - self._queued)
            trace.add("decode", first, ended - first)
            trace.finish_reason = self._choices[0].finish_reason if 0 in self._choices else None

    def reply(self) -> Reply:
        """Return the reply as it was written."""
        return Reply(tuple(self._choices[i].choice(i) for i in sorted(self._choices)), self._trace)
