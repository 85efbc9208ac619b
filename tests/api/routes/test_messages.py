"""Anthropic's messages: what is taken, refused by name, or passed over and told, and what errors look like."""

from typing import Any

import httpx
import pytest

from jc1 import Preset, Workbench
from jc1.engines.echo import EchoEngine
from jc1_api.anthropic_errors import AnthropicError
from jc1_api.routes.messages import UNSUPPORTED
from tests.support.wire import parsed

URL = "/v1/messages"
WEATHER = {
    "name": "weather",
    "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
EPHEMERAL = {"type": "ephemeral"}


def asking(content: Any = "Hello.", **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": content}]
    return {"model": "echo", "max_tokens": 100, "messages": messages, "memory": "off", **fields}


async def ask(client: httpx.AsyncClient, content: Any = "Hello.", **fields: Any) -> dict[str, Any]:
    response = await client.post(URL, json=asking(content, **fields))
    assert response.status_code == 200, response.text
    told: dict[str, Any] = response.json()
    return told


async def refused(client: httpx.AsyncClient, content: Any = "Hello.", **fields: Any) -> dict[str, Any]:
    response = await client.post(URL, json=asking(content, **fields))
    assert 400 <= response.status_code < 500, response.text
    error = AnthropicError.model_validate(response.json(), strict=True)
    assert error.request_id == response.headers["request-id"] == response.headers["x-request-id"]
    return {"type": error.error.type, "message": error.error.message, **error.error.details.model_dump()}


def text_of(message: dict[str, Any]) -> str:
    (block,) = message["content"]
    return str(block["text"])


async def test_a_message_is_answered_with_the_ids_of_its_trace(client: httpx.AsyncClient) -> None:
    headers = {"anthropic-version": "2023-06-01", "anthropic-beta": "x", "x-api-key": "none"}
    response = await client.post(f"{URL}?beta=true", json=asking(system="Be brief."), headers=headers)
    message = response.json()
    assert (text_of(message), message["stop_reason"], message["stop_sequence"]) == ("Hello.", "end_turn", None)
    prompt = "system: Be brief.\nuser: Hello.\nassistant: "
    assert message["usage"] == {"input_tokens": len(prompt), "output_tokens": len("Hello.") + 1}
    assert response.headers["request-id"] == response.headers["x-request-id"] == message["jc1"]["trace_id"]


async def test_the_stop_sequence_that_ended_a_message_is_told(client: httpx.AsyncClient) -> None:
    message = await ask(client, "Say END now.", stop_sequences=["now", "END"])
    assert (text_of(message), message["stop_reason"], message["stop_sequence"]) == ("Say ", "stop_sequence", "END")
    read = parsed((await client.post(URL, json=asking("Say END", stop_sequences=["END"], stream=True))).text)
    assert read[-2]["delta"] == {"stop_reason": "stop_sequence", "stop_sequence": "END"}
    assert (await ask(client, max_tokens=2))["stop_reason"] == "max_tokens"


async def test_a_conversation_is_read_as_clients_send_it(client: httpx.AsyncClient) -> None:
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": EPHEMERAL, "citations": None}]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "x"},
                                          {"type": "redacted_thinking", "data": "x"},
                                          {"type": "text", "text": "Hello"}]},
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "What is"}, {"type": "text", "text": "it?"}]},
    ]  # fmt: skip
    system = [{"type": "text", "text": "Be brief.", "cache_control": {**EPHEMERAL, "ttl": "1h"}}]
    message = await ask(client, messages=messages, system=system, cache_control=EPHEMERAL)
    assert text_of(message) == "What is\nit?"
    rendered = "system: Be brief.\n\nBe kind.\nuser: Hi\nassistant: Hello\nuser: What is\nit?\nassistant: "
    assert message["usage"]["input_tokens"] == len(rendered)


async def test_the_owner_is_the_keys_whatever_the_metadata_says(
    client: httpx.AsyncClient, workbench: Workbench
) -> None:
    await ask(client, session="cats", metadata={"user_id": "ann"}, service_tier="standard_only")
    assert len(workbench.sessions.history("ann", "cats")) == 0
    assert len(workbench.sessions.history("local", "cats")) == 1


@pytest.mark.parametrize("name", sorted(UNSUPPORTED))
async def test_what_cannot_be_honoured_is_refused_by_name_unless_it_asks_for_nothing(
    client: httpx.AsyncClient, name: str
) -> None:
    assert (await refused(client, **{name: {"type": "enabled", "budget_tokens": 1024}}))["param"] == name
    for harmless in (None, *UNSUPPORTED[name][0]):
        assert text_of(await ask(client, **{name: harmless})) == "Hello."


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "assistant", "content": "Hi"}]}, "messages"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "x"}}]}]},
            "messages",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "document"}]}]}, "messages[0].content[0].type"),
        ({"stop_sequences": [""]}, "stop_sequences"),
        ({"temperature": 3.0}, "temperature"),
        ({"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}}, "output_config.format"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"nonsense": 1}, "nonsense"),
        ({"model": "claude"}, "model"),
        ({"model": "echo@none"}, "model"),
    ],
)
async def test_a_mistake_is_blamed_on_the_field_that_was_sent(
    client: httpx.AsyncClient, fields: dict[str, Any], param: str
) -> None:
    body = {name: value for name, value in asking(**fields).items() if value is not None}
    response = await client.post(URL, json=body)
    assert response.status_code in (400, 404), response.text
    assert response.json()["error"]["details"]["param"] == param


