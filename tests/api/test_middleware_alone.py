"""The gate before an application of the test's own: what reaches it, what goes back, and what ends where."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.responses import JSONResponse

from jc1.access.gate import Access
from jc1.access.keys import Keys
from jc1.access.sign_in import SignIns
from jc1.database.keys import KeyRepository
from jc1.errors import NotFound
from jc1.telemetry.context import current
from jc1_api.middleware import Gate
from tests.api.conftest import bearer
from tests.support.database import new_database

App = Callable[[Any, Any, Any], Awaitable[None]]


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[Keys]:
    database = new_database(tmp_path / "jc1.db")
    made = Keys(KeyRepository(database))
    yield made
    made.close()
    database.dispose()


@pytest.fixture
def access(keys: Keys) -> Access:
    return Access("local", keys, SignIns(keys, hours=12))


async def live(scope: Any, receive: Any, send: Any) -> None:
    """Answer, as an application does."""
    await JSONResponse({"path": scope["path"]})(scope, receive, send)


def before(app: App, access: Access, **options: Any) -> httpx.AsyncClient:
    """Return a client of an application behind the gate."""
    gate = Gate(app, access=access, **{"max_body_bytes": 1000, **options})
    return httpx.AsyncClient(transport=httpx.ASGITransport(gate), base_url="http://localhost")


async def call(gate: Gate, messages: list[Any], **fields: Any) -> list[Any]:
    """Return all that the gate sends, for a request that comes in as these messages; the last comes again and again."""
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0) if len(messages) > 1 else messages[0]

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost")]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers, "client": ("127.0.0.1", 1), **fields}
    await gate(scope, receive, send)
    return sent


async def test_while_the_server_stops_only_who_watches_it_is_answered(access: Access) -> None:
    async with before(live, access, stopping=lambda: True) as client:
        for path in ("/health", "/health/live", "/health/ready"):
            assert (await client.get(path)).status_code == 200
        for path in ("/", "/sign-in", "/v1/models", "/health/other"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "stopping")
    gate = Gate(live, access=access, max_body_bytes=1000, stopping=lambda: True)
    messages: list[Any] = [{"type": "websocket.connect"}, {"type": "not asked for"}]
    sent = await call(gate, messages, type="websocket")
    assert len(messages) == 1, "a connection is refused once it was announced"
    assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_the_open_addresses_are_these_and_those_below_them_are_not(access: Access, keys: Keys) -> None:
    keys.create("ann")
    async with before(live, access) as client:
        for path in ("/health", "/health/live", "/health/ready", "/sign-in", "/favicon.ico", "/manifest.json"):
            assert (await client.get(path)).status_code == 200, path
        for path in ("/", "/health/x", "/sign-in/x", "/v1/models", "/metrics", "/mcp"):
            assert (await client.get(path)).status_code == 401, path


async def test_the_application_is_told_who_asks_and_so_is_the_log(access: Access, keys: Keys) -> None:
    async def who(scope: Any, receive: Any, send: Any) -> None:
        request = current()
        assert request is not None
        await JSONResponse([scope["state"]["principal"].owner, request.key])(scope, receive, send)

    issued = keys.create("ann")
    async with before(who, access) as client:
        assert (await client.get("/", headers=bearer(issued.token))).json() == ["ann", issued.key.id]


@pytest.mark.parametrize(
    ("headers", "led"),
    [
        ({"sec-fetch-mode": "navigate"}, True),
        ({"accept": "text/html,*/*"}, True),
        ({"sec-fetch-mode": "cors", "accept": "*/*"}, False),
        ({"accept": "application/json"}, False),
        ({}, False),
    ],
)
async def test_who_opens_a_page_without_a_key_is_led_to_the_sign_in_and_nobody_else(
    access: Access, keys: Keys, headers: dict[str, str], led: bool
) -> None:
    keys.create("ann")
    async with before(live, access) as client:
        for path in ("/", "/ui", "/ui/"):
            assert (await client.get(path, headers=headers)).status_code == (303 if led else 401)
            assert (await client.post(path, headers=headers)).status_code == 401
        assert (await client.get("/ui/x", headers=headers)).status_code == 401


async def test_each_error_that_is_an_answer_is_told_once(access: Access, keys: Keys) -> None:
    async def failing(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if scope["path"] == "/none":
            raise NotFound("Nothing there.")
        if scope["path"] == "/broken":
            raise KeyError("hunter2")
        await live(scope, receive, send)

    codes: list[str] = []
    async with before(failing, access, on_error=codes.append) as client:
        for path, size in (("/", 1000), ("/none", 1), ("/broken", 1), ("/", 1001)):
            await client.post(path, content=b"x" * size)
        keys.create("ann")
        await client.post("/")
    assert codes == ["not_found", "internal_error", "request_too_large", "invalid_api_key"]


async def test_an_answer_that_has_begun_is_not_begun_again(access: Access) -> None:
    async def breaking(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise NotFound("Nothing there.") if scope["path"] == "/none" else KeyError("hunter2")

    gate = Gate(breaking, access=access, max_body_bytes=1000)
    for path in ("/none", "/broken"):
        sent = await call(gate, [{"type": "http.request"}], path=path)
        assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]


async def test_a_body_that_grows_too_large_while_it_is_answered_ends_the_reading(access: Access) -> None:
    read: list[int] = []

    async def early(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            read.append(len((await receive())["body"]))

    gate = Gate(early, access=access, max_body_bytes=1000)
    sent = await call(gate, [{"type": "http.request", "body": b"x" * 400, "more_body": True}])
    assert [message["type"] for message in sent] == ["http.response.start"]
    assert read == [400, 400]


async def test_a_body_without_end_is_thrown_away_up_to_a_bound(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jc1_api.middleware.DISCARD_BYTES", 5000)
    pieces = 0

    class Endless(dict[str, Any]):
        def get(self, name: str, default: Any = None) -> Any:
            nonlocal pieces
            pieces += name == "body"
            return super().get(name, default)

    endless = Endless(type="http.request", body=b"x" * 100, more_body=True)
    headers = [(b"host", b"localhost"), (b"content-length", b"999999")]
    sent = await call(Gate(live, access=access, max_body_bytes=1000), [endless], headers=headers)
    assert pieces == 60
    assert sent[0]["status"] == 413
    assert (b"connection", b"close") in sent[0]["headers"]
    assert [message.get("more_body", False) for message in sent[1:]] == [True, False]


async def test_what_is_thrown_away_ends_with_the_body_or_with_the_client(access: Access) -> None:
    for last in ({"type": "http.request", "body": b"x"}, {"type": "http.disconnect"}):
        headers = [(b"host", b"localhost"), (b"content-length", b"1001")]
        more = {"type": "http.request", "body": b"x", "more_body": True}
        messages: list[Any] = [more, more, last, *[{"type": "not asked for"}] * 2]
        sent = await call(Gate(live, access=access, max_body_bytes=1000), messages, headers=headers)
        assert json.loads(sent[1]["body"])["error"]["code"] == "request_too_large"
        assert [message["type"] for message in messages] == ["not asked for"] * 2
    whole: list[Any] = [{"type": "http.request", "body": b"x" * 1001}, *[{"type": "not asked for"}] * 2]
    sent = await call(Gate(reading, access=access, max_body_bytes=1000), whole)
    assert (sent[0]["status"], len(whole)) == (413, 2)


async def test_what_the_application_says_of_a_header_goes_before_what_the_gate_adds(access: Access) -> None:
    async def own(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"Cache-Control", b"max-age=1"), (b"X-Frame-Options", b"DENY")] * (scope["path"] == "/v1/own")
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body"})

    async with before(own, access) as client:
        answer = await client.get("/v1/own")
        assert answer.headers.get_list("cache-control") == ["max-age=1"]
        assert answer.headers.get_list("x-frame-options") == ["DENY"]
        kept = [(await client.get(path)).headers.get("cache-control") for path in ("/v1/x", "/mcp", "/docs", "/v1")]
    assert kept == ["no-store", "no-store", None, None]


async def test_anthropics_clients_find_the_requests_id_under_their_name_too(access: Access) -> None:
    async with before(live, access) as client:
        headers = (await client.post("/v1/messages")).headers
        assert headers["request-id"] == headers["x-request-id"]
        assert "request-id" not in (await client.post("/v1/chat/completions")).headers


async def test_head_is_answered_as_get_and_with_no_byte_of_its_body(access: Access) -> None:
    async def long(scope: Any, receive: Any, send: Any) -> None:
        assert scope["method"] == "GET"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"8")]})
        for more in (True, False):
            await send({"type": "http.response.body", "body": b"half", "more_body": more})

    sent = await call(Gate(long, access=access, max_body_bytes=1000), [{"type": "http.request"}], method="HEAD")
    assert sent[1:] == [{"type": "http.response.body", "body": b""}]


async def test_who_comes_over_a_unix_socket_is_of_this_machine(access: Access) -> None:
    for client, status in ((None, 200), (("10.0.0.7", 1), 403)):
        gate = Gate(live, access=access, max_body_bytes=1000)
        sent = await call(gate, [{"type": "http.request"}], client=client)
        assert sent[0]["status"] == status


async def chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size):
        yield b"x"


async def reading(scope: Any, receive: Any, send: Any) -> None:
    """Answer when the body is there."""
    while (await receive()).get("more_body"):
        pass
    await live(scope, receive, send)


@pytest.mark.parametrize(("size", "status"), [(1000, 200), (1001, 413)])
async def test_a_body_without_a_length_may_be_as_large_as_one_with(access: Access, size: int, status: int) -> None:
    async with before(reading, access) as client:
        assert (await client.post("/", content=chunks(size))).status_code == status
