"""Dependencies of the routes: the workbench, the scope that a route asks for, and the owner that a request is about.

Knows where the app and the gate leave them. What a caller may do, and for whom, `jc1.access.principal` decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

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


@dataclass(frozen=True)
class Required:
    """The dependency that lets those through who have a scope. `jc1_api.routing.Route` asks it before all else."""

    scope: str

    async def __call__(self, request: Request) -> None:
        request.state.principal.require(self.scope)

    async def count(self, request: Request) -> None:
        """Take the request from its caller's limit, where it works with memory: the pipeline's own it takes itself.

        Raises `RateLimited`.
        """
        if self.scope.startswith("memory:"):
            await request.app.state.workbench.guarded.take_request(request.state.principal)


def requires(scope: str) -> Any:
    """Return the dependency of a route on a scope, for its `dependencies`.

    Every route has one, unless it is for all who have a key. It raises `Refused`.
    """
    return Depends(Required(scope))


TheWorkbench = Annotated[Workbench, Depends(_workbench)]
Owner = Annotated[str, Depends(_owner)]
