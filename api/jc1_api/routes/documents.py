"""`/v1/memory/documents`: documents that become an owner's memories, part by part.

Knows uploads and who waits for whom: one document is taken in at a time, in a thread of its own, so that chat does not
queue behind it. Knows nothing about formats or storing.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, BinaryIO

from fastapi import File, Form, Query, UploadFile

from jc1.documents.confined import read_confined
from jc1.documents.ingest import Ingested, ingest, title_of
from jc1.memory.base import Memory
from jc1.memory.store import MAX_PAGE
from jc1_api.deps import Owner, TheWorkbench
from jc1_api.requests import NewName
from jc1_api.responses import DocumentList, IngestedDocument, StoredDocument
from jc1_api.routing import Router

PATH = "/v1/memory/documents"
router = Router(prefix=PATH, tags=["memory"])

_one_at_a_time = ThreadPoolExecutor(1, thread_name_prefix="ingest")


@router.get("")
async def list_documents(
    workbench: TheWorkbench,
    owner: Owner,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Most documents to list.")] = 50,
) -> DocumentList:
    """The owner's documents, the one that was stored last first."""
    found = await asyncio.to_thread(workbench.memory.documents, owner, limit=limit)
    return DocumentList(data=[StoredDocument.of(document) for document in found])


@router.post("", status_code=201)
async def ingest_document(
    workbench: TheWorkbench,
    owner: Owner,
    file: Annotated[UploadFile, File(description="Markdown, plain text or PDF.")],
    title: Annotated[NewName | None, Form(description="What it is cited by; the file's name when left out.")] = None,
) -> IngestedDocument:
    """Remember a document. One of the same title takes the place of the version before; the same changes nothing."""
    name = file.filename or ""
    done = await asyncio.get_running_loop().run_in_executor(
        _one_at_a_time, _take_in, workbench.memory, owner, title or title_of(name), name, file.file
    )
    return IngestedDocument.of(done)


def _take_in(memory: Memory, owner: str, title: str, name: str, file: BinaryIO) -> Ingested:
    return ingest(memory, owner, title, read_confined(name, file.read()))
