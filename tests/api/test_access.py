"""Keys at the door of everything that is served: who is let in, to what, and for whom."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from openai import AuthenticationError, OpenAI
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocketDisconnect

from jc1 import Settings, Workbench
from jc1.access.principal import ANY_OWNER
from jc1_api.main import build
from jc1_api.middleware import OPEN
from tests.api.conftest import bearer
from tests.support.wire import error_of

ANY_KEY = {
    "/",
    "/docs",
    "/docs/static/x",
    "/openapi.json",
    "/sign-out",
    "/v1/models",
    "/v1/models/x",
    "/v1/presets",
    "/v1/presets/x",
    "/v1/usage",
    "/version",
}
"""What takes a key and no scope."""
ASKED = {"model": "echo", "messages": [{"role": "user", "content": "Hi."}]}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Yield a client of the whole application, the page with it, that comes from another machine and has no key."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), engine="echo")

    async def built() -> FastAPI:
        return build(settings)  # in a loop: Gradio makes one of its own otherwise, and leaves it open

    app = asyncio.run(built())
    with TestClient(app, "http://chat.example", client=("10.0.0.7", 1), follow_redirects=False) as made:
        yield made


@pytest.fixture(scope="module")
def workbench(client: TestClient) -> Workbench:
    app: Any = client.app
    made: Workbench = app.state.workbench
    return made


@pytest.fixture(scope="module")
def nothing(workbench: Workbench) -> dict[str, str]:
    """Return the header of a key without a scope."""
    return bearer(workbench.keys.create("nobody", scopes=()).token)


def addresses(routes: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield method and address of everything that is routed, mounts included; what is to be named there is `x`."""
    for route in routes:
        path = prefix + re.sub(r"{[^}]*}", "x", route.path)
        if isinstance(route, Mount):
            yield "GET", f"{path}/x"
            yield from addresses(route.routes, path)
        elif isinstance(route, Route):
            yield from ((method, path) for method in sorted(route.methods))


def test_every_address_but_the_open_ones_asks_for_a_key(client: TestClient, nothing: dict[str, str]) -> None:
    app: Any = client.app
    walked = list(addresses(app.routes))
    known = {"/v1/chat/completions", "/mcp", "/docs/static/x", "/ui/gradio_api/queue/join"}
    assert known <= {path for _, path in walked}
    for method, path in walked:
        response = client.request(method, path)
        if path in OPEN:
            assert response.status_code != 401, path
            continue
        assert response.status_code == 401, path
        assert response.headers["www-authenticate"] == "Bearer"
        if method != "HEAD":
            assert error_of(response)["code"] == "invalid_api_key"


def test_every_address_asks_for_a_scope_but_those_for_all_who_have_a_key(
    client: TestClient, nothing: dict[str, str]
) -> None:
    app: Any = client.app
    for method, path in addresses(app.routes):
        response = client.request(method, path, headers=nothing)
        if path in OPEN | ANY_KEY:
            assert response.status_code not in (401, 403), path
        else:
            assert response.status_code == 403, (method, path)
            if method != "HEAD":
                assert error_of(response)["code"] == "refused"


def test_every_websocket_asks_for_a_key_and_a_scope(client: TestClient, nothing: dict[str, str]) -> None:
    app: Any = client.app
    paths = [route.path for route in app.routes if isinstance(route, WebSocketRoute)]
    assert paths == ["/v1/speech/live"]
    for headers in ({}, nothing):
        with pytest.raises(WebSocketDisconnect) as refused, client.websocket_connect(paths[0], headers=headers):
            pass
        assert refused.value.code == 1008


def test_a_key_acts_for_its_owner_and_for_another_where_it_may(client: TestClient, workbench: Workbench) -> None:
    scopes = {"memory:read", "memory:write", "chat"}
    ann, any_owner = (bearer(workbench.keys.create("ann", scopes=scopes | more).token) for more in (set(), {ANY_OWNER}))
    assert client.post("/v1/memory", json={"text": "My cat is called Ada."}, headers=ann).status_code == 201
    assert client.get("/v1/memory", headers=ann).json()["total"] == 1
    assert workbench.memory.list("ann").total == 1
    for method, path, options in (
        ("GET", "/v1/memory?user=bob", {}),
        ("GET", "/v1/sessions?user=bob", {}),
        ("GET", "/v1/traces?user=bob", {}),
        ("POST", "/v1/chat/completions", {"json": ASKED | {"user": "bob"}}),
    ):
        refused = client.request(method, path, headers=ann, **options)
        assert (refused.status_code, refused.json()["error"]["param"]) == (403, "user"), path
        assert client.request(method, path, headers=any_owner, **options).status_code == 200, path
    assert client.post("/v1/chat/completions", json=ASKED, headers=ann).status_code == 200


def test_a_scope_is_missed_before_the_body_is_read(client: TestClient, nothing: dict[str, str]) -> None:
    for path in ("/v1/chat/completions", "/v1/memory/import"):
        answer = client.post(path, content=b"{", headers={**nothing, "content-type": "application/json"})
        assert answer.status_code == 403
        assert "lacks the scope" in answer.json()["error"]["message"]


def test_two_headers_with_keys_are_refused_unless_they_agree(client: TestClient, workbench: Workbench) -> None:
    ann, bob = workbench.keys.create("ann").token, workbench.keys.create("bob").token
    assert client.get("/v1/models", headers={"x-api-key": ann}).status_code == 200
    assert client.get("/v1/models", headers={**bearer(ann), "x-api-key": ann}).status_code == 200
    for headers in (
        [("authorization", f"Bearer {ann}"), ("x-api-key", bob)],
        [("authorization", f"Bearer {ann}"), ("authorization", f"Bearer {ann}")],
        [("x-api-key", ann), ("x-api-key", ann)],
    ):
        assert client.get("/v1/models", headers=headers).status_code == 401


def test_a_revoked_key_ends_at_once_and_the_server_stays_closed(client: TestClient, workbench: Workbench) -> None:
    issued = workbench.keys.create("ann")
    assert client.get("/v1/models", headers=bearer(issued.token)).status_code == 200
    for key in workbench.keys.list():
        workbench.keys.revoke(key.id)
    assert client.get("/v1/models", headers=bearer(issued.token)).status_code == 401
    assert client.get("/health/live").status_code == 200


def test_the_official_client_sees_an_authentication_error(client: TestClient) -> None:
    asking = OpenAI(base_url="http://chat.example/v1", api_key="none", max_retries=0, http_client=client)
    with pytest.raises(AuthenticationError) as error:
        asking.models.list()
    assert error.value.code == "invalid_api_key"
