"""Messages as data: what each is, and which conversation it belongs to."""

from __future__ import annotations

from datetime import UTC, datetime

import gradio as gr
import pytest

from jc1.sessions import Turn
from jc1_ui.components import log
from jc1_ui.components.log import GrowingReply, Log, Message


def shown(message: Message) -> tuple[str, str]:
    return "".join(message["reasoning"]), "".join(message["blocks"])


@pytest.mark.parametrize(
    ("text", "reasoning", "body"),
    [
        ("<think>plan</think>answer", "<p>plan</p>\n", "<p>answer</p>\n"),
        ("\n<think>\nplan\n</think>\n\nanswer", "<p>plan</p>\n", "<p>answer</p>\n"),
        ("<think>plan", "<p>plan</p>\n", ""),
        ("so <think>plan</think> it is", "", "<p>so &lt;think&gt;plan&lt;/think&gt; it is</p>\n"),
        ("plan</think>answer", "", "<p>plan&lt;/think&gt;answer</p>\n"),
    ],
)
def test_reasoning_at_the_beginning_of_a_reply_stands_apart_and_no_word_is_lost(
    text: str, reasoning: str, body: str
) -> None:
    assert shown(log.reply(text)) == (reasoning, body)
    growing = GrowingReply()
    for end in range(len(text) + 1):
        message = growing.message(text[:end])
    assert shown(message) == (reasoning, body)


def test_reasoning_that_an_engine_tells_apart_is_shown_and_the_text_left_alone() -> None:
    assert shown(log.reply("<think>a</think>b", "plan")) == (
        "<p>plan</p>\n",
        "<p>&lt;think&gt;a&lt;/think&gt;b</p>\n",
    )
    assert GrowingReply().message("", "plan")["state"] == "growing"


def test_a_reply_waits_grows_and_ends_whole_or_stopped_and_its_source_comes_with_the_end() -> None:
    growing = GrowingReply()
    assert [growing.message(text)["state"] for text in ("", "He")] == ["waiting", "growing"]
    assert growing.message("Hello")["text"] == ""
    assert (log.reply("**Hello**")["state"], log.reply("**Hello**")["text"]) == ("whole", "**Hello**")
    assert log.reply("He", stopped=True)["state"] == "stopped"


@pytest.mark.parametrize(
    ("reply", "cancelled", "states"), [("He", False, ["whole"]), ("", True, ["stopped"]), ("", False, [])]
)
def test_a_stored_turn_is_what_was_said_and_what_there_was_of_a_reply(
    reply: str, cancelled: bool, states: list[str]
) -> None:
    person, *replies = log.of_turn(Turn("s", 1, "<b>Hello</b>", reply, cancelled, datetime.now(UTC)))
    assert person == {"role": "user", "text": "<b>Hello</b>"}
    assert [message["state"] for message in replies] == states


async def test_every_value_names_its_conversation_and_only_opening_takes_the_place_of_another() -> None:
    with gr.Blocks():
        made = Log("<h2>Welcome</h2>", ['Say "hello"'])
    opened, grown, settled = made.open("a", []), made.grow("a", [log.user("x")]), made.settle("a", [])
    values = [*opened.values(), *grown.values(), *settled.values()]
    assert {value["session"] for value in values} == {"a"}
    assert [value.get("opens", False) for value in values] == [True, False, False, False]
    assert 'data-text="Say &quot;hello&quot;"' in made.welcome.value


async def test_gradio_brings_katex_in_one_script_and_one_style_sheet() -> None:
    with gr.Blocks():
        script, style = Log("", []).settled.props["katex"]
    assert script.endswith(".js")
    assert style.endswith(".css")
