"""Replay: what an earlier request asked, found where its turn was stored, so that it can be asked again.

Knows where that is: traces hold no text. Knows nothing about how a request runs, or with which preset it is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jc1.errors import TextNotKept, UnknownRecord
from jc1.messages import Message
from jc1.request import MemoryMode
from jc1.sessions import MAX_PAGE, Turn

if TYPE_CHECKING:
    from jc1.trace import Trace
    from jc1.workbench import Stores


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked: the conversation up to it, whether memory was read for it, and the reply, where that is kept."""

    messages: tuple[Message, ...]
    memory: MemoryMode
    reply: str | None


def question_of(stores: Stores, trace: Trace) -> Question:
    """Return what a finished request asked, by the turn of its session, or the record that its message became. Blocks.

    Nothing is remembered of it again: memory is read where it was read before. A request that brought its own history
    is asked by its last message alone, for that is what was kept.

    Raises:
        TextNotKept: The request was not to be remembered, or was forgotten since.
    """
    memory: MemoryMode = "read" if "recall" in trace.stages else "off"
    if trace.session is not None and trace.turn is not None:
        turns = stores.sessions.history(trace.owner, trace.session, limit=MAX_PAGE)
        asked = [turn for turn in turns if turn.number == trace.turn]
        if asked:
            return Question((*_before(turns, trace.turn), Message.user(asked[0].user)), memory, asked[0].reply)
    elif trace.record is not None:
        try:
            return Question((Message.user(stores.memory.get(trace.owner, trace.record).text),), memory, None)
        except UnknownRecord:
            pass  # told below, as for a turn
    raise TextNotKept(trace.id)


def _before(turns: Sequence[Turn], number: int) -> list[Message]:
    """Return the turns before one as a request that continues a session has them."""
    answered = [turn for turn in turns if turn.number < number and turn.reply and not turn.outdated]
    return [message for turn in answered for message in (Message.user(turn.user), Message.assistant(turn.reply))]
