"""The Chat tab's handlers on a real workbench with the echo engine: what each gives the page.

One workbench serves the module, since loading the embedder takes longer than any test; each test is another owner.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import replace
from itertools import chain, pairwise
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import gradio as gr
import pytest
import pytest_asyncio

from jc1 import Settings, Workbench
from jc1.access.principal import ADMIN, Principal
from jc1.decoding import Decoding
from jc1.engines.echo import EchoEngine
from jc1.errors import DatabaseUnavailable, StorageFull
from jc1.presets import Preset
from jc1_ui.components import controls
from jc1_ui.components.log import Message
from jc1_ui.tabs.chat import Chat, Updates, build
from tests.ui.conftest import until

VISITOR = SimpleNamespace(principal=Principal("local", frozenset({ADMIN})))
PAGE = gr.Request(session_hash="page", state=VISITOR)
OTHER = gr.Request(session_hash="other page", state=VISITOR)


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def laid_out(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Chat]:
    settings = Settings(home=tmp_path_factory.mktemp("home"), engine="echo")
    async with Workbench.open(settings) as workbench:
        with gr.Blocks() as blocks:
            yield build(blocks, workbench)


@pytest.fixture
def chat(laid_out: Chat) -> Iterator[Chat]:
    engine = laid_out.workbench.engine
    VISITOR.principal = Principal(uuid4().hex, frozenset({ADMIN}))
    yield laid_out
    laid_out.workbench.engine = engine


async def use(chat: Chat, engine: EchoEngine) -> EchoEngine:
    await engine.start()
    chat.workbench.engine = engine
    return engine


def sending(
    chat: Chat, text: str, session: str = "s", *, page: gr.Request = PAGE, mode: str = "on", **fields: Any
) -> AsyncGenerator[Updates, None]:
    baseline = controls.values_of(Decoding())
    return chat.send(page, session, text, mode, None, baseline, *(baseline | fields).values())


async def send(chat: Chat, text: str, session: str = "s", **options: Any) -> Updates:
    """What the page shows in the end."""
    shown: Updates = {}
    async for updates in sending(chat, text, session, **options):
        show(shown, updates)
    return shown


def show(shown: Updates, updates: Updates) -> None:
    """Let a page show a frame."""
    if updates != gr.skip():
        shown |= updates


async def make_ready(chat: Chat, typed: str, failed: str) -> Updates:
    baseline = controls.values_of(Decoding())
    return await chat.make_ready(PAGE, typed, failed, None, baseline, *baseline.values())


class Page:
    """What a page shows beside the talk, and gives back with a message."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self.shown: dict[Any, Any] = {}

    def show(self, updates: Updates) -> None:
        for component, update in updates.items():
            is_update = isinstance(update, dict) and update.get("__type__") == "update"
            if not is_update or "value" in update:
                self.shown[component] = update["value"] if is_update else update

    async def open(self) -> None:
        self.show(await self.chat.fit(PAGE))

    async def choose(self, preset: str) -> None:
        self.show({self.chat.preset: preset} | await self.chat.follow_preset(PAGE, preset))

    def move(self, **fields: Any) -> None:
        for field, value in fields.items():
            self.shown[self.chat.controls[controls.FIELDS.index(field)]] = value

    def value(self, field: str) -> Any:
        return self.shown[self.chat.controls[controls.FIELDS.index(field)]]

    @property
    def given(self) -> list[Any]:
        return [self.shown[part] for part in (self.chat.preset, self.chat.baseline, *self.chat.controls)]

    async def send(self, text: str) -> list[str]:
        """What was said by then, after which the page is ready for the next message."""
        async for updates in self.chat.send(PAGE, "s", text, "off", *self.given):
            if updates != gr.skip():
                self.show(updates)
        self.show(await self.chat.make_ready(PAGE, "", self.shown.get(self.chat.failed, ""), *self.given))
        return said(self.chat, self.shown)


def session_of(chat: Chat, shown: Updates) -> str:
    """The conversation that a page shows once it has opened it."""
    assert shown[chat.log.settled]["opens"]
    return str(shown[chat.log.settled]["session"])


def clicked(session: str) -> gr.EventData:
    return gr.EventData(None, {"session": session})


