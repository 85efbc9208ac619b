"""What strangers try: each case by its name, over real sockets, against a server that has keys.

SECURITY.md lists every class of attack with its tests; here are those that are of no part alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from jc1 import Settings
from jc1.access.principal import ANY_OWNER
from jc1.embedding.base import Embedder
from jc1_api.connections import Caps, capped
from tests.api.conftest import Server, bearer, echo_workbench, serving
from tests.support.database import new_database

TEXT = "My cat is called Quillfeather."
INJECTIONS = ("' OR '1'='1", "x'; DROP TABLE memories; --", '" OR ""="', "1) UNION SELECT * FROM api_keys --", "%", "_")


@dataclass
class Under:
    """The server under attack, and the keys of two people."""

    server: Server
    ann: dict[str, str]
    bob: dict[str, str]

    def call(self, method: str, path: str, headers: dict[str, str], **options: Any) -> httpx.Response:
        return httpx.request(method, f"{self.server.url}{path}", headers=headers, timeout=60, **options)

    def send(self, request: bytes) -> list[int]:
        """Send these bytes; return the status of each answer until the server ends the connection."""
        with self.server.connect() as connection:
            connection.sendall(request)
            answers = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        return [int(part[:3]) for part in answers.split(b"HTTP/1.1 ")[1:]]

    def texts(self) -> list[str]:
        return [record["text"] for record in self.call("GET", "/v1/memory", self.ann).json()["data"]]


@pytest.fixture(scope="module")
def under(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> Iterator[Under]:
    settings = Settings(home=tmp_path_factory.mktemp("home"), engine="echo")
    database = new_database(settings.home / "jc1.db")
    bench = echo_workbench(settings, database, embedder)
    ann, bob = (bearer(bench.keys.create(name).token) for name in ("ann", "bob"))
    with serving(bench, http=capped(Caps(30, bench.telemetry.count_error))) as server:
        attacked = Under(server, ann, bob)
        attacked.call("POST", "/v1/memory", ann, json={"text": TEXT})
        yield attacked


@pytest.mark.parametrize("sql", INJECTIONS)
def test_sql_in_a_key_an_id_a_name_or_a_search_is_a_text_like_any_other(under: Under, sql: str) -> None:
    for token in (sql, f"jc1_{sql}", f"jc1_000000000000_{sql}"):
        assert under.call("GET", "/v1/memory", bearer(token)).status_code == 401
    anybody = bearer(under.server.workbench.keys.create("eve", scopes={"memory:read", "chat", ANY_OWNER}).token)
    for path in ("/v1/memory", "/v1/sessions", "/v1/traces"):
        assert under.call("GET", path, anybody, params={"user": sql}).json()["data"] == []
    assert under.call("GET", "/v1/memory", under.bob, params={"contains": sql}).json()["data"] == []
    assert under.call("GET", "/v1/memory", under.ann, params={"contains": sql}).json()["data"] == []
    for path in ("memory", "sessions", "traces", "presets"):
        answer = under.call("GET", f"/v1/{path}/{quote(sql, safe='')}", under.bob)
        assert answer.status_code in (400, 404), path
    asked = {"model": "echo", "session": sql, "messages": [{"role": "user", "content": sql}], "memory": "off"}
    assert under.call("POST", "/v1/chat/completions", under.bob, json=asked).status_code == 200
    assert TEXT in under.texts()


def test_what_is_another_owners_is_not_there_by_id_and_not_by_name(under: Under) -> None:
    record = under.call("GET", "/v1/memory", under.ann).json()["data"][-1]["id"]
    asked = {"model": "echo", "session": "diary", "messages": [{"role": "user", "content": "Hi."}], "memory": "off"}
    trace = under.call("POST", "/v1/chat/completions", under.ann, json=asked).json()["jc1"]["trace_id"]
    document = {"file": ("handbook.md", b"Run make.")}
    assert under.call("POST", "/v1/memory/documents", under.ann, files=document).status_code == 201
    for method, path, body in (
        ("GET", f"/v1/memory/{record}", None),
        ("PATCH", f"/v1/memory/{record}", {"text": "Mine."}),
        ("DELETE", f"/v1/memory/{record}", None),
        ("GET", f"/v1/memory/{record}/history", None),
        ("GET", "/v1/sessions/diary", None),
        ("DELETE", "/v1/sessions/diary", None),
        ("GET", f"/v1/traces/{trace}", None),
    ):
        answer = under.call(method, path, under.bob, json=body)
        assert answer.status_code == 404, (method, path)
        assert "Quillfeather" not in answer.text
        if method == "GET":
            assert under.call(method, path, under.ann).status_code == 200, path
            named = under.call(method, path, under.bob, params={"user": "ann"})
            assert (named.status_code, named.json()["error"]["param"]) == (403, "user"), path
    assert under.call("GET", "/v1/memory/documents", under.ann).json()["data"]
    assert under.call("GET", "/v1/memory/documents", under.bob).json()["data"] == []


@pytest.mark.parametrize(
    "path",
    [
        "/V1/memory",
        "/v1/Memory",
        "//v1/memory",
        "/v1//memory",
        "/v1/memory/",
        "/v1/memory/.",
        "/./v1/memory",
        "/health/../v1/memory",
        "/health/%2e%2e/v1/memory",
        "/health%2f..%2fv1%2fmemory",
        "/sign-in/../v1/memory",
        "/sign-in/v1/memory",
        "/health;/v1/memory",
        "/v1/memory;/health",
        "/v1/memory%00/health",
        "/v1/memory%20",
        "/%76%31/memory",
        "/v1/memory?x=/health",
        "/v1/memory#/health",
        "/favicon.ico/../v1/memory",
        "http://localhost/v1/memory",
        "/docs/static/../../../../../../../../etc/passwd",
        "/docs/static/%2e%2e/%2e%2e/app.py",
        "/docs/static/..%2f..%2fapp.py",
        "/docs/static//etc/passwd",
    ],
)
def test_no_way_of_writing_an_address_goes_past_the_gate(under: Under, path: str) -> None:
    line = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    (status,) = under.send(f"{line}\r\n".encode())
    assert status in (400, 401)
    nothing = under.server.workbench.keys.create("nobody", scopes=()).token
    (status,) = under.send(f"{line}Authorization: Bearer {nothing}\r\n\r\n".encode())
    assert status in (307, 400, 403, 404)


SMUGGLED = b"POST /v1/memory HTTP/1.1\r\nHost: localhost\r\n%s\r\nContent-Length: %d\r\n\r\n%s"
HEAD = b"POST /v1/memory HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n%s\r\n"


@pytest.mark.parametrize(
    ("headers", "before"),
    [
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", b"0\r\n\r\n"),
        (b"Content-Length: 0\r\nContent-Length: 5\r\n\r\n", b""),
        (b"Content-Length: 0, 5\r\n\r\n", b""),
        (b"Content-Length: +0\r\n\r\n", b""),
        (b"Content-Length: 0x0\r\n\r\n", b""),
        (b"Content-Length: -1\r\n\r\n", b""),
        (b"Content-Length: 99999999999999999999\r\n\r\n", b""),
        (b"Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n\r\n", b"0\r\n\r\n"),
        (b"Transfer-Encoding: chunked, identity\r\n\r\n", b"0\r\n\r\n"),
        (b"Transfer-Encoding : chunked\r\n\r\n", b"0\r\n\r\n"),
        (b" Transfer-Encoding: chunked\r\n\r\n", b"0\r\n\r\n"),
        (b"Transfer-Encoding: \x0bchunked\r\n\r\n", b"0\r\n\r\n"),
        (b"X: y\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\n\r\n"),
        (b"X: y\rTransfer-Encoding: chunked\r\n\r\n", b"0\r\n\r\n"),
        (b"X: a\x00b\r\nContent-Length: 0\r\n\r\n", b""),
        (b"X y: z\r\nContent-Length: 0\r\n\r\n", b""),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"-1\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"0x0\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"fffffffffffffffff\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"0\n\n"),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nXX\r\n0\r\n\r\n"),
    ],
    ids=lambda value: ascii(value)[2:60],
)
def test_a_request_whose_end_is_in_doubt_is_refused_and_nothing_behind_it_is_read(
    under: Under, headers: bytes, before: bytes
) -> None:
    key = f"Authorization: {under.ann['authorization']}".encode()
    body = json.dumps({"text": "smuggled"}).encode()
    behind = SMUGGLED % (key + b"\r\nContent-Type: application/json", len(body), body)
    statuses = under.send(HEAD % key + headers + before + behind)
    assert statuses == [400]
    assert "smuggled" not in under.texts()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 10**9),
        ("n", 10**400),
        ("beam_width", 10**9),
        ("max_tokens", 10**15),
        ("max_completion_tokens", 10**15),
        ("top_logprobs", 10**6),
        ("stop", ["x"] * 100_000),
        ("logit_bias", {str(n): 1 for n in range(200_000)}),
        ("top_k", 10**30),
        ("seed", 10**30),
        ("temperature", 1e308),
        ("messages", [{"role": "user", "content": "x"}] * 20_000),
        ("session", "x" * 100_000),
        ("user", "x" * 100_000),
    ],
)
def test_what_is_asked_for_without_bound_is_refused_by_name(under: Under, name: str, value: Any) -> None:
    asked = {"model": "echo", "messages": [{"role": "user", "content": "Hi."}], name: value}
    if name == "top_logprobs":
        asked["logprobs"] = True
    answer = under.call("POST", "/v1/chat/completions", under.ann, json=asked)
    assert answer.status_code in (400, 403, 413), answer.text
    assert answer.json()["error"]["param"] in (name, None)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 400_000,
        b'{"a":' * 150_000,
        b'{"model": "echo", "messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"model": "echo", "temperature": 1e999, "messages": [{"role": "user", "content": "Hi."}]}',
        b'{"model": "echo", "temperature": NaN, "messages": [{"role": "user", "content": "Hi."}]}',
        b'{"model": "echo", "n": ' + b"9" * 100_000 + b', "messages": [{"role": "user", "content": "Hi."}]}',
        b"\xff\xfe",
        b"",
    ],
    ids=lambda value: ascii(value[:40]),
)
def test_a_body_that_is_made_to_break_a_parser_is_a_mistake_like_any_other(under: Under, body: bytes) -> None:
    headers = {**under.ann, "content-type": "application/json"}
    answer = under.call("POST", "/v1/chat/completions", headers, content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] != "internal_error"


def test_the_server_stands_after_all_of_this(under: Under) -> None:
    assert under.texts()[-1] == TEXT
    errors = under.server.workbench.telemetry.registry.get_sample_value
    assert errors("jc1_http_errors_total", {"code": "internal_error"}) is None
