"""`/docs`: the interactive description of the API, from files of this machine alone.

Knows where the page's script and style lie. FastAPI's own page would fetch them from a content network.
"""

from __future__ import annotations

from importlib.resources import files

import fastapi_offline
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

POLICY = "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
"""The browser fetches nothing from elsewhere; Swagger UI sets styles and is started by a script inside the page."""


def install(app: FastAPI) -> None:
    """Serve the page and its files."""
    static = files(fastapi_offline).joinpath("static")
    app.mount("/docs/static", StaticFiles(directory=str(static)), name="docs-static")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        page = get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="JC1 API",
            swagger_js_url="/docs/static/swagger-ui-bundle.js",
            swagger_css_url="/docs/static/swagger-ui.css",
            swagger_favicon_url="data:,",
        )
        page.headers["content-security-policy"] = POLICY
        return page