def said(chat: Chat, shown: Updates) -> list[str]:
    """What a page shows by then: the texts of settled messages and of the last turn, and a stopped reply's mark."""
    parts = [shown[part]["messages"] for part in chat.log.components if part in shown]
    marks = {"stopped": ["Stopped"]}
    return [
        text
        for message in chain(*parts)
        for text in [*filter(None, [text_of(message)]), *marks.get(message.get("state", ""), [])]
    ]


def text_of(message: Message) -> str:
    """The source of a message; while it grows its HTML is all there is."""
    if message["role"] == "user" or message["text"]:
        return str(message["text"])
    return re.sub("<[^>]*>", "", "".join(message["blocks"])).strip()


async def test_a_language_that_the_model_does_not_know_is_told_below_the_reply(chat: Chat) -> None:
    engine = await use(chat, EchoEngine())
    engine.model = "jc1-tiny"
    for text, told in (("我的猫叫什么名字？", ["language"]), ("What is my cat called?", [])):
        session = uuid4().hex
        for shown in (await send(chat, text, session, mode="off"), await chat.open_stored(session, PAGE)):
            (notices,) = [
                m["notices"] for part in chat.log.components for m in shown[part]["messages"] if "notices" in m
            ]
            assert [word for notice in notices for word in ("language", "--model") if word in notice][:1] == told


async def test_a_reply_grows_frame_by_frame(chat: Chat) -> None:
    await use(chat, EchoEngine(delay=0.02))
    frames = [frame async for frame in sending(chat, "My cat is called Ada.")]
    grown = [text_of(frame[chat.log.growing]["messages"][1]) for frame in frames if chat.log.growing in frame]
    assert grown[0] == ""
    assert len(set(grown)) > 4
    assert all(later.startswith(earlier) for earlier, later in pairwise(grown))
    assert grown[-1] == "My cat is called Ada."


async def test_the_first_frame_shows_the_message_and_offers_to_stop_and_after_the_last_one_can_send(chat: Chat) -> None:
    frames = [frame async for frame in sending(chat, "Hello there.")]
    assert said(chat, frames[0]) == ["Hello there."]
    assert frames[0][chat.prompt] == gr.update(submit_btn=False, stop_btn=True)
    sent = [frame[chat.log.growing].get("sent") for frame in frames if chat.log.growing in frame]
    assert sent == ["Hello there.", *[None] * (len(sent) - 1)]
    assert "Hello there." in frames[0][chat.conversations]
    assert (await make_ready(chat, "", ""))[chat.prompt] == gr.update(submit_btn=True, stop_btn=False)


async def test_a_whole_reply_has_its_waterfall_figures_and_facts(chat: Chat) -> None:
    shown = await send(chat, "My cat is called Ada.")
    (trace,) = chat.workbench.telemetry.recent.list(VISITOR.principal.owner)
    assert list(shown[chat.story.stages]["value"].data[0].y) == list(trace.stages)
    assert shown[chat.story.stages]["visible"] is True
    assert "done" in shown[chat.live]
    assert f"<b>{trace.usage.completion_tokens}</b> tokens" in shown[chat.live]
    assert trace.id in shown[chat.story.facts]


async def test_what_was_said_in_another_conversation_is_recalled_and_shown_with_scores(chat: Chat) -> None:
    assert "Nothing was recalled" in (await send(chat, "My cat is called Ada.", "first"))[chat.story.memories]
    shown = await send(chat, "What is my cat called?", "second")
    assert "My cat is called Ada." in shown[chat.story.memories]
    assert "score <b>" in shown[chat.story.memories]
    assert 'data-open="first"' in shown[chat.story.memories]


@pytest.mark.parametrize(("mode", "recalled", "stored"), [("read", True, 2), ("off", False, 2), ("on", True, 4)])
async def test_the_memory_mode_is_the_requests(chat: Chat, mode: str, recalled: bool, stored: int) -> None:
    await send(chat, "My cat is called Ada.", "first")
    shown = await send(chat, "What is my cat called?", "second", mode=mode)
    assert ("called Ada" in shown[chat.story.memories]) is recalled
    assert ("Memory was off" in shown[chat.story.memories]) is (mode == "off")
    assert chat.workbench.memory.list(VISITOR.principal.owner).total == stored


async def test_moved_controls_reach_the_engine(chat: Chat) -> None:
    shown = await send(chat, "My cat is called Ada.", max_tokens=6)
    assert said(chat, shown) == ["My cat is called Ada.", "My cat"]
    assert "length" in shown[chat.story.facts]


