"""`/v1/sessions`: an owner's conversations, listed, read and deleted. A chat request begins and continues them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Path, Query
from pydantic import BaseModel

from jc1.errors import UnknownSession
from jc1.sessions import MAX_PAGE, SessionInfo
from jc1_api.deps import Owner, TheWorkbench, requires
from jc1_api.fields import NAME_LENGTH
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


class Deleted(BaseModel):
    id: str
    deleted: Literal[True] = True


SessionId = Annotated[str, Path(min_length=1, max_length=NAME_LENGTH)]


@router.get("", response_model=SessionList, dependencies=[requires("memory:read")])
async def list_sessions(
    workbench: TheWorkbench,
    owner: Owner,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Most sessions to list.")] = 50,
) -> dict[str, Sequence[SessionInfo]]:
    """List the owner's conversations, most recently used first."""
    return {"data": await asyncio.to_thread(workbench.sessions.list, owner, limit=limit)}


@router.get("/{session_id:path}", response_model=SessionTurns, dependencies=[requires("memory:read")])
async def get_session(
    session_id: SessionId,
    workbench: TheWorkbench,
    owner: Owner,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Most turns, the newest ones.")] = 200,
) -> dict[str, Any]:
    """List the turns of one conversation, oldest first, cancelled ones included."""
    turns = await asyncio.to_thread(workbench.sessions.history, owner, session_id, limit=limit)
    if not turns:
        raise UnknownSession(session_id)
    return {"session": session_id, "data": turns}


@router.delete("/{session_id:path}", dependencies=[requires("memory:write")])
async def delete_session(session_id: SessionId, workbench: TheWorkbench, owner: Owner) -> Deleted:
    """Delete a conversation. What was remembered from it stays until it is forgotten."""
    await asyncio.to_thread(workbench.sessions.delete, owner, session_id)
    return Deleted(id=session_id)
