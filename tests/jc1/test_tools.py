"""Tools of a request, as they are written and checked; what they do in a conversation is in `test_tool_turns.py`."""

from typing import Any

import pytest

from jc1.errors import InvalidRequest
from jc1.messages import Message, conversation_of
from jc1.tools import Tool, ToolCall, Toolset, toolset_of

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER, CLOCK = Tool("get_weather", "Tell the weather.", CITY), Tool("clock")


def test_a_tool_may_be_a_dict_in_openais_form() -> None:
    function = {"name": "get_weather", "description": "Tell the weather.", "strict": True, "parameters": CITY}
    sent: dict[str, Any] = {"type": "function", "function": function}
    toolset = toolset_of([sent, {"type": "function", "function": {"name": "clock", "parameters": None}}])
    assert toolset == Toolset((Tool("get_weather", "Tell the weather.", CITY, strict=True), CLOCK))
    assert WEATHER.to_dict() == {"type": "function", "function": {k: sent["function"][k] for k in
                                                                ("name", "description", "parameters")}}  # fmt: skip


@pytest.mark.parametrize(
    ("choice", "names"),
    [("auto", ["get_weather", "clock"]), ("required", ["get_weather", "clock"]), ("clock", ["clock"]), ("none", None)],
)
def test_the_choice_says_which_tools_may_be_called(choice: str, names: list[str] | None) -> None:
    toolset = toolset_of([WEATHER, CLOCK], choice)
    assert (toolset and [tool.name for tool in toolset.callable]) == names
    assert toolset is None or toolset.forced == (choice != "auto")


@pytest.mark.parametrize(
    ("tools", "choice", "param"),
    [
        ([Tool("a b")], "auto", "tools"),
        ([Tool("")], "auto", "tools"),
        ([Tool("x" * 65)], "auto", "tools"),
        ([Tool("none")], "auto", "tools"),
        ([Tool("f"), Tool("f")], "auto", "tools"),
        ([Tool(f"f{i}") for i in range(129)], "auto", "tools"),
        ([Tool("f", "\0")], "auto", "tools"),
        ([Tool("f", parameters={"type": "object", "title": "\ud800"})], "auto", "tools"),
        ([Tool("f", parameters={"type": "array"})], "auto", "tools"),
        ([{"type": "function", "name": "f"}], "auto", "tools"),
        (["f"], "auto", "tools"),
        ([Tool("f")], "g", "tool_choice"),
        ([], "required", "tool_choice"),
        ([], "f", "tool_choice"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_what_is_no_usable_tool_or_choice_is_refused_by_name(tools: list[Any], choice: str, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        toolset_of(tools, choice)
    assert refused.value.param == param


def test_messages_with_calls_and_answers_may_be_dicts() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
    sent: list[Any] = [
        {"role": "user", "content": "What time is it?"},
        {"role": "assistant", "content": None, "tool_calls": [call], "refusal": None},
        {"role": "tool", "tool_call_id": "c1", "content": "Noon."},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "Noon."}]},
    ]
    user, assistant, answer, parts = conversation_of(sent)
    assert (user, answer) == (Message.user("What time is it?"), Message.tool("Noon.", "c1"))
    assert assistant == Message.assistant("", (ToolCall("c1", "clock", "{}"),))
    assert (parts.text, parts.tool_call_id) == ("Noon.", "c1")


@pytest.mark.parametrize(
    "message",
    [
        {"role": "tool", "content": "Noon."},
        {"role": "tool", "tool_call_id": "c1"},
        {"role": "user", "content": "Hi", "tool_call_id": "c1"},
        {"role": "assistant", "tool_calls": [{"id": "c1"}]},
        {"role": "assistant", "tool_calls": [], "colour": "red"},
        Message.tool("Noon.", "\0"),
        Message.assistant("", (ToolCall("c", "f", "\ud800"),)),
    ],
    ids=ascii,
)
def test_messages_that_are_neither_are_refused(message: Any) -> None:
    with pytest.raises(InvalidRequest):
        conversation_of([message])
