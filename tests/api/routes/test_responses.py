"""Responses: what is taken, what is refused by name, and what is passed over and told."""

from typing import Any

import httpx
import pytest

from jc1 import Preset, Workbench
from jc1.engines.echo import EchoEngine
from jc1_api.routes.responses import UNSUPPORTED
from tests.support.wire import parsed

URL = "/v1/responses"
WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}
CODEX: dict[str, Any] = {
    "client_metadata": {"x-codex-installation-id": "1"},
    "include": ["reasoning.encrypted_content"],
    "instructions": "You are a coding agent.",
    "parallel_tool_calls": False,
    "prompt_cache_key": "0199",
    "reasoning": {"effort": "medium", "summary": "auto"},
    "store": False,
    "stream": True,
    "tool_choice": "auto",
    "tools": [
        WEATHER,
        {"type": "web_search", "external_web_access": True},
        {"type": "namespace", "name": "mcp", "description": "", "tools": []},
        {"type": "image_generation", "output_format": "png"},
        {"type": "custom", "name": "apply_patch", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
    ],
    "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "<environment_context/>"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello."}]},
    ],
}
"""All that Codex sends, and nothing that it does not."""


def asking(said: Any = "Hello.", **fields: Any) -> dict[str, Any]:
    return {"model": "echo", "input": said, "memory": "off", **fields}


async def ask(client: httpx.AsyncClient, said: Any = "Hello.", **fields: Any) -> dict[str, Any]:
    response = await client.post(URL, json=asking(said, **fields))
    assert response.status_code == 200, response.text
    told: dict[str, Any] = response.json()
    return told


async def refused(client: httpx.AsyncClient, said: Any = "Hello.", **fields: Any) -> dict[str, Any]:
    response = await client.post(URL, json=asking(said, **fields))
    assert response.status_code == 400, response.text
    error: dict[str, Any] = response.json()["error"]
    return error


def text_of(response: dict[str, Any]) -> str:
    (message,) = response["output"]
    return str(message["content"][0]["text"])


async def test_what_codex_sends_is_answered_and_what_was_passed_over_is_told(client: httpx.AsyncClient) -> None:
    response = await client.post(URL, json={"model": "echo", **CODEX})
    read = parsed(response.text)
    assert read[-1]["type"] == "response.completed"
    last = read[-1]["response"]
    assert text_of(last) == "Hello."
    assert last["jc1"]["ignored"] == [
        "tools.custom",
        "tools.image_generation",
        "tools.namespace",
        "tools.web_search",
        "reasoning",
    ]
    assert [tool["name"] for tool in last["tools"]] == ["weather"]


@pytest.mark.parametrize("empty", [None, "", " ", [], [{"role": "user", "content": ""}]])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_probe_that_says_nothing_is_answered_without_a_model(
    client: httpx.AsyncClient, workbench: Workbench, empty: Any, stream: bool
) -> None:
    response = await client.post(URL, json=asking(empty, max_output_tokens=1, stream=stream))
    assert response.status_code == 200, response.text
    last = parsed(response.text)[-1]["response"] if stream else response.json()
    assert (last["status"], last["output"], last["jc1"]) == ("completed", [], None)
    assert len(workbench.telemetry.recent) == 0


@pytest.mark.parametrize("empty", [None, "", []])
async def test_an_input_that_says_nothing_is_refused_otherwise(client: httpx.AsyncClient, empty: Any) -> None:
    error = await refused(client, empty)
    assert (error["code"], error["param"]) == ("empty_message", "input")


async def test_a_conversation_is_read_as_clients_send_it_back(client: httpx.AsyncClient, workbench: Workbench) -> None:
    first = await ask(client, "My cat is called Ada.")
    history = [
        {"role": "user", "content": "My cat is called Ada."},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
        *first["output"],
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"role": "user", "content": [{"type": "input_text", "text": "What is"}, {"type": "input_text", "text": "it?"}]},
    ]
    second = await ask(client, history, instructions="Be brief.")
    assert text_of(second) == "What is\nit?"
    rendered = "system: Be brief.\nuser: My cat is called Ada.\nassistant: My cat is called Ada.\nassistant: No.\n"
    assert second["usage"]["input_tokens"] == len(rendered + "user: What is\nit?\nassistant: ")
    assert second["instructions"] == "Be brief."


async def test_what_is_chosen_holds_and_is_repeated(client: httpx.AsyncClient, workbench: Workbench) -> None:
    workbench.presets.save(Preset("pair", decoding={"n": 2, "temperature": 1.0}))
    chosen = {"max_output_tokens": 3, "temperature": 0, "top_p": 0.5, "metadata": {"a": "b"}}
    told = await ask(client, "Hello.", preset="pair", **chosen)
    assert text_of(told) == "Hel"
    assert told["incomplete_details"] == {"reason": "max_output_tokens"}
    assert {name: told[name] for name in chosen} == chosen
    assert told["jc1"]["preset"] == "pair@1"


