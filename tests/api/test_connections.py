"""What a connection may take before its request is whole: real sockets, a real server."""

from __future__ import annotations

import json
import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import httpx
import pytest

from jc1 import Workbench
from jc1.engines.echo import EchoEngine
from jc1_api import connections
from jc1_api.connections import MAX_HEAD_BYTES, Caps, Connection, capped
from tests.api.conftest import Server, serving

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
LIVE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
Serve = Callable[..., Server]


@pytest.fixture
def serve(workbench: Workbench) -> Iterator[Serve]:
    """Return what starts a server whose connections are capped."""
    with ExitStack() as running:

        def start(*, body_seconds: float = 30, **caps: Any) -> Server:
            made = Caps(body_seconds, workbench.telemetry.count_error, **caps)
            return running.enter_context(serving(workbench, http=capped(made)))

        yield start


def answer(connection: socket.socket) -> tuple[int, str]:
    """Return the status and the error's code of an answer after which the server closes."""
    whole = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    head, _, body = whole.partition(b"\r\n\r\n")
    assert b"connection: close" in head
    return int(head.split()[1]), json.loads(body)["error"]["code"]


def read_live(connection: socket.socket, answers: int) -> None:
    """Read that many answers to `LIVE`."""
    read = b""
    while read.count(b'{"status":"ok"}') < answers:
        read += (piece := connection.recv(1 << 16))
        assert piece


def counted(server: Server, code: str) -> float | None:
    return server.workbench.telemetry.registry.get_sample_value("jc1_http_errors_total", {"code": code})