@pytest.mark.parametrize(("text", "session"), [("", "s"), (" \n ", "s"), ("Hello", "")])
async def test_nothing_to_say_or_nowhere_to_say_it_changes_nothing(chat: Chat, text: str, session: str) -> None:
    assert [frame async for frame in sending(chat, text, session)] == [gr.skip()]


async def test_an_example_is_sent_like_typed_text(chat: Chat) -> None:
    event = gr.EventData(None, {"text": "I live in Oslo."})
    baseline = controls.values_of(Decoding())
    shown: Updates = {}
    async for updates in chat.send_example(PAGE, event, "s", "on", None, baseline, *baseline.values()):
        show(shown, updates)
    assert said(chat, shown) == ["I live in Oslo.", "I live in Oslo."]


# Stop


async def test_stop_frees_the_engine_and_keeps_what_was_written(chat: Chat) -> None:
    engine = await use(chat, EchoEngine(delay=0.02))
    shown: Updates = {}
    async for updates in sending(chat, "My cat is called Ada." * 20):
        show(shown, updates)
        if len(said(chat, shown)) > 1:
            await chat.stop(PAGE)
    await until(lambda: engine.active == 0)
    *_, part, mark = said(chat, shown)
    assert ("My cat is called Ada." * 20).startswith(part)
    assert "Stopped" in mark
    assert "stopped" in shown[chat.live]
    await until(lambda: chat.workbench.sessions.history(VISITOR.principal.owner, "s"))
    (turn,) = chat.workbench.sessions.history(VISITOR.principal.owner, "s")
    assert (turn.reply, turn.cancelled) == (part, True)


async def test_stop_works_while_the_engine_is_silent(chat: Chat) -> None:
    engine = await use(chat, EchoEngine(delay=3600))
    reply = asyncio.create_task(send(chat, "Hello there."))
    await until(lambda: engine.active == 1)
    await chat.stop(PAGE)
    shown = await reply
    assert engine.active == 0
    assert "Stopped" in said(chat, shown)[-1]


async def test_stop_is_the_pages_own(chat: Chat) -> None:
    engine = await use(chat, EchoEngine(delay=0.05))
    first = asyncio.create_task(send(chat, "Hello there.", "a", page=PAGE))
    second = asyncio.create_task(send(chat, "Good evening.", "b", page=OTHER))
    await until(lambda: engine.active == 2)
    await chat.stop(OTHER)
    assert "Stopped" in said(chat, await second)[-1]
    assert said(chat, await first) == ["Hello there.", "Hello there."]


async def test_a_page_that_goes_away_frees_the_engine(chat: Chat) -> None:
    engine = await use(chat, EchoEngine(delay=0.02))
    async with aclosing(sending(chat, "Hello there. " * 20)) as frames:
        async for _ in frames:
            if engine.active:
                break
    await until(lambda: engine.active == 0)
    await until(lambda: chat.workbench.sessions.history(VISITOR.principal.owner, "s"))
    assert chat.workbench.sessions.history(VISITOR.principal.owner, "s")[0].cancelled


# Errors


async def test_an_error_shows_its_code_and_gives_the_text_back(chat: Chat) -> None:
    await use(chat, EchoEngine(context_length=1000))
    await send(chat, "Hello there.")
    long = "a long story " * 100
    shown = await send(chat, long)
    assert "context_length_exceeded" in shown[chat.notice]
    assert "failed" in shown[chat.live]
    assert said(chat, shown) == ["Hello there.", "Hello there."]
    ready = await make_ready(chat, "", shown[chat.failed])
    assert (ready[chat.prompt]["value"], ready[chat.failed]) == (long, "")


async def test_what_was_typed_meanwhile_is_not_overwritten(chat: Chat) -> None:
    assert "value" not in (await make_ready(chat, "new", "failed"))[chat.prompt]


async def test_a_foreign_exception_is_not_shown(chat: Chat) -> None:
    def broken(_: Any) -> Any:
        raise RuntimeError("secret")

    await use(chat, EchoEngine(logits=broken))
    shown = await send(chat, "Hello there.")
    assert "internal_error" in shown[chat.notice]
    assert "secret" not in str(shown)
    assert shown[chat.failed] == "Hello there."


