"""MCP over HTTP, by the client of the package `mcp`, in the newest version of the protocol and by the old handshake."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult

from jc1 import Workbench
from jc1.access.principal import ANY_OWNER, Limits
from jc1.memory.base import NewRecord
from jc1_api.app import create_app
from jc1_api.mcp.tools import TOOLS
from tests.api.conftest import Server, bearer

URL = "http://localhost:8000/mcp"
MODES = ("auto", "legacy")
"""The newest version, where each request stands alone, and the handshake of those before."""


@pytest.fixture
async def app(workbench: Workbench) -> AsyncIterator[FastAPI]:
    made = create_app(workbench)
    async with made.router.lifespan_context(made):
        yield made


def http(app: FastAPI, token: str | None = None) -> httpx2.AsyncClient:
    headers = {} if token is None else bearer(token)
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), headers=headers, timeout=60)


@asynccontextmanager
async def connected(
    app: FastAPI, token: str | None = None, *, mode: str = "auto", url: str = URL
) -> AsyncIterator[Client]:
    async with http(app, token) as calls, Client(streamable_http_client(url, http_client=calls), mode=mode) as client:
        yield client


def answer(result: CallToolResult) -> dict[str, Any]:
    """Return what a tool answered, which its text tells too."""
    assert not result.is_error, result.content
    (said,) = result.content
    assert said.type == "text"
    told: dict[str, Any] = result.structured_content
    assert json.loads(said.text) == told
    return told


def failure(result: CallToolResult) -> str:
    """Return the code of a tool's error, whose text tells it to a model, with the next step."""
    assert result.is_error
    (said,) = result.content
    assert said.type == "text"
    error: dict[str, str] = result.structured_content["error"]
    assert said.text == f"{error['message']} [{error['code']}]"
    return error["code"]


@pytest.mark.parametrize("mode", MODES)
async def test_an_agent_adds_finds_and_forgets_a_memory(app: FastAPI, workbench: Workbench, mode: str) -> None:
    async with connected(app, mode=mode) as client:
        assert client.protocol_version == {"auto": "2026-07-28", "legacy": "2025-11-25"}[mode]
        assert [tool.name for tool in (await client.list_tools()).tools] == [*TOOLS]
        added = answer(await client.call_tool("memory_add", {"text": "My cat is called Ada."}))
        found = answer(await client.call_tool("memory_search", {"query": "cat", "k": 3}))
        assert [hit["memory"]["id"] for hit in found["data"]] == [added["id"]]
        shown = answer(await client.call_tool("memory_forget", {"id": added["id"], "preview": True}))
        assert (shown["forgotten"], shown["records"], shown["undo"]) == (False, 1, None)
        assert workbench.memory.list("local").total == 1
        gone = answer(await client.call_tool("memory_forget", {"id": added["id"]}))
        assert gone["forgotten"]
        assert f"jc1 memory restore {added['id']}" in gone["undo"]
        assert workbench.memory.list("local").total == 0


@pytest.mark.parametrize("mode", MODES)
async def test_an_agent_asks_the_model_which_remembers_the_turn(app: FastAPI, workbench: Workbench, mode: str) -> None:
    async with connected(app, mode=mode) as client:
        told = answer(await client.call_tool("chat", {"message": "My cat is called Ada.", "session": "cats"}))
    assert (told["text"], told["session"], told["remembered"]) == ("My cat is called Ada.", "cats", True)
    assert workbench.telemetry.recent.get(told["trace_id"]).outcome == "ok"
    assert len(workbench.sessions.history("local", "cats")) == 1


@pytest.mark.parametrize("mode", MODES)
async def test_memories_and_conversations_are_resources(app: FastAPI, workbench: Workbench, mode: str) -> None:
    (record,) = workbench.memory.add("local", [NewRecord("My cat is called Ada.")])
    workbench.sessions.append("local", "of cats/1", user="Hi", reply="Hello")
    async with connected(app, mode=mode) as client:
        listed = {it.uri: it.title for it in (await client.list_resources()).resources}
        assert listed == {"jc1://sessions/of%20cats%2F1": "Hi", f"jc1://memories/{record.id}": "My cat is called Ada."}
        texts = [(await client.read_resource(uri)).contents[0] for uri in listed]
        turns, memory = (json.loads(getattr(it, "text", "")) for it in texts)
        assert (turns["session"], turns["data"][0]["reply"]) == ("of cats/1", "Hello")
        assert memory["text"] == "My cat is called Ada."
        assert [it.uri_template for it in (await client.list_resource_templates()).resource_templates] == [
            "jc1://memories/{id}",
            "jc1://sessions/{id}",
        ]


