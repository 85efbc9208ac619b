"""A finished request in the words of OpenTelemetry's conventions for generative AI, version 0.1.0.

Knows which spans a request is made of, and their names and attributes
(https://github.com/open-telemetry/semantic-conventions-genai, all of it still "development"). Knows nothing about how
spans are sent (`jc1.telemetry.otel`).

    jc1.request
      tokenize
      retrieval         embedding the question, and searching for it
        embed
        search_memory
      prompt
      chat MODEL        what the engine did; its id is what a server behind the engine is told
        queue, prefill, decode
      upsert_memory     storing what was said
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jc1.trace import Content, Span, Trace

SEMCONV = "0.1.0"
OPERATION, PROVIDER, ERROR = "gen_ai.operation.name", "gen_ai.provider.name", "error.type"
COUNT = "gen_ai.memory.record.count"
REQUESTED = ("top_p", "top_k", "frequency_penalty", "presence_penalty", "seed")
"""Fields of `Decoding` that the conventions know by the same name, beside those that every request has; no texts."""
RETRIEVAL, INFERENCE = ("embed", "recall"), ("queue", "prefill", "decode")
"""Stages that together are one operation."""


@dataclass(frozen=True, slots=True)
class Node:
    """A span with those below it: when it began, from the request's start, and how long it took, both in seconds.

    A `client` asks another process; `span_id` is set where others know the span already.
    """

    name: str
    start: float
    seconds: float
    attributes: Mapping[str, Any] = field(default_factory=dict)
    below: tuple[Node, ...] = ()
    client: bool = False
    span_id: str | None = None


def tree_of(trace: Trace, content: Content | None = None) -> Node:
    """Return the spans of a finished request; with its texts where `content` has them."""
    operations = [
        _retrieval(trace),
        None if trace.cached else _inference(trace, content),
        _remembering(trace),
        *(_stage(span) for span in trace.spans if span.stage not in (*RETRIEVAL, *INFERENCE, "remember")),
    ]
    attributes = {"jc1.trace.id": trace.id, "jc1.preset": trace.preset, "jc1.cached": trace.cached, **_failure(trace)}
    below = sorted((node for node in operations if node is not None), key=lambda node: node.start)
    return Node("jc1.request", 0.0, trace.total or 0.0, _set(attributes), tuple(below))


def inference_of(trace: Trace) -> Mapping[str, Any]:
    """Return the attributes that an inference's span and metrics have in common."""
    return {
        OPERATION: "chat",
        PROVIDER: trace.engine,
        "gen_ai.request.model": trace.model,
        "gen_ai.response.model": trace.model,
        **_failure(trace),
    }


def spanning(trace: Trace, stages: Sequence[str]) -> Span | None:
    """Return these stages of a request as one; None where it reached none of them."""
    spans = [span for span in trace.spans if span.stage in stages]
    if not spans:
        return None
    start = min(span.start for span in spans)
    return Span(stages[0], start, max(span.start + span.seconds for span in spans) - start)


def _retrieval(trace: Trace) -> Node | None:
    whole = spanning(trace, RETRIEVAL)
    if whole is None:
        return None
    search = {OPERATION: "search_memory", COUNT: len(trace.recalled)}
    below = tuple(
        Node("search_memory", span.start, span.seconds, search) if span.stage == "recall" else _stage(span)
        for span in trace.spans
        if span.stage in RETRIEVAL
    )
    return Node("retrieval", whole.start, whole.seconds, {OPERATION: "retrieval"}, below)


def _inference(trace: Trace, content: Content | None) -> Node | None:
    whole = spanning(trace, INFERENCE)
    if whole is None:
        return None
    decoding = trace.decoding
    requested = {}
    if decoding is not None:
        names = ("max_tokens", "temperature", *(name for name in REQUESTED if name in decoding.chosen))
        requested = {f"gen_ai.request.{name}": getattr(decoding, name) for name in names}
    attributes = {
        **inference_of(trace),
        **requested,
        "gen_ai.request.stream": True,  # that is how every engine is asked, whatever the client wants
        "gen_ai.request.choice.count": decoding.n if decoding and decoding.n != 1 else None,
        "gen_ai.conversation.id": trace.session,
        "gen_ai.response.id": trace.id,
        "gen_ai.response.finish_reasons": [trace.finish_reason] if trace.finish_reason else None,
        "gen_ai.response.time_to_first_chunk": first_chunk(trace, whole),
        "gen_ai.usage.input_tokens": trace.usage.prompt_tokens,
        "gen_ai.usage.output_tokens": trace.usage.completion_tokens,
        **(_texts(content, trace.finish_reason) if content else {}),
    }
    below = tuple(_stage(span) for span in trace.spans if span.stage in INFERENCE)
    remote = trace.engine == "openai"
    return Node(f"chat {trace.model}", whole.start, whole.seconds, _set(attributes), below, remote, trace.span_id)


def first_chunk(trace: Trace, inference: Span) -> float | None:
    """Return the seconds from the engine's being asked to its first token."""
    return None if trace.first_token is None else trace.first_token - inference.start


def _remembering(trace: Trace) -> Node | None:
    """Return the span of storing, whose records may retire earlier ones: that is what "upsert" stands for."""
    span = spanning(trace, ("remember",))
    if span is None or (not trace.stored and trace.remember_error is None):
        return None
    attributes = {OPERATION: "upsert_memory", COUNT: trace.stored, ERROR: trace.remember_error}
    return Node("upsert_memory", span.start, span.seconds, _set(attributes))


def _stage(span: Span) -> Node:
    return Node(span.stage, span.start, span.seconds)


def _failure(trace: Trace) -> dict[str, str]:
    return {} if trace.outcome == "ok" else {ERROR: trace.outcome}


def _set(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is not known."""
    return {name: value for name, value in attributes.items() if value is not None}


def _texts(content: Content, finish_reason: str | None) -> dict[str, str]:
    """Return what was read and written, as JSON in the conventions' shape: attributes of spans hold no structures."""
    replies = [{**_message("assistant", reply), "finish_reason": finish_reason or "stop"} for reply in content.replies]
    return {
        "gen_ai.input.messages": json.dumps([_message(m.role, m.text) for m in content.prompt], ensure_ascii=False),
        "gen_ai.output.messages": json.dumps(replies, ensure_ascii=False),
    }


def _message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}
