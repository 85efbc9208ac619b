"""`/v1/sessions`: an owner's conversations, listed, read and deleted. A chat request begins and continues them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Path, Query
from pydantic import BaseModel

from jc1.database.cursors import no_cursor
from jc1.errors import UnknownSession
from jc1.sessions import MAX_PAGE, SessionInfo, Turn
from jc1.workbench import Workbench
from jc1_api.deps import Owner, TheWorkbench, requires
from jc1_api.fields import NAME_LENGTH
from jc1_api.paging import Cursor, NextCursor, paged
from jc1_api.routing import Router

router = Router(prefix="/v1/sessions", tags=["sessions"])


class Session(BaseModel):
    object: Literal["session"] = "session"
    id: str
    title: str
    turns: int
    created: datetime
    updated: datetime


class SessionList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Session]
    next_cursor: NextCursor


class SessionTurn(BaseModel):
    number: int
    user: str
    reply: str
    cancelled: bool
    created: datetime


class SessionTurns(BaseModel):
    object: Literal["list"] = "list"
    session: str
    data: list[SessionTurn]
    next_cursor: NextCursor


class Deleted(BaseModel):
    id: str
    deleted: Literal[True] = True


SessionId = Annotated[str, Path(min_length=1, max_length=NAME_LENGTH)]


@router.get("", response_model=SessionList, dependencies=[requires("memory:read")])
async def list_sessions(
    workbench: TheWorkbench,
    owner: Owner,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Most sessions to list.")] = 50,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """List the owner's conversations, most recently used first."""

    def read(limit: int, at: str | None) -> Sequence[SessionInfo]:
        return workbench.sessions.list(owner, limit=limit, cursor=at)

    return await asyncio.to_thread(paged, read, lambda page: page[-1].cursor, limit, cursor)


@router.get("/{session_id:path}", response_model=SessionTurns, dependencies=[requires("memory:read")])
async def get_session(
    session_id: SessionId,
    workbench: TheWorkbench,
    owner: Owner,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Most turns, the newest ones.")] = 200,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """List the turns of one conversation, oldest first, cancelled ones too; the next page has those before."""
    if cursor is not None and not re.fullmatch(r"[1-9]\d{0,9}", cursor, re.ASCII):
        raise no_cursor()

    return await asyncio.to_thread(turns_of, workbench, owner, session_id, limit, int(cursor) if cursor else None)


def turns_of(
    workbench: Workbench, owner: str, session: str, limit: int = MAX_PAGE, before: int | None = None
) -> dict[str, Any]:
    """Return what `SessionTurns` shows of a conversation. Blocks. Raises `UnknownSession`."""

    def read(limit: int, before: int | None) -> Sequence[Turn]:
        return workbench.sessions.history(owner, session, limit=limit, before=before)

    page = paged(read, lambda turns: turns[0].number, limit, before)
    if before is None and not page["data"]:
        raise UnknownSession(session)
    return {"session": session, **page}


@router.delete("/{session_id:path}", dependencies=[requires("memory:write")])
async def delete_session(session_id: SessionId, workbench: TheWorkbench, owner: Owner) -> Deleted:
    """Delete a conversation. What was remembered from it stays until it is forgotten."""
    await asyncio.to_thread(workbench.sessions.delete, owner, session_id)
    return Deleted(id=session_id)