async def test_a_long_list_of_resources_comes_in_pages(
    app: FastAPI, workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jc1_api.mcp.resources.PAGE", 2)
    workbench.memory.add("local", [NewRecord(f"Number {number}.") for number in range(3)])
    workbench.sessions.append("local", "s", user="Hi", reply="Hello")
    async with connected(app) as client:
        first = await client.list_resources()
        second = await client.list_resources(cursor=first.next_cursor)
    assert [len(first.resources), len(second.resources), second.next_cursor] == [3, 1, None]


@pytest.mark.parametrize("mode", MODES)
async def test_nobody_sees_what_is_another_owners(app: FastAPI, workbench: Workbench, mode: str) -> None:
    (secret,) = workbench.memory.add("ann", [NewRecord("My cat is called Ada.")])
    workbench.sessions.append("ann", "cats", user="Hi", reply="Hello")
    bob = workbench.keys.create("bob").token
    async with connected(app, bob, mode=mode) as client:
        assert answer(await client.call_tool("memory_search", {"query": "cat"}))["data"] == []
        assert failure(await client.call_tool("memory_forget", {"id": secret.id})) == "record_not_found"
        assert (await client.list_resources()).resources == []
        for uri, code in (
            (f"jc1://memories/{secret.id}", "record_not_found"),
            ("jc1://sessions/cats", "session_not_found"),
            ("jc1://elsewhere/x", "not_found"),
        ):
            with pytest.raises(MCPError) as error:
                await client.read_resource(uri)
            assert error.value.data["code"] == code
        answer(await client.call_tool("chat", {"message": "Hello.", "session": "cats"}))
    assert len(workbench.sessions.history("ann", "cats")) == 1
    assert workbench.memory.list("ann").total == 1


async def test_a_key_for_any_owner_names_whose_memory_it_is_about(app: FastAPI, workbench: Workbench) -> None:
    root = workbench.keys.create("root", scopes={"memory:write", "memory:read", ANY_OWNER}).token
    async with connected(app, root, url=f"{URL}?user=ann") as client:
        answer(await client.call_tool("memory_add", {"text": "My cat is called Ada."}))
    assert (workbench.memory.list("ann").total, workbench.memory.list("root").total) == (1, 0)
    async with http(app, workbench.keys.create("bob").token) as calls:
        refused = await calls.post(f"{URL}?user=ann", json={})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "refused")
        unknown = await calls.post(f"{URL}?owner=ann", json={})
        assert (unknown.status_code, unknown.json()["error"]["param"]) == (400, "owner")


async def test_a_key_is_offered_what_its_scopes_allow(app: FastAPI, workbench: Workbench) -> None:
    writer = workbench.keys.create("ann", scopes={"memory:write"}).token
    workbench.memory.add("ann", [NewRecord("My cat is called Ada.")])
    async with connected(app, writer) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["memory_add", "memory_forget"]
        assert failure(await client.call_tool("memory_search", {"query": "cat"})) == "refused"
        assert failure(await client.call_tool("chat", {"message": "Hi"})) == "refused"
        assert (await client.list_resources()).resources == []
        with pytest.raises(MCPError, match="lacks the scope"):
            await client.read_resource("jc1://memories/x")


@pytest.mark.parametrize(
    ("name", "arguments", "code", "said"),
    [
        ("memory_search", {"query": " "}, "invalid_request", "'query': is empty"),
        ("memory_search", {}, "invalid_request", "'query' is missing"),
        ("memory_search", {"query": "x", "limit": 3}, "invalid_request", "'limit': memory_search takes query, k."),
        ("memory_search", {"query": "x", "k": 0}, "invalid_request", "'k'"),
        ("chat", {"message": "Hi", "preset": "none"}, "preset_not_found", "none"),
    ],
)
async def test_a_mistake_is_told_to_the_model_with_the_next_step(
    app: FastAPI, name: str, arguments: dict[str, Any], code: str, said: str
) -> None:
    async with connected(app) as client:
        result = await client.call_tool(name, arguments)
    assert failure(result) == code
    assert said in result.structured_content["error"]["message"]


async def test_a_limit_of_the_key_holds_for_an_agent_too(app: FastAPI, workbench: Workbench) -> None:
    token = workbench.keys.create("ann", limits=Limits(requests_per_minute=1)).token
    async with connected(app, token) as client:
        answer(await client.call_tool("chat", {"message": "Hi"}))
        for name, arguments in (("chat", {"message": "Hi"}), ("memory_search", {"query": "Hi"})):
            assert failure(await client.call_tool(name, arguments)) == "rate_limit_exceeded"
        with pytest.raises(MCPError) as refused:
            await client.list_resources()
        assert refused.value.data["code"] == "rate_limit_exceeded"


@pytest.mark.parametrize("mode", MODES)
async def test_the_text_of_a_foreign_exception_is_not_told(
    app: FastAPI, workbench: Workbench, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the secret")

    async with connected(app, mode=mode) as client:
        with pytest.raises(MCPError) as error:
            await client.call_tool("nonsense", {})
        assert (error.value.data["code"], error.value.data["param"]) == ("not_found", "name")
        monkeypatch.setattr(workbench.memory, "search", broken)
        with pytest.raises(MCPError) as error:
            await client.call_tool("memory_search", {"query": "x"})
    assert error.value.data["code"] == "internal_error"
    assert "secret" not in str(error.value)


async def test_other_methods_do_not_apply(app: FastAPI) -> None:
    async with http(app) as calls:
        for method in ("GET", "DELETE"):
            answered = await calls.request(method, URL, headers={"accept": "text/event-stream"})
            assert (answered.status_code, answered.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("version", ["2026-07-28", "2025-06-18"])
def test_leaving_cancels_the_reply(slow_server: Server, version: str) -> None:
    with slow_server.connect() as connection:
        connection.sendall(long_chat(version))
        slow_server.wait_until(lambda: slow_server.engine.active == 1)
    slow_server.wait_until(lambda: slow_server.engine.active == 0)


def long_chat(version: str) -> bytes:
    """Return the bytes of a request in a version of the protocol."""
    envelope = {"io.modelcontextprotocol/protocolVersion": version, "io.modelcontextprotocol/clientCapabilities": {}}
    params = {"name": "chat", "arguments": {"message": "A long story. " * 100}, "_meta": envelope}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    headers = {
        "Host": "localhost",
        "Content-Length": len(body),
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": version,
        "Mcp-Method": "tools/call",
        "Mcp-Name": "chat",
    }
    return (
        "\r\n".join(["POST /mcp HTTP/1.1", *(f"{name}: {it}" for name, it in headers.items()), "", ""]).encode() + body
    )
