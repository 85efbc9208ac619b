"""`/v1/memory`: an owner's memories, listed, searched, added, changed, forgotten, exported and imported.

Knows how requests become calls of the store, each in a thread: the store blocks.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from tempfile import TemporaryFile
from typing import Annotated

from fastapi import Query, Request

from jc1 import erasure as purging
from jc1.memory.base import Filter, Kind, NewRecord, Retrieval
from jc1.memory.queries import MAX_CONTAINS
from jc1.messages import Role
from jc1_api.deps import Owner, TheWorkbench
from jc1_api.errors import named_as_sent
from jc1_api.requests import NAME_LENGTH, MemoryChange, MemoryForget, MemorySelection, NewMemory
from jc1_api.responses import (
    ForgetPreview,
    Forgotten,
    ForgottenMemory,
    Hit,
    Hits,
    Imported,
    MemoryHistory,
    MemoryPage,
    MemoryRecord,
    MemoryStatistics,
    Purged,
    Restored,
)
from jc1_api.routes.export import Lines
from jc1_api.routing import Router

router = Router(prefix="/v1/memory", tags=["memory"])

MAX_PAGE = 200
"""Most memories on a page."""
MAX_QUERY = 2000
"""Most characters to search for: encoded in an address they take up to twelve times as many bytes."""
MAX_K = 100
"""Most memories that a search finds."""
IMPORT = "POST /v1/memory/import"
"""The route whose bodies may be larger than others'."""
LINES = {"schema": {"type": "string", "description": "A memory a line, as JSON."}}


@router.get("")
async def list_memories(
    workbench: TheWorkbench,
    owner: Owner,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Most memories on the page.")] = 50,
    cursor: Annotated[str | None, Query(max_length=200, description="`next_cursor` of the page before.")] = None,
    session: Annotated[str | None, Query(max_length=NAME_LENGTH, description="Said in this session.")] = None,
    document: Annotated[str | None, Query(max_length=NAME_LENGTH, description="Parts of this document.")] = None,
    kind: Annotated[Kind | None, Query(description="Of this kind.")] = None,
    role: Annotated[Role | None, Query(description="Said by this role.")] = None,
    contains: Annotated[str | None, Query(max_length=MAX_CONTAINS, description="Whose text has this in it.")] = None,
    pinned: Annotated[bool | None, Query(description="Pinned, or not.")] = None,
    excluded: Annotated[bool | None, Query(description="Excluded, or not.")] = None,
    superseded: Annotated[bool | None, Query(description="Superseded, or not.")] = None,
    forgotten: Annotated[bool, Query(description="Those that are forgotten and can be restored, instead.")] = False,
) -> MemoryPage:
    """The owner's memories, newest first, superseded and excluded ones included."""
    only = Filter(session, document, kind, role, contains, pinned, excluded, superseded, forgotten)
    page = await asyncio.to_thread(workbench.memory.list, owner, limit=limit, cursor=cursor, only=only)
    return MemoryPage(
        data=[MemoryRecord.of(record) for record in page.records], total=page.total, next_cursor=page.next_cursor
    )


@router.post("", status_code=201)
async def add_memory(body: NewMemory, workbench: TheWorkbench, owner: Owner) -> MemoryRecord:
    """Remember a text. A newer statement supersedes the older one on its subject."""
    new = NewRecord(body.text, body.role, body.kind)
    (record,) = await asyncio.to_thread(workbench.memory.add, owner, [new])
    return MemoryRecord.of(record)


@router.get("/search")
async def search_memories(
    workbench: TheWorkbench,
    owner: Owner,
    q: Annotated[str, Query(min_length=1, max_length=MAX_QUERY, description="What to look for.")],
    k: Annotated[int, Query(ge=1, le=MAX_K, description="Most memories to find.")] = 8,
) -> Hits:
    """Search as chat does, with the scores that chat would see."""
    with named_as_sent({"query": "q"}):
        found = await asyncio.to_thread(workbench.memory.search, owner, q, Retrieval(k=k))
    return Hits(data=[Hit.of(receipt) for receipt in found.receipts], seconds=dict(found.seconds))


