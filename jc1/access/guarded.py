"""The pipeline as strangers may use it: what every front door calls in the pipeline's place.

Knows what is asked of a principal before its request runs, and in which order. Knows nothing about how a request runs
(`jc1.pipeline`), or about HTTP and pages.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jc1.errors import Refused
from jc1.presets import Preset
from jc1.reply import Done, Event, Reply

if TYPE_CHECKING:
    from jc1.access.principal import Principal
    from jc1.embedding.base import Vectors
    from jc1.messages import Message
    from jc1.trace import Trace
    from jc1.workbench import Workbench


@dataclass(frozen=True, slots=True)
class Admitted:
    """Event: the request was let in. The first of all, before anything of it is done."""

    trace: Trace
    """The request's, as far as it has come."""
    headers: Mapping[str, str]
    """What is left of the caller's limits, as OpenAI's `x-ratelimit-*`."""


GuardedEvent = Admitted | Event


class GuardedPipeline:
    """`Pipeline` behind what a principal may do: `workbench.guarded`."""

    def __init__(self, workbench: Workbench) -> None:
        self._bench = workbench

    async def chat(
        self, principal: Principal, messages: str | Sequence[Message | Mapping[str, Any]], **options: Any
    ) -> Reply:
        """Return the reply, whole. Takes what `stream` takes."""
        async with aclosing(self.stream(principal, messages, **options)) as events:
            async for event in events:
                if isinstance(event, Done):
                    return event.reply
        raise AssertionError("a stream ends with Done or raises")

    async def stream(
        self,
        principal: Principal,
        messages: str | Sequence[Message | Mapping[str, Any]],
        *,
        owner: str | None = None,
        session: str | None = None,
        preset: str | Preset | None = None,
        **options: Any,
    ) -> AsyncGenerator[GuardedEvent, None]:
        """Yield `Admitted`, then the events of `Pipeline.stream`, which takes the same options.

        Args:
            principal: Who asks.
            owner: Whose memory: what `principal.acting_for` gave; the principal's own where it is left out.

        Raises:
            Refused: The principal may not chat, or not with this model or preset.
            Jc1Error: Whatever `Pipeline.stream` raises.
        """
        bench = self._bench
        # 1) Whether this may be asked at all.
        principal.require("chat")
        _check_model(principal, bench.engine.model)
        _check_preset(principal, preset or bench.settings.preset)
        # 2) Run it.
        trace = bench.begin_trace(owner or principal.owner, session)
        yield Admitted(trace, {})
        events = bench.pipeline.stream(messages, trace=trace, preset=preset, **options)
        async with aclosing(events):
            async for event in events:
                yield event

    async def embed(self, principal: Principal, texts: Sequence[str]) -> Vectors:
        """Return a unit vector for each text, shape (len(texts), dimension).

        Raises:
            Refused: The principal may not embed.
            EmbedderUnavailable: There is no embedder, or it cannot be loaded.
        """
        principal.require("embed")
        return await asyncio.to_thread(self._bench.embedder.embed, texts)


def _check_model(principal: Principal, model: str) -> None:
    if principal.models is not None and model not in principal.models:
        raise Refused(f"This key may not ask the model {model!r}: /v1/models lists those it may.", param="model")


def _check_preset(principal: Principal, preset: str | Preset) -> None:
    """Raise `Refused` for a preset that is not allowed by its reference, its name, or its alias."""
    reference = preset.reference if isinstance(preset, Preset) else preset
    if principal.presets is not None and principal.presets.isdisjoint({reference, *reference.split("@", 1)}):
        allowed = ", ".join(sorted(principal.presets)) or "none"
        raise Refused(f"This key may not use the preset {reference!r}: allowed are {allowed}.", param="preset")
