"""The gate stands before everything: callers, body sizes, headers, and errors that tell nothing."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from sqlalchemy import Engine

from jc1 import Workbench
from jc1.access.gate import Access
from jc1.access.keys import Keys
from jc1.access.sign_in import SignIns
from jc1.database.keys import KeyRepository
from jc1.errors import StorageFull
from jc1.memory.base import NewRecord
from jc1_api.app import create_app
from jc1_api.middleware import SECURITY_HEADERS, Gate
from tests.api.conftest import Server

ELSEWHERE = {"origin": "http://evil.example"}
BIG = 10_000_000


@pytest.fixture
def access(database: Engine) -> Access:
    """Return the gate's decision where there are no keys."""
    keys = Keys(KeyRepository(database))
    return Access("local", keys, SignIns(keys, hours=12))


async def test_every_address_is_closed_to_other_hosts_and_pages_mounts_and_unknown_ones_too(
    client: httpx.AsyncClient,
) -> None:
    for path in ("/v1/memory", "/docs", "/docs/static/swagger-ui.css", "/openapi.json", "/metrics", "/nothing", "/ui"):
        for headers, code in (({"host": "evil.example"}, "host_refused"), (ELSEWHERE, "origin_refused")):
            response = await client.get(path, headers=headers)
            assert (response.status_code, response.json()["error"]["code"]) == (403, code), path


async def test_a_page_elsewhere_cannot_write_a_memory(client: httpx.AsyncClient, workbench: Workbench) -> None:
    for headers in (ELSEWHERE, {"origin": "null"}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}):
        assert (await client.post("/v1/memory", json={"text": "I owe you."}, headers=headers)).status_code == 403
    # Without the headers of a browser: what a page may send without asking first is not read as JSON.
    simple = await client.post("/v1/memory", content=b'{"text": "x"}', headers={"content-type": "text/plain"})
    assert simple.status_code == 415
    assert workbench.memory.list("local").total == 0


async def test_its_own_page_may(client: httpx.AsyncClient) -> None:
    headers = {"origin": "http://localhost:8000", "sec-fetch-site": "same-origin"}
    assert (await client.post("/v1/memory", json={"text": "Hi."}, headers=headers)).status_code == 201


async def test_a_second_host_header_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.get("/version", headers=[("host", "localhost"), ("host", "evil.example")])
    assert response.status_code == 403


async def test_another_machine_is_refused(workbench: Workbench) -> None:
    transport = httpx.ASGITransport(create_app(workbench), client=("10.0.0.7", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        response = await client.get("/version")
    assert (response.status_code, response.json()["error"]["code"]) == (403, "refused")


@pytest.mark.parametrize("host", [b"evil.example", b"localhost"])
async def test_websockets_pass_the_gate_too(access: Access, host: bytes) -> None:
    sent: list[Any] = []
    reached = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["state"]["principal"].owner)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    gate = Gate(inner, access=access, max_body_bytes=1000)
    await gate(
        {"type": "websocket", "path": "/", "headers": [(b"host", host)], "client": ("127.0.0.1", 1)}, receive, send
    )
    if host == b"localhost":
        assert (reached, sent) == (["local"], [])
    else:
        assert (reached, sent) == ([], [{"type": "websocket.close", "code": 1008}])


async def test_what_is_neither_http_nor_websocket_nor_lifespan_goes_nowhere(access: Access) -> None:
    gate = Gate(None, access=access, max_body_bytes=1000)  # type: ignore[arg-type]
    await gate({"type": "new"}, None, None)  # type: ignore[arg-type]


async def chunked(size: int, read: list[int]) -> AsyncIterator[bytes]:
    for _ in range(size // 10_000):
        read.append(10_000)
        yield b"x" * 10_000


async def test_a_body_is_counted_while_it_is_read_where_it_announces_no_length(client: httpx.AsyncClient) -> None:
    read: list[int] = []
    response = await client.post(
        "/v1/memory", content=chunked(3_000_000, read), headers={"content-type": "application/json"}
    )
    assert (response.status_code, response.json()["error"]["code"]) == (413, "request_too_large")


async def test_an_announced_body_is_refused_before_the_app_sees_any_of_it(access: Access) -> None:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("not reached")

    gate = Gate(inner, access=access, max_body_bytes=1000)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(gate), base_url="http://localhost") as client:
        assert (await client.post("/", content=b"x" * 1001)).status_code == 413


async def test_a_path_may_have_a_limit_of_its_own(access: Access) -> None:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "http.request"
        await JSONResponse({})(scope, receive, send)

    gate = Gate(inner, access=access, max_body_bytes=1000, larger={"POST /large": ("most", 2000)})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(gate), base_url="http://localhost") as client:
        answers = [
            await client.post(path, content=b"x" * size)
            for path, size in (("/large", 2000), ("/large", 2001), ("/", 1001))
        ]
    assert [answer.status_code for answer in answers] == [200, 413, 413]
    assert ["raise most." in answer.text for answer in answers] == [False, True, False]


