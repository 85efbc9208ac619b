"""Gradio's own addresses: each is served to who may chat, bound to a page of theirs, or closed."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.routing import Mount
from starlette.websockets import WebSocketDisconnect

from jc1 import Settings
from jc1.access.principal import Principal
from jc1.errors import InvalidRequest, Refused
from jc1_api.main import build
from jc1_ui.app import PATH
from jc1_ui.guard import Guard
from tests.api.conftest import bearer

SERVED = {"/", "/theme.css", "/assets/{path:path}", "/static/{path:path}", "/gradio_api/app_id"}
BOUND = {
    "/gradio_api/heartbeat/{session_hash}",
    "/gradio_api/queue/data",
    "/gradio_api/queue/join",
    "/gradio_api/run/{api_name}",
}
CLOSED = {
    "/config",
    "/favicon.ico",
    "/gradio_api/api/{api_name}",
    "/gradio_api/call/v2/{api_name}",
    "/gradio_api/call/v2/{api_name}/{event_id}",
    "/gradio_api/call/{api_name}",
    "/gradio_api/call/{api_name}/{event_id}",
    "/gradio_api/cancel",
    "/gradio_api/component_server",
    "/gradio_api/custom_component/{id}/{environment}/{type}/{file_name}",
    "/gradio_api/deep_link",
    "/gradio_api/dev/reload",
    "/gradio_api/file/{path:path}",
    "/gradio_api/file={path_or_url:path}",
    "/gradio_api/info",
    "/gradio_api/login_check",
    "/gradio_api/openapi.json",
    "/gradio_api/process_recording",
    "/gradio_api/proxy={url_path:path}",
    "/gradio_api/queue/status",
    "/gradio_api/reset",
    "/gradio_api/runs",
    "/gradio_api/startup-events",
    "/gradio_api/stream/{event_id}",
    "/gradio_api/stream/{event_id}/close",
    "/gradio_api/stream/{session_hash}/{run}/{component_id}/playlist-file",
    "/gradio_api/stream/{session_hash}/{run}/{component_id}/playlist.m3u8",
    "/gradio_api/stream/{session_hash}/{run}/{component_id}/{segment_id}.{ext}",
    "/gradio_api/theme.css",
    "/gradio_api/token",
    "/gradio_api/undo-vibe-edit",
    "/gradio_api/upload",
    "/gradio_api/upload_progress",
    "/gradio_api/user",
    "/gradio_api/vibe-code",
    "/gradio_api/vibe-edit",
    "/gradio_api/vibe-starter-queries",
    "/login",
    "/logout",
    "/manifest.json",
    "/monitoring",
    "/monitoring/summary",
    "/monitoring/{key}",
    "/openapi.json",
    "/pwa_icon",
    "/pwa_icon/{size}",
    "/robots.txt",
    "/svelte/{path:path}",
}
"""What Gradio offers and no page of JC1 asks for."""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    settings = Settings(home=tmp_path_factory.mktemp("home"), engine="echo")

    async def built() -> FastAPI:
        return build(settings)  # in a loop: Gradio makes one of its own otherwise, and leaves it open

    app = asyncio.run(built())
    with TestClient(app, "http://chat.example", follow_redirects=False) as made:
        yield made


@pytest.fixture(scope="module")
def people(client: TestClient) -> dict[str, dict[str, str]]:
    """Return the headers of two people, by name."""
    app: Any = client.app
    keys = app.state.workbench.keys
    return {name: bearer(keys.create(name).token) for name in ("ann", "bob")}


def gradio(client: TestClient) -> Any:
    """Return Gradio's own application."""
    app: Any = client.app
    (page,) = (route for route in app.routes if isinstance(route, Mount) and route.path == PATH)
    assert isinstance(page.app, Guard)
    return page.app.app


def gradio_routes(client: TestClient) -> Iterator[tuple[str, str]]:
    """Yield method and path of everything that Gradio routes."""
    for route in gradio(client).routes:
        yield from ((method, route.path) for method in sorted(route.methods))


def offering(client: TestClient) -> dict[str, Any]:
    """Return a call of the handler that offers presets."""
    (index,) = (index for index, fn in gradio(client).get_blocks().fns.items() if fn.name == "offer")
    return {"fn_index": index, "data": []}


def address(path: str) -> str:
    return PATH + re.sub(r"{[^}]*}", "predict", path)


def test_every_address_of_gradio_is_known(client: TestClient) -> None:
    assert {path.rstrip("/") or "/" for _, path in gradio_routes(client)} == SERVED | BOUND | CLOSED


