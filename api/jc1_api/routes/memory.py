"""`/v1/memory`: an owner's memories, listed, searched, added, changed, forgotten, exported and imported.

Knows how requests become calls of the store, each in a thread: the store blocks.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import datetime
from tempfile import TemporaryFile
from typing import Annotated, Literal

from fastapi import Query, Request, Response
from pydantic import BaseModel, Field

from jc1 import erasure
from jc1.memory.base import (
    MAX_CHARACTERS,
    Edit,
    Filter,
    ForgetImpact,
    Imported,
    Kind,
    NewRecord,
    Page,
    Recall,
    Record,
    Restored,
    Retrieval,
    Role,
    Selection,
    Statistics,
)
from jc1.memory.deletion import MAX_SELECTED
from jc1.memory.exchange import MAX_LINES, too_many_lines
from jc1.memory.queries import MAX_CONTAINS
from jc1_api import idempotency
from jc1_api.deps import Owner, TheWorkbench, requires
from jc1_api.errors import named_as_sent
from jc1_api.fields import NAME_LENGTH, NOT_BLANK, Body, Flag, Name
from jc1_api.ndjson import Lines
from jc1_api.openai_format import RecallScores
from jc1_api.paging import Cursor, NextCursor
from jc1_api.routing import Router
from jc1_api.sse import while_connected

router = Router(prefix="/v1/memory", tags=["memory"])

MAX_PAGE = 200
"""Most memories on a page."""
MAX_QUERY = 2000
"""Most characters to search for: encoded in an address they take up to twelve times as many bytes."""
MAX_K = 100
"""Most memories that a search finds."""
IMPORT = "POST /v1/memory/import"
"""The route whose bodies may be larger than others'."""
_importing = ThreadPoolExecutor(4, thread_name_prefix="import")
"""A few at a time, in threads of their own: chat does not queue behind them."""
LINES = {"schema": {"type": "string", "description": "A memory a line, as JSON."}}


RecordText = Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS), NOT_BLANK]


class NewMemory(Body):
    """A text to be remembered."""

    text: RecordText
    role: Role = Field("user", description="Who said it.")
    kind: Kind | None = Field(None, description="What it is; decided from its wording when left out.")


class MemoryChange(Body):
    """What is changed about a memory; a field that is left out stays as it is."""

    text: RecordText | None = Field(None, description="What it says from now on; what it said is kept in its history.")
    pinned: Flag | None = Field(None, description="Recalled for every question.")
    excluded: Flag | None = Field(None, description="Recalled for none, and still listed.")


class MemorySelection(Body):
    """Which memories: some by id, what a session said, the parts of a document, or everything. One of the four."""

    records: Annotated[list[Name], Field(max_length=MAX_SELECTED)] | None = Field(None, description="Ids.")
    session: Name | None = None
    document: Name | None = None
    everything: Flag = False

    def selection(self) -> Selection:
        """Return the selection as the memory takes it. Raises `InvalidRequest` for none or two."""
        return Selection(tuple(self.records or ()), self.session, self.document, self.everything)


class MemoryForget(MemorySelection):
    """What is forgotten, and whether for good at once."""

    purge: Flag = Field(False, description="Remove it now: it cannot be restored.")


class MemoryRecord(BaseModel):
    """One remembered text with its source."""

    object: Literal["memory"] = "memory"
    id: str
    text: str
    role: Role
    kind: Kind
    created: datetime
    session: str | None
    turn: int | None = Field(description="Number of the session's turn, or of the document's part.")
    speaker: str | None = Field(description="Who said it, where that is more than a role.")
    document: str | None = Field(description="Title of the document that it is a part of.")
    place: str | None = Field(description="Where in the document.")
    picture: str | None = Field(description="SHA-256 of the picture that it tells of, which has a thumbnail.")
    superseded_by: str | None = Field(description="The newer statement on its subject.")
    pinned: bool = Field(description="Recalled for every question.")
    excluded: bool = Field(description="Recalled for none.")
    edited: datetime | None = Field(description="When its text was last changed.")
    outdated: bool = Field(description="A reply that repeats what was since edited or counts no more: never recalled.")


class MemoryPage(BaseModel):
    object: Literal["list"] = "list"
    data: list[MemoryRecord] = Field(validation_alias="records")
    total: int = Field(description="How many the filters let through.")
    next_cursor: NextCursor


class Hit(RecallScores):
    """A found memory and why it was found."""

    memory: MemoryRecord = Field(validation_alias="record")
    passage: str | None = Field(description="Of a long text, the part that answers best, as a prompt holds it.")


class Hits(BaseModel):
    object: Literal["list"] = "list"
    data: list[Hit] = Field(validation_alias="receipts")
    seconds: dict[str, float] = Field(description="Of the stages embed and recall.")


class MemoryHistory(BaseModel):
    """What a memory said before it was edited, oldest first."""

    object: Literal["list"] = "list"
    data: list[Edit]