@pytest.mark.parametrize("sent", [True, False, None])
async def test_nothing_is_stored_and_the_response_says_so(client: httpx.AsyncClient, sent: bool | None) -> None:
    told = await ask(client, store=sent)
    assert told["store"] is False
    assert (await client.get(f"{URL}/{told['id']}")).status_code == 404


async def test_sessions_and_memory_are_those_of_chat(client: httpx.AsyncClient, workbench: Workbench) -> None:
    await ask(client, "My cat is called Ada.", session="cats", memory="on", user="ann")
    told = await ask(client, "What is my cat called?", session="cats", memory="on", user="ann")
    assert told["jc1"]["session"] == "cats"
    assert [turn.user for turn in workbench.sessions.history("ann", "cats")] == [
        "My cat is called Ada.",
        "What is my cat called?",
    ]


@pytest.mark.parametrize("name", sorted(UNSUPPORTED))
async def test_what_cannot_be_honoured_is_refused_by_name_unless_it_asks_for_nothing(
    client: httpx.AsyncClient, name: str
) -> None:
    error = await refused(client, **{name: "resp_1"})
    assert error["param"] == name
    for harmless in (None, *UNSUPPORTED[name][0]):
        assert text_of(await ask(client, **{name: harmless})) == "Hello."


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].type"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "x"}]}]},
            "input[0].content[0].type",
        ),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"input": [{"role": "user", "content": "Hi", "nonsense": 1}]}, "input[0].nonsense"),
        ({"include": ["message.output_text.logprobs"]}, "include"),
        ({"stream_options": {"include_obfuscation": False}}, "stream_options"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format"),
        ({"text": {"format": {"type": "json_object"}}}, "text.format"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_tokens": 5}, "max_tokens"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"preset": "none"}, "preset"),
        ({"model": "echo@none"}, "model"),
        ({"input": [{"role": "assistant", "content": "Hi"}]}, "input"),
    ],
)
async def test_a_mistake_is_blamed_on_the_field_that_was_sent(
    client: httpx.AsyncClient, fields: dict[str, Any], param: str
) -> None:
    response = await client.post(URL, json=asking(**fields))
    assert response.status_code in (400, 404), response.text
    assert response.json()["error"]["param"] == param


@pytest.mark.parametrize("stream", [True, False])
async def test_a_prompt_that_is_too_long_says_so_in_the_words_that_clients_look_for(
    client: httpx.AsyncClient, workbench: Workbench, stream: bool
) -> None:
    workbench.engine = EchoEngine(context_length=64)
    await workbench.engine.start()
    error = await refused(client, "blah " * 100, stream=stream, max_output_tokens=8)
    assert (error["code"], error["param"]) == ("context_length_exceeded", "input")
    assert "maximum context length is" in error["message"]
    assert "prompt is too long" in error["message"]


async def test_a_call_is_an_item_and_its_output_goes_on_with_the_turn(client: httpx.AsyncClient) -> None:
    asked = {"role": "user", "content": 'weather {"city": "Oslo"}'}
    first = await ask(client, [asked], tools=[WEATHER], tool_choice="auto")
    (call,) = first["output"]
    assert (call["type"], call["name"], call["arguments"]) == ("function_call", "weather", '{"city": "Oslo"}')
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "Rain."}
    second = await ask(client, [asked, call, output], tools=[WEATHER])
    assert text_of(second) == "Rain."
    parts = {**output, "output": [{"type": "input_text", "text": "Sun."}]}
    assert text_of(await ask(client, [asked, call, parts], tools=[WEATHER])) == "Sun."


@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "weather"}])
async def test_a_tool_that_has_to_be_called_is_called(client: httpx.AsyncClient, choice: Any) -> None:
    told = await ask(client, tools=[WEATHER, {"type": "web_search"}], tool_choice=choice)
    assert [item["type"] for item in told["output"]] == ["function_call"]
    assert told["tool_choice"] == choice


async def test_an_output_to_no_call_is_refused(client: httpx.AsyncClient) -> None:
    items = [{"role": "user", "content": "Hi"}, {"type": "function_call_output", "call_id": "x", "output": "Rain."}]
    assert (await refused(client, items, tools=[WEATHER]))["param"] == "input"


async def test_minus_one_is_as_many_as_the_settings_allow(client: httpx.AsyncClient) -> None:
    response = await client.post(URL, json={"model": "echo", "input": "Hello.", "max_output_tokens": -1})
    assert (response.status_code, response.json()["status"]) == (200, "completed")
