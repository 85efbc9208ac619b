"""The requests of a sweep: many trials' requests through one engine at once, each answer scored and kept as it comes.

Knows how requests are kept in flight, what becomes of one that fails, and when a seed is shared. Knows nothing about
which trials there are, and times nothing: beside so many others no request's time means anything.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jc1.errors import EngineFailed, EngineUnavailable, InvalidRequest, Jc1Error
from jc1.presets import Preset
from jc1_lab.records.evals import EvalRecord, Key, Split
from jc1_lab.records.items import Item

if TYPE_CHECKING:
    from jc1.reply import Reply
    from jc1.trace import Trace
    from jc1.workbench import Workbench
    from jc1_lab.records.store import SweepStore
    from jc1_lab.scoring.scoring import Scoring

IN_FLIGHT = 256
"""Requests that are handed to the engine at a time: as many as vLLM batches by default on a CPU."""
ATTEMPTS = 3
"""How often a request is tried whose engine broke."""


@dataclass(frozen=True, slots=True)
class EvalRequest:
    """One request to be made: the record that it will become, and what is asked."""

    trial: int
    split: Split
    item: Item
    repeat: int
    seed: int | None
    preset: Preset
    owner: str

    @property
    def key(self) -> Key:
        return (self.trial, self.split, self.item.id, self.repeat)


def extra(preset: Preset, scoring: Scoring) -> dict[str, int]:
    """Return the decoding fields that a request needs beyond its preset, so that it can be scored."""
    decoding = preset.decoding
    wanted = scoring.needs_logprobs and decoding.get("beam_width", 1) == 1 and "logprobs" not in decoding
    return {"logprobs": 0} if wanted else {}


def seed_of(seed: int, split: Split, item: str, repeat: int) -> int:
    """Return the seed of a request: the same for every trial, other ones on held-out prompts and for each repeat."""
    digest = hashlib.sha256(f"{seed}\n{split}\n{item}\n{repeat}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


async def run_requests(
    workbench: Workbench,
    requests: Sequence[EvalRequest],
    store: SweepStore,
    *,
    scoring: Scoring,
    in_flight: int = IN_FLIGHT,
    on_record: Callable[[EvalRecord], None] | None = None,
    on_trace: Callable[[EvalRequest, Trace, str], None] | None = None,
) -> None:
    """Make every request that has no record yet, `in_flight` at a time, and keep the records.

    A request that cannot be served is a record too, with the error's code. One whose engine broke is made again, up to
    `ATTEMPTS` times; then everything stops with the engine's error, and so it does where records cannot be kept. What
    was answered until then stays.
    """
    waiting = iter([request for request in requests if request.key not in store])

    async def work() -> None:
        for request in waiting:
            record = await _record(workbench, request, scoring, on_trace)
            store.add(record)
            if on_record:
                on_record(record)

    await _together(work() for _ in range(in_flight))


async def _together(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all; when one fails the others are cancelled, and its own error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except BaseExceptionGroup as errors:
        raise next((e for e in errors.exceptions if isinstance(e, Jc1Error)), errors.exceptions[0]) from None


async def _record(
    workbench: Workbench,
    request: EvalRequest,
    scoring: Scoring,
    on_trace: Callable[[EvalRequest, Trace, str], None] | None,
) -> EvalRecord:
    item, preset = request.item, request.preset
    fields = extra(preset, scoring) | ({} if request.seed is None else {"seed": request.seed})
    record = EvalRecord(request.trial, request.split, item.id, request.repeat, request.seed)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            reply = await workbench.pipeline.chat(
                item.messages, owner=request.owner, memory="read", preset=preset, **fields
            )
            break
        except InvalidRequest as error:
            return replace(record, outcome=error.code)
        except (EngineFailed, EngineUnavailable):
            if attempt == ATTEMPTS:
                raise
    if on_trace:
        on_trace(request, reply.trace, reply.text)
    speculation = reply.trace.speculation or {}
    return replace(
        record,
        finish_reason=reply.trace.finish_reason,
        texts=tuple(choice.text for choice in reply.choices),
        scores=await _scores(scoring, item, reply),
        drafts=tuple(speculation.get("by_position", ())),
    )


async def _scores(scoring: Scoring, item: Item, reply: Reply) -> dict[str, float]:
    """Score the reply; code from outside may take its time in a thread, while other requests go on."""
    if scoring.blocking:
        return await asyncio.to_thread(scoring.reply, item, reply)
    return scoring.reply(item, reply)
