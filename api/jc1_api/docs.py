"""`/openapi.json` and `/docs`: the description of the API, complete in itself and shown from files of this machine.

Knows where the page's script and style lie (FastAPI's own page would fetch them from a content network), and how a
schema that a route wrote by hand becomes part of the document.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import fastapi_offline
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.staticfiles import StaticFiles

POLICY = "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
"""The browser fetches nothing from elsewhere; Swagger UI sets styles and is started by a script inside the page."""


def events_of(*models: type[BaseModel], end: str | None = None) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that may stream: FastAPI does not know what events look like.

    Its references point into the document; `install` moves the definitions that it brings to where they point.

    Arguments:
        models: What the data of an event may be, as JSON.
        end: What the data of the last one is instead.
    """
    _, schema = models_json_schema(
        [(model, "serialization") for model in models], ref_template="#/components/schemas/{model}"
    )
    shapes: list[dict[str, Any]] = [
        {"contentMediaType": "application/json", "contentSchema": {"$ref": f"#/components/schemas/{model.__name__}"}}
        for model in models
    ]
    if end is not None:
        shapes.append({"const": end})
    each = {
        "type": "object",
        "properties": {"event": {"type": "string"}, "data": {"type": "string", "anyOf": shapes}},
        "required": ["data"],
        "$defs": schema["$defs"],
    }
    return {200: {"content": {"text/event-stream": {"schema": each}}}}


def install(app: FastAPI) -> None:
    """Complete the schema, and serve the page and its files."""
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        document = generated()
        _collect_definitions(document)
        # The page's "Authorize". Without keys nothing is asked for, hence the empty choice.
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}, {}]
        return document

    app.openapi = openapi  # type: ignore[method-assign]
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


def _collect_definitions(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for methods in document["paths"].values():
        for operation in methods.values():
            for response in operation["responses"].values():
                for content in response.get("content", {}).values():
                    for name, definition in content["schema"].pop("$defs", {}).items():
                        assert schemas.setdefault(name, definition) == definition, f"two models are called {name}"
