"""`/v1/memory`: an owner's memories, listed, searched, added, read and forgotten.

Knows how requests become calls of the store, each in a thread: the store blocks.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query

from api.deps import Owner, ThePipeline
from api.schemas import NewMemory
from api.shapes import Deleted, Hit, Hits, MemoryPage, MemoryRecord
from jc1.memory.base import NewRecord, Retrieval

router = APIRouter(prefix="/v1/memory", tags=["memory"])

MAX_PAGE = 200
"""Most memories on a page."""
MAX_QUERY = 2000
"""Most characters to search for: encoded in an address they take up to twelve times as many bytes."""
MAX_K = 100
"""Most memories that a search finds."""


@router.get("")
async def list_memories(
    pipeline: ThePipeline,
    owner: Owner,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Most memories on the page.")] = 50,
    cursor: Annotated[str | None, Query(max_length=200, description="`next_cursor` of the page before.")] = None,
) -> MemoryPage:
    """The owner's memories, newest first, superseded ones included."""
    page = await asyncio.to_thread(pipeline.memory.list, owner, limit=limit, cursor=cursor)
    return MemoryPage(
        data=[MemoryRecord.of(record) for record in page.records], total=page.total, next_cursor=page.next_cursor
    )


@router.post("", status_code=201)
async def add_memory(body: NewMemory, pipeline: ThePipeline, owner: Owner) -> MemoryRecord:
    """Remember a text. A newer statement supersedes the older one on its subject."""
    new = NewRecord(body.text, body.role, body.kind)
    (record,) = await asyncio.to_thread(pipeline.memory.add, owner, [new])
    return MemoryRecord.of(record)


@router.get("/search")
async def search_memories(
    pipeline: ThePipeline,
    owner: Owner,
    q: Annotated[str, Query(min_length=1, max_length=MAX_QUERY, description="What to look for.")],
    k: Annotated[int, Query(ge=1, le=MAX_K, description="Most memories to find.")] = 8,
) -> Hits:
    """Search as chat does, with the scores that chat would see."""
    found = await asyncio.to_thread(pipeline.memory.search, owner, q, Retrieval(k=k))
    return Hits(data=[Hit.of(receipt) for receipt in found.receipts], seconds=dict(found.seconds))


@router.get("/{memory_id}")
async def get_memory(memory_id: str, pipeline: ThePipeline, owner: Owner) -> MemoryRecord:
    """One memory."""
    return MemoryRecord.of(await asyncio.to_thread(pipeline.memory.get, owner, memory_id))


@router.delete("/{memory_id}")
async def forget_memory(memory_id: str, pipeline: ThePipeline, owner: Owner) -> Deleted:
    """Forget one memory, at once and for good."""
    await asyncio.to_thread(pipeline.memory.forget, owner, memory_id)
    return Deleted(id=memory_id)
