"""`/v1/telemetry`: the times of requests as they finish, for dashboards that stay open."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Annotated

from fastapi import Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from jc1.access.keys import invalid
from jc1.access.principal import ADMIN, OWNER_LENGTH, Principal
from jc1.errors import Overloaded, Unauthenticated
from jc1.trace import Trace
from jc1.workbench import Workbench
from jc1_api.deps import TheWorkbench, requires
from jc1_api.docs import events_of
from jc1_api.errors import Error
from jc1_api.openai_format import Usage
from jc1_api.routing import Router
from jc1_api.sse import EventStream, event, openai_failure

router = Router(prefix="/v1/telemetry", tags=["traces"])

LISTENING = b": listening\n\n"
"""What comes first: from here on no request is missed."""


class Finished(BaseModel):
    """One event, `request`: a request that has finished, well or not. The whole of it is at /v1/traces/{id}."""

    id: str
    owner: str
    created: datetime
    model: str
    engine: str
    preset: str | None
    outcome: str = Field(description="ok, cancelled or an error's code.")
    cached: bool
    stages: dict[str, float] = Field(description="Seconds by stage.")
    first_token: float | None = Field(description="Seconds to the first token.")
    total: float | None = Field(description="Seconds in all.")
    tokens_per_second: float | None
    usage: Usage


@router.get(
    "",
    dependencies=[requires("metrics")],
    response_class=Response,
    responses=events_of(Finished, Error),
)
async def listen(
    request: Request,
    workbench: TheWorkbench,
    user: Annotated[
        str | None,
        Query(min_length=1, max_length=OWNER_LENGTH, description="Whose; for an admin everybody's when left out."),
    ] = None,
) -> EventStream:
    """Tell of each request of one's own when it has finished, as server-sent events, until the server stops.

    Who reads too slowly, or whose key is good no longer, is told so by an event with an `error`, the last one.
    """
    principal = request.state.principal
    everybody = user is None and principal.may(ADMIN)
    return EventStream(_chunks(workbench, principal, None if everybody else principal.acting_for(user)))


async def _chunks(workbench: Workbench, principal: Principal, owner: str | None) -> AsyncGenerator[bytes, None]:
    with workbench.telemetry.live.listening(owner) as listener:
        yield LISTENING
        try:
            async with aclosing(listener.traces()) as traces:
                async for trace in traces:
                    if not await workbench.keys.stands(principal):
                        raise invalid()
                    yield event(_told(trace), "request")
        except (Overloaded, Unauthenticated) as error:
            yield openai_failure(error)


def _told(trace: Trace) -> dict[str, object]:
    whole = trace.to_dict()
    return {name: whole[name] for name in Finished.model_fields}
