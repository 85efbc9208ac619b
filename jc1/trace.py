"""Trace: what one request went through, written down once and read by the API, the UI, metrics and experiments.

Knows the names of the stages and how to time them. Holds figures and ids, no text of message, memory or reply, unless
texts are exported: then they stay with the trace until they were.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jc1.decoding import Decoding
    from jc1.memory.base import Recall, Receipt
    from jc1.messages import Message
    from jc1.telemetry.context import TraceContext

STAGES = ("hear", "see", "tokenize", "embed", "recall", "prompt", "queue", "prefill", "decode", "speak", "remember")
"""Every stage, in the order of the request path. The same words everywhere: code, metrics, plots and documents."""


@dataclass(frozen=True, slots=True)
class Span:
    """One stage of a request: when it began, from the request's start, and how long it took, both in seconds."""

    stage: str
    start: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Notice:
    """What the asker should know about a request that was served all the same: a stable code, and what to do."""

    code: str
    message: str


@dataclass(slots=True)
class Content:
    """What a request read and wrote."""

    prompt: tuple[Message, ...]
    replies: tuple[str, ...] = ()


@dataclass(slots=True)
class Usage:
    """Tokens read and written."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(slots=True)
class Trace:
    """The story of one request. Times are in seconds; `spans` are in the order in which the stages ended.

    `outcome` is `running`, then `ok`, `cancelled` or an error's code.
    """

    owner: str
    model: str = ""
    engine: str = ""
    preset: str | None = None
    session: str | None = None
    id: str = field(default_factory=lambda: f"tr_{uuid.uuid4().hex}")
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    outcome: str = "running"
    finish_reason: str | None = None
    usage: Usage = field(default_factory=Usage)
    spans: list[Span] = field(default_factory=list)
    recalled: list[dict[str, Any]] = field(default_factory=list)
    dropped_memories: tuple[str, ...] = ()
    dropped_messages: int = 0
    cached: bool = False
    """Whether the reply is an earlier one, which the engine was not asked for again."""
    first_token: float | None = None
    first_audio: float | None = None
    """When the first sound of a reply was made that is read out."""
    total: float | None = None
    remembered: bool | None = None
    remember_error: str | None = None
    turn: int | None = None
    """The number of the turn that its session has of it."""
    record: str | None = None
    """The id of the record that its message became."""
    speculation: dict[str, Any] | None = None
    scores: list[float] | None = None
    """Of each choice, where beams were searched."""
    shards: list[dict[str, int]] | None = None
    """What each process of the engine holds of the weights, where they are shared."""
    pictures: list[dict[str, int]] = field(default_factory=list)
    """Of each picture in the prompt its width and height in pixels, and the tokens that it takes."""
    notices: tuple[Notice, ...] = ()
    stored: int = 0
    """How many records were remembered of it."""
    decoding: Decoding | None = None
    parent: TraceContext | None = None
    """The span of another service that this request comes from."""
    content: Content | None = None
    _began: float = field(default_factory=time.perf_counter, repr=False)

    @property
    def trace_id(self) -> str:
        """Return the id of the distributed trace: the one it came with, or its own, as 32 hexadecimal digits."""
        return self.parent.trace_id if self.parent else self.id.removeprefix("tr_")

    @property
    def span_id(self) -> str:
        """Return the id of the span in which the engine is asked, as 16 hexadecimal digits."""
        return self.id[-16:]

    def elapsed(self) -> float:
        """Return the seconds since the request began."""
        return time.perf_counter() - self._began

    def recall(self, result: Recall, start: float) -> None:
        """Write down a search that began at `start`: its stages, and of each record id, source and scores alone."""
        for stage, seconds in result.seconds.items():
            self.add(stage, start, seconds)
            start += seconds
        self.recalled = [_recalled(receipt) for receipt in result.receipts]

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the body as the stage `name`, also when it raises."""
        start = self.elapsed()
        try:
            yield
        finally:
            self.add(name, start, self.elapsed() - start)

    def add(self, stage: str, start: float, seconds: float) -> None:
        """Write down a stage that was timed elsewhere."""
        if stage not in STAGES:
            raise ValueError(f"unknown stage {stage!r}")
        self.spans.append(Span(stage, start, seconds))

    @property
    def stages(self) -> dict[str, float]:
        """Return the seconds by stage, in the order of the request path; a stage entered twice is summed."""
        totals: dict[str, float] = {}
        for span in self.spans:
            totals[span.stage] = totals.get(span.stage, 0.0) + span.seconds
        return {name: totals[name] for name in STAGES if name in totals}

    @property
    def tokens_per_second(self) -> float | None:
        """Return the output tokens after the first, over the seconds since the first.

        None before there are two, and of a reply that was not written now but came from the cache.
        """
        decode = self.stages.get("decode")
        if not decode or self.cached or self.usage.completion_tokens < 2:
            return None
        return (self.usage.completion_tokens - 1) / decode

    def to_dict(self) -> dict[str, Any]:
        """Return the trace as plain JSON values: times in seconds, `created` in ISO 8601."""
        return {
            "id": self.id,
            "created": self.created.isoformat(),
            "owner": self.owner,
            "session": self.session,
            "model": self.model,
            "engine": self.engine,
            "preset": self.preset,
            "outcome": self.outcome,
            "finish_reason": self.finish_reason,
            "usage": {**asdict(self.usage), "total_tokens": self.usage.total_tokens},
            "stages": {name: round(seconds, 6) for name, seconds in self.stages.items()},
            "spans": [
                {"stage": s.stage, "start": round(s.start, 6), "seconds": round(s.seconds, 6)} for s in self.spans
            ],
            "cached": self.cached,
            "first_token": self.first_token,
            "first_audio": self.first_audio,
            "total": self.total,
            "tokens_per_second": self.tokens_per_second,
            "recalled": self.recalled,
            "dropped_memories": list(self.dropped_memories),
            "dropped_messages": self.dropped_messages,
            "remembered": self.remembered,
            "remember_error": self.remember_error,
            "turn": self.turn,
            "record": self.record,
            "speculation": self.speculation,
            "scores": self.scores,
            "shards": self.shards,
            "pictures": self.pictures,
            "notices": [asdict(notice) for notice in self.notices],
        }


def _recalled(receipt: Receipt) -> dict[str, Any]:
    return {
        "id": receipt.record.id,
        "session": receipt.record.session,
        "turn": receipt.record.turn,
        "created": receipt.record.created.isoformat(),
        "rank": receipt.rank,
        "score": receipt.score,
        "parts": dict(receipt.parts),
        "dense_score": receipt.dense_score,
        "dense_rank": receipt.dense_rank,
        "lexical_score": receipt.lexical_score,
        "lexical_rank": receipt.lexical_rank,
        "expanded_from": receipt.expanded_from,
    }
