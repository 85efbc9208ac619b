"""The Chat tab: conversations on the left, the log in the middle, the story of the last reply on the right.

Knows components and what happens when one is used. Knows nothing about how a reply is made (`jc1.pipeline`), drawn
(`jc1_ui.components.log`) or explained (`jc1_ui.components.story`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import gradio as gr

from jc1.decoding import Decoding
from jc1.errors import Jc1Error, UnknownSession
from jc1_ui.components import controls, fragments, log, presets
from jc1_ui.components.live import LiveReply
from jc1_ui.components.log import GrowingReply, Log, Message
from jc1_ui.components.story import Story
from jc1_ui.components.streaming import Updates, ends_quietly
from jc1_ui.components.visitor import Visitor

if TYPE_CHECKING:
    from jc1.memory.base import Receipt
    from jc1.trace import Trace
    from jc1.workbench import Workbench

EXAMPLES = ("My cat is called Ada.", "I live in Oslo.", "What is my cat called?", "Where do I live?")

_IDLE = fragments.live_row("idle", "ready")

# A page keeps its own conversation over a reload; a new page begins with the one that was last used in this browser.
# `assets/log.js` writes both, and knows which one is on screen: there a message goes, or nowhere while one is opened.
_STORED_SESSION_SCRIPT = "() => [sessionStorage.getItem('jc1.session') || localStorage.getItem('jc1.session') || '']"
_SESSION_SCRIPT = "(session, ...others) => [window.jc1Log.session ?? '', ...others]"
_LEAVE_SCRIPT = "() => { window.jc1Log.session = null; return []; }"
_LIST_SCRIPT = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-open], [data-delete]");
  if (!button) return;
  if (button.dataset.open) {
    window.jc1ShowPanel("");
    trigger("select", { session: button.dataset.open });
  } else if (confirm("Delete this conversation? Memories made from it stay.")) {
    trigger("delete", { session: button.dataset.delete });
  }
});
"""
_FOCUS_SCRIPT = "() => { window.jc1ShowPanel(''); document.querySelector('#jc1-prompt textarea').focus(); }"


def build(blocks: gr.Blocks, workbench: Workbench) -> Chat:
    """Lay out the tab inside the current Gradio context and connect it."""
    chat = Chat(workbench)
    chat.lay_out()
    chat.connect(blocks)
    return chat