class ForgetPreview(BaseModel):
    """What forgetting would hide."""

    records: int
    along: int = Field(
        validation_alias="cascaded",
        description="Of them, those not selected: replies to a selected message, and those that repeat one.",
    )
    edits: int = Field(description="Earlier texts of these memories.")
    turns: int = Field(description="Turns of sessions that hold the texts, message and reply.")
    first: list[MemoryRecord] = Field(description="The newest 20 of the memories.")
    elsewhere: list[MemoryRecord] = Field(
        validation_alias="duplicates_kept",
        description="Up to 20 memories that stay and hold a selected one's text or words.",
    )


class Forgotten(BaseModel):
    """What was forgotten."""

    records: int
    along: int = Field(description="Of them, replies that went along with what they repeat.")
    edits: int
    turns: int
    restorable_until: datetime | None = Field(description="At least; null where it was removed for good.")
    clean: bool | None = Field(description="Whether no file of the database holds it any more, where it was removed.")


class Purged(BaseModel):
    """What was removed for good."""

    records: int
    edits: int
    turns: int
    clean: bool = Field(description="Whether no file holds it any more. false while others read: purge again.")
    remains: list[str] = Field(description="Where purged texts may still be, because this server does not reach there.")


class ForgottenMemory(BaseModel):
    """A forgotten memory."""

    id: str
    deleted: Literal[True] = True
    restorable_until: datetime = Field(description="At least.")


@router.get("", response_model=MemoryPage, dependencies=[requires("memory:read")])
async def list_memories(
    workbench: TheWorkbench,
    owner: Owner,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Most memories on the page.")] = 50,
    cursor: Cursor = None,
    session: Annotated[str | None, Query(max_length=NAME_LENGTH, description="Said in this session.")] = None,
    document: Annotated[str | None, Query(max_length=NAME_LENGTH, description="Parts of this document.")] = None,
    kind: Annotated[Kind | None, Query(description="Of this kind.")] = None,
    role: Annotated[Role | None, Query(description="Said by this role.")] = None,
    contains: Annotated[str | None, Query(max_length=MAX_CONTAINS, description="Whose text has this in it.")] = None,
    pinned: Annotated[bool | None, Query(description="Pinned, or not.")] = None,
    excluded: Annotated[bool | None, Query(description="Excluded, or not.")] = None,
    superseded: Annotated[bool | None, Query(description="Superseded, or not.")] = None,
    forgotten: Annotated[bool, Query(description="Those that are forgotten and can be restored, instead.")] = False,
) -> Page:
    """List the owner's memories, newest first, superseded and excluded ones included."""
    only = Filter(session, document, kind, role, contains, pinned, excluded, superseded, forgotten)
    return await asyncio.to_thread(workbench.memory.list, owner, limit=limit, cursor=cursor, only=only)


@router.post("", status_code=201, response_model=MemoryRecord, dependencies=[requires("memory:write")])
async def add_memory(
    body: NewMemory, request: Request, workbench: TheWorkbench, owner: Owner, idempotency_key: idempotency.Key = None
) -> Record:
    """Remember a text. A newer statement supersedes the older one on its subject."""
    memory = workbench.memory

    def again(record_id: str) -> Record:
        record = memory.get(owner, record_id)
        # Who may not read is shown what was sent, and not what somebody made of it since.
        return record if request.state.principal.may("memory:read") else replace(record, text=body.text)

    return await idempotency.once(
        workbench,
        request,
        owner,
        idempotency_key,
        lambda: memory.add(owner, [NewRecord(body.text, body.role, body.kind)])[0],
        id_of=lambda record: record.id,
        again=again,
    )


@router.get("/search", response_model=Hits, dependencies=[requires("memory:read")])
async def search_memories(
    workbench: TheWorkbench,
    owner: Owner,
    q: Annotated[str, Query(min_length=1, max_length=MAX_QUERY, description="What to look for.")],
    k: Annotated[int, Query(ge=1, le=MAX_K, description="Most memories to find.")] = 8,
) -> Recall:
    """Search as chat does, with the scores that chat would see."""
    with named_as_sent({"query": "q"}):
        return await asyncio.to_thread(workbench.memory.search, owner, q, Retrieval(k=k, questions=True))


@router.get("/statistics", dependencies=[requires("memory:read")])
async def memory_statistics(workbench: TheWorkbench, owner: Owner) -> Statistics:
    """Count the owner's memories, by kind, role, session and document."""
    return await asyncio.to_thread(workbench.memory.statistics, owner)


@router.get(
    "/export",
    response_model=None,
    responses={200: {"content": {Lines.media_type: LINES}}},
    dependencies=[requires("memory:read")],
)
async def export_memories(workbench: TheWorkbench, owner: Owner) -> Lines:
    """Export all memories as they are at one moment, each a line of JSON, with history and links.

    What is forgotten is not among them.
    """
    return Lines(workbench.memory.export_lines(owner), filename="memories.jsonl")


