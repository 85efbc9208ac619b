"""Dependencies of the routes: the workbench, and the owner that a request is about.

Knows where the app and the gate leave them. Whom a caller may act for, `jc1.access.principal` decides.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query, Request

from jc1.access.principal import OWNER_LENGTH
from jc1.workbench import Workbench


async def _workbench(request: Request) -> Workbench:
    workbench: Workbench = request.app.state.workbench
    return workbench


async def _owner(
    request: Request,
    user: Annotated[
        str | None,
        Query(min_length=1, max_length=OWNER_LENGTH, description="Whose; the server's own owner when left out."),
    ] = None,
) -> str:
    owner: str = request.state.principal.acting_for(user)
    return owner


TheWorkbench = Annotated[Workbench, Depends(_workbench)]
Owner = Annotated[str, Depends(_owner)]
