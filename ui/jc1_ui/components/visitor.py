"""Who looks at a page, and what of the stores is shown to them: their own, as far as their key allows.

Knows scopes and the stores. Knows nothing about how anything is drawn.

Whoever may chat may go on with any conversation of their own, which the model then reads: so what was said in it is
shown to them. A list of conversations, and the texts of recalled memories, take the scope to read memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jc1.errors import UnknownRecord
from jc1.memory.base import Receipt

if TYPE_CHECKING:
    import gradio as gr

    from jc1.access.principal import Principal
    from jc1.sessions import SessionInfo, Turn
    from jc1.trace import Trace
    from jc1.workbench import Workbench

SESSIONS_SHOWN = 100
TURNS_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody at a page. Each call is a read of the stores in a thread."""

    workbench: Workbench
    principal: Principal

    @classmethod
    def of(cls, workbench: Workbench, request: gr.Request) -> Visitor:
        """Return who sent a page's event: the gate has left it with the request, also in Gradio's queue."""
        return cls(workbench, request.state.principal)

    @property
    def owner(self) -> str:
        """Return for whom the visitor acts."""
        return self.principal.owner

    @property
    def reads_memory(self) -> bool:
        """Return whether recalled texts and lists of conversations are shown."""
        return self.principal.may("memory:read")

    async def turns(self, session: str) -> Sequence[Turn]:
        """Return what was said in a conversation."""
        return await asyncio.to_thread(self.workbench.sessions.history, self.owner, session, limit=TURNS_SHOWN)

    async def sessions(self) -> Sequence[SessionInfo]:
        """Return the conversations, the last one used first; none where they may not be read."""
        if not self.reads_memory:
            return ()
        return await asyncio.to_thread(self.workbench.sessions.list, self.owner, limit=SESSIONS_SHOWN)

    async def delete(self, session: str) -> None:
        """Delete a conversation. Raises `Refused` without the scope for it, and what `Sessions.delete` does."""
        self.principal.require("memory:write")
        await asyncio.to_thread(self.workbench.sessions.delete, self.owner, session)

    def last_trace(self, session: str) -> Trace | None:
        """Return the newest trace of the conversation, while the ring still has it."""
        traces = self.workbench.telemetry.recent.list(self.owner)
        return next((trace for trace in traces if trace.session == session), None)

    async def receipts(self, trace: Trace) -> tuple[Receipt, ...]:
        """Return the receipts of an earlier reply, without what was forgotten since."""
        return await asyncio.to_thread(self._receipts, trace)

    def _receipts(self, trace: Trace) -> tuple[Receipt, ...]:
        receipts = []
        for entry in trace.recalled:
            try:
                record = self.workbench.memory.get(trace.owner, entry["id"])
            except UnknownRecord:
                continue
            # A trace holds scores and no text: neither the record's nor that of a long record's passage.
            scores = {key: entry[key] for key in Receipt.__dataclass_fields__ if key not in ("record", "passage")}
            receipts.append(Receipt(record=record, **scores))
        return tuple(receipts)