class Chat:
    """The tab's components and handlers. It holds no conversation: those are in the stored sessions, and which one
    a page shows is known to that page alone."""

    def __init__(self, workbench: Workbench) -> None:
        self.workbench = workbench
        self._replies: dict[str, LiveReply] = {}
        """Replies under way, by page."""

    # Layout

    def lay_out(self) -> None:
        """Lay out the components inside the current Gradio context."""
        self.session = gr.Textbox("", visible=False)  # filled by the scripts above, whenever a handler takes it
        self.failed = gr.State("")
        # The preset's values lie in the page, as those of the controls do: a message brings both as they were together,
        # whatever its preset means by then.
        self.baseline = gr.JSON(controls.values_of(Decoding()), visible=False)
        with gr.Row(elem_id="jc1-chat"):
            with gr.Column(elem_id="jc1-sessions", min_width=0):
                self.new = gr.Button("New conversation", variant="secondary", elem_id="jc1-new")
                self.conversations = gr.HTML("", js_on_load=_LIST_SCRIPT, apply_default_css=False)
            with gr.Column(elem_id="jc1-talk", min_width=0):
                self.log = Log(fragments.welcome(self.workbench.engine.model), EXAMPLES)
                self.notice = gr.HTML("", apply_default_css=False, elem_id="jc1-notice")
                self.live = gr.HTML(_IDLE, apply_default_css=False, elem_id="jc1-live")
                self.prompt = gr.Textbox(
                    elem_id="jc1-prompt",
                    label="Message",
                    show_label=False,
                    container=False,
                    placeholder=f"Message {self.workbench.engine.model}",
                    lines=1,
                    max_lines=8,
                    interactive=False,
                    submit_btn=True,
                )
                with gr.Row(elem_id="jc1-options"):
                    self.mode = gr.Radio(
                        [("On", "on"), ("Read only", "read"), ("Off", "off")], value="on", label="Memory", min_width=0
                    )
                    self.preset = gr.Dropdown([], label="Preset", filterable=False, min_width=0)
            with gr.Column(elem_id="jc1-details", min_width=0), gr.Tabs():
                with gr.Tab("Last reply"):
                    self.story = Story(_LIST_SCRIPT)
                with gr.Tab("Decoding"), gr.Column(elem_id="jc1-controls"):
                    self.controls = controls.build()
                    self.reset = gr.Button("Back to the preset", size="sm", elem_id="jc1-reset")

    def connect(self, blocks: gr.Blocks) -> None:
        """Join components and handlers. No handler is offered to API clients: they have the REST API.

        Only replies stream through Gradio's queue. It closes a page's stream with the last event that is under way, and
        an event that arrives at that moment is lost: the others are calls of their own, and the next reply can be asked
        for once the one before has left the stream.
        """
        streamed: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        hidden: dict[str, Any] = {**streamed, "queue": False}
        shown = [self.preset, self.baseline, *self.controls]
        replying = [
            self.conversations, *self.log.components, self.notice, self.live, self.prompt, *self.story.components
        ]  # fmt: skip
        ready = [self.prompt, self.failed, *shown]

        wiring = {"outputs": [*replying, self.failed], "js": _SESSION_SCRIPT, **streamed}
        sent = self.prompt.submit(self.send, [self.session, self.prompt, self.mode, *shown], **wiring)
        tried = self.log.welcome.example(self.send_example, [self.session, self.mode, *shown], **wiring)
        for reply in (sent, tried):
            reply.then(self.make_ready, ready, ready, **hidden)
        self.prompt.stop(self.stop, None, None, **hidden)

        leave = {"outputs": replying, "js": _LEAVE_SCRIPT, **hidden}
        self.new.click(self.begin, **leave).then(fn=None, js=_FOCUS_SCRIPT)
        self.conversations.select(self.open_chosen, **leave)
        self.story.memories.select(self.open_chosen, **leave)
        self.conversations.delete(self.delete, self.session, replying, js=_SESSION_SCRIPT, **hidden)

        for event in (self.preset.input, self.reset.click):
            event(self.follow_preset, self.preset, [self.notice, *shown], **hidden)
        opened = blocks.load(self.open_stored, self.session, replying, js=_STORED_SESSION_SCRIPT, **hidden)
        opened.then(fn=None, js=_FOCUS_SCRIPT)
        blocks.load(self.fit, None, [self.notice, *shown], **hidden)
        self.preset.focus(self.offer, None, [self.notice, self.preset], **hidden)
        blocks.unload(self.stop)

    # A reply

    @ends_quietly
    async def send(
        self,
        request: gr.Request,
        session: str,
        text: str,
        mode: Any,
        preset: str | None,
        baseline: dict[str, Any],
        *values: Any,
    ) -> AsyncGenerator[Updates, None]:
        """Reply to `text`, frame by frame. An error is shown with its code and `text` is given back."""
        if not text.strip() or not session:
            return
        changes = controls.changes(values, baseline)
        visitor = Visitor.of(self.workbench, request)
        asked = {"owner": visitor.owner, "session": session, "memory": mode, "preset": preset, **changes}
        events = self.workbench.guarded.stream(visitor.principal, text, **asked)
        reply = LiveReply(events, visitor.principal.key)
        page = request.session_hash or ""
        # From here on the visitor may leave the conversation, which ends the reply.
        self._replies[page] = reply
        try:
            async with aclosing(self._turn(visitor, reply, text, session, searched=mode != "off")) as frames:
                async for updates in frames:
                    if reply.left:
                        break
                    yield updates
        finally:
            reply.stop()
            if self._replies.get(page) is reply:
                del self._replies[page]

    async def _turn(
        self, visitor: Visitor, reply: LiveReply, text: str, session: str, *, searched: bool
    ) -> AsyncGenerator[Updates, None]:
        # 1) What was said before, and the message.
        try:
            before = await _history(visitor, session)
            titles = await _titles(visitor)
            listed = await _list(visitor, session, draft=text)
        except Jc1Error as error:
            yield {self.notice: fragments.notice(error)}
            return
        growing = GrowingReply()
        yield {
            self.prompt: gr.update(submit_btn=False, stop_btn=True),
            self.notice: "",
            self.failed: "",
            self.conversations: listed,
            self.live: fragments.live_row_of(reply),
            **self.log.settle(session, before),
            **self.log.begin(session, text, growing.message("")),
            **(self.story.age() if before else {}),
        }
        # 2) Frames, until the reply is whole, stopped or failed.
        reply.start()
        receipts: tuple[Receipt, ...] | None = None
        async for frame in reply.frames():
            if frame.finished:
                break
            updates: Updates = {self.live: fragments.live_row_of(frame)}
            if frame.text or frame.reasoning:
                message = await asyncio.to_thread(growing.message, frame.text, frame.reasoning)
                updates |= self.log.grow(session, [log.user(text), message])
            if frame.receipts is not None and receipts is None and visitor.reads_memory:
                receipts = frame.receipts
                updates |= self.story.show_memories(receipts, session, titles, searched=searched)
            yield updates
        # 3) Its end.
        yield await self._ended(visitor, reply, session, text, titles, searched=searched)

    async def _ended(
        self, visitor: Visitor, reply: LiveReply, session: str, text: str, titles: dict[str, str], *, searched: bool
    ) -> Updates:
        updates: Updates = {self.live: fragments.live_row_of(reply)}
        try:
            updates[self.conversations] = await _list(visitor, session, draft=None if reply.error else text)
        except Jc1Error as error:  # the reply is here all the same
            updates[self.notice] = fragments.notice(error)
        if reply.error is not None:
            failed: Updates = {self.notice: fragments.notice(reply.error), self.failed: text}
            return updates | failed | self.log.grow(session, [])
        trace = reply.trace or visitor.last_trace(session)
        notices = _notices(trace) if trace else []
        answer = await asyncio.to_thread(log.reply, reply.text, reply.reasoning, stopped=reply.stopped, notices=notices)
        updates |= self.log.grow(session, [log.user(text), answer])
        if reply.receipts is not None and visitor.reads_memory:
            updates |= self.story.show_memories(reply.receipts, session, titles, searched=searched)
        if trace is not None:
            updates |= self.story.show_trace(trace)
            if trace.remembered is False:
                updates[self.notice] = fragments.not_remembered(trace)
        return updates

    @ends_quietly
    async def send_example(
        self, request: gr.Request, event: gr.EventData, session: str, mode: Any, *shown: Any
    ) -> AsyncGenerator[Updates, None]:
        """Send an example as if it had been typed."""
        async for updates in self.send(request, session, str(event.text), mode, *shown):
            yield updates

    async def stop(self, request: gr.Request) -> None:
        """End the page's reply, if one is under way."""
        if reply := self._replies.get(request.session_hash or ""):
            reply.stop()

    def _leave(self, request: gr.Request) -> None:
        """End the page's reply, and show no more of it."""
        if reply := self._replies.get(request.session_hash or ""):
            reply.leave()

    async def make_ready(
        self,
        request: gr.Request,
        typed: str,
        failed: str,
        preset: str | None,
        baseline: dict[str, Any],
        *values: Any,
    ) -> Updates:
        """Make the page ready for the next message.

        A text that failed returns to the box, unless a new one was begun. The controls show what the preset means by
        now, and what the visitor set.
        """
        box = gr.update(submit_btn=True, stop_btn=False)
        updates = {self.prompt: box | ({"value": failed} if failed and not typed else {}), self.failed: ""}
        try:
            shown = await self._fit(request, preset, controls.changes(values, baseline))
            if shown[self.baseline]["preset"] != baseline.get("preset"):
                choices = await self._choices(request)
                updates |= shown | {self.preset: gr.update(choices=choices)}
        except Jc1Error:
            pass  # The reply has shown it, or the next one will.
        return updates

    # Conversations

    async def open_stored(self, session: Any, request: gr.Request) -> Updates:
        """Show the conversation that this browser was in, or begin one."""
        return await self._open(request, session if isinstance(session, str) and session else uuid4().hex)

    async def open_chosen(self, event: gr.EventData, request: gr.Request) -> Updates:
        """Show the conversation that was clicked."""
        self._leave(request)
        return await self._open(request, str(event.session))

    async def begin(self, request: gr.Request) -> Updates:
        """Show a new, empty conversation. It is stored with its first message."""
        self._leave(request)
        return await self._open(request, uuid4().hex)

    async def delete(self, current: str, event: gr.EventData, request: gr.Request) -> Updates:
        """Delete the conversation that was clicked. Its memories stay until they are forgotten."""
        target = str(event.session)
        self._leave(request)
        try:
            await Visitor.of(self.workbench, request).delete(target)
        except UnknownSession:
            pass  # Another page was quicker.
        except Jc1Error as error:
            return {self.notice: fragments.notice(error)}
        return await self._open(request, uuid4().hex if target == current else current)

    async def _open(self, request: gr.Request, session: str) -> Updates:
        visitor = Visitor.of(self.workbench, request)
        updates: Updates = {
            **self.log.open(session, []),
            self.notice: "",
            self.live: _IDLE,
            # Closed until the page has a conversation to write to.
            self.prompt: gr.update(submit_btn=True, stop_btn=False, interactive=True),
            **self.story.clear(session),
        }
        try:
            trace = visitor.last_trace(session)
            updates |= self.log.open(session, await _history(visitor, session, trace))
            updates[self.conversations] = await _list(visitor, session)
            if trace is not None:
                updates |= self.story.show_trace(trace) | {self.live: fragments.live_row_of_trace(trace)}
            if trace is not None and visitor.reads_memory:
                receipts, titles = await visitor.receipts(trace), await _titles(visitor)
                searched = "recall" in trace.stages
                updates |= self.story.show_memories(receipts, session, titles, searched=searched)
        except Jc1Error as error:
            updates[self.notice] = fragments.notice(error)
        return updates

    # Settings

    async def fit(self, request: gr.Request) -> Updates:
        """Offer the presets there are and the controls that the running engine honours."""
        updates: Updates = {}
        try:
            choices = await self._choices(request)
            default = self.workbench.settings.preset
            offered = [reference for _, reference in choices]
            if default not in offered:
                default = (await asyncio.to_thread(self.workbench.presets.resolve, default)).reference
            if offered and default not in offered:
                default = offered[0]  # this key may not use the settings' own
            updates[self.preset] = gr.update(choices=choices, value=default)
            updates |= await self._fit(request, default)
        except Jc1Error as error:
            updates[self.notice] = fragments.notice(error)
        return updates

    async def offer(self, request: gr.Request) -> Updates:
        """Offer what was promoted or taken back since the page was loaded, and leave the chosen preset."""
        try:
            return {self.preset: gr.update(choices=await self._choices(request))}
        except Jc1Error as error:
            return {self.notice: fragments.notice(error)}

    async def follow_preset(self, request: gr.Request, preset: str | None) -> Updates:
        """Set the controls to the preset's values. One that the running engine cannot serve is refused at once."""
        try:
            return {self.notice: "", **await self._fit(request, preset)}
        except Jc1Error as error:
            return {self.notice: fragments.notice(error)}

    async def _choices(self, request: gr.Request) -> list[tuple[str, str]]:
        return await asyncio.to_thread(presets.choices, self.workbench, request.state.principal)

    async def _fit(self, request: gr.Request, preset: str | None, changes: Mapping[str, Any] | None = None) -> Updates:
        fit, principal = presets.fit_controls, request.state.principal
        baseline, shown = await asyncio.to_thread(fit, self.workbench, principal, preset, changes or {})
        return {self.baseline: baseline, **dict(zip(self.controls, shown, strict=True))}


async def _history(visitor: Visitor, session: str, last: Trace | None = None) -> list[Message]:
    """Return what was said, with the notices of the last reply while its trace is there."""
    turns = await visitor.turns(session)
    messages = await asyncio.to_thread(lambda: [message for turn in turns for message in log.of_turn(turn)])
    if last is not None and messages and "notices" in messages[-1]:
        messages[-1]["notices"] = _notices(last)
    return messages


async def _list(visitor: Visitor, current: str, draft: str | None = None) -> str:
    return fragments.conversations(await visitor.sessions(), current, draft)


async def _titles(visitor: Visitor) -> dict[str, str]:
    return {session.id: session.title for session in await visitor.sessions()}


def _notices(trace: Trace) -> list[str]:
    return [notice.message for notice in trace.notices]
