"""`jc1 mcp`: MCP over standard input and output, for a client that starts JC1 itself.

Knows for whom it acts, and that standard output is for messages alone: whatever else is printed, here or by an engine's
processes, goes to standard error. Knows nothing about tools and resources.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from jc1 import interrupts
from jc1.access.principal import Principal, check_owner
from jc1.telemetry.logs import log_to_stderr
from jc1.workbench import Workbench
from jc1_api.mcp.server import build
from jc1_api.mcp.tools import SCOPES, Asker

if TYPE_CHECKING:
    from jc1.settings import Settings

STDOUT, STDERR = 1, 2
"""File descriptors."""


def serve(settings: Settings, owner: str | None) -> None:
    """Answer the client for one owner, the settings' where none is named, until it closes standard input.

    Who starts a process here can read the database too: no key is asked for.

    Raises:
        Jc1Error: The owner's name cannot be one, or what `Workbench.open` and `Workbench.start` raise.
    """
    asker = Asker(Principal(check_owner(owner or settings.owner), SCOPES), owner or settings.owner)
    log_to_stderr(settings.log_level, settings.log_format)
    with interrupts.as_usual():
        asyncio.run(_serve(settings, asker))


async def _serve(settings: Settings, asker: Asker) -> None:
    from mcp.server.stdio import stdio_server

    async with _started(settings) as workbench:
        server = build(workbench, lambda _: asker)
        try:
            # It keeps standard output for itself, and points everybody else's at standard error.
            async with stdio_server() as (messages, answers):
                await server.run(messages, answers, server.create_initialization_options())
        except* BrokenPipeError:
            pass  # the client has left


@asynccontextmanager
async def _started(settings: Settings) -> AsyncIterator[Workbench]:
    """Yield the workbench, started; close it afterwards."""
    with _stdout_on_stderr(), interrupts.at_once():
        workbench = await Workbench.open(settings).__aenter__()
    try:
        yield workbench
    finally:
        with _stdout_on_stderr():
            await workbench.close()


@contextmanager
def _stdout_on_stderr() -> Iterator[None]:
    """Send to standard error what the body, and the processes that it starts, print."""
    sys.stdout.flush()
    kept = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, STDOUT)
        os.close(kept)
