"""Clients of a running `jc1 serve`, of every manner: some behave, some leave, some read slowly, some send nonsense.

Knows what each does and what it has to get. Knows nothing about how long they go on, or what becomes of the server.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx

from tests.support.wire import error_of

LONGEST_SECONDS = 60
"""Within which everything that a client does has its end."""
PAUSE_SECONDS = 0.1
"""The longest pause between two things that a client does."""
REFUSALS = {429: {"rate_limit_exceeded"}, 503: {"overloaded", "database_unavailable"}}
"""What a request may get that is right: the statuses, and the codes of each. A database is busy on a slow machine."""
CODES = frozenset().union(*REFUSALS.values())
WORDS = ["owl", "lighthouse", "cat", "harbour", "Ada", "bread", "winter", "violin", "Oslo", "river", "green", "eleven"]
MCP_HEADERS = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-06-18"}


class TurnedAway(Exception):
    """The server had no place for a request, or its key had no more requests."""


@dataclass
class Ledger:
    """What happened to all clients together."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """How often each action ended how: `ok`, or the code with which it was turned away."""
    longest: dict[str, float] = field(default_factory=dict)
    """Seconds that the longest of each action took."""
    faults: list[str] = field(default_factory=list)

    @contextmanager
    def entry(self, action: str) -> Iterator[None]:
        """Enter how the body ended, and how long it took."""
        began, outcome = time.monotonic(), "ok"
        try:
            yield
        except TurnedAway as refusal:
            outcome = str(refusal)
        except Exception as error:
            outcome = "fault"
            self.faults.append(f"{action}: {type(error).__name__}: {error}"[:1000])
        self.outcomes[f"{action}: {outcome}"] += 1
        self.longest[action] = max(self.longest.get(action, 0.0), time.monotonic() - began)


@dataclass(frozen=True)
class Surface:
    """An address that replies: what it is asked, and where the text is in a reply and in an event of a stream."""

    path: str
    asked: Callable[[str], dict[str, Any]]
    said: Callable[[Any], str]
    piece: Callable[[Any], str]
    end: str
    """What the last event of a stream has in it."""


def _turn(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


SURFACES = (
    Surface(
        "/v1/chat/completions",
        lambda text: {"messages": _turn(text), "max_tokens": 600},
        lambda reply: reply["choices"][0]["message"]["content"],
        lambda event: "".join(choice["delta"].get("content") or "" for choice in event["choices"]),
        "[DONE]",
    ),
    Surface(
        "/v1/completions",
        lambda text: {"prompt": text, "max_tokens": 600},
        lambda reply: reply["choices"][0]["text"],
        lambda event: "".join(choice["text"] for choice in event["choices"]),
        "[DONE]",
    ),
    Surface(
        "/v1/responses",
        lambda text: {"input": text, "max_output_tokens": 600},
        lambda reply: reply["output"][0]["content"][0]["text"],
        lambda event: event["delta"] if event["type"] == "response.output_text.delta" else "",
        "response.completed",
    ),
    Surface(
        "/v1/messages",
        lambda text: {"messages": _turn(text), "max_tokens": 600},
        lambda reply: reply["content"][0]["text"],
        lambda event: event["delta"]["text"] if event["type"] == "content_block_delta" else "",
        "message_stop",
    ),
)


class Client:
    """One client, which does one thing after the other with its key."""

    def __init__(self, number: int, address: str, owner: str, token: str, ledger: Ledger) -> None:
        self.random = Random(number)
        self.owner = owner
        self.ledger = ledger
        self.address = httpx.URL(address)
        self.headers = {"authorization": f"Bearer {token}"}
        self.http = httpx.AsyncClient(base_url=address, headers=self.headers, timeout=None)

    async def go_on(self, until: float) -> None:
        """Do this and that until then, by the monotonic clock."""
        actions, weights = zip(*ACTIONS.items(), strict=True)
        async with self.http:
            while time.monotonic() < until:
                await self.do(self.random.choices(actions, weights)[0])
                await asyncio.sleep(self.random.random() * PAUSE_SECONDS)

    async def do_everything(self) -> None:
        """Do each thing once."""
        async with self.http:
            for action in ACTIONS:
                await self.do(action)

    async def do(self, action: Action) -> None:
        """Do one thing, within the time that it may take."""
        with self.ledger.entry(action.__name__):
            async with asyncio.timeout(LONGEST_SECONDS):
                await action(self)

    def text(self, words: int = 8) -> str:
        """Return a text that nobody else says."""
        return f"{self.owner} says {self.random.getrandbits(40)}: {' '.join(self.random.choices(WORDS, k=words))}."

    async def ask(self, method: str, path: str, status: int = 200, **options: Any) -> httpx.Response:
        """Return the answer, of the status that is expected. Raises `TurnedAway`."""
        response = await self.http.request(method, path, **options)
        if response.status_code in REFUSALS:
            code = error_of(response)["code"]
            assert code in REFUSALS[response.status_code], response.text
            assert {"retry-after", "x-should-retry"} & response.headers.keys(), response.headers
            raise TurnedAway(code)
        assert response.status_code == status, f"{method} {path}: {response.status_code} {response.text}"
        return response

    async def open(self, body: dict[str, Any], *, bytes_sent: int | None = None) -> Any:
        """Return reader and writer of a connection of its own, which holds little, with a chat on its way."""
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, (self.address.host, self.address.port))
        reader, writer = await asyncio.open_connection(sock=connection, limit=4096)
        sent = json.dumps({"model": "echo", **body}).encode()
        headers = {"Host": "localhost", "Content-Type": "application/json", **self.headers, "Connection": "close"}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        whole = f"POST /v1/chat/completions HTTP/1.1\r\n{head}Content-Length: {len(sent)}\r\n\r\n".encode() + sent
        writer.write(whole[:bytes_sent])
        await writer.drain()
        return reader, writer

    def long_stream(self) -> dict[str, Any]:
        """Return a request for a reply of about half a megabyte."""
        return {"messages": _turn(self.text(60)), "stream": True, "logprobs": True, "top_logprobs": 20}


Action = Callable[[Client], Awaitable[None]]


async def replies(client: Client) -> None:
    """Ask for a whole reply, which is the client's own."""
    surface, text = client.random.choice(SURFACES), client.text()
    response = await client.ask("POST", surface.path, json={"model": "echo", **surface.asked(text)})
    assert surface.said(response.json()) == text, response.text


