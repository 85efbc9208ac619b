"""`/v1/traces`: what the most recent requests went through, stage by stage."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel, Field

from jc1_api.deps import Owner, TheWorkbench, requires
from jc1_api.routing import Router

router = Router(prefix="/v1/traces", tags=["traces"])


class Traces(BaseModel):
    object: Literal["list"] = "list"
    data: list[dict[str, Any]] = Field(description="As /v1/traces/{id} gives them, newest first.")


@router.get("", dependencies=[requires("chat")])
async def list_traces(
    workbench: TheWorkbench,
    owner: Owner,
    limit: Annotated[int, Query(ge=1, le=500, description="Most traces to list.")] = 50,
) -> Traces:
    """List the owner's recent requests, newest first, failed and cancelled ones included."""
    return Traces(data=[trace.to_dict() for trace in workbench.telemetry.recent.list(owner, limit=limit)])


@router.get("/{trace_id}", dependencies=[requires("chat")])
async def get_trace(trace_id: str, workbench: TheWorkbench, owner: Owner) -> dict[str, Any]:
    """Return one request: spans, usage, recalled memories with every score, what had no room."""
    return workbench.telemetry.recent.get(trace_id, owner).to_dict()
