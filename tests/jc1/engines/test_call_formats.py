"""Calls read out of a reply's text, in every form and however the text is cut."""

from collections.abc import Iterable

import pytest

from jc1.engines.call_formats import FORMATS, CallFormat, CallReader, recognized
from jc1.tools import Tool, ToolCall, ToolCallDelta, Toolset

TOOLS = Toolset((Tool("get_weather"), Tool("clock")))
ARGUMENTS = '{"city": "Rome }\\"", "days": [1, {"a": "]"}]}'


def written(form: CallFormat, calls: Iterable[tuple[str, str]]) -> str:
    spelled = [f"{form.before}{name}{form.between}{arguments}{form.after}" for name, arguments in calls]
    return form.opening + form.separator.join(spelled) + form.closing


def read(form: CallFormat, pieces: Iterable[str], *, begun: bool = False) -> tuple[str, list[ToolCall]]:
    reader = CallReader(form, TOOLS, 2, begun=begun)
    text, deltas = "", list[ToolCallDelta]()
    for shown, new in [*(reader.push(piece) for piece in pieces), reader.push("", last=True)]:
        text += shown
        deltas += new
    assert all(delta.index == 2 for delta in deltas)
    assert [delta.call for delta in deltas if delta.id] == list(range(reader.calls))
    calls = []
    for first in (delta for delta in deltas if delta.id):
        arguments = "".join(delta.arguments for delta in deltas if delta.call == first.call)
        calls.append(ToolCall(first.id, first.name, arguments))
    return text, calls


def named(calls: Iterable[ToolCall]) -> list[tuple[str, str]]:
    return [(call.name, call.arguments) for call in calls]


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("name", FORMATS)
def test_calls_come_out_as_they_were_written_however_the_text_is_cut(name: str, size: int) -> None:
    form = FORMATS[name]
    calls = [("get_weather", ARGUMENTS), ("clock", "{}")][: 2 if form.several else 1]
    before = "Let me <tool see [TOO. " if form.anywhere else ""
    reply = before + written(form, calls)
    text, got = read(form, [reply[i : i + size] for i in range(0, len(reply), size)])
    assert (text, named(got)) == (before, calls)
    assert len({call.id for call in got}) == len(got)


@pytest.mark.parametrize("name", FORMATS)
def test_a_reply_without_calls_is_text_and_nothing_of_it_is_lost(name: str) -> None:
    for reply in ("", "Hello.", "<tool", '{"name', '{"city": "Rome"}', "a [TOOL"):
        assert read(FORMATS[name], reply) == (reply, [])


def test_arguments_come_in_pieces_as_they_are_written() -> None:
    form = FORMATS["hermes"]
    reader = CallReader(form, TOOLS)
    pieces = [delta for letter in written(form, [("clock", '{"a": 1}')]) for delta in reader.push(letter)[1]]
    assert [(p.name, p.arguments) for p in pieces] == [("clock", ""), *(("", letter) for letter in '{"a": 1}')]
    assert pieces[0].id
    assert not any(piece.id for piece in pieces[1:])


def test_a_call_that_the_limit_cut_off_keeps_what_there_is() -> None:
    form = FORMATS["hermes"]
    reply = written(form, [("get_weather", ARGUMENTS)])
    text, (call,) = read(form, [reply[: reply.index("Rome")]])
    assert (text, call.arguments) == ("", '{"city": "')


@pytest.mark.parametrize("foreign", ["<tool_call>\n<function=clock>", '<tool_call>\n{"name": "rm", "arguments": {}}'])
def test_what_is_in_another_form_or_calls_no_tool_of_the_request_is_text(foreign: str) -> None:
    text, calls = read(FORMATS["hermes"], foreign)
    assert calls == []
    assert text in foreign
    assert len(text) > 5


@pytest.mark.parametrize("name", FORMATS)
def test_each_form_is_recognized_by_a_call_in_it(name: str) -> None:
    assert recognized(f"user: hi\n{written(FORMATS[name], [('f', '{}')])}") == FORMATS[name]


def test_other_forms_are_not_recognized() -> None:
    assert recognized("<tool_call>\n<function=f>\n</function>\n</tool_call>") is None
