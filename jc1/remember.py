"""Remembering: the turn goes into its session and, where memory is on, what was said becomes records.

Knows what of a request is stored, and that a failure to store costs nobody the reply. Knows nothing about databases, or
about when it is called.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jc1.errors import Jc1Error, OcrUnavailable
from jc1.memory.base import NewRecord, Record, Sources
from jc1.vision.remembered import remembered

if TYPE_CHECKING:
    from jc1.request import Request
    from jc1.trace import Trace
    from jc1.workbench import Stores

log = logging.getLogger(__name__)


async def remember(stores: Stores, trace: Trace, request: Request, reply: str, *, cancelled: bool) -> None:
    """Store what a request and its reply, as far as it was written, leave behind; the trace says whether it worked."""
    if request.memory != "on" and request.session is None:
        return
    try:
        texts = await _texts(request)
        stored = await asyncio.to_thread(_store, stores, request, reply, _sources(trace, request), texts, cancelled)
        trace.turn, records = stored
        trace.stored = len(records)
        trace.record = records[0].id if records else None
        trace.remembered = True
    except Jc1Error as error:
        trace.remembered, trace.remember_error = False, error.code
        log.warning("trace %s was not remembered: %s", trace.id, error.message)
    except Exception:
        trace.remembered, trace.remember_error = False, Jc1Error.code
        log.exception("trace %s was not remembered", trace.id)


def _sources(trace: Trace, request: Request) -> Sources:
    """Return what stood in the prompt: recalled records and turns."""
    ids = [record["id"] for record in trace.recalled if record["id"] not in trace.dropped_memories]
    return Sources(tuple(ids), frozenset(request.turns))


async def _texts(request: Request) -> Sequence[str]:
    """Return the text that stands in each of the message's pictures, empty where it is not, or cannot be, read."""
    if request.texts is None:
        return [""] * len(request.pictures)
    try:
        return [reading.text for reading in await request.texts]
    except OcrUnavailable as error:
        log.warning("pictures are remembered without their text: %s", error.message)
        return [""] * len(request.pictures)


def _seen(request: Request, texts: Sequence[str], turn: int | None) -> list[NewRecord]:
    """Return the records that tell of the message's pictures."""
    return [
        remembered(part.data, part.picture, part.name or part.url, text, session=request.session, turn=turn)
        for part, text in zip(request.pictures, texts, strict=True)
        if part.picture is not None
    ]


def _store(
    stores: Stores, request: Request, reply: str, sources: Sources, texts: Sequence[str], cancelled: bool
) -> tuple[int | None, Sequence[Record]]:
    """Store the turn and its records; return the turn's number, where there is one, and the records."""
    session, number = request.session, None
    records: Sequence[Record] = ()
    answered = bool(reply.strip()) and not cancelled
    if session is not None:
        number = stores.sessions.append(
            request.owner, session, user=request.message.said, reply=reply, cancelled=cancelled
        ).number
    if request.memory == "on":
        message = NewRecord(request.message.said, "user", session=session, turn=number)
        spoken = [message] if message.text.strip() else []  # a picture may come without words
        answer = NewRecord(reply, "assistant", "reply", session=session, turn=number, sources=sources)
        seen = _seen(request, texts, number)
        records = stores.memory.add(request.owner, [*spoken, *seen, answer] if answered else [*spoken, *seen])
    if session is not None and number is not None and not (answered and request.memory == "on"):
        stores.memory.note_reply(request.owner, session, number, request.message.said, reply, sources)
    return number, records
