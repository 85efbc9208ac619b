"""The Chat tab: conversations on the left, the talk in the middle, the story of the last reply on the right.

Knows components and what happens when one is used. Knows nothing about how a reply is made (`jc1.pipeline`), drawn
(`jc1_ui.components.plots`) or put in words (`jc1_ui.components.fragments`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import gradio as gr

from jc1.decoding import Decoding
from jc1.errors import Jc1Error, UnknownRecord, UnknownSession
from jc1.memory.base import Receipt
from jc1_ui.components import controls, fragments, presets
from jc1_ui.components.live import LiveReply
from jc1_ui.components.plots import duration, waterfall

if TYPE_CHECKING:
    from jc1.sessions import Turn
    from jc1.trace import Trace
    from jc1.workbench import Workbench

SESSIONS_SHOWN = 100
TURNS_SHOWN = 200
EXAMPLES = ("My cat is called Ada.", "I live in Oslo.", "What is my cat called?", "Where do I live?")

Updates = dict[Any, Any]
"""What a handler gives Gradio: new values, by component."""

_WAITING = '<span class="jc1-dots" aria-label="Waiting for the first token"><i></i><i></i><i></i></span>'
_STOPPED = '<span class="jc1-stopped">Stopped</span>'
_IDLE = fragments.live_row("idle", "ready")

# A page keeps its own conversation over a reload; a new page begins with the one that was last used in this browser.
_LOAD_SCRIPT = "(stored) => [sessionStorage.getItem('jc1.session') || stored]"
_KEEP_SCRIPT = "(session) => { sessionStorage.setItem('jc1.session', session); }"
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
_WRITE_SCRIPT = "() => { window.jc1ShowPanel(''); document.querySelector('#jc1-prompt textarea').focus(); }"


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
        self.owner = workbench.settings.owner
        self._replies: dict[str, LiveReply] = {}
        """Replies under way, by page."""

    # Layout

    def lay_out(self) -> None:
        self.session = gr.BrowserState("", storage_key="jc1.session", secret="jc1.session.v1")
        self.failed = gr.State("")
        # What the controls were fitted to lies in the page, as their values do: a message brings both as they were
        # together, whatever its preset means by then.
        self.fitted = gr.JSON(controls.values_of(Decoding()), visible=False)
        with gr.Row(elem_id="jc1-chat"):
            with gr.Column(elem_id="jc1-sessions", min_width=0):
                self.new = gr.Button("New conversation", variant="secondary", elem_id="jc1-new")
                self.conversations = gr.HTML("", js_on_load=_LIST_SCRIPT, apply_default_css=False)
            with gr.Column(elem_id="jc1-talk", min_width=0):
                self.log = gr.Chatbot(
                    elem_id="jc1-log",
                    show_label=False,
                    height="100%",
                    buttons=["copy"],
                    placeholder=self._welcome(),
                    examples=[{"text": text} for text in EXAMPLES],
                    allow_tags=False,
                )
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
                    self.stages_heading = gr.HTML(fragments.heading("Stages"), apply_default_css=False)
                    self.stages_empty = gr.HTML(
                        '<p class="jc1-empty">The stages of a reply are drawn here, with the time each took.</p>',
                        apply_default_css=False,
                    )
                    self.stages = gr.Plot(visible=False, show_label=False, elem_id="jc1-stages")
                    self.memories_heading = gr.HTML(fragments.heading("Recalled memories"), apply_default_css=False)
                    self.memories = gr.HTML(
                        fragments.memories(None, session="", titles={}),
                        js_on_load=_LIST_SCRIPT,
                        apply_default_css=False,
                    )
                    self.facts = gr.HTML("", apply_default_css=False)
                with gr.Tab("Decoding"), gr.Column(elem_id="jc1-controls"):
                    self.controls = controls.build()
                    self.reset = gr.Button("Back to the preset", size="sm", elem_id="jc1-reset")

    def _welcome(self) -> str:
        model = self.workbench.engine.model
        about = (
            "jc1-tiny is a tiny bundled model. It knows only what you tell it, and remembers that from one "
            "conversation to the next. For more, start JC1 with a larger model."
            if model.startswith("jc1-tiny")
            else "What you tell it is remembered from one conversation to the next."
        )
        return f'<div class="jc1-welcome"><h2>Tell it something, then ask.</h2><p>{about}</p></div>'

    def connect(self, blocks: gr.Blocks) -> None:
        """Join components and handlers. No handler is offered to API clients: they have the REST API.

        Only replies stream through Gradio's queue. It closes a page's stream with the last event that is under way, and
        an event that arrives at that moment is lost: the others are calls of their own, and the next reply can be asked
        for once the one before has left the stream.
        """
        streamed: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        hidden: dict[str, Any] = {**streamed, "queue": False}
        page = [self.conversations, self.session, self.log, self.notice, self.live, self.prompt, *self._story]
        shown = [self.preset, self.fitted, *self.controls]
        request = [self.session, self.mode, *shown]
        replying = [*page, self.failed]
        ready = [self.prompt, self.failed, *shown]

        sent = self.prompt.submit(self.send, [self.prompt, *request], replying, **streamed)
        tried = self.log.example_select(self.send_example, request, replying, **streamed)
        for reply in (sent, tried):
            reply.then(self.make_ready, ready, ready, **hidden)
        self.prompt.stop(self.stop, None, None, **hidden)

        # Leaving a conversation ends its reply; `cancels` keeps late frames off the page.
        leave: dict[str, Any] = {"outputs": page, "cancels": [sent, tried], **hidden}
        self.new.click(self.begin, None, **leave).then(fn=None, js=_WRITE_SCRIPT)
        self.conversations.select(self.open_chosen, None, **leave)
        self.memories.select(self.open_chosen, None, **leave)
        self.conversations.delete(self.delete, self.session, **leave)

        for event in (self.preset.input, self.reset.click):
            event(self.follow_preset, self.preset, [self.notice, *shown], **hidden)
        blocks.load(self.open_stored, self.session, page, js=_LOAD_SCRIPT, **hidden).then(fn=None, js=_WRITE_SCRIPT)
        blocks.load(self.fit, None, [self.notice, *shown], **hidden)
        self.preset.focus(self.offer, None, [self.notice, self.preset], **hidden)
        blocks.unload(self.stop)
        self.session.change(fn=None, inputs=self.session, js=_KEEP_SCRIPT)

    @property
    def _story(self) -> list[Any]:
        return [
            self.stages_heading, self.stages_empty, self.stages, self.memories_heading, self.memories, self.facts
        ]  # fmt: skip

    # A reply

    async def send(
        self,
        request: gr.Request,
        text: str,
        session: str,
        mode: Any,
        preset: str | None,
        fitted: dict[str, Any],
        *values: Any,
    ) -> AsyncGenerator[Updates, None]:
        """Reply to `text`, frame by frame. An error is shown with its code and `text` is given back."""
        if not text.strip() or not session:
            return
        try:
            before = await self._history(session)
            titles = await self._titles()
            listed = await self._list(session, draft=text)
        except Jc1Error as error:
            yield {self.notice: fragments.notice(error)}
            return
        said = [*before, {"role": "user", "content": text}]
        reply = LiveReply(
            self.workbench.pipeline.stream(
                text, owner=self.owner, session=session, memory=mode, preset=preset, **controls.moved(values, fitted)
            )
        )
        page = request.session_hash or ""
        self._replies[page] = reply
        receipts: tuple[Receipt, ...] | None = None
        try:
            yield {
                self.prompt: gr.update(value="", submit_btn=False, stop_btn=True),
                self.notice: "",
                self.failed: "",
                self.conversations: listed,
                self.log: [*said, _assistant(_WAITING)],
                self.live: fragments.live_row_of(reply),
                **({self.stages_heading: fragments.heading("Stages", "of the reply before")} if before else {}),
            }
            async for frame in reply.frames():
                if frame.finished:
                    break
                updates: Updates = {self.live: fragments.live_row_of(frame)}
                if frame.text:
                    updates[self.log] = [*said, _assistant(frame.text)]
                if frame.receipts is not None and receipts is None:
                    receipts = frame.receipts
                    updates |= self._memories(receipts, session, titles, searched=mode != "off")
                yield updates
        finally:
            reply.stop()
            if self._replies.get(page) is reply:
                del self._replies[page]
        yield {**await self._ended(reply, session, said, text, titles, searched=mode != "off")}

    async def _ended(
        self,
        reply: LiveReply,
        session: str,
        said: list[dict[str, Any]],
        text: str,
        titles: dict[str, str],
        *,
        searched: bool,
    ) -> Updates:
        updates: Updates = {self.live: fragments.live_row_of(reply)}
        try:
            updates[self.conversations] = await self._list(session, draft=None if reply.error else text)
        except Jc1Error as error:  # the reply is here all the same
            updates[self.notice] = fragments.notice(error)
        if reply.error is not None:
            return updates | {self.notice: fragments.notice(reply.error), self.failed: text, self.log: said[:-1]}
        answer = [_assistant(reply.text)] if reply.text else []
        updates[self.log] = [*said, *answer, *([_assistant(_STOPPED)] if reply.stopped else [])]
        if reply.receipts is not None:
            updates |= self._memories(reply.receipts, session, titles, searched=searched)
        trace = reply.trace or await self._last_trace(session)
        if trace is not None:
            updates |= self._times(trace)
            if trace.remembered is False:
                updates[self.notice] = fragments.not_remembered(trace)
        return updates

    async def send_example(
        self, request: gr.Request, event: gr.SelectData, session: str, mode: Any, *shown: Any
    ) -> AsyncGenerator[Updates, None]:
        """Send an example as if it had been typed."""
        async for updates in self.send(request, event.value["text"], session, mode, *shown):
            yield updates

    async def stop(self, request: gr.Request) -> None:
        """End the page's reply, if one is under way."""
        if reply := self._replies.get(request.session_hash or ""):
            reply.stop()

    async def make_ready(
        self, typed: str, failed: str, preset: str | None, fitted: dict[str, Any], *values: Any
    ) -> Updates:
        """After a reply: the next can be sent. A text that failed returns to the box, unless a new one was begun. The
        controls show what the preset means by now, and what the visitor set."""
        box = gr.update(submit_btn=True, stop_btn=False)
        updates = {self.prompt: box | ({"value": failed} if failed and not typed else {}), self.failed: ""}
        try:
            shown = await self._fitted(preset, controls.moved(values, fitted))
            if shown[self.fitted]["preset"] != fitted.get("preset"):
                choices = await asyncio.to_thread(presets.choices, self.workbench)
                updates |= shown | {self.preset: gr.update(choices=choices)}
        except Jc1Error:
            pass  # The reply has told it, or the next one will.
        return updates

    # Conversations

    async def open_stored(self, session: str) -> Updates:
        """Show the conversation that this browser was in, or begin one."""
        return await self._open(session if isinstance(session, str) and session else uuid4().hex)

    async def open_chosen(self, event: gr.EventData, request: gr.Request) -> Updates:
        """Show the conversation that was clicked."""
        await self.stop(request)
        return await self._open(str(event.session))

    async def begin(self, request: gr.Request) -> Updates:
        """Show a new, empty conversation. It is stored with its first message."""
        await self.stop(request)
        return await self._open(uuid4().hex)

    async def delete(self, current: str, event: gr.EventData, request: gr.Request) -> Updates:
        """Delete the conversation that was clicked. Its memories stay until they are forgotten."""
        target = str(event.session)
        await self.stop(request)
        try:
            await asyncio.to_thread(self.workbench.sessions.delete, self.owner, target)
        except UnknownSession:
            pass  # Another page was quicker.
        except Jc1Error as error:
            return {self.notice: fragments.notice(error)}
        return await self._open(uuid4().hex if target == current else current)

    async def _open(self, session: str) -> Updates:
        updates: Updates = {
            self.session: session,
            self.notice: "",
            self.live: _IDLE,
            # Closed until the page has a conversation to write to.
            self.prompt: gr.update(submit_btn=True, stop_btn=False, interactive=True),
            self.stages_heading: fragments.heading("Stages"),
            self.stages_empty: gr.update(visible=True),
            self.stages: gr.update(value=None, visible=False),
            self.memories_heading: fragments.heading("Recalled memories"),
            self.memories: fragments.memories(None, session=session, titles={}),
            self.facts: "",
        }
        try:
            updates[self.log] = await self._history(session)
            updates[self.conversations] = await self._list(session)
            trace = await self._last_trace(session)
            if trace is not None:
                receipts = await asyncio.to_thread(self._receipts, trace)
                updates |= self._times(trace) | {self.live: fragments.live_row_of_trace(trace)}
                searched = "recall" in trace.stages
                updates |= self._memories(receipts, session, await self._titles(), searched=searched)
        except Jc1Error as error:
            updates[self.notice] = fragments.notice(error)
        return updates

    async def _history(self, session: str) -> list[dict[str, Any]]:
        turns = await asyncio.to_thread(self.workbench.sessions.history, self.owner, session, limit=TURNS_SHOWN)
        return [message for turn in turns for message in _messages(turn)]

    async def _list(self, current: str, draft: str | None = None) -> str:
        stored = await asyncio.to_thread(self.workbench.sessions.list, self.owner, limit=SESSIONS_SHOWN)
        return fragments.conversations(stored, current, draft)

    async def _titles(self) -> dict[str, str]:
        stored = await asyncio.to_thread(self.workbench.sessions.list, self.owner, limit=SESSIONS_SHOWN)
        return {session.id: session.title for session in stored}

    # The story of a reply

    def _times(self, trace: Trace) -> Updates:
        total = "" if trace.total is None else f"{duration(trace.total)} in all"
        return {
            self.stages_heading: fragments.heading("Stages", total),
            self.stages_empty: gr.update(visible=False),
            self.stages: gr.update(value=waterfall(trace), visible=True),
            self.facts: fragments.facts(trace),
        }

    def _memories(
        self, receipts: Sequence[Receipt], session: str, titles: dict[str, str], *, searched: bool
    ) -> Updates:
        return {
            self.memories_heading: fragments.memories_heading(receipts),
            self.memories: fragments.memories(receipts, session=session, titles=titles, searched=searched),
        }

    async def _last_trace(self, session: str) -> Trace | None:
        """The newest trace of the conversation, while the ring still has it."""
        traces = self.workbench.telemetry.recent.list(self.owner)
        return next((trace for trace in traces if trace.session == session), None)

    def _receipts(self, trace: Trace) -> tuple[Receipt, ...]:
        """The receipts of an earlier reply; what was forgotten since is left out."""
        receipts = []
        for entry in trace.recalled:
            try:
                record = self.workbench.memory.get(trace.owner, entry["id"])
            except UnknownRecord:
                continue
            scores = {key: entry[key] for key in Receipt.__dataclass_fields__ if key != "record"}
            receipts.append(Receipt(record=record, **scores))
        return tuple(receipts)

    # Settings

    async def fit(self) -> Updates:
        """Offer the presets there are and the controls that the running engine honours."""
        updates: Updates = {}
        try:
            choices = await asyncio.to_thread(presets.choices, self.workbench)
            own = self.workbench.settings.preset
            if own not in (value for _, value in choices):
                own = (await asyncio.to_thread(self.workbench.presets.resolve, own)).reference
            updates[self.preset] = gr.update(choices=choices, value=own)
            updates |= await self._fitted(own)
        except Jc1Error as error:
            updates[self.notice] = fragments.notice(error)
        return updates

    async def offer(self) -> Updates:
        """Offer what was promoted or taken back since the page was loaded, and leave the chosen preset."""
        try:
            return {self.preset: gr.update(choices=await asyncio.to_thread(presets.choices, self.workbench))}
        except Jc1Error as error:
            return {self.notice: fragments.notice(error)}

    async def follow_preset(self, preset: str | None) -> Updates:
        """Set the controls to the preset's values. One that the running engine cannot serve is told at once."""
        try:
            return {self.notice: "", **await self._fitted(preset)}
        except Jc1Error as error:
            return {self.notice: fragments.notice(error)}

    async def _fitted(self, preset: str | None, moved: Mapping[str, Any] | None = None) -> Updates:
        fitted, shown = await asyncio.to_thread(presets.fitted, self.workbench, preset, moved or {})
        return {self.fitted: fitted, **dict(zip(self.controls, shown, strict=True))}


def _assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def _messages(turn: Turn) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = [{"role": "user", "content": turn.user}]
    if turn.reply:
        said.append(_assistant(turn.reply))
    if turn.cancelled:
        said.append(_assistant(_STOPPED))
    return said