@router.post(
    "/import",
    openapi_extra={"requestBody": {"required": True, "content": {Lines.media_type: LINES}}},
    dependencies=[requires("memory:write")],
)
async def import_memories(request: Request, workbench: TheWorkbench, owner: Owner) -> Imported:
    """Take in what an export gave, or nothing where a line is wrong. What is there already stays.

    An import that is interrupted has stored a part: send the file again to go on.
    """
    with TemporaryFile() as file:
        lines = 0
        async for chunk in request.stream():
            lines += chunk.count(b"\n")
            if lines <= MAX_LINES:
                await asyncio.to_thread(file.write, chunk)
        if lines > MAX_LINES:
            raise too_many_lines()
        file.seek(0)
        return await while_connected(
            request.receive,
            _importing,
            lambda check: workbench.memory.import_lines(owner, file, progress=check),
        )


@router.post("/forget/preview", response_model=ForgetPreview, dependencies=[requires("memory:read")])
async def preview_forget(body: MemorySelection, workbench: TheWorkbench, owner: Owner) -> ForgetImpact:
    """Show what forgetting this would hide. Nothing is changed."""
    return await asyncio.to_thread(workbench.memory.preview, owner, body.selection())


@router.post("/forget", dependencies=[requires("memory:write")])
async def forget_memories(body: MemoryForget, workbench: TheWorkbench, owner: Owner) -> Forgotten:
    """Hide memories and the session turns that hold their texts, at once; with `purge` for good."""
    what = body.selection()
    hidden = await asyncio.to_thread(erasure.forget, workbench, owner, what)
    purged = await asyncio.to_thread(erasure.purge, workbench, owner, what) if body.purge else None
    return Forgotten(
        records=hidden.impact.records,
        along=hidden.impact.cascaded,
        edits=hidden.impact.edits,
        turns=hidden.impact.turns,
        restorable_until=None if purged else hidden.until,
        clean=purged and purged.clean,
    )


@router.post("/restore", dependencies=[requires("memory:write")])
async def restore_memories(body: MemorySelection, workbench: TheWorkbench, owner: Owner) -> Restored:
    """Show again what was forgotten and is not purged yet."""
    return await asyncio.to_thread(erasure.restore, workbench, owner, body.selection())


@router.post("/purge", dependencies=[requires("memory:write")])
async def purge_memories(body: MemorySelection, workbench: TheWorkbench, owner: Owner) -> Purged:
    """Remove for good, now, what the owner has forgotten of this."""
    purged = await asyncio.to_thread(erasure.purge, workbench, owner, body.selection())
    return Purged(**asdict(purged), remains=list(erasure.remains(workbench.settings)))


@router.get("/{memory_id}", response_model=MemoryRecord, dependencies=[requires("memory:read")])
async def get_memory(memory_id: str, workbench: TheWorkbench, owner: Owner) -> Record:
    """Return one memory."""
    return await asyncio.to_thread(workbench.memory.get, owner, memory_id)


@router.patch(
    "/{memory_id}",
    response_model=MemoryRecord,
    dependencies=[requires("memory:read"), requires("memory:write")],  # its answer shows the whole memory
)
async def change_memory(memory_id: str, body: MemoryChange, workbench: TheWorkbench, owner: Owner) -> Record:
    """Edit a memory, pin or exclude it. What an edited statement supersedes follows its new text, at its old time."""
    if body.text is not None:
        await asyncio.to_thread(workbench.memory.edit, owner, memory_id, body.text)
    marks = {"pinned": body.pinned, "excluded": body.excluded}
    return await asyncio.to_thread(workbench.memory.mark, owner, memory_id, **marks)


@router.get("/{memory_id}/history", dependencies=[requires("memory:read")])
async def memory_history(memory_id: str, workbench: TheWorkbench, owner: Owner) -> MemoryHistory:
    """List what a memory said before it was edited, oldest first."""
    edits = await asyncio.to_thread(workbench.memory.history, owner, memory_id)
    return MemoryHistory(data=list(edits))


@router.get(
    "/{memory_id}/thumbnail",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}},
    dependencies=[requires("memory:read")],
)
async def memory_thumbnail(memory_id: str, workbench: TheWorkbench, owner: Owner) -> Response:
    """Return a small JPEG of the picture that a memory tells of."""
    picture = await asyncio.to_thread(workbench.memory.picture, owner, memory_id)
    headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
    return Response(picture.thumbnail, media_type="image/jpeg", headers=headers)


@router.delete("/{memory_id}", dependencies=[requires("memory:write")])
async def forget_memory(memory_id: str, workbench: TheWorkbench, owner: Owner) -> ForgottenMemory:
    """Forget one memory, a message with its replies: hidden at once, and removed when it can no longer be restored."""
    hidden = await asyncio.to_thread(erasure.forget, workbench, owner, memory_id)
    return ForgottenMemory(id=memory_id, restorable_until=hidden.until)