async def test_a_mount_that_swallows_the_error_is_answered_for(access: Access) -> None:
    """FastAPI turns whatever breaks the reading of a body into a 400 of its own."""
    app = FastAPI()

    @app.post("/")
    async def take(body: dict[str, Any]) -> None: ...

    gate = Gate(app, access=access, max_body_bytes=1000)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(gate), base_url="http://localhost") as client:
        response = await client.post("/", content=chunked(20_000, []), headers={"content-type": "application/json"})
    assert response.status_code == 413


@pytest.mark.parametrize("announced", [True, False], ids=["length", "chunked"])
def test_a_client_that_sends_ten_megabytes_hears_why_they_are_refused(server: Server, announced: bool) -> None:
    body = b"x" * BIG if announced else iter([b"x" * 100_000] * 100)
    with httpx.Client(timeout=60) as client:
        response = client.post(f"{server.url}/v1/memory", content=body, headers={"content-type": "application/json"})
    assert (response.status_code, response.json()["error"]["code"]) == (413, "request_too_large")
    assert response.headers["connection"] == "close"


def test_a_client_that_waits_for_leave_to_send_is_told_at_once(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(
            b"POST /v1/memory HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
            b"Content-Type: application/json\r\nContent-Length: 10000000\r\n\r\n"
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_is_never_sent_does_not_hold_the_server(server: Server) -> None:
    held = [server.connect() for _ in range(20)]
    for connection in held:
        connection.sendall(
            b"POST /v1/memory HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\n\r\n{"
        )
    assert httpx.get(f"{server.url}/health/live", timeout=60).status_code == 200
    for connection in held:
        connection.close()


async def test_every_response_carries_the_security_headers(client: httpx.AsyncClient) -> None:
    for path in ("/version", "/nothing", "/docs", "/docs/static/swagger-ui.css"):
        headers = (await client.get(path)).headers
        for name, value in SECURITY_HEADERS.items():
            assert headers[name.decode()] == value.decode(), path
    assert (await client.get("/v1/memory")).headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/docs/static/nothing.js", 404, "not_found"),
        ("GET", "/docs/static/../../app.py", 404, "not_found"),
        ("PUT", "/v1/memory", 405, "method_not_allowed"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("BREW", "/version", 405, "method_not_allowed"),
    ],
)
async def test_what_is_not_there_has_the_shape_of_every_error(
    client: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    response = await client.request(method, path)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/memory", "GET, HEAD, POST"),
        ("/v1/memory/mem_1", "DELETE, GET, HEAD, PATCH"),
        ("/v1/sessions/s", "DELETE, GET, HEAD"),
        ("/v1/memory/purge", "DELETE, GET, HEAD, PATCH, POST"),
        ("/v1/chat/completions", "POST"),
        ("/version", "GET, HEAD"),
    ],
)
async def test_every_method_of_an_address_is_named(client: httpx.AsyncClient, path: str, methods: str) -> None:
    response = await client.put(path)
    assert (response.status_code, response.headers["allow"]) == (405, methods)


