"""Turns in which tools are called: what the model reads, what is streamed, and what is remembered of them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jc1 import Settings, Workbench
from jc1.access.keys import Keys
from jc1.database.keys import KeyRepository
from jc1.database.presets import PresetRepository
from jc1.embedding.base import Embedder
from jc1.engines.echo import EchoEngine
from jc1.errors import InvalidDecoding, InvalidRequest, UnsupportedDecoding
from jc1.memory.store import DatabaseMemory
from jc1.messages import Message
from jc1.presets import Presets
from jc1.reply import Done, Recalled
from jc1.sessions import Sessions
from jc1.telemetry import Telemetry
from jc1.tools import Tool, ToolCall, ToolCallDelta
from tests.support.database import new_database

TOOLS = (Tool("get_weather"), Tool("clock"))
ASK = 'get_weather {"city": "Rome"}'


@pytest.fixture
async def workbench(home: Path, embedder: Embedder) -> AsyncIterator[Workbench]:
    """Yield a started workbench over the echo engine, which repeats `NAME {...}` as a call."""
    settings = Settings(home=home, engine="echo")
    settings.prepare_home()
    database = new_database(home / "jc1.db")
    async with Workbench(
        settings,
        engine=EchoEngine(),
        memory=DatabaseMemory(database, embedder),
        sessions=Sessions(database),
        presets=Presets(PresetRepository(database)),
        keys=Keys(KeyRepository(database)),
        telemetry=Telemetry(),
    ) as started:
        yield started


def texts(workbench: Workbench) -> list[str]:
    return [record.text for record in workbench.memory.list("local", limit=20).records]


async def test_a_call_is_streamed_in_pieces_and_whole_in_the_reply(workbench: Workbench) -> None:
    events = [event async for event in workbench.pipeline.stream(ASK, tools=TOOLS, memory="off")]
    recalled, first, *rest, done = events
    assert isinstance(recalled, Recalled)
    assert isinstance(first, ToolCallDelta)
    assert isinstance(done, Done)
    assert (first.name, first.arguments, first.call) == ("get_weather", "", 0)
    assert "".join(e.arguments for e in rest if isinstance(e, ToolCallDelta)) == '{"city": "Rome"}'
    (choice,) = done.reply.choices
    assert (choice.text, choice.finish_reason) == ("", "tool_calls")
    assert choice.tool_calls == (ToolCall(first.id, "get_weather", '{"city": "Rome"}'),)


async def test_a_turn_is_remembered_once_with_the_reply_that_ends_it_and_without_its_calls(
    workbench: Workbench,
) -> None:
    reply = await workbench.pipeline.chat(ASK, tools=TOOLS, session="s")
    assert reply.trace.remembered is None
    assert texts(workbench) == []
    assert workbench.sessions.list("local", limit=5) == ()
    calls = reply.choices[0].tool_calls
    turn = [Message.user(ASK), Message.assistant("", calls), Message.tool("Sunny.", calls[0].id)]
    reply = await workbench.pipeline.chat(turn, tools=TOOLS, session="s")
    assert reply.text == "Sunny."
    assert sorted(texts(workbench)) == ["Sunny.", ASK]
    assert [(t.user, t.reply) for t in workbench.sessions.history("local", "s", limit=5)] == [(ASK, "Sunny.")]


async def test_several_replies_call_each_for_itself(workbench: Workbench) -> None:
    reply = await workbench.pipeline.chat(ASK, tools=TOOLS, memory="off", n=2, temperature=0.01, seed=1)
    assert [c.tool_calls[0].name for c in reply.choices] == ["get_weather"] * 2
    assert reply.choices[0].tool_calls[0].id != reply.choices[1].tool_calls[0].id


@pytest.mark.parametrize(("choice", "called"), [("auto", []), ("none", []), ("required", ["get_weather"]),
                                                ("clock", ["clock"])])  # fmt: skip
async def test_the_choice_is_obeyed(workbench: Workbench, choice: str, called: list[str]) -> None:
    reply = await workbench.pipeline.chat("Hello.", tools=TOOLS, tool_choice=choice, memory="off")
    assert [call.name for call in reply.choices[0].tool_calls] == called
    assert reply.text == ("" if called else "Hello.")


@pytest.mark.parametrize(
    "messages",
    [
        [Message.user("Hi"), Message.tool("Noon.", "c1")],
        [Message.tool("Noon.", "c1")],
        [Message.user("Hi"), Message.assistant("", (ToolCall("c1", "clock", "{}"),))],
        [Message.assistant("", (ToolCall("c1", "clock", "{}"),)), Message.tool("Noon.", "c1")],
    ],
    ids=["unasked", "alone", "unanswered", "without a user"],
)
async def test_answers_without_their_question_are_refused(workbench: Workbench, messages: list[Message]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await workbench.pipeline.chat(messages, tools=TOOLS)
    assert refused.value.param == "messages"


async def test_beams_and_tools_do_not_go_together(workbench: Workbench) -> None:
    with pytest.raises(InvalidDecoding) as refused:
        await workbench.pipeline.chat("Hi", tools=TOOLS, beam_width=2)
    assert refused.value.param == "tools"


async def test_an_engine_without_tools_refuses_them_and_their_messages_by_name(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    without = replace(workbench.engine.capabilities, tools=False, advice={"tools": "it has no hands."})
    monkeypatch.setattr(workbench.engine, "_capabilities", without)
    turn = [Message.user("Hi"), Message.assistant("", (ToolCall("c1", "clock", "{}"),)), Message.tool("Noon.", "c1")]
    for messages, tools in (("Hi", TOOLS), (turn, ())):
        with pytest.raises(UnsupportedDecoding, match="cannot honour 'tools': it has no hands"):
            await workbench.pipeline.chat(messages, tools=tools)
    assert (await workbench.pipeline.chat("Hi", tools=TOOLS, tool_choice="none")).text == "Hi"
