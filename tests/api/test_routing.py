"""Nothing that was sent is ignored, at any address: unknown names, repeated ones, bodies of another kind."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from jc1 import Workbench
from jc1_api.app import create_app
from jc1_api.routing import Route
from tests.support.wire import error_of


@pytest.fixture
def app(workbench: Workbench) -> FastAPI:
    return create_app(workbench)


def described(app: FastAPI) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every operation: method, address with an id that nothing has, description."""
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path.replace("{", "no-").replace("}", ""), operation


def test_every_route_checks_what_was_sent(app: FastAPI) -> None:
    routes = [route for route in app.routes if isinstance(route, APIRoute) and route.include_in_schema]
    assert routes
    assert [route.path for route in routes if not isinstance(route, Route)] == []


async def test_an_unknown_parameter_is_refused_by_name_everywhere(client: httpx.AsyncClient, app: FastAPI) -> None:
    for method, path, _ in described(app):
        response = await client.request(method, path, params={"usr": "bob"})
        error = error_of(response)
        assert (response.status_code, error["code"], error["param"]) == (400, "invalid_request", "usr"), path


async def test_a_parameter_that_is_sent_twice_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/memory?user=ann&user=bob")
    assert (response.status_code, response.json()["error"]["param"]) == (400, "user")


async def test_a_form_is_refused_wherever_json_is_taken_and_a_body_where_none_is(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    for method, path, operation in described(app):
        response = await client.request(method, path, data={"text": "x"})
        error = error_of(response)
        if "requestBody" in operation:
            assert (response.status_code, error["code"]) == (415, "unsupported_media_type"), path
        else:
            assert (response.status_code, error["code"]) == (400, "invalid_request"), path
            assert "takes no body" in error["message"]


def test_every_body_is_closed_to_unknown_fields(app: FastAPI) -> None:
    document = app.openapi()
    schemas = document["components"]["schemas"]
    taken = [
        content["schema"]["$ref"].rsplit("/", 1)[1]
        for _, _, operation in described(app)
        for media_type, content in operation.get("requestBody", {"content": {}})["content"].items()
        if media_type == "application/json"
    ]
    assert "ChatRequest" in taken
    assert [name for name in taken if schemas[name].get("additionalProperties") is not False] == []


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        ("/v1/memory", '{"text": "I live in Oslo.", "text": "I live in Rome."}', "text"),
        ("/v1/chat/completions", '{"model": "echo", "messages": [{"role": "user", "role": "system"}]}', "role"),
        ("/v1/memory/forget", '{"everything": false, "records": ["a"], "everything": true}', "everything"),
    ],
)
async def test_a_name_that_a_body_has_twice_is_refused(
    client: httpx.AsyncClient, path: str, body: str, name: str
) -> None:
    response = await client.post(path, content=body, headers={"content-type": "application/json"})
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, "invalid_request", name)
    assert "twice" in error["message"]
