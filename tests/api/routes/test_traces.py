"""`/v1/traces/{id}/replay`: the same question with another preset, and what is not kept cannot be asked."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from jc1 import Preset, Workbench
from tests.api.conftest import bearer
from tests.support.wire import error_of

CHAT = "/v1/chat/completions"


@pytest.fixture(autouse=True)
def short(workbench: Workbench) -> None:
    workbench.presets.save(Preset("short", system="", decoding={"max_tokens": 2}))


async def ask(client: httpx.AsyncClient, text: str, **fields: Any) -> str:
    """Return the id of the request's trace."""
    asked = {"model": "echo", "messages": [{"role": "user", "content": text}], **fields}
    response = await client.post(CHAT, json=asked)
    assert response.status_code == 200, response.text
    return str(response.json()["jc1"]["trace_id"])


async def replay(client: httpx.AsyncClient, trace: str, preset: str = "short") -> httpx.Response:
    return await client.post(f"/v1/traces/{trace}/replay", json={"preset": preset})


async def test_a_turn_of_a_session_is_asked_again_and_not_stored(
    client: httpx.AsyncClient, workbench: Workbench
) -> None:
    await ask(client, "My cat is called Ada.", session="s")
    trace = await ask(client, "Hello.", session="s")
    stored = workbench.memory.list("local").total
    response = await replay(client, trace)
    both = response.json()
    original, again = both["original"], both["replay"]
    assert (original["text"], again["text"]) == ("Hello.", "He")
    assert (original["trace"]["id"], again["trace"]["preset"]) == (trace, "short@1")
    assert again["trace"]["id"] == response.headers["x-request-id"] != trace
    assert (again["trace"]["remembered"], again["trace"]["session"]) == (None, None)
    assert "recall" in again["trace"]["stages"]
    assert workbench.memory.list("local").total == stored
    assert len(workbench.sessions.history("local", "s")) == 2


async def test_a_message_that_became_a_memory_is_asked_again(client: httpx.AsyncClient) -> None:
    both = (await replay(client, await ask(client, "Hello."))).json()
    assert (both["original"]["text"], both["replay"]["text"]) == (None, "He")


async def test_it_is_asked_with_what_came_before_and_memory_only_where_that_was_read(
    client: httpx.AsyncClient,
) -> None:
    traces = [await ask(client, text, session="s", memory="off") for text in ("Hi.", "Hello.", "A walrus.")]
    again = (await replay(client, traces[1])).json()["replay"]["trace"]
    assert "recall" not in again["stages"]
    assert again["usage"]["prompt_tokens"] == len("user: Hi.\nassistant: Hi.\nuser: Hello.\nassistant: ")


async def test_what_was_not_kept_or_is_forgotten_is_not_asked_again(
    client: httpx.AsyncClient, workbench: Workbench
) -> None:
    unkept = await ask(client, "Hello.", memory="read")
    forgotten, session = await ask(client, "Hello."), await ask(client, "Hi.", session="s")
    await client.post("/v1/memory/forget", json={"everything": True})
    for trace in (unkept, forgotten, session):
        response = await replay(client, trace)
        assert (response.status_code, error_of(response)["code"]) == (409, "text_not_kept")


async def test_no_trace_of_another_owner_and_no_unknown_preset_is_replayed(
    client: httpx.AsyncClient, workbench: Workbench
) -> None:
    trace = await ask(client, "Hello.")
    assert error_of(await replay(client, trace, "none"))["code"] == "preset_not_found"
    token = workbench.keys.create("ann").token
    response = await client.post(f"/v1/traces/{trace}/replay", json={"preset": "short"}, headers=bearer(token))
    assert (response.status_code, error_of(response)["code"]) == (404, "trace_not_found")
