"""The messages of a conversation, as the page shows them.

Knows what a message on the page consists of, and the two parts of the log: what is settled, and the turn that is being
written. The second alone is sent with each frame. Knows nothing about where messages come from; `assets/log.js` draws
them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from jc1_ui.components import markdown
from jc1_ui.theme import ASSETS

if TYPE_CHECKING:
    from jc1.sessions import Turn

Message = dict[str, Any]
"""One message: `role` and `text`; of a reply also `reasoning` and `blocks` (HTML), `state` and `notices`."""

_SCRIPT = (ASSETS / "log.js").read_text(encoding="utf-8")
_TEMPLATE = '<div class="jc1-messages"></div>'
_EXAMPLES_SCRIPT = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-text]");
  if (button) trigger("example", { text: button.dataset.text });
});
"""
# A model that reasons says so at the very beginning; later the same words are a part of its answer.
_REASONING = re.compile(r"\s*<think>(.*?)(?:</think>|\Z)", re.DOTALL)


class Log:
    """The log's components. Values are made here, so that a late one never covers another conversation."""

    def __init__(self, welcome: str, examples: Sequence[str]) -> None:
        """Lay out the log inside the current Gradio context."""
        with gr.Column(elem_id="jc1-log", min_width=0):
            self.welcome = gr.HTML(
                welcome + _examples(examples),
                js_on_load=_EXAMPLES_SCRIPT,
                apply_default_css=False,
                elem_id="jc1-welcome",
            )
            self.settled = _part("settled")
            self.growing = _part("growing")

    @property
    def components(self) -> list[gr.HTML]:
        """Return the components that the updates below may name."""
        return [self.settled, self.growing]

    def open(self, session: str, messages: Sequence[Message]) -> dict[Any, Any]:
        """Return the updates that show a conversation in place of the one before."""
        return {
            self.settled: {"session": session, "messages": [*messages], "opens": True},
            self.growing: {"session": session, "messages": []},
        }

    def settle(self, session: str, messages: Sequence[Message]) -> dict[Any, Any]:
        """Return the update that shows what was said before the turn that begins."""
        return {self.settled: {"session": session, "messages": [*messages]}}

    def begin(self, session: str, text: str, reply: Message) -> dict[Any, Any]:
        """Return the update that shows a turn which begins; the page takes its text out of the box."""
        return {self.growing: {"session": session, "messages": [user(text), reply], "sent": text}}

    def grow(self, session: str, messages: Sequence[Message]) -> dict[Any, Any]:
        """Return the update that shows the turn which is being written."""
        return {self.growing: {"session": session, "messages": [*messages]}}


class GrowingReply:
    """A reply's message while its text grows: what cannot change any more is not rendered again."""

    def __init__(self) -> None:
        self._reasoning = markdown.GrowingMarkdown()
        self._body = markdown.GrowingMarkdown()

    def message(self, text: str, reasoning: str = "") -> Message:
        """Return the message for the text so far, without the source: it is copied once it is whole."""
        reasoning, body = _split(text, reasoning)
        blocks = self._body.render(body), self._reasoning.render(reasoning)
        return _reply("", *blocks, state="growing" if text or reasoning else "waiting")


def user(text: str) -> Message:
    """Return the message of a person, whose words are shown as they are."""
    return {"role": "user", "text": text}


def reply(text: str, reasoning: str = "", *, stopped: bool = False, notices: Sequence[str] = ()) -> Message:
    """Return the message of a finished reply."""
    reasoning, body = _split(text, reasoning)
    blocks = markdown.render(body), markdown.render(reasoning)
    return _reply(text, *blocks, state="stopped" if stopped else "whole", notices=notices)


def of_turn(turn: Turn) -> list[Message]:
    """Return the messages of a stored turn."""
    replies = [reply(turn.reply, stopped=turn.cancelled)] if turn.reply or turn.cancelled else []
    return [user(turn.user), *replies]


def _reply(
    text: str, blocks: Sequence[str], reasoning: Sequence[str], *, state: str, notices: Sequence[str] = ()
) -> Message:
    return {
        "role": "assistant",
        "text": text,
        "blocks": [*blocks],
        "reasoning": [*reasoning],
        "state": state,
        "notices": [*notices],
    }


def _split(text: str, reasoning: str) -> tuple[str, str]:
    """Return the reasoning, which may stand at the beginning of the text, and the rest."""
    if reasoning or not (thought := _REASONING.match(text)):
        return reasoning.strip(), text
    return thought[1].strip(), text[thought.end() :].lstrip("\n")


def _part(name: str) -> gr.HTML:
    return gr.HTML(
        None, html_template=_TEMPLATE, js_on_load=_SCRIPT, apply_default_css=False, part=name, katex=_katex()
    )


def _katex() -> list[str] | None:
    """Return the names of KaTeX's script and style among Gradio's assets; without them formulas stay as they are."""
    assets = Path(gr.__file__).parent / "templates" / "frontend" / "assets"
    names = [path.name for pattern in ("katex-*.js", "katex-*.css") for path in assets.glob(pattern)]
    return names if len(names) == 2 else None


def _examples(texts: Sequence[str]) -> str:
    buttons = (f'<button type="button" data-text="{escape(text)}">{escape(text)}</button>' for text in texts)
    return f'<div class="jc1-examples">{"".join(buttons)}</div>'