async def test_a_database_that_is_away_is_told_before_and_after(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> Any:
        raise DatabaseUnavailable("The database is away: start it.")

    monkeypatch.setattr(chat.workbench.sessions, "history", away)
    assert "database_unavailable" in (await send(chat, "Hello there."))[chat.notice]
    opened = await chat.open_stored("s", PAGE)
    assert "database_unavailable" in opened[chat.notice]
    assert session_of(chat, opened) == "s"  # a message can be sent once the database is back
    monkeypatch.setattr(chat.workbench.presets, "list", away)
    assert "database_unavailable" in (await chat.offer(PAGE))[chat.notice]
    monkeypatch.setattr(chat.workbench.presets, "resolve", away)
    assert "database_unavailable" in (await chat.fit(PAGE))[chat.notice]
    assert "database_unavailable" in (await chat.follow_preset(PAGE, "default"))[chat.notice]


async def test_a_reply_that_could_not_be_stored_says_so(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise StorageFull("The disk is full: make room.")

    monkeypatch.setattr(chat.workbench.sessions, "append", full)
    shown = await send(chat, "Hello there.")
    assert said(chat, shown)[-1] == "Hello there."
    assert "storage_full" in shown[chat.notice]


# Conversations


async def test_a_conversation_is_read_back_with_its_last_replys_story(chat: Chat) -> None:
    await send(chat, "My cat is called Ada.", "first")
    await send(chat, "What is my cat called?", "second")
    shown = await chat.open_stored("second", PAGE)
    assert session_of(chat, shown) == "second"
    assert said(chat, shown) == ["What is my cat called?", "What is my cat called?"]
    assert shown[chat.story.stages]["visible"] is True
    assert "My cat is called Ada." in shown[chat.story.memories]
    assert "done" in shown[chat.live]
    assert shown[chat.prompt]["interactive"] is True


async def test_a_memory_that_was_forgotten_is_left_out_of_an_earlier_reply(chat: Chat) -> None:
    await send(chat, "My cat is called Ada.", "first")
    await send(chat, "What is my cat called?", "second")
    for record in chat.workbench.memory.list(VISITOR.principal.owner).records:
        chat.workbench.memory.forget(VISITOR.principal.owner, record.id)
    assert "Ada" not in (await chat.open_stored("second", PAGE))[chat.story.memories]


@pytest.mark.parametrize("stored", ["", None, 3])
async def test_a_browser_without_a_conversation_begins_one_of_its_own(chat: Chat, stored: Any) -> None:
    first, second = await chat.open_stored(stored, PAGE), await chat.begin(PAGE)
    assert len(session_of(chat, first)) == len(session_of(chat, second)) == 32
    assert session_of(chat, first) != session_of(chat, second)
    assert said(chat, first) == said(chat, second) == []


async def test_leaving_a_conversation_ends_its_reply(chat: Chat) -> None:
    engine = await use(chat, EchoEngine(delay=3600))
    reply = asyncio.create_task(send(chat, "Hello there.", "first"))
    await until(lambda: engine.active == 1)
    shown = await chat.open_chosen(clicked("other"), PAGE)
    assert (session_of(chat, shown), said(chat, shown)) == ("other", [])
    await reply
    assert engine.active == 0


async def test_a_conversation_that_was_left_shows_nothing_more(chat: Chat) -> None:
    engine = await use(chat, EchoEngine(delay=0.02))
    later: list[Updates] = []
    has_left = False
    async for updates in sending(chat, "My cat is called Ada." * 20):
        if has_left:
            later.append(updates)
        elif engine.active:
            await chat.begin(PAGE)
            has_left = True
    assert later == [gr.skip()]


async def test_a_conversation_that_is_left_before_the_reply_began_asks_for_none(chat: Chat) -> None:
    engine = await use(chat, EchoEngine(delay=3600))
    frames = sending(chat, "Hello there.", "first")
    await anext(frames)
    await chat.begin(PAGE)
    assert [frame async for frame in frames] == [gr.skip()]
    assert engine.active == 0
    assert chat.workbench.sessions.history(VISITOR.principal.owner, "first") == ()


async def test_frames_name_their_conversation_and_only_what_was_opened_takes_anothers_place(chat: Chat) -> None:
    frames = [frame async for frame in sending(chat, "Hello there.", "first")]
    values = [frame[part] for frame in frames for part in chat.log.components if part in frame]
    assert {value["session"] for value in values} == {"first"}
    assert not any(value.get("opens") for value in values)
    assert (await chat.open_chosen(clicked("other"), PAGE))[chat.log.settled]["opens"] is True


async def test_a_stopped_reply_is_still_marked_when_the_conversation_is_read_back(chat: Chat) -> None:
    await asyncio.to_thread(
        chat.workbench.sessions.append, VISITOR.principal.owner, "s", user="Hello", reply="He", cancelled=True
    )
    assert said(chat, await chat.open_stored("s", PAGE)) == ["Hello", "He", "Stopped"]


async def test_deleting_the_conversation_in_sight_begins_a_new_one(chat: Chat) -> None:
    await send(chat, "One.", "first")
    await send(chat, "Two.", "second")
    kept = await chat.delete("second", clicked("first"), PAGE)
    assert (session_of(chat, kept), said(chat, kept)) == ("second", ["Two.", "Two."])
    assert "first" not in kept[chat.conversations]
    begun = await chat.delete("second", clicked("second"), PAGE)
    assert session_of(chat, begun) not in ("first", "second")
    assert said(chat, begun) == []
    assert chat.workbench.sessions.list(VISITOR.principal.owner) == ()


async def test_deleting_what_another_page_deleted_is_no_error(chat: Chat) -> None:
    shown = await chat.delete("current", clicked("gone"), PAGE)
    assert (session_of(chat, shown), shown[chat.notice]) == ("current", "")


# Presets


async def test_presets_and_aliases_are_offered_and_the_settings_one_is_chosen(chat: Chat) -> None:
    saved = chat.workbench.presets.save(Preset("mine", decoding={"temperature": 0.3}))
    chat.workbench.presets.set_alias("champion", saved.reference)
    shown = await chat.fit(PAGE)
    assert shown[chat.preset]["value"] == "default@0"
    offered = [value for _, value in shown[chat.preset]["choices"]]
    assert offered[:2] == ["default@0", "creative@0"]
    assert {"mine@1", "champion"} <= set(offered)


async def test_a_key_is_offered_the_presets_that_it_may_use_and_starts_with_one_of_them(chat: Chat) -> None:
    VISITOR.principal = Principal("local", frozenset({"chat"}), presets=frozenset({"creative"}))
    shown = (await chat.fit(PAGE))[chat.preset]
    assert ([value for _, value in shown["choices"]], shown["value"]) == (["creative@0"], "creative@0")
    assert "may not use the preset" in (await chat.follow_preset(PAGE, "default@0"))[chat.notice]


async def test_what_was_promoted_since_is_offered_and_the_choice_is_left(chat: Chat) -> None:
    await chat.fit(PAGE)
    chat.workbench.presets.set_alias("newer", chat.workbench.presets.save(Preset("late")).reference)
    offered = (await chat.offer(PAGE))[chat.preset]
    assert ("newer (late@1)", "newer") in offered["choices"]
    assert "value" not in offered


async def test_a_preset_that_the_engine_cannot_serve_says_so_and_gives_the_plain_message(chat: Chat) -> None:
    saved = chat.workbench.presets.save(Preset("fast", engine={"speculation": "ngram:4"}))
    chat.workbench.presets.set_alias("quick", saved.reference)
    chat.workbench.presets.save(Preset("large", engine={"model": "organisation/name"}))
    choices = (await chat.offer(PAGE))[chat.preset]["choices"]
    assert ("fast@1, needs speculation=ngram:4", "fast@1") in choices
    assert ("large@1, needs model=organisation/name", "large@1") in choices
    assert ("quick (fast@1, needs speculation=ngram:4)", "quick") in choices
    shown = await chat.follow_preset(PAGE, "quick")
    assert "fast@1 needs speculation=ngram:4 (running: off): start JC1 with" in shown[chat.notice]
    assert (await chat.follow_preset(PAGE, "default"))[chat.notice] == ""


async def test_choosing_a_preset_sets_the_controls(chat: Chat) -> None:
    shown = await chat.follow_preset(PAGE, "creative")
    values = {field: shown[control]["value"] for field, control in zip(controls.FIELDS, chat.controls, strict=True)}
    assert (values["temperature"], values["top_p"], values["top_k"]) == (0.8, 0.95, 0)


async def test_an_open_page_serves_what_was_promoted_since_and_shows_it_after_the_reply(chat: Chat) -> None:
    presets, page = chat.workbench.presets, Page(chat)
    presets.set_alias("best", presets.save(Preset("long", decoding={"max_tokens": 5})).reference)
    await page.open()
    await page.choose("best")
    assert (await page.send("Hello there."))[-1] == "Hello"
    presets.set_alias("best", presets.save(Preset("brief", decoding={"max_tokens": 2})).reference)
    assert (await page.send("Hello there."))[-1] == "He"
    (trace, *_) = chat.workbench.telemetry.recent.list(VISITOR.principal.owner)
    assert (trace.preset, page.value("max_tokens"), page.shown[chat.preset]) == ("brief@1", 2, "best")
    presets.rollback("best")
    assert (await page.send("Hello there."))[-1] == "Hello"


async def test_what_a_visitor_moved_stays_while_the_preset_is_promoted(chat: Chat) -> None:
    presets, page = chat.workbench.presets, Page(chat)
    presets.set_alias("mild", presets.save(Preset("one", decoding={"top_k": 500, "max_tokens": 5})).reference)
    await page.open()
    await page.choose("mild")
    page.move(max_tokens=3, top_k=450)
    presets.set_alias("mild", presets.save(Preset("two", decoding={"max_tokens": 2, "temperature": 0.5})).reference)
    for _ in range(2):
        assert (await page.send("Hello there."))[-1] == "Hel"
    assert (page.value("max_tokens"), page.value("top_k"), page.value("temperature")) == (3, 450, 0.5)


async def test_a_page_whose_settings_name_an_alias_or_a_name_stays_with_it(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    presets = chat.workbench.presets
    presets.set_alias("house", presets.save(Preset("style")).reference)
    for own, offered in (
        ("house", "house (style@1)"),
        ("style", "style (style@1)"),
        ("style@house", "style@house (style@1)"),
    ):
        monkeypatch.setattr(chat.workbench, "settings", chat.workbench.settings.model_copy(update={"preset": own}))
        shown = (await chat.fit(PAGE))[chat.preset]
        assert shown["value"] == own
        assert (offered, own) in shown["choices"]
    monkeypatch.setattr(chat.workbench, "settings", chat.workbench.settings.model_copy(update={"preset": "gone"}))
    assert "preset_not_found" in (await chat.fit(PAGE))[chat.notice]
    assert ("house (style@1)", "house") in (await chat.offer(PAGE))[chat.preset]["choices"]


async def test_a_preset_that_is_gone_is_told(chat: Chat) -> None:
    assert "preset_not_found" in (await chat.follow_preset(PAGE, "gone"))[chat.notice]
    page = Page(chat)
    await page.open()
    page.show({chat.preset: "gone"})
    assert await page.send("Hello") == []
    assert "preset_not_found" in page.shown[chat.notice]
    assert page.shown[chat.prompt] == "Hello"


async def test_a_control_that_the_running_engine_cannot_honour_is_hidden(chat: Chat) -> None:
    engine = await use(chat, EchoEngine())
    engine._capabilities = replace(engine.capabilities, decoding=engine.capabilities.decoding - {"min_p"})
    shown = await chat.fit(PAGE)
    visible = {field: shown[control]["visible"] for field, control in zip(controls.FIELDS, chat.controls, strict=True)}
    assert [field for field, shows in visible.items() if not shows] == ["min_p"]


async def test_a_key_that_only_chats_sees_its_own_words_and_neither_lists_nor_texts_of_memories(chat: Chat) -> None:
    await send(chat, "My cat is called Ada.", "first")
    VISITOR.principal = Principal(VISITOR.principal.owner, frozenset({"chat"}))
    shown = await send(chat, "What is my cat called?", "second")
    assert said(chat, shown)[0] == "What is my cat called?"
    for page in (shown, await chat.open_stored("second", PAGE)):
        assert "Ada" not in str(page.get(chat.story.memories))
        assert 'data-open="first"' not in page[chat.conversations]
    refused = await chat.delete("second", clicked("first"), PAGE)
    assert "memory:write" in refused[chat.notice]
    assert chat.workbench.sessions.history(VISITOR.principal.owner, "first")


async def test_a_key_that_may_not_chat_gets_no_reply(chat: Chat) -> None:
    VISITOR.principal = Principal(VISITOR.principal.owner, frozenset({"memory:read"}))
    assert "chat" in (await send(chat, "Hello"))[chat.notice]
    assert chat.workbench.sessions.list(VISITOR.principal.owner) == ()