async def streams(client: Client) -> None:
    """Ask for a stream, which is the client's own and comes to its end."""
    surface, text = client.random.choice(SURFACES), client.text()
    response = await client.ask("POST", surface.path, json={"model": "echo", "stream": True, **surface.asked(text)})
    events = re.findall(r"^data: (.*)$", response.text, flags=re.MULTILINE)
    if code := next((code for code in CODES if f'"{code}"' in events[-1]), None):
        raise TurnedAway(code)
    assert surface.end in events[-1], response.text
    pieces = (surface.piece(json.loads(event)) for event in events if event != "[DONE]")
    assert "".join(pieces) == text, response.text


async def converses(client: Client) -> None:
    """Say something in one of a few conversations, which are remembered."""
    body = {"model": "echo", "messages": _turn(client.text()), "session": f"s{client.random.randrange(4)}"}
    reply = (await client.ask("POST", "/v1/chat/completions", json=body)).json()
    if reply["jc1"]["remember_error"] in CODES:
        raise TurnedAway(reply["jc1"]["remember_error"])
    assert reply["jc1"]["remembered"], reply


async def embeds(client: Client) -> None:
    texts = [client.text() for _ in range(client.random.randrange(1, 5))]
    body = {"model": "all-MiniLM-L6-v2", "input": texts}
    assert len((await client.ask("POST", "/v1/embeddings", json=body)).json()["data"]) == len(texts)


async def remembers(client: Client) -> None:
    """Add a memory, find it, and forget it half of the time."""
    text = client.text()
    record = (await client.ask("POST", "/v1/memory", 201, json={"text": text})).json()
    hits = (await client.ask("GET", "/v1/memory/search", params={"q": text})).json()["data"]
    assert all(client.owner in hit["memory"]["text"] for hit in hits), hits
    if client.random.random() < 0.5:
        await client.http.delete(f"/v1/memory/{record['id']}")  # unless another client of the owner was there first


async def forgets_everything(client: Client) -> None:
    await client.ask("POST", "/v1/memory/forget", json={"everything": True, "purge": True})


async def looks_around(client: Client) -> None:
    paths = ("/v1/memory", "/v1/memory/statistics", "/v1/memory/export", "/v1/sessions", "/v1/traces", "/v1/models")
    await client.ask("GET", client.random.choice(paths))


