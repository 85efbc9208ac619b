"""The FastAPI application over one workbench.

Knows which routes there are and that the gate stands before all of them. Knows nothing about settings' origins, the UI,
ports or processes: `jc1_api.main` puts those together.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from fastapi import FastAPI
from starlette.routing import Route

import jc1
from jc1.access.gate import Access
from jc1.access.sign_in import SignIns
from jc1.erasure import purging_daily
from jc1.telemetry.loop_lag import measuring_lag
from jc1.workbench import Workbench
from jc1_api import docs, errors
from jc1_api.anthropic_errors import PATHS
from jc1_api.live_sessions import Talks
from jc1_api.mcp import http as mcp
from jc1_api.middleware import Gate
from jc1_api.routes import (
    chat,
    completions,
    documents,
    embeddings,
    health,
    keys,
    live,
    memory,
    messages,
    metrics,
    models,
    presets,
    responses,
    sessions,
    sign_in,
    speech,
    spoken,
    telemetry,
    traces,
    transcriptions,
    usage,
    vision,
)

TAKE_PICTURES = tuple(f"POST {path}" for path in ("/v1/chat/completions", "/v1/responses", vision.PATH, *PATHS))
"""Routes whose bodies may hold pictures."""

# Of two addresses that fit, the first is taken: /v1/memory/documents is not the id of a memory.
ROUTERS = (
    chat.router,
    vision.router,
    responses.router,
    messages.router,
    completions.router,
    embeddings.router,
    transcriptions.router,
    speech.router,
    spoken.router,
    live.router,
    models.router,
    presets.router,
    documents.router,
    memory.router,
    sessions.router,
    traces.router,
    telemetry.router,
    keys.router,
    usage.router,
    sign_in.router,
    health.router,
    metrics.router,
)

RECORDINGS = (transcriptions.TRANSCRIPTIONS, transcriptions.TRANSLATIONS, spoken.PATH)
"""Addresses to which recordings are sent."""


def create_app(workbench: Workbench) -> FastAPI:
    """Return the API over `workbench`, which the app starts with itself and closes at its end."""

    agents = mcp.Endpoint(workbench)
    talks = Talks()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        lag = measuring_lag(workbench.telemetry.metrics.loop_lag.observe)
        async with workbench, purging_daily(workbench), lag, agents.serving(), aclosing(talks):
            yield

    app = FastAPI(
        title="JC1",
        summary="Chat with memory, in OpenAI's shapes.",
        version=jc1.__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # As they were built on import: to include the routers would build each route a second time.
        routes=[*(route for router in ROUTERS for route in router.routes), Route(mcp.PATH, agents, methods=["POST"])],
    )
    app.state.workbench = workbench
    app.state.started = int(time.time())
    app.state.stopping = False
    app.state.talks = talks
    settings = workbench.settings
    # A picture of the largest size, in base64, and as much text as any request may have.
    with_picture = "max_image_bytes", settings.max_body_bytes + 4 * settings.max_image_bytes // 3
    app.state.sign_ins = sign_ins = SignIns(workbench.keys, settings.session_hours)
    app.add_middleware(
        Gate,
        access=Access(settings.owner, workbench.keys, sign_ins),
        max_body_bytes=settings.max_body_bytes,
        larger={
            **{f"POST {path}": ("max_audio_bytes", settings.max_audio_bytes) for path in RECORDINGS},
            f"POST {documents.PATH}": ("max_document_bytes", settings.max_document_bytes),
            memory.IMPORT: ("max_import_bytes", settings.max_import_bytes),
            **dict.fromkeys(TAKE_PICTURES, with_picture),
        },
        on_error=workbench.telemetry.count_error,
        stopping=lambda: bool(app.state.stopping),
    )
    errors.install(app)
    docs.install(app)
    return app