async def test_head_is_answered_wherever_get_is_with_the_same_headers_and_no_body(client: httpx.AsyncClient) -> None:
    for path in ("/v1/memory", "/v1/models", "/health", "/metrics", "/docs", "/openapi.json", "/v1/memory/mem_1"):
        whole, head = await client.get(path), await client.head(path)
        assert (head.status_code, head.content) == (whole.status_code, b""), path
        for name in ("content-type", "content-length", "x-frame-options"):
            if name != "content-length" or path != "/metrics":
                assert head.headers[name] == whole.headers[name], path
    assert (await client.head("/v1/chat/completions")).headers["allow"] == "POST"


def test_head_ends_where_a_long_body_would_begin(server: Server) -> None:
    server.workbench.memory.add("local", [NewRecord(f"I have seen lighthouse {n}.") for n in range(3)])
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for _ in range(2):  # over one connection
            response = client.head("/v1/memory/export")
            assert (response.status_code, response.content) == (200, b"")
            assert response.headers["content-type"].startswith("application/x-ndjson")
        assert len(client.get("/v1/memory/export").text.splitlines()) == 3


async def test_what_breaks_inside_is_logged_under_an_id_and_tells_the_client_nothing(
    client: httpx.AsyncClient, workbench: Workbench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("hunter2")

    monkeypatch.setattr(workbench.memory, "list", broken)
    with caplog.at_level(logging.ERROR):
        response = await client.get("/v1/memory")
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["type"]) == (500, "internal_error", "server_error")
    assert "hunter2" not in response.text
    (entry,) = [r for r in caplog.records if r.name == "jc1_api.errors"]
    assert entry.getMessage().split(":")[0] in error["message"]
    assert entry.exc_info is not None


async def test_known_errors_of_the_server_say_what_to_do(
    client: httpx.AsyncClient, workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StorageFull("The disk is full: free some space.")

    monkeypatch.setattr(workbench.memory, "add", full)
    response = await client.post("/v1/memory", json={"text": "Hi."})
    assert response.status_code == 507
    assert response.json() == {
        "error": {
            "message": "The disk is full: free some space.",
            "type": "server_error",
            "param": None,
            "code": "storage_full",
        }
    }


def test_garbage_on_the_wire_leaves_the_server_standing(server: Server) -> None:
    for garbage in (
        b"\x00" * 100,
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"\r\n" * 9,
    ):
        with server.connect() as connection:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(4096)
    assert httpx.get(f"{server.url}/health/live", timeout=60).json() == {"status": "ok"}


async def test_a_slow_discard_ends(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jc1_api.middleware.DISCARD_SECONDS", 0.01)
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    gate = Gate(None, access=access, max_body_bytes=10)  # type: ignore[arg-type]
    headers = [(b"host", b"localhost"), (b"content-length", b"11")]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers, "client": None}
    await gate(scope, receive, send)
    assert sent[0]["status"] == 413
    assert json.loads(sent[1]["body"])["error"]["code"] == "request_too_large"
    assert not sent[-1].get("more_body")


async def test_every_answer_has_an_id_and_where_there_is_a_trace_it_is_the_traces(
    client: httpx.AsyncClient, workbench: Workbench
) -> None:
    others = [await client.get(path) for path in ("/version", "/nothing", "/docs")]
    others.append(await client.get("/version", headers=ELSEWHERE))
    ids = [response.headers["x-request-id"] for response in others]
    assert len({*ids}) == len(ids)
    assert all(id.startswith("req_") for id in ids)
    asked = {"model": "echo", "messages": [{"role": "user", "content": "Hi."}]}
    for fields in ({}, {"stream": True}, {"temperature": -1}, {"temperature": -1, "stream": True}):
        response = await client.post("/v1/chat/completions", json={**asked, **fields})
        assert response.headers["x-request-id"] == workbench.telemetry.recent.list()[0].id, fields