def test_what_no_page_asks_for_is_closed_to_everybody(client: TestClient, people: dict[str, dict[str, str]]) -> None:
    for method, path in gradio_routes(client):
        if path.rstrip("/") in CLOSED or (path.endswith("/") and path != "/"):
            for headers in people.values():
                answer = client.request(method, address(path), headers=headers, json={"session_hash": "closed"})
                assert answer.status_code == 404, (method, path)
                assert method == "HEAD" or "Nothing is at" in answer.json()["error"]["message"]
    other = client.post(
        f"{PATH}/gradio_api/run/send", json={**offering(client), "session_hash": "closed"}, headers=people["ann"]
    )
    assert "Nothing is at" in other.json()["error"]["message"]
    for path in ("/", "/theme.css", "/assets/x", "/static/x", "/gradio_api/heartbeat/x", "/gradio_api/queue/data"):
        assert client.post(f"{PATH}{path}", headers=people["ann"]).status_code == 404, path


def test_what_a_page_is_made_of_is_served(client: TestClient, people: dict[str, dict[str, str]]) -> None:
    page = client.get(f"{PATH}/", headers=people["ann"])
    assert page.status_code == 200
    script = re.search(r'src="\./(assets/[^"]+)"', page.text)
    assert script
    for path in (script[1], "theme.css", "gradio_api/app_id", "static/img/logo.svg"):
        assert client.get(f"{PATH}/{path}", headers=people["ann"]).status_code == 200, path


def asked(client: TestClient, page: str, headers: dict[str, str]) -> Iterator[Any]:
    """Yield the answers of each address that names a page."""
    body = {**offering(client), "session_hash": page}
    yield client.post(f"{PATH}/gradio_api/run/predict", json=body, headers=headers)
    yield client.post(f"{PATH}/gradio_api/queue/join", json=body, headers=headers)
    yield client.get(f"{PATH}/gradio_api/queue/data", params={"session_hash": page}, headers=headers)
    yield client.get(f"{PATH}/gradio_api/heartbeat/{page}", headers=headers)


def test_a_page_belongs_to_the_key_that_used_it_first(client: TestClient, people: dict[str, dict[str, str]]) -> None:
    first = next(asked(client, "page of ann", people["ann"]))
    assert first.status_code == 200
    for answer in asked(client, "page of ann", people["bob"]):
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "refused"), answer.url
    assert next(asked(client, "page of bob", people["bob"])).status_code == 200
    assert next(asked(client, "page of ann", people["ann"])).status_code == 200


@pytest.mark.parametrize("path", ["queue/join", "run/predict"])
def test_an_event_that_no_page_has_is_refused(client: TestClient, people: dict[str, dict[str, str]], path: str) -> None:
    good = {**offering(client), "session_hash": "events of ann"}
    wrong = [
        *({"fn_index": number} for number in (-1, 10**9, None, "0", True)),
        {"data": None},
        {"data": ["more"] * 50},
    ]
    for fields in wrong:
        answer = client.post(f"{PATH}/gradio_api/{path}", json={**good, **fields}, headers=people["ann"])
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (400, "invalid_request", *fields)


def test_a_page_for_which_nothing_runs_has_no_events(client: TestClient, people: dict[str, dict[str, str]]) -> None:
    answer = client.get(f"{PATH}/gradio_api/queue/data?session_hash=idle", headers=people["ann"])
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_a_page_is_named_once(client: TestClient, people: dict[str, dict[str, str]]) -> None:
    next(asked(client, "another of ann", people["ann"]))
    path, bob = f"{PATH}/gradio_api/run/predict", {**people["bob"], "content-type": "application/json"}
    call = json.dumps(offering(client)).removesuffix("}")
    for pages in ('"own", "session_hash": "another of ann"', '"another of ann", "session_hash": "own"'):
        answer = client.post(path, content=f'{call}, "session_hash": {pages}}}', headers=bob)
        # The last one is the page, for the guard and for Gradio.
        assert answer.status_code == (403 if pages.endswith('ann"') else 200)
    for body in ('{"session_hash": null}', '{"session_hash": ["own"]}', "{}", "[]", "{", '{"session_hash": ""}'):
        assert client.post(path, content=body, headers=bob).status_code == 400
    twice = (
        "session_hash=own&session_hash=another of ann",
        "session_hash=own&session_hash=",
        "session_hash&session_hash=own",
    )
    for query in (*twice, "session_hash=", ""):
        assert client.get(f"{PATH}/gradio_api/queue/data?{query}", headers=bob).status_code == 400
    assert client.get(f"{PATH}/gradio_api/heartbeat/", headers=bob).status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        "gradio_api/file=/etc/passwd",
        "gradio_api/file=../../../../etc/passwd",
        "gradio_api/file=%2fetc%2fpasswd",
        "file=/etc/passwd",
        "static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "static/..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
        "static/%2fetc%2fpasswd",
        "static//etc/passwd",
        "static/%00/etc/passwd",
        "assets/..%2f..%2froutes.py",
        "assets/%2e%2e/%2e%2e/routes.py",
        "assets/..%5c..%5croutes.py",
        "static/%2e%2e/%2e%2e/gradio_api/info",
        "theme.css/../gradio_api/info",
        "GRADIO_API/info",
        "/gradio_api/info",
    ],
)
def test_no_address_leads_to_a_file_outside_or_past_the_guard(
    client: TestClient, people: dict[str, dict[str, str]], path: str
) -> None:
    assert client.get(f"{PATH}/{path}").status_code == 401
    answer = client.get(f"{PATH}/{path}", headers=people["ann"])
    assert answer.status_code in (400, 403, 404)
    assert "root:" not in answer.text