async def uses_tools(client: Client) -> None:
    """Call one of the tools of MCP."""
    name, arguments = client.random.choice(
        (
            ("memory_add", {"text": client.text()}),
            ("memory_search", {"query": client.text()}),
            ("chat", {"message": client.text()}),
        )
    )
    params = {"name": name, "arguments": arguments}
    called = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    result = (await client.ask("POST", "/mcp", json=called, headers=MCP_HEADERS)).json()["result"]
    if result["isError"]:
        code = result["structuredContent"]["error"]["code"]
        assert code in CODES, result
        raise TurnedAway(code)


async def leaves(client: Client) -> None:
    """Go away in the middle of the request or of the reply, at times without a word of TCP's."""
    body = client.long_stream()
    reader, writer = await client.open(body, bytes_sent=client.random.choice((None, None, None, 20, 300)))
    with suppress(TimeoutError, asyncio.IncompleteReadError):
        async with asyncio.timeout(client.random.random()):
            await reader.readexactly(client.random.randrange(1, 20_000))
    if client.random.random() < 0.5:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def reads_slowly(client: Client) -> None:
    """Read a reply a byte at a time, for some seconds, and then the rest."""
    reader, writer = await client.open(client.long_stream())
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head.split()[1])
        for _ in range(1000 if status == 200 else 0):
            await reader.readexactly(1)
            await asyncio.sleep(0.002)
        rest = await reader.read(-1)
    finally:
        writer.close()
    if status in REFUSALS:
        code = json.loads(rest)["error"]["code"]
        assert code in REFUSALS[status], rest
        raise TurnedAway(code)
    assert rest.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n"), (head, rest[-300:])


async def errs(client: Client) -> None:
    """Send something wrong, and be told what."""
    method, path, status, options = client.random.choice(WRONG)
    await client.ask(method, path, status, **options)


CHAT = "/v1/chat/completions"
WRONG: tuple[tuple[str, str, int, dict[str, Any]], ...] = (
    ("POST", CHAT, 400, {"content": b'{"model": "echo", ', "headers": {"content-type": "application/json"}}),
    ("POST", CHAT, 400, {"content": b"\xff\xfe", "headers": {"content-type": "application/json"}}),
    ("POST", CHAT, 400, {"json": {"model": "echo", "messages": _turn("Hi."), "nonsense": 1}}),
    ("POST", CHAT, 400, {"json": {"model": "echo", "messages": "Hi."}}),
    ("POST", CHAT, 400, {"json": {"model": "echo", "messages": []}}),
    ("POST", CHAT, 400, {"json": {"model": "echo", "messages": _turn("Hi."), "temperature": 99}}),
    ("POST", CHAT, 400, {"json": {"model": "echo", "messages": _turn("word " * 20_000)}}),
    ("POST", CHAT, 404, {"json": {"model": "none", "messages": _turn("Hi.")}}),
    ("POST", CHAT, 413, {"json": {"model": "echo", "messages": _turn("word " * 300_000)}}),
    ("POST", CHAT, 401, {"json": {}, "headers": {"authorization": "Bearer jc1_no_key"}}),
    ("POST", "/v1/completions", 400, {"json": {"model": "echo", "prompt": {"a": 1}}}),
    ("POST", "/v1/responses", 400, {"json": {"model": "echo", "input": 3}}),
    ("POST", "/v1/messages", 404, {"json": {"model": "none", "max_tokens": 1, "messages": _turn("Hi.")}}),
    ("POST", "/v1/messages", 400, {"json": {"model": "echo", "messages": _turn("Hi.")}}),
    ("POST", "/v1/embeddings", 400, {"json": {"model": "all-MiniLM-L6-v2", "input": [1, 2]}}),
    ("POST", "/v1/memory", 400, {"json": {"text": ""}}),
    ("GET", "/v1/memory", 400, {"params": {"limit": -1}}),
    ("GET", "/v1/memory/rec_nothing", 404, {}),
    ("GET", "/v1/keys", 403, {}),
    ("GET", "/v1/nothing", 404, {}),
    ("PUT", "/v1/memory", 405, {}),
    ("POST", "/mcp", 400, {"content": b"{", "headers": {**MCP_HEADERS, "content-type": "application/json"}}),
)
"""What no client should send, and the status that it gets."""

ACTIONS: dict[Action, int] = {
    replies: 20,
    streams: 20,
    converses: 12,
    embeds: 6,
    remembers: 10,
    forgets_everything: 2,
    looks_around: 5,
    uses_tools: 8,
    leaves: 6,
    reads_slowly: 1,
    errs: 12,
}
"""What clients do, and how often each in comparison."""
