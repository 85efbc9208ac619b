"""`/v1/traces`: what the most recent requests went through, stage by stage."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query

from jc1_api.deps import Owner, TheWorkbench
from jc1_api.responses import Traces
from jc1_api.routing import Router

router = Router(prefix="/v1/traces", tags=["traces"])


@router.get("")
async def list_traces(
    workbench: TheWorkbench,
    owner: Owner,
    limit: Annotated[int, Query(ge=1, le=500, description="Most traces to list.")] = 50,
) -> Traces:
    """The owner's recent requests, newest first, failed and cancelled ones included."""
    return Traces(data=[trace.to_dict() for trace in workbench.telemetry.recent.list(owner, limit=limit)])


@router.get("/{trace_id}")
async def get_trace(trace_id: str, workbench: TheWorkbench, owner: Owner) -> dict[str, Any]:
    """One request: spans, usage, recalled memories with every score, what had no room."""
    return workbench.telemetry.recent.get(trace_id, owner).to_dict()