@pytest.mark.parametrize("piece", [b"x" * 1000, b"x: " + b"y" * 997 + b"\r\n"], ids=["one header", "many headers"])
def test_a_head_without_end_is_cut_off_and_the_client_is_told(serve: Serve, piece: bytes) -> None:
    server = serve()
    with server.connect() as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n")
        connection.sendall(piece * (2 * MAX_HEAD_BYTES // 1000))
        assert answer(connection) == (431, "headers_too_large")
    assert counted(server, "headers_too_large") == 1


def test_a_head_that_is_whole_and_too_large_is_refused_and_a_body_may_be_larger(serve: Serve) -> None:
    server = serve()
    with server.connect() as connection:
        connection.sendall(LIVE[:-2] + b"x: " + b"y" * MAX_HEAD_BYTES + b"\r\n\r\n")
        assert answer(connection) == (431, "headers_too_large")
    asked = {"model": "echo", "messages": [{"role": "user", "content": "x " * 2 * MAX_HEAD_BYTES}], "max_tokens": 1}
    reply = httpx.post(f"{server.url}/v1/chat/completions", json=asked, timeout=60)
    assert reply.json()["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    "sent", [b"G", HEAD, HEAD + b"Content-Length: 9\r\n\r\n{", HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n"]
)
def test_a_request_that_does_not_come_to_its_end_is_answered_with_a_timeout(serve: Serve, sent: bytes) -> None:
    server = serve(body_seconds=0.2)
    with server.connect() as connection:
        connection.sendall(sent)
        assert answer(connection) == (408, "request_timeout")
    assert counted(server, "request_timeout") == 1


def test_a_body_may_take_longer_where_it_is_large(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SLOWEST_BYTES_A_SECOND", 10)
    server = serve(body_seconds=0.2)
    with server.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: 1001\r\nConnection: close\r\n\r\n" + b" " * 1000)
        time.sleep(0.5)  # longer than a small one may take
        connection.sendall(b" ")
        assert answer(connection) == (400, "invalid_request")


def test_a_connection_that_says_nothing_is_closed(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "KEEP_ALIVE_SECONDS", 0.2)
    server = serve()
    with server.connect() as silent, server.connect() as kept:
        kept.sendall(LIVE)
        read_live(kept, 1)
        assert silent.recv(1) == kept.recv(1) == b""


def test_slow_bodies_that_take_every_connection_lock_nobody_out(serve: Serve) -> None:
    server = serve(most=20)
    with ExitStack() as slow:
        begun = []
        for _ in range(60):
            begun.append(connection := slow.enter_context(server.connect()))
            connection.sendall(HEAD + b"Content-Length: 9\r\n\r\n{")
        for _ in range(3):
            assert httpx.get(f"{server.url}/health/live", timeout=60).status_code == 200
        with suppress(ConnectionError):  # told why, if it had said something when it made room
            assert begun[0].recv(1 << 16).startswith((b"HTTP/1.1 503", b""))
            assert begun[0].recv(1 << 16) == b"", "the oldest made room"
        begun[-1].sendall(b"       }")
        assert begun[-1].recv(1 << 16).startswith(b"HTTP/1.1 400"), "the newest is still read"


def test_where_every_connection_is_being_answered_the_next_request_is_turned_away(serve: Serve) -> None:
    server = serve(most=2)
    with stream(server), stream(server), server.connect() as third:
        third.sendall(LIVE)
        assert answer(third) == (503, "overloaded")


@contextmanager
def stream(server: Server, **options: Any) -> Iterator[socket.socket]:
    """A reply under way, of which nothing was read but its first bytes."""
    text = "The owl asked who had moved the lighthouse. " * 60
    asked = {"model": "echo", "messages": [{"role": "user", "content": text}], "stream": True, "max_tokens": 4000}
    body = json.dumps({**asked, "logprobs": True, "top_logprobs": 20, **options}).encode()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert connection.recv(12) == b"HTTP/1.1 200"
        yield connection


def test_a_client_that_reads_nothing_loses_its_reply_and_the_engine_is_free(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "UNREAD_SECONDS", 0.2)
    server = serve()
    with stream(server):
        server.wait_until(lambda: server.engine.active == 0)
    assert server.workbench.telemetry.recent.list()[0].outcome == "cancelled"


def test_a_client_that_reads_slowly_and_goes_on_reading_gets_its_whole_reply(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "UNREAD_SECONDS", 0.3)
    server = serve()
    with stream(server, max_tokens=1000) as connection:
        until = time.monotonic() + 0.7
        while time.monotonic() < until:
            assert connection.recv(1 << 16)
            time.sleep(0.02)
        rest = bytearray()
        while b"data: [DONE]" not in rest:
            rest += (piece := connection.recv(1 << 16))
            assert piece


def test_an_answer_that_was_given_before_its_body_came_is_not_followed_by_another(serve: Serve) -> None:
    server = serve(body_seconds=0.2)
    with server.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: 99999999\r\n\r\n{")
        whole = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert whole.startswith(b"HTTP/1.1 413")
    assert whole.count(b"HTTP/1.1") == 1
    assert counted(server, "request_timeout") is None


def test_what_became_of_a_connection_it_is_counted_once(workbench: Workbench) -> None:
    caps = Caps(0.2, workbench.telemetry.count_error, most=2)
    with serving(workbench, http=capped(caps)) as server:
        for sent in (b"", b"G", HEAD, LIVE, LIVE * 2, LIVE + b"G", b"rubbish\r\n\r\n", b"x" * 2 * MAX_HEAD_BYTES):
            with server.connect() as connection, suppress(ConnectionError):
                connection.sendall(sent)
                if sent:
                    connection.recv(1)
        with ExitStack() as silent:
            for _ in range(5):
                silent.enter_context(server.connect())
            server.wait_until(lambda: caps.open == 2)
            assert len(caps.unfinished) == 2
        server.wait_until(lambda: caps.open == 0)
        assert not caps.unfinished
        with stream(server):
            assert (caps.open, len(caps.unfinished)) == (1, 0), "whoever is answered makes room for nobody"


@contextmanager
def watched(workbench: Workbench) -> Iterator[tuple[Server, list[Connection]]]:
    """A server, and the connections that were made to it."""
    made: list[Connection] = []

    class Watched(capped(Caps(30, workbench.telemetry.count_error))):  # type: ignore[misc]
        def connection_made(self, transport: Any) -> None:
            made.append(self)
            super().connection_made(transport)

    with serving(workbench, http=Watched) as server:
        yield server, made


@pytest.mark.parametrize("end", [Connection.drain, Connection.shutdown])
def test_a_server_that_stops_turns_away_what_is_not_whole_and_ends_what_was_begun(
    workbench: Workbench, end: Callable[[Connection], None]
) -> None:
    with watched(workbench) as (server, made), ExitStack() as opened:

        def connect(*sent: bytes) -> socket.socket:
            connection = opened.enter_context(server.connect())
            for piece in sent:
                connection.sendall(piece)
            return connection

        answered = connect(LIVE)
        read_live(answered, 1)
        silent, in_head, in_body = connect(), connect(b"G"), connect(HEAD, b"Content-Length: 9\r\n\r\n{")
        under_way = opened.enter_context(stream(server, max_tokens=200))
        server.wait_until(lambda: [it.phase for it in made][1:4] == ["idle", "head", "body"])
        for connection in made:
            server.loop.call_soon_threadsafe(end, connection)
        for unfinished in (in_head, in_body):
            whole = b"".join(iter(lambda it=unfinished: it.recv(1 << 16), b""))  # type: ignore[misc]
            assert whole.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
            assert b"retry-after: " in whole
            assert json.loads(whole.partition(b"\r\n\r\n")[2])["error"]["code"] == "stopping"
        assert answered.recv(1) == b""
        assert b"data: [DONE]" in b"".join(iter(lambda: under_way.recv(1 << 16), b""))
        if end is Connection.drain:  # it may still ask, to be told
            silent.sendall(LIVE)
            read_live(silent, 1)
        else:
            assert silent.recv(1) == b""
    assert counted(server, "stopping") == 2


def test_requests_sent_one_behind_the_other_are_all_answered_and_time_begins_anew_with_each(serve: Serve) -> None:
    server = serve(body_seconds=0.3)
    with server.connect() as connection:
        connection.sendall(LIVE * 3)
        read_live(connection, 3)
        time.sleep(0.5)  # nothing is begun, so nothing is late
        connection.sendall(LIVE)
        read_live(connection, 1)
        connection.sendall(LIVE + HEAD)
        read_live(connection, 1)
        assert answer(connection) == (408, "request_timeout")


@pytest.mark.parametrize(
    ("descriptors", "most"),
    [(64, 32), (256, 128), (1024, 896), (1_000_000, 10_000), (resource.RLIM_INFINITY, 10_000)],
)
def test_there_may_be_as_many_connections_as_descriptors_allow(
    monkeypatch: pytest.MonkeyPatch, descriptors: int, most: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (descriptors, descriptors))
    assert connections.most_connections() == most


def half_closed(server: Server, request: bytes) -> bytes:
    """Send a request, close our side, and return what comes until the server closes its own."""
    with server.connect() as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def chat(**fields: Any) -> bytes:
    body = json.dumps({"model": "echo", "messages": [{"role": "user", "content": "Hello there."}], **fields}).encode()
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


def test_a_client_that_has_closed_its_side_gets_its_answer(
    serve: Serve, workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    workbench.engine = EchoEngine(delay=0.05)
    server = serve()
    assert half_closed(server, LIVE).endswith(b'{"status":"ok"}')
    assert half_closed(server, LIVE * 2).count(b'{"status":"ok"}') == 2
    assert b'"content":"Hello there."' in half_closed(server, chat())
    monkeypatch.setattr(connections, "HALF_CLOSED_SECONDS", 1.0)
    long = [{"role": "user", "content": "word " * 30}]  # its begin comes in time, its end later
    assert b"data: [DONE]" in half_closed(server, chat(stream=True, messages=long))


@pytest.mark.parametrize("stream", [False, True])
def test_a_reply_to_a_client_that_has_gone_is_cancelled(
    serve: Serve, workbench: Workbench, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    monkeypatch.setattr(connections, "HALF_CLOSED_SECONDS", 0.1)
    workbench.engine = EchoEngine(delay=0.05)
    server = serve()
    with server.connect() as connection:
        connection.sendall(chat(stream=stream, messages=[{"role": "user", "content": "word " * 500}], max_tokens=500))
        server.wait_until(lambda: server.engine.active == 1)
        if stream:
            assert connection.recv(1 << 16)
    server.wait_until(lambda: server.engine.active == 0)
    assert server.workbench.telemetry.recent.list("local")[0].outcome == "cancelled"
