"""`/mcp`: MCP over streamable HTTP, a whole answer to each request.

Knows how an HTTP request becomes a message of MCP, who sent it, and that a client that goes away takes its request with
it. No state is kept between requests, in any version of the protocol: each shows its key again, so none can be used
with another's. Knows nothing about tools and resources.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from jc1.errors import Refused
from jc1.workbench import Workbench
from jc1_api.mcp.server import Context, build
from jc1_api.mcp.tools import SCOPES, Asker
from jc1_api.routing import check_names
from jc1_api.sse import until_disconnect

PATH = "/mcp"


class Endpoint:
    """The ASGI application at `PATH`. It answers while `serving` runs."""

    def __init__(self, workbench: Workbench) -> None:
        self._server = build(workbench, _asker)
        self._max_bytes = workbench.settings.max_body_bytes
        self._manager: StreamableHTTPSessionManager | None = None

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Run what carries requests while the body runs."""
        self._manager = StreamableHTTPSessionManager(
            self._server, json_response=True, stateless=True, max_request_body_size=self._max_bytes
        )
        begun, end = asyncio.Event(), asyncio.Event()
        # In a task of its own: its task group has to be left by the task that entered it.
        task = asyncio.create_task(_running(self._manager, begun, end))
        await begun.wait()
        try:
            yield
        finally:
            end.set()
            await task

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._manager is not None
        request = Request(scope, receive)
        principal = request.state.principal
        if not any(map(principal.may, SCOPES)):
            raise Refused(f"This key lacks the scopes of MCP, {', '.join(sorted(SCOPES))}: ask for one that has some.")
        check_names("query parameter", (name for name, _ in request.query_params.multi_items()), {"user"})
        request.state.owner = principal.acting_for(request.query_params.get("user"))
        body = await request.body()
        async with until_disconnect(receive):
            await self._manager.handle_request(scope, _holding(body), send)


async def _running(manager: StreamableHTTPSessionManager, begun: asyncio.Event, end: asyncio.Event) -> None:
    async with manager.run():
        begun.set()
        await end.wait()


def _holding(body: bytes) -> Receive:
    """Return what gives a body that was read already, and never tells of a disconnect: `until_disconnect` does."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if not messages:
            await asyncio.Event().wait()
        return messages.pop()

    return receive


def _asker(ctx: Context) -> Asker:
    assert ctx.request is not None
    return Asker(ctx.request.state.principal, ctx.request.state.owner)
