"""`/health`, `/health/live`, `/health/ready` and `/version`: for whoever starts, watches and restarts this server.

Knows which parts a request needs and how to ask each whether it is there.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import tempfile
from collections.abc import Callable
from typing import Any, Literal

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

import jc1
from jc1.errors import EngineUnavailable, HomeUnusable, Jc1Error, StorageFull
from jc1.workbench import Workbench
from jc1_api.deps import TheWorkbench
from jc1_api.routing import Router

log = logging.getLogger(__name__)
router = Router(tags=["health"])

PROBE_BYTES = 4096


class Alive(BaseModel):
    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    status: Literal["ok", "unready"]
    checks: dict[str, str] = Field(description="By part: ok, or what is wrong with it.")


class Version(BaseModel):
    version: str
    model: str
    engine: str


@router.get("/health/live")
async def live() -> Alive:
    """Answer while the process does. Restart it when this fails."""
    return Alive()


UNREADY: dict[int | str, dict[str, Any]] = {503: {"model": Readiness, "description": "A part is not there."}}


@router.get("/health", responses=UNREADY)
@router.get("/health/ready", responses=UNREADY)
async def ready(request: Request, workbench: TheWorkbench) -> JSONResponse:
    """Say whether a request would be served. Send none while this fails."""
    if request.app.state.stopping:
        return JSONResponse({"status": "unready", "checks": {"server": "The server is stopping."}}, 503)
    parts: dict[str, Callable[[Workbench], None]] = {"engine": _engine, "database": _database, "disk": _disk}
    checks = {name: await asyncio.to_thread(_outcome, check, workbench) for name, check in parts.items()}
    fine = all(outcome == "ok" for outcome in checks.values())
    return JSONResponse({"status": "ok" if fine else "unready", "checks": checks}, 200 if fine else 503)


@router.get("/version")
async def version(workbench: TheWorkbench) -> Version:
    """Say what runs here."""
    return Version(version=jc1.__version__, model=workbench.engine.model, engine=workbench.engine.name)


def _outcome(check: Callable[[Workbench], None], workbench: Workbench) -> str:
    """Return what a check finds, in words that may be shown: `ok`, or JC1's own message."""
    try:
        check(workbench)
    except Jc1Error as error:
        return f"{error.message} [{error.code}]"
    except Exception:
        log.exception("a readiness check broke")
        return "The check itself broke: the server's log tells why."
    return "ok"


def _engine(workbench: Workbench) -> None:
    if not workbench.engine.healthy:
        raise EngineUnavailable(f"The {workbench.engine.name} engine takes no requests: wait, or restart JC1.")


def _database(workbench: Workbench) -> None:
    workbench.sessions.list(workbench.settings.owner, limit=1)


def _disk(workbench: Workbench) -> None:
    try:
        with tempfile.TemporaryFile(dir=workbench.settings.home) as probe:
            probe.write(bytes(PROBE_BYTES))
            probe.flush()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull("The disk of the home folder is full: free some space.") from None
        raise HomeUnusable(f"The home folder cannot be written ({error.strerror}): make it writable.") from None