def test_a_key_that_may_not_chat_has_no_page(client: TestClient) -> None:
    app: Any = client.app
    headers = bearer(app.state.workbench.keys.create("eve", scopes={"memory:read", "metrics"}).token)
    for answer in (client.get(f"{PATH}/", headers=headers), *asked(client, "page of eve", headers)):
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "refused"), answer.url


def test_there_are_no_websockets(client: TestClient, people: dict[str, dict[str, str]]) -> None:
    for path in ("/", "/gradio_api/queue/join", "/static/x"):
        with (
            pytest.raises(WebSocketDisconnect),
            client.websocket_connect(f"{PATH}{path}", headers=people["ann"]),
        ):
            raise AssertionError("not reached")


class Behind:
    """What stands behind the guard: keeps the bodies that arrive, and what comes in after each."""

    stop_event = None

    def __init__(self) -> None:
        self.bodies: list[Any] = []
        self.after: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        assert not message["more_body"]
        self.bodies.append(json.loads(message["body"]))
        self.after.append((await receive())["type"])

    def get_blocks(self) -> Any:
        """Return a page with one event, which takes one value."""
        return SimpleNamespace(fns={0: SimpleNamespace(inputs=[None])})


@pytest.fixture
def behind() -> Behind:
    return Behind()


@pytest.fixture
def guard(behind: Behind) -> Guard:
    return Guard(behind)


async def join(guard: Guard, body: bytes, key: str | None = "a", pieces: int = 1, whole: bool = True) -> None:
    """Send a call of the page through the guard, in pieces; one that is not whole ends with the client's going away."""
    size = -(-len(body) // pieces)
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages[-1]["more_body"] = not whole
    messages += [{"type": "http.disconnect"}] * 2

    async def receive() -> Any:
        return messages.pop(0)

    state = {"principal": Principal("ann", frozenset({"chat"}), key)}
    path = f"{PATH}/gradio_api/queue/join"
    await guard({"type": "http", "method": "POST", "path": path, "root_path": PATH, "state": state}, receive, None)  # type: ignore[arg-type]


def named(page: str) -> bytes:
    return json.dumps({"fn_index": 0, "data": ["Hello."], "session_hash": page}).encode()


@pytest.mark.parametrize("pieces", [1, 2, 7])
async def test_a_call_that_comes_in_pieces_arrives_whole(guard: Guard, behind: Behind, pieces: int) -> None:
    await join(guard, named("p"), pieces=pieces)
    assert behind.bodies == [{"fn_index": 0, "data": ["Hello."], "session_hash": "p"}]
    assert behind.after == ["http.disconnect"], "what comes after the body comes in as it did"


async def test_a_call_that_is_cut_short_goes_nowhere(guard: Guard, behind: Behind) -> None:
    with pytest.raises(InvalidRequest):
        await join(guard, named("p")[:-1], pieces=2, whole=False)
    with pytest.raises(InvalidRequest):
        await join(guard, b'{"session_hash":' + b"[" * 200_000)
    assert behind.bodies == []


async def test_a_pages_name_has_at_most_a_hundred_characters(guard: Guard, behind: Behind) -> None:
    for page in ("x", "x" * 100):
        await join(guard, named(page))
    with pytest.raises(InvalidRequest) as error:
        await join(guard, named("x" * 101))
    assert error.value.param == "session_hash"
    assert len(behind.bodies) == 2


async def test_the_pages_that_are_kept_in_mind_are_those_used_last(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jc1_ui.guard.MOST_PAGES", 2)
    for page in ("old", "kept", "old", "new"):
        await join(guard, named(page), key="a")
    for page in ("old", "new"):
        with pytest.raises(Refused):
            await join(guard, named(page), key="b")
    await join(guard, named("kept"), key="b")


async def test_without_keys_every_page_is_everybodys_until_there_are_some(guard: Guard) -> None:
    await join(guard, named("p"), key=None)
    await join(guard, named("p"), key=None)
    with pytest.raises(Refused):
        await join(guard, named("p"), key="a")