async def test_a_prompt_that_is_too_long_says_so_in_the_words_that_clients_look_for(
    client: httpx.AsyncClient, workbench: Workbench
) -> None:
    workbench.engine = EchoEngine(context_length=64)
    await workbench.engine.start()
    error = await refused(client, "blah " * 100, max_tokens=8)
    assert (error["type"], error["error_code"]) == ("invalid_request_error", "context_length_exceeded")
    assert "prompt is too long" in error["message"]


async def test_what_the_gate_refuses_has_anthropics_shape_too(client: httpx.AsyncClient) -> None:
    response = await client.post(URL, json=asking(), headers={"origin": "http://evil.example"})
    assert (response.status_code, response.json()["error"]["type"]) == (403, "permission_error")
    response = await client.get(URL)
    assert (response.status_code, response.json()["type"]) == (405, "error")
    response = await client.post(URL, json=asking("x" * 10_000_000))
    assert (response.status_code, response.json()["error"]["details"]["error_code"]) == (413, "request_too_large")
    assert response.json()["request_id"] == response.headers["request-id"]


async def test_a_call_is_a_block_and_its_result_goes_on_with_the_turn(client: httpx.AsyncClient) -> None:
    asked = {"role": "user", "content": 'weather {"city": "Oslo"}'}
    first = await ask(client, messages=[asked], tools=[WEATHER], tool_choice={"type": "auto"})
    (block,) = first["content"]
    assert first["stop_reason"] == "tool_use"
    assert (block["type"], block["name"], block["input"]) == ("tool_use", "weather", {"city": "Oslo"})

    async def after(result: dict[str, Any], *more: dict[str, Any]) -> str:
        content = [{"type": "tool_result", "tool_use_id": block["id"], **result}, *more]
        messages = [asked, {"role": "assistant", "content": [block]}, {"role": "user", "content": content}]
        return text_of(await ask(client, messages=messages, tools=[WEATHER]))

    assert await after({"content": "Rain."}) == "Rain."
    assert await after({"content": [{"type": "text", "text": "Sun."}]}) == "Sun."
    assert await after({"content": "No such city.", "is_error": True}) == "Error: No such city."
    assert await after({"content": "Rain."}, {"type": "text", "text": "And then?"}) == "And then?"


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "weather"}])
async def test_a_tool_that_has_to_be_called_is_called_and_servers_tools_are_told(
    client: httpx.AsyncClient, choice: Any
) -> None:
    tools = [WEATHER, {"type": "web_search_20250305", "name": "web_search", "max_uses": 5}]
    message = await ask(client, tools=tools, tool_choice=choice, output_config={"effort": "low"})
    assert [block["type"] for block in message["content"]] == ["tool_use"]
    assert message["jc1"]["ignored"] == ["tools.web_search_20250305", "output_config.effort"]
    assert text_of(await ask(client, tools=tools, tool_choice={"type": "none"})) == "Hello."


async def test_tokens_are_counted_as_a_message_counts_them(client: httpx.AsyncClient, workbench: Workbench) -> None:
    workbench.presets.save(Preset("kind", system="Be kind."))
    for fields in ({}, {"system": "Be brief."}, {"model": "echo@kind"}, {"tools": [WEATHER]}):
        body = {**asking(**fields), "preset": None}
        message = await client.post(URL, json=body)
        counted = {name: value for name, value in body.items() if name not in ("max_tokens", "memory")}
        response = await client.post(f"{URL}/count_tokens", json=counted)
        assert response.json() == {"input_tokens": message.json()["usage"]["input_tokens"]}
    assert len(workbench.telemetry.recent) == 4


async def test_counting_refuses_what_a_message_refuses(client: httpx.AsyncClient) -> None:
    for fields in ({"messages": []}, {"model": "claude"}, {"thinking": {"type": "enabled", "budget_tokens": 1024}}):
        body = {name: value for name, value in asking(**fields).items() if name not in ("max_tokens", "memory")}
        response = await client.post(f"{URL}/count_tokens", json=body)
        AnthropicError.model_validate(response.json(), strict=True)


async def test_minus_one_is_off_as_on_other_servers(client: httpx.AsyncClient) -> None:
    for fields in ({"top_k": -1}, {"max_tokens": -1}):
        assert text_of(await ask(client, **fields)) == "Hello."
