"""`/v1/sessions`: an owner's conversations, listed, read and deleted. A chat request begins and continues them."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import Path, Query

from jc1.errors import UnknownSession
from jc1.sessions import MAX_PAGE
from jc1_api.deps import Owner, TheWorkbench
from jc1_api.requests import NAME_LENGTH
from jc1_api.responses import Deleted, Session, SessionList, SessionTurn, SessionTurns
from jc1_api.routing import Router

router = Router(prefix="/v1/sessions", tags=["sessions"])

SessionId = Annotated[str, Path(min_length=1, max_length=NAME_LENGTH)]


@router.get("")
async def list_sessions(
    workbench: TheWorkbench,
    owner: Owner,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Most sessions to list.")] = 50,
) -> SessionList:
    """The owner's conversations, most recently used first."""
    found = await asyncio.to_thread(workbench.sessions.list, owner, limit=limit)
    return SessionList(data=[Session.of(info) for info in found])


@router.get("/{session_id:path}")
async def get_session(
    session_id: SessionId,
    workbench: TheWorkbench,
    owner: Owner,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Most turns, the newest ones.")] = 200,
) -> SessionTurns:
    """The turns of one conversation, oldest first, cancelled ones included."""
    turns = await asyncio.to_thread(workbench.sessions.history, owner, session_id, limit=limit)
    if not turns:
        raise UnknownSession(session_id)
    return SessionTurns(session=session_id, data=[SessionTurn.of(turn) for turn in turns])


@router.delete("/{session_id:path}")
async def delete_session(session_id: SessionId, workbench: TheWorkbench, owner: Owner) -> Deleted:
    """Delete a conversation. What was remembered from it stays until it is forgotten."""
    await asyncio.to_thread(workbench.sessions.delete, owner, session_id)
    return Deleted(id=session_id)
