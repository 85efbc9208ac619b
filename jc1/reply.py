"""What comes back from a request: the reply and, on the way to it, the events.

Knows their shapes. Knows nothing about how a reply comes about.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from jc1.engines.base import FinishReason, Step, TokenLogprob
from jc1.memory.base import Receipt
from jc1.trace import Trace


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


@dataclass(frozen=True, slots=True)
class Reply:
    """The choices and the story of how they came about."""

    choices: tuple[Choice, ...]
    trace: Trace

    @property
    def text(self) -> str:
        """The text of the first choice."""
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


Event = Recalled | Token | Done


@dataclass(slots=True)
class Draft:
    """A choice while it is being written."""

    text: str = ""
    reasoning: str = ""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] | None = None
    finish_reason: FinishReason | None = None

    def take(self, step: Step) -> None:
        """Add what one step of the engine brought."""
        self.text += step.text
        self.reasoning += step.reasoning
        self.token_ids.extend(step.token_ids)
        if step.logprobs is not None:
            self.logprobs = [*(self.logprobs or []), *step.logprobs]
        self.finish_reason = step.finish_reason or self.finish_reason

    def choice(self, index: int) -> Choice:
        """What it has become."""
        return Choice(
            index=index,
            text=self.text,
            finish_reason=self.finish_reason or "stop",
            token_ids=tuple(self.token_ids),
            logprobs=None if self.logprobs is None else tuple(self.logprobs),
            reasoning=self.reasoning,
        )
