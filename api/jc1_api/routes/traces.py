"""`/v1/traces`: what the most recent requests went through, stage by stage, and one of them asked again."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from jc1.replay import question_of
from jc1_api.deps import Owner, TheWorkbench, requires
from jc1_api.fields import Body, Name
from jc1_api.replies import whole
from jc1_api.routing import Router

router = Router(prefix="/v1/traces", tags=["traces"])


class Traces(BaseModel):
    object: Literal["list"] = "list"
    data: list[dict[str, Any]] = Field(description="As /v1/traces/{id} gives them, newest first.")


class Replay(Body):
    """How it is asked again."""

    preset: Name = Field(description="Preset or alias.")


class Asked(BaseModel):
    """One of the two requests."""

    text: str | None = Field(description="The reply; null where it is not kept in a session.")
    trace: dict[str, Any] = Field(description="As /v1/traces/{id} gives it.")


class Replayed(BaseModel):
    """The same, asked twice."""

    object: Literal["replay"] = "replay"
    original: Asked
    replay: Asked


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


@router.post(
    "/{trace_id}/replay",
    response_model=Replayed,
    dependencies=[requires("chat"), requires("memory:read")],  # its answer shows what a session keeps
)
async def replay_trace(
    trace_id: str, body: Replay, request: Request, workbench: TheWorkbench, owner: Owner
) -> JSONResponse:
    """Ask what a request asked again, with another preset. Memory is read as it is now, and nothing is stored.

    What it asked is in the session that it was a part of, or in memory; else it is not kept, and the answer is 409.
    """
    original = workbench.telemetry.recent.get(trace_id, owner)
    question = await asyncio.to_thread(question_of, workbench, original)
    events = workbench.guarded.stream(
        request.state.principal, question.messages, owner=owner, memory=question.memory, preset=body.preset
    )
    reply, headers = await whole(events, request)
    both = Replayed(
        original=Asked(text=question.reply, trace=original.to_dict()),
        replay=Asked(text=reply.text, trace=reply.trace.to_dict()),
    )
    return JSONResponse(both.model_dump(mode="json"), headers=headers)
