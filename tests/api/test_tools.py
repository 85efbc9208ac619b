"""Tools over the API, by the official client: sent, called, answered, refused."""

from typing import Any

import openai as sdk
import pytest
from openai import OpenAI

from tests.api.conftest import Server

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "get_weather", "description": "Tell it.", "parameters": CITY}},
    {"type": "function", "function": {"name": "clock", "strict": True}},
]
ASK: list[Any] = [{"role": "user", "content": 'get_weather {"city": "Rome"}'}]
OFF = {"memory": "off"}


def test_a_call_is_answered_and_the_conversation_goes_on(openai: OpenAI, server: Server) -> None:
    reply = openai.chat.completions.create(model="echo", messages=ASK, tools=TOOLS, parallel_tool_calls=False)
    (choice,) = reply.choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    assert choice.message.tool_calls
    (call,) = choice.message.tool_calls
    assert call.type == "function"
    assert (call.function.name, call.function.arguments) == ("get_weather", '{"city": "Rome"}')
    answer: Any = {"role": "tool", "tool_call_id": call.id, "content": "Sunny."}
    turn: list[Any] = [*ASK, choice.message, answer]
    last = openai.chat.completions.create(model="echo", messages=turn, tools=TOOLS)
    assert (last.choices[0].message.content, last.choices[0].finish_reason) == ("Sunny.", "stop")


def test_a_stream_names_the_call_first_and_then_brings_its_arguments(openai: OpenAI) -> None:
    with openai.chat.completions.stream(model="echo", messages=ASK, tools=TOOLS, extra_body=OFF) as stream:
        chunks = [event.chunk.choices[0] for event in stream if event.type == "chunk" and event.chunk.choices]
        whole = stream.get_final_completion().choices[0]
    pieces = [piece for chunk in chunks for piece in chunk.delta.tool_calls or ()]
    assert pieces[0].id
    assert pieces[0].function
    assert (pieces[0].type, pieces[0].function.name, pieces[0].function.arguments) == ("function", "get_weather", "")
    assert not any(piece.id or (piece.function and piece.function.name) for piece in pieces[1:])
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["tool_calls"]
    assert whole.message.tool_calls
    assert whole.message.tool_calls[0].function.arguments == '{"city": "Rome"}'


@pytest.mark.parametrize(
    ("choice", "called"),
    [("required", "get_weather"), ({"type": "function", "function": {"name": "clock"}}, "clock"), ("none", None)],
)
def test_the_choice_is_obeyed(openai: OpenAI, choice: Any, called: str | None) -> None:
    reply = openai.chat.completions.create(
        model="echo", messages=[{"role": "user", "content": "Hi"}], tools=TOOLS, tool_choice=choice, extra_body=OFF
    )
    calls = reply.choices[0].message.tool_calls
    assert (calls[0].function.name if calls else None) == called  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {"description": "f"}}]}, "tools[0].function.name"),
        ({"tools": [*TOOLS, TOOLS[0]]}, "tools"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "rm"}}}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": "sometimes"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "allowed_tools"}}, "tool_choice.type"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"messages": [*ASK, {"role": "tool", "tool_call_id": "c", "content": "4"}]}, "messages"),
    ],
    ids=ascii,
)
def test_what_is_no_tool_or_choice_is_refused_by_name(openai: OpenAI, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(sdk.BadRequestError) as refused:
        openai.chat.completions.create(model="echo", **{"messages": ASK, **fields})
    assert refused.value.param == param