@router.get("/statistics")
async def memory_statistics(workbench: TheWorkbench, owner: Owner) -> MemoryStatistics:
    """The owner's memories in figures."""
    return MemoryStatistics.of(await asyncio.to_thread(workbench.memory.statistics, owner))


@router.get("/export", response_model=None, responses={200: {"content": {Lines.media_type: LINES}}})
async def export_memories(workbench: TheWorkbench, owner: Owner) -> Lines:
    """All memories as they are at one moment, each a line of JSON, with history and links; not what is forgotten."""
    return Lines(workbench.memory.export_lines(owner), filename="memories.jsonl")


@router.post("/import", openapi_extra={"requestBody": {"required": True, "content": {Lines.media_type: LINES}}})
async def import_memories(request: Request, workbench: TheWorkbench, owner: Owner) -> Imported:
    """Take in what an export gave: all of it, or nothing where a line is wrong. What is there already stays."""
    with TemporaryFile() as file:
        async for chunk in request.stream():
            await asyncio.to_thread(file.write, chunk)
        file.seek(0)
        outcome = await asyncio.to_thread(workbench.memory.import_lines, owner, file)
    return Imported(added=outcome.added, same=outcome.same, kept=outcome.kept)


@router.post("/forget/preview")
async def preview_forget(body: MemorySelection, workbench: TheWorkbench, owner: Owner) -> ForgetPreview:
    """What forgetting this would hide. Nothing is changed."""
    return ForgetPreview.of(await asyncio.to_thread(workbench.memory.preview, owner, body.selection()))


@router.post("/forget")
async def forget_memories(body: MemoryForget, workbench: TheWorkbench, owner: Owner) -> Forgotten:
    """Hide memories and the session turns that hold their texts, at once; with `purge` for good."""
    what = body.selection()
    hidden = await asyncio.to_thread(purging.forget, workbench, owner, what)
    purged = await asyncio.to_thread(purging.purge, workbench, owner, what) if body.purge else None
    return Forgotten.of(hidden, purged)


@router.post("/restore")
async def restore_memories(body: MemorySelection, workbench: TheWorkbench, owner: Owner) -> Restored:
    """Show again what was forgotten and is not purged yet."""
    restored = await asyncio.to_thread(purging.restore, workbench, owner, body.selection())
    return Restored(records=restored.records, turns=restored.turns)


@router.post("/purge")
async def purge_memories(body: MemorySelection, workbench: TheWorkbench, owner: Owner) -> Purged:
    """Remove for good, now, what the owner has forgotten of this."""
    purged = await asyncio.to_thread(purging.purge, workbench, owner, body.selection())
    return Purged(**asdict(purged), remains=list(purging.remains(workbench.settings)))


@router.get("/{memory_id}")
async def get_memory(memory_id: str, workbench: TheWorkbench, owner: Owner) -> MemoryRecord:
    """One memory."""
    return MemoryRecord.of(await asyncio.to_thread(workbench.memory.get, owner, memory_id))


@router.patch("/{memory_id}")
async def change_memory(memory_id: str, body: MemoryChange, workbench: TheWorkbench, owner: Owner) -> MemoryRecord:
    """Edit a memory, pin or exclude it. An edited statement is told anew, at its old time."""
    if body.text is not None:
        await asyncio.to_thread(workbench.memory.edit, owner, memory_id, body.text)
    record = await asyncio.to_thread(
        workbench.memory.mark, owner, memory_id, pinned=body.pinned, excluded=body.excluded
    )
    return MemoryRecord.of(record)


@router.get("/{memory_id}/history")
async def memory_history(memory_id: str, workbench: TheWorkbench, owner: Owner) -> MemoryHistory:
    """What a memory said before it was edited, oldest first."""
    return MemoryHistory.of(await asyncio.to_thread(workbench.memory.history, owner, memory_id))


@router.delete("/{memory_id}")
async def forget_memory(memory_id: str, workbench: TheWorkbench, owner: Owner) -> ForgottenMemory:
    """Forget one memory, a message with its replies: hidden at once, and removed when it can no longer be restored."""
    hidden = await asyncio.to_thread(purging.forget, workbench, owner, memory_id)
    return ForgottenMemory(id=memory_id, restorable_until=hidden.until)
