"""The resources that an MCP client may read: an owner's memories and conversations, each under a URI.

Knows how a URI names a memory or a session, and what is read there. Knows nothing about MCP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, unquote

from pydantic import BaseModel

from jc1.errors import NotFound
from jc1.workbench import Workbench
from jc1_api.mcp.tools import Asker
from jc1_api.routes.memory import MemoryRecord
from jc1_api.routes.sessions import SessionTurns, turns_of

SCOPE = "memory:read"
MEMORIES, SESSIONS = "jc1://memories/", "jc1://sessions/"
PAGE = 100
"""Memories of a page; on the first stand as many sessions besides."""
TITLE = 60
"""Most characters of a memory's title: the beginning of its text."""
MEDIA_TYPE = "application/json"


@dataclass(frozen=True, slots=True)
class Listed:
    """A resource as a list shows it."""

    uri: str
    name: str
    title: str
    description: str


async def listed(workbench: Workbench, asker: Asker, cursor: str | None) -> tuple[list[Listed], str | None]:
    """Return a page of the owner's resources, and where the next begins: sessions first, then memories, newest first.

    Who may not read them is shown none.
    """
    if not asker.principal.may(SCOPE):
        return [], None
    await workbench.guarded.take_request(asker.principal)
    return await asyncio.to_thread(_page, workbench, asker.owner, cursor)


async def read(workbench: Workbench, asker: Asker, uri: str) -> BaseModel:
    """Return what is under a URI.

    Raises:
        Refused: The caller may not read memories.
        RateLimited: The caller has asked for as much as it may.
        NotFound: The owner has nothing there.
    """
    asker.principal.require(SCOPE)
    await workbench.guarded.take_request(asker.principal)
    if uri.startswith(MEMORIES):
        record = await asyncio.to_thread(workbench.memory.get, asker.owner, unquote(uri.removeprefix(MEMORIES)))
        return MemoryRecord.model_validate(record, from_attributes=True)
    if uri.startswith(SESSIONS):
        session = unquote(uri.removeprefix(SESSIONS))
        turns = await asyncio.to_thread(turns_of, workbench, asker.owner, session)
        return SessionTurns.model_validate(turns, from_attributes=True)
    raise NotFound(f"Nothing is at {uri!r}: memories are at {MEMORIES}ID, conversations at {SESSIONS}ID.", param="uri")


def _page(workbench: Workbench, owner: str, cursor: str | None) -> tuple[list[Listed], str | None]:
    page = workbench.memory.list(owner, limit=PAGE, cursor=cursor)
    memories = (
        Listed(MEMORIES + record.id, record.id, record.text[:TITLE], f"A {record.kind}, said by the {record.role}.")
        for record in page.records
    )
    return [*(_sessions(workbench, owner) if cursor is None else ()), *memories], page.next_cursor


def _sessions(workbench: Workbench, owner: str) -> Iterator[Listed]:
    for session in workbench.sessions.list(owner, limit=PAGE):
        uri = SESSIONS + quote(session.id, safe="")
        yield Listed(uri, session.id, session.title, f"A conversation of {session.turns} turns.")
