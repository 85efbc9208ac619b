"""A server of chat completions that says and does what a test wants, over HTTP.

Knows the wire format by itself, without JC1's own client or API, so that a mistake of theirs is seen.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route


def chunk(content: str | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": {} if content is None else {"content": content}, "finish_reason": finish, **more}
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


USAGE = {**chunk(), "choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 2, "total_tokens": 13}}
REPLY = [chunk("hel"), chunk("lo"), chunk(finish="stop"), USAGE]


@dataclass
class Stub:
    """What the server answers, and what it was asked."""

    chunks: list[dict[str, Any] | float] = field(default_factory=lambda: list(REPLY))
    """The events of a reply; a number is a pause in seconds."""
    failures: list[Response] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=lambda: [{"id": "m", "max_model_len": 512}])
    document: dict[str, Any] | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    """Of each request for a reply."""
    broken: bool = False
    refuses: Callable[[dict[str, Any]], Response | None] = lambda request: None
    """What it answers to a request that it does not take."""
    hold: threading.Event | None = None
    gone: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    async def list_models(self, request: Request) -> Response:
        self.keys.append(request.headers.get("authorization"))
        if self.failures:
            return self.failures.pop(0)
        return JSONResponse({"object": "list", "data": [{"object": "model", **model} for model in self.models]})

    async def openapi(self, request: Request) -> Response:
        return JSONResponse(self.document) if self.document else Response(status_code=404)

    async def chat(self, request: Request) -> Response:
        self.asked.append(await request.json())
        self.headers.append(dict(request.headers))
        if self.failures:
            return self.failures.pop(0)
        if (refusal := self.refuses(self.asked[-1])) is not None:
            return refusal

        async def events() -> AsyncIterator[str]:
            try:
                for one in self.chunks:
                    if isinstance(one, float):
                        await asyncio.sleep(one)
                    else:
                        yield f"data: {json.dumps(one)}\n\n"
                if self.broken:
                    raise ConnectionResetError
                if self.hold is not None:
                    await asyncio.to_thread(self.hold.wait, 30)
                yield "data: [DONE]\n\n"
            finally:
                self.gone.set()

        return StreamingResponse(events(), media_type="text/event-stream")


@contextmanager
def serving(stub: Stub) -> Iterator[Stub]:
    app = Starlette(
        routes=[
            Route("/v1/models", stub.list_models),
            Route("/openapi.json", stub.openapi),
            Route("/v1/chat/completions", stub.chat, methods=["POST"]),
        ]
    )
    listener = socket.create_server(("127.0.0.1", 0))
    stub.url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none", lifespan="off"))
    thread = threading.Thread(target=asyncio.run, args=(server.serve([listener]),))
    thread.start()
    try:
        yield stub
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
