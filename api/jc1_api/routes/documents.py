"""`/v1/memory/documents`: documents that become an owner's memories, part by part.

Knows uploads and who waits for whom: one document is taken in at a time, in a thread of its own, so that chat does not
queue behind it. Knows nothing about formats or storing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import File, Form, Query, Request, UploadFile
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from jc1.documents.confined import read_confined
from jc1.documents.ingest import Ingested, ingest, title_of
from jc1.documents.scans import read_with_ocr
from jc1.memory.base import Document
from jc1.memory.documents import cursor_of
from jc1.memory.store import MAX_PAGE
from jc1_api.deps import Owner, TheWorkbench, requires
from jc1_api.errors import explain
from jc1_api.fields import NewName
from jc1_api.paging import Cursor, NextCursor, paged
from jc1_api.routing import Router
from jc1_api.sse import while_connected

PATH = "/v1/memory/documents"
router = Router(prefix=PATH, tags=["memory"])


class StoredDocument(BaseModel):
    """One version of a document whose parts are memories."""

    object: Literal["document"] = "document"
    title: str
    session: str | None = Field(description="What its parts are kept under; each has its number as `turn`.")
    parts: int = Field(description="Stored as memories.")
    missing: int = Field(description="Not stored yet, or forgotten.")
    characters: int
    created: datetime = Field(description="When the first of its parts was stored.")


class DocumentList(BaseModel):
    object: Literal["list"] = "list"
    data: list[StoredDocument]
    next_cursor: NextCursor


class IngestedDocument(BaseModel):
    """What became of a document that was sent."""

    object: Literal["document"] = "document"
    title: str
    session: str = Field(description="What its parts are kept under; each has its number as `turn`.")
    parts: int
    characters: int
    added: int = Field(description="Parts that were not stored before.")
    removed: int = Field(description="Memories of an earlier version, which are gone.")


_TITLE: TypeAdapter[str] = TypeAdapter(NewName)
_one_at_a_time = ThreadPoolExecutor(1, thread_name_prefix="ingest")


def _checked_title(name: str) -> str:
    """Return a file's name as the title of its document. Raises `InvalidRequest` where it cannot be one."""
    try:
        return _TITLE.validate_python(name)
    except ValidationError as error:
        raise explain([{**error.errors()[0], "loc": ("form", "title")}]) from None


@router.get("", response_model=DocumentList, dependencies=[requires("memory:read")])
async def list_documents(
    workbench: TheWorkbench,
    owner: Owner,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Most documents to list.")] = 50,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """List the owner's documents, the one that was stored last first."""

    def read(limit: int, at: str | None) -> Sequence[Document]:
        return workbench.memory.documents(owner, limit=limit, cursor=at)

    return await asyncio.to_thread(paged, read, lambda page: cursor_of(page[-1]), limit, cursor)


@router.post("", status_code=201, response_model=IngestedDocument, dependencies=[requires("memory:write")])
async def ingest_document(
    request: Request,
    workbench: TheWorkbench,
    owner: Owner,
    file: Annotated[UploadFile, File(description="Markdown, plain text or PDF; with `ocr` also PNG, JPEG, WebP, GIF.")],
    title: Annotated[NewName | None, Form(description="What it is cited by; the file's name when left out.")] = None,
    ocr: Annotated[bool, Form(description="Read the text in pictures, and in pages that are pictures.")] = False,
) -> Ingested:
    """Remember a document. One of the same title takes the place of the version before; the same changes nothing.

    One that is interrupted is stored in part: send it again to go on.
    """
    name = file.filename or ""
    if title is None:
        title = _checked_title(title_of(name))

    def work(check: Callable[[int], None]) -> Ingested:
        check(0)
        data = file.file.read()
        if ocr:
            limit = workbench.settings.max_image_bytes
            parts = read_with_ocr(name, data, workbench.ocr, max_bytes=limit, progress=check)
        else:
            parts = read_confined(name, data)
        return ingest(workbench.memory, owner, title, parts, check)

    return await while_connected(request.receive, _one_at_a_time, work)
