"""A client that goes away frees the engine: real sockets, real server."""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from starlette.requests import ClientDisconnect

from jc1.errors import EngineUnavailable
from jc1_api import replies, sse
from jc1_api.sse import EventStream, until_disconnect, while_connected
from tests.api.conftest import Server


def send(connection: socket.socket, **fields: object) -> None:
    body = json.dumps(
        {"model": "echo", "messages": [{"role": "user", "content": "blah " * 100}], "session": "s", **fields}
    )
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    connection.sendall(f"{head}Content-Type: application/json\r\n\r\n{body}".encode())


def gone(server: Server) -> None:
    """The engine's slot is free, the turn is stored as cancelled, the trace says so."""
    server.wait_until(lambda: server.engine.active == 0)
    server.wait_until(lambda: len(server.workbench.telemetry.recent) == 1)
    (trace,) = server.workbench.telemetry.recent.list()
    assert trace.outcome == "cancelled"
    server.wait_until(lambda: bool(server.workbench.sessions.history("local", "s")))
    (turn,) = server.workbench.sessions.history("local", "s")
    assert turn.cancelled
    assert len(turn.reply) < 500


def test_leaving_a_stream_cancels_the_reply(slow_server: Server) -> None:
    with slow_server.connect() as connection:
        send(connection, stream=True, max_tokens=1000)
        received = b""
        while received.count(b"data: ") < 4:
            received += connection.recv(4096)
        assert slow_server.engine.active == 1
    gone(slow_server)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_leaving_before_the_first_byte_cancels_the_reply(slow_server: Server, stream: bool) -> None:
    with slow_server.connect() as connection:
        send(connection, stream=stream, max_tokens=1000)
        slow_server.wait_until(lambda: slow_server.engine.active == 1)
    gone(slow_server)


def test_a_client_that_stops_reading_and_leaves_cancels_the_reply(server: Server) -> None:
    with server.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        # More than the buffers between server and client hold.
        long = {"messages": [{"role": "user", "content": "blah " * 800}], "logprobs": True, "top_logprobs": 20}
        send(connection, stream=True, max_tokens=4096, **long)
        server.wait_until(lambda: server.engine.active == 1)
        connection.recv(16)
    server.wait_until(lambda: len(server.workbench.telemetry.recent.list()) == 1)
    assert server.workbench.telemetry.recent.list()[0].outcome == "cancelled"


def test_the_server_goes_on_after_clients_left(slow_server: Server) -> None:
    for _ in range(5):
        with slow_server.connect() as connection:
            send(connection, stream=True)
            slow_server.wait_until(lambda: slow_server.engine.active == 1)
        slow_server.wait_until(lambda: slow_server.engine.active == 0)
    assert len(slow_server.workbench.telemetry.recent.list()) == 5
    with slow_server.connect() as connection:
        send(connection, messages=[{"role": "user", "content": "Hi"}], memory="off")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 OK")


async def test_the_body_is_cancelled_once_and_what_it_cleans_up_is_left_to_end() -> None:
    leaving = asyncio.Event()
    cleaned = False

    async def receive() -> dict[str, str]:
        await leaving.wait()
        return {"type": "http.disconnect"}

    async def work() -> None:
        nonlocal cleaned
        async with until_disconnect(receive):
            leaving.set()
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                cleaned = True

    with pytest.raises(ClientDisconnect):
        await work()
    assert cleaned
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


async def test_work_that_waits_for_its_turn_is_given_up_with_its_client_and_nobody_waits_for_it() -> None:
    first_begins, first_may_end, leaving = asyncio.Event(), threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    async def stays() -> dict[str, str]:
        await asyncio.Event().wait()
        return {}

    async def leaves() -> dict[str, str]:
        await leaving.wait()
        return {"type": "http.disconnect"}

    def work(_: object) -> bool:
        loop.call_soon_threadsafe(first_begins.set)
        return first_may_end.wait(60)

    with ThreadPoolExecutor(1) as executor:
        first = asyncio.create_task(while_connected(stays, executor, work))
        await first_begins.wait()
        behind = asyncio.create_task(while_connected(leaves, executor, lambda _: pytest.fail("it was given up")))
        await asyncio.sleep(0)
        leaving.set()
        with pytest.raises(ClientDisconnect):
            await behind
        assert not first.done()
        first_may_end.set()
        assert await first


async def test_a_cancellation_from_elsewhere_is_the_servers_end() -> None:
    async def never() -> dict[str, str]:
        await asyncio.Event().wait()
        return {}

    async def work() -> None:
        async with until_disconnect(never):
            started.set()
            await asyncio.Event().wait()

    started = asyncio.Event()
    task = asyncio.create_task(work())
    await started.wait()
    task.cancel()
    with pytest.raises(EngineUnavailable):
        await task


async def test_a_stream_that_the_servers_end_cuts_short_says_so() -> None:
    waiting = asyncio.Event()
    sent: list[Any] = []

    async def chunks() -> AsyncGenerator[bytes, None]:
        yield b"data: 1\n\n"
        waiting.set()
        await asyncio.Event().wait()

    async def never() -> dict[str, str]:
        await asyncio.Event().wait()
        return {}

    async def send(message: Any) -> None:
        sent.append(message)

    async def respond() -> None:
        await EventStream(chunks())({"type": "http"}, never, send)

    task = asyncio.create_task(respond())
    await waiting.wait()
    task.cancel()
    await task
    start, one, error, end = sent
    assert (start["status"], one["body"]) == (200, b"data: 1\n\n")
    assert json.loads(error["body"].removeprefix(b"data: "))["error"]["code"] == "engine_unavailable"
    assert not end.get("more_body")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_a_stream_that_waits_for_its_turn_begins_and_sends_comments_until_it_comes(
    slow_server: Server, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(replies, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(sse, "COMMENT_SECONDS", 0.05)
    slow_server.workbench.guarded.admission.max_running = 1
    asked = {"model": "echo", "messages": [{"role": "user", "content": "Hi"}], "stream": True, "max_tokens": 2}
    with slow_server.connect() as running:
        send(running, stream=True, max_tokens=1000)
        slow_server.wait_until(lambda: slow_server.engine.active == 1)
        with httpx.stream("POST", slow_server.url + path, json=asked, timeout=60) as waiting:
            assert waiting.status_code == 200
            lines = waiting.iter_lines()
            assert [line for line in (next(lines) for _ in range(12)) if line.startswith(":")]
            running.close()
            assert [line for line in lines if line.startswith("data: ")]
    assert [trace.outcome for trace in slow_server.workbench.telemetry.recent.list()] == ["ok", "cancelled"]


def test_who_leaves_while_waiting_for_its_turn_leaves_the_queue(
    slow_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replies, "PATIENCE_SECONDS", 0.05)
    admission = slow_server.workbench.guarded.admission
    admission.max_running = 1
    with slow_server.connect() as running, slow_server.connect() as early, slow_server.connect() as late:
        send(running, stream=True, max_tokens=1000)
        slow_server.wait_until(lambda: slow_server.engine.active == 1)
        send(late, stream=True, max_tokens=1000)
        assert late.recv(12) == b"HTTP/1.1 200", "it has begun, and waits"
        send(early, stream=False, max_tokens=1000)
        slow_server.wait_until(lambda: admission.waiting == 2)
        late.close()
        early.close()
        slow_server.wait_until(lambda: admission.waiting == 0)
        assert admission.running == 1
    gone(slow_server)
