"""`/v1/usage`: what was asked with a key, by model and day.

Knows whose usage a caller may see. What is counted, and when it is stored, is `jc1.access.usage`'s.
"""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Annotated, Literal

from fastapi import Query, Request
from pydantic import BaseModel, Field

from jc1.access.principal import ADMIN
from jc1_api.deps import TheWorkbench
from jc1_api.routing import Router

router = Router(prefix="/v1/usage", tags=["keys"])

MOST_DAYS = 366


class UsageRow(BaseModel):
    """What was asked with one key of one model on one day."""

    key: str = Field(description="The key's id; empty where there were no keys.")
    model: str
    day: date = Field(description="In UTC.")
    requests: int = Field(description="Requests that ran.")
    prompt_tokens: int
    completion_tokens: int
    refused: int = Field(description="Requests that were turned away by a scope, a limit or an overload.")


class UsageList(BaseModel):
    object: Literal["list"] = "list"
    data: list[UsageRow]


@router.get("")
async def list_usage(
    request: Request,
    workbench: TheWorkbench,
    days: Annotated[int, Query(ge=1, le=MOST_DAYS, description="The last days, today included.")] = 30,
    key: Annotated[str | None, Query(max_length=200, description="One key's; all when left out. For `admin`.")] = None,
) -> UsageList:
    """List usage by key, model and day, the newest first: the caller's own key's; with `admin`, everybody's."""
    principal = request.state.principal
    if key not in (None, principal.key):
        principal.require(ADMIN)
    shown = key if principal.may(ADMIN) else principal.key
    rows = await asyncio.to_thread(workbench.usage.list, days, shown)
    return UsageList(data=[UsageRow(**row) for row in rows])
