"""The request path, followed to the word: what is stored, where recalled text goes, what resent history means."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from jc1 import Message, Settings, Workbench
from jc1.access.keys import Keys
from jc1.database.keys import KeyRepository
from jc1.database.presets import PresetRepository
from jc1.embedding.base import Embedder
from jc1.engines.base import EnginePrompt
from jc1.engines.echo import EchoEngine
from jc1.errors import (
    DamagedImage,
    EmptyMessage,
    InvalidDecoding,
    InvalidRequest,
    PromptTooLong,
    RequestTooLarge,
    StorageFull,
    UnknownPreset,
    UnknownRole,
    UnknownTrace,
)
from jc1.memory.base import MAX_CHARACTERS, NewRecord, Retrieval
from jc1.memory.store import DatabaseMemory
from jc1.messages import ImagePart, TextPart
from jc1.presets import Preset, Presets
from jc1.prompt import CLOSE, OPEN
from jc1.reply import Done, Event, Recalled, Token
from jc1.sessions import Sessions
from jc1.telemetry import Telemetry
from jc1.trace import STAGES
from tests.support.database import new_database


class Listener(EchoEngine):
    """The echo engine, remembering the prompts that it was given."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.prompts: list[EnginePrompt] = []

    def generate(self, prompt: EnginePrompt, decoding: Any) -> Any:
        self.prompts.append(prompt)
        return super().generate(prompt, decoding)

    @property
    def last(self) -> tuple[Message, ...]:
        return self.prompts[-1].messages


Make = Callable[..., Workbench]


@pytest.fixture
def make(home: Path, embedder: Embedder) -> Make:
    """Makes a workbench over the test's home, with a `Listener` of the options given."""

    def made(**options: Any) -> Workbench:
        settings = Settings(home=home, engine="echo")
        settings.prepare_home()
        database = new_database(home / "jc1.db")
        return Workbench(
            settings,
            engine=Listener(**options),
            memory=DatabaseMemory(database, embedder),
            sessions=Sessions(database),
            presets=Presets(PresetRepository(database)),
            keys=Keys(KeyRepository(database)),
            telemetry=Telemetry(keep=settings.traces),
        )

    return made


@pytest.fixture
async def workbench(make: Make) -> AsyncIterator[Workbench]:
    async with make() as made:
        yield made


def engine(workbench: Workbench) -> Listener:
    assert isinstance(workbench.engine, Listener)
    return workbench.engine


def texts(workbench: Workbench, owner: str = "local") -> list[str]:
    return [record.text for record in reversed(workbench.memory.list(owner).records)]


async def collect(workbench: Workbench, text: str, **options: Any) -> list[Event]:
    return [event async for event in workbench.pipeline.stream(text, **options)]


async def test_a_stream_is_recalled_then_tokens_then_done_and_chat_is_the_same_collected(workbench: Workbench) -> None:
    events = await collect(workbench, "Hello there.", memory="off")
    assert isinstance(events[0], Recalled)
    assert isinstance(events[-1], Done)
    tokens = [event for event in events if isinstance(event, Token)]
    assert len(tokens) == len(events) - 2
    assert "".join(token.text for token in tokens) == events[-1].reply.text == "Hello there."
    assert (await workbench.pipeline.chat("Hello there.", memory="off")).text == "Hello there."


async def test_the_trace_holds_the_stages_in_the_order_of_the_request_path(workbench: Workbench) -> None:
    trace = (await workbench.pipeline.chat("My cat is called Ada.")).trace
    assert list(trace.stages) == [s for s in STAGES if s not in ("hear", "see", "speak")]
    assert sum(trace.stages.values()) <= trace.total
    assert 0 < trace.first_token <= trace.total
    assert (trace.outcome, trace.finish_reason, trace.remembered) == ("ok", "stop", True)
    assert trace.usage.prompt_tokens == len(engine(workbench).prompts[0].token_ids)
    assert workbench.telemetry.recent.get(trace.id) is trace


async def test_recalled_memories_stand_inside_the_new_user_message_after_one_system_message(
    workbench: Workbench,
) -> None:
    workbench.memory.add("local", [NewRecord("My cat is called Ada.")])
    history = [Message.system("A."), Message.user("Hi"), Message.assistant("Hello"), Message.system("B.")]
    reply = await workbench.pipeline.chat([*history, Message.user("What is my cat called?")])
    prompt = engine(workbench).last
    assert [m.role for m in prompt] == ["system", "user", "assistant", "user"]
    assert prompt[0].text == "A.\n\nB."
    assert OPEN not in "".join(m.text for m in prompt[:-1])
    assert prompt[-1].text.startswith(OPEN)
    assert "My cat is called Ada." in prompt[-1].text.split(CLOSE)[0]
    assert prompt[-1].text.endswith("What is my cat called?")
    assert [entry["id"] for entry in reply.trace.recalled] == [workbench.memory.list("local").records[-1].id]


async def test_system_and_history_keep_their_bytes_from_turn_to_turn(workbench: Workbench) -> None:
    for text in ("My cat is called Ada.", "I live in Oslo.", "What is my cat called?"):
        await workbench.pipeline.chat(text, session="s")
    second, third = (p.messages for p in engine(workbench).prompts[1:])
    assert third[: len(second) - 1] == second[:-1]
    assert third[-3:-1] == (Message.user("I live in Oslo."), Message.assistant("I live in Oslo."))


async def test_only_the_last_message_and_the_reply_are_stored(workbench: Workbench) -> None:
    resent = [Message.user("I live in Oslo."), Message.assistant("Noted."), Message.user("My cat is called Ada.")]
    await workbench.pipeline.chat(resent)
    assert texts(workbench) == ["My cat is called Ada.", "My cat is called Ada."]
    assert [r.role for r in workbench.memory.list("local").records] == ["assistant", "user"]


async def test_without_a_session_the_request_is_the_whole_history(workbench: Workbench) -> None:
    conversation = [Message.user("One."), Message.assistant("Two."), Message.user("Three.")]
    await workbench.pipeline.chat(conversation, memory="off")
    assert engine(workbench).last[1:] == tuple(conversation)
    assert workbench.sessions.list("local", limit=10) == ()


async def test_with_a_session_the_stored_turns_are_the_history_and_resent_ones_are_not(workbench: Workbench) -> None:
    await workbench.pipeline.chat("One.", session="s", memory="off")
    await workbench.pipeline.chat(
        [Message.user("Forged."), Message.assistant("Yes."), Message.user("Two.")], session="s"
    )
    assert [m.text for m in engine(workbench).last[1:]] == ["One.", "One.", "Two."]
    assert [t.user for t in workbench.sessions.history("local", "s", limit=10)] == ["One.", "Two."]


async def test_what_is_remembered_names_its_session_and_turn(workbench: Workbench) -> None:
    for text in ("One.", "Two."):
        await workbench.pipeline.chat(text, session="s")
    turns = [turn.number for turn in workbench.sessions.history("local", "s", limit=2)]
    assert turns == sorted(set(turns))
    stored = reversed(workbench.memory.list("local").records)
    assert [(r.session, r.turn, r.role) for r in stored] == [
        ("s", n, role) for n in turns for role in ("user", "assistant")
    ]


async def test_turns_that_the_prompt_holds_as_history_are_not_recalled_as_well(workbench: Workbench) -> None:
    await workbench.pipeline.chat("My cat is called Ada.", session="s")
    here = await workbench.pipeline.chat("What is my cat called?", session="s")
    assert here.trace.recalled == []
    elsewhere = await workbench.pipeline.chat("What is my cat called?", session="t")
    assert elsewhere.trace.recalled[0]["session"] == "s"


async def test_what_was_told_before_the_reply_was_stopped_is_recalled_since_the_history_lacks_that_turn(
    workbench: Workbench,
) -> None:
    await workbench.pipeline.chat("Hello there.", session="s")
    await stop_after(workbench, "My cat is called Ada.", 0, session="s")
    await workbench.pipeline.drain()
    recalled, *_ = await collect(workbench, "What is my cat called?", session="s")
    assert isinstance(recalled, Recalled)
    assert [receipt.record.text for receipt in recalled.receipts] == ["My cat is called Ada."]


async def test_turns_that_no_longer_fit_are_recalled_instead(make: Make) -> None:
    async with make(context_length=1000) as made:
        await made.pipeline.chat("My cat is called Ada.", session="s")
        for i in range(6):
            await made.pipeline.chat(f"{i} " + "blah " * 15, session="s", max_tokens=40)
        reply = await made.pipeline.chat("What is my cat called?", session="s", max_tokens=100)
        assert reply.trace.dropped_messages > 0
        assert "Ada" in engine(made).last[-1].text
        assert reply.trace.usage.prompt_tokens <= 900


async def test_statements_come_before_questions_and_replies(workbench: Workbench) -> None:
    await workbench.pipeline.chat("What is my cat called?")
    workbench.memory.add("local", [NewRecord("My cat is called Ada.")])
    found = workbench.memory.search("local", "What is my cat called?", Retrieval(questions=True))
    assert found.receipts[0].record.kind == "statement"
    assert {receipt.record.kind for receipt in found.receipts[1:]} == {"question", "reply"}


async def test_a_message_is_remembered_to_its_end_or_the_reply_says_that_it_is_not(make: Make) -> None:
    long = "We walked along the river. " * 400 + "My cat is called Ada."
    async with make(context_length=300_000) as made:
        trace = (await made.pipeline.chat(long, max_tokens=4)).trace
        assert (trace.remembered, trace.remember_error) == (True, None)
        assert texts(made)[0] == long
        (longest,) = (receipt for receipt in made.memory.search("local", "cat called", Retrieval(k=1)).receipts)
        assert longest.quoted.text.endswith("My cat is called Ada.")
        await made.pipeline.chat("What is my cat called?", max_tokens=4)
        prompt = engine(made).last[-1].text
        assert "My cat is called Ada." in prompt
        assert len(prompt) < 2000
        longer = "x " * (MAX_CHARACTERS // 2 + 1) + "end"
        too_long = (await made.pipeline.chat(longer, session="s", max_tokens=4)).trace
        assert (too_long.remembered, too_long.remember_error) == (False, "request_too_large")
        assert [turn.user for turn in made.sessions.history("local", "s")] == [longer]


async def test_a_newer_statement_on_the_same_subject_supersedes_the_older(workbench: Workbench) -> None:
    await workbench.pipeline.chat("My cat is called Ada.")
    await workbench.pipeline.chat("My cat is now called Bo.")
    reply = await workbench.pipeline.chat("What is my cat called?")
    told = [workbench.memory.get("local", entry["id"]) for entry in reply.trace.recalled]
    assert "My cat is now called Bo." in [r.text for r in told]
    assert "My cat is called Ada." not in [r.text for r in told if r.kind == "statement"]


@pytest.mark.parametrize(("mode", "recalled", "stored"), [("on", True, 3), ("read", True, 1), ("off", False, 1)])
async def test_the_memory_mode_says_what_is_recalled_and_stored(
    workbench: Workbench, mode: Any, recalled: bool, stored: int
) -> None:
    workbench.memory.add("local", [NewRecord("My cat is called Ada.")])
    reply = await workbench.pipeline.chat("What is my cat called?", memory=mode)
    assert bool(reply.trace.recalled) is recalled
    assert len(texts(workbench)) == stored
    assert reply.trace.remembered is (True if mode == "on" else None)


async def test_an_owner_sees_only_what_is_the_owners(workbench: Workbench) -> None:
    await workbench.pipeline.chat("My cat is called Ada.", owner="ann", session="s")
    reply = await workbench.pipeline.chat("What is my cat called?", owner="ben", session="s")
    assert reply.trace.recalled == []
    assert [m.text for m in engine(workbench).last[1:]] == ["What is my cat called?"]


async def stop_after(workbench: Workbench, text: str, tokens: int, **options: Any) -> None:
    async with aclosing(workbench.pipeline.stream(text, **options)) as events:
        async for event in events:
            tokens -= isinstance(event, Token)
            if not tokens:
                return


async def test_a_cancelled_reply_is_stored_as_cancelled_and_never_recalled(workbench: Workbench) -> None:
    await stop_after(workbench, "My cat is called Ada.", 5, session="s")
    await workbench.close()
    (turn,) = workbench.sessions.history("local", "s", limit=5)
    assert (turn.user, turn.reply, turn.cancelled) == ("My cat is called Ada.", "My ca", True)
    assert texts(workbench) == ["My cat is called Ada."]
    assert engine(workbench).active == 0
    (trace,) = workbench.telemetry.recent.list()
    assert (trace.outcome, trace.remembered) == ("cancelled", True)


async def test_cancelling_the_task_frees_the_engine_and_keeps_the_turn(make: Make) -> None:
    async with make(delay=3600) as made:
        began = asyncio.Event()

        async def consume() -> None:
            async for event in made.pipeline.stream("Hello.", session="s"):
                if isinstance(event, Recalled):
                    began.set()

        task = asyncio.create_task(consume())
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert engine(made).active == 0
    assert [t.cancelled for t in made.sessions.history("local", "s", limit=5)] == [True]


async def test_when_storing_fails_the_reply_still_comes_and_says_so(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(owner: str, records: Sequence[NewRecord]) -> None:
        raise StorageFull("The disk is full.")

    monkeypatch.setattr(workbench.memory, "add", full)
    reply = await workbench.pipeline.chat("Hello.")
    assert reply.text == "Hello."
    assert (reply.trace.remembered, reply.trace.remember_error) == (False, "storage_full")


async def test_logprobs_come_only_when_they_are_asked_for(workbench: Workbench) -> None:
    without = await workbench.pipeline.chat("Hi.", memory="off")
    assert without.choices[0].logprobs is None
    asked = await workbench.pipeline.chat("Hi.", memory="off", logprobs=2)
    assert [len(t.top) for t in asked.choices[0].logprobs] == [2] * len(asked.choices[0].token_ids)


async def test_a_presets_fields_hold_and_the_requests_go_before_them(workbench: Workbench) -> None:
    workbench.presets.save(Preset("short", system="Be brief.", decoding={"max_tokens": 2}, retrieval={"k": 0}))
    workbench.memory.add("local", [NewRecord("My cat is called Ada.")])
    reply = await workbench.pipeline.chat("Hello.", preset="short")
    assert (reply.text, reply.trace.preset, reply.trace.recalled) == ("He", "short@1", [])
    assert engine(workbench).last[0] == Message.system("Be brief.")
    assert (await workbench.pipeline.chat("Hello.", preset="short", max_tokens=4)).text == "Hell"


async def test_what_is_removed_from_the_query_is_not_removed_from_what_the_model_reads(workbench: Workbench) -> None:
    text = "What is it that I have told you about the cat?"
    await workbench.pipeline.chat(text, memory="read")
    assert engine(workbench).last[-1].text.endswith(text)


@pytest.mark.parametrize(
    ("messages", "options", "error"),
    [
        ("", {}, EmptyMessage),
        ("  \n", {}, EmptyMessage),
        ([], {}, InvalidRequest),
        ([Message.assistant("Hi")], {}, InvalidRequest),
        ([Message("wizard", "Hi"), Message.user("Hi")], {}, UnknownRole),  # type: ignore[arg-type]
        ("Hi", {"temperature": -1}, InvalidDecoding),
        ("Hi", {"colour": "red"}, InvalidDecoding),
        ("Hi", {"memory": "sometimes"}, InvalidRequest),
        ("Hi", {"preset": "nobody"}, UnknownPreset),
        ("word " * 20_000, {}, PromptTooLong),
        ("x" * 10_000_000, {}, RequestTooLarge),
        ([Message.user("Hi")] * 501, {}, RequestTooLarge),
        ("half a character: \ud83d", {}, InvalidRequest),
        ("a NUL: \0", {}, InvalidRequest),
        ([Message.user((TextPart("What is this?"), ImagePart(b"", "image/png")))], {}, DamagedImage),
        (["Hi"], {}, InvalidRequest),
        ([{"role": "user"}], {}, InvalidRequest),
        ([{"role": "user", "content": "Hi", "colour": "red"}], {}, InvalidRequest),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], {}, InvalidRequest),
        ([{"role": "wizard", "content": "Hi"}], {}, UnknownRole),
        ([{"role": "user", "content": " "}], {}, EmptyMessage),
    ],
    ids=lambda value: ascii(value)[:20],
)
async def test_what_cannot_be_served_is_refused_before_the_engine_and_stores_nothing(
    workbench: Workbench, messages: Any, options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await workbench.pipeline.chat(messages, session="s", **options)
    assert engine(workbench).prompts == []
    assert texts(workbench) == []
    assert workbench.sessions.list("local", limit=5) == ()
    (trace,) = workbench.telemetry.recent.list()
    assert trace.outcome == error.code


async def test_messages_may_be_dicts_as_openais_clients_write_and_return_them(workbench: Workbench) -> None:
    sent = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "assistant", "content": "Hello", "refusal": None, "tool_calls": None},
        {"role": "user", "content": "Are you there?"},
        {"role": "assistant", "content": None},
        {"role": "user", "content": "How are you?"},
    ]
    reply = await workbench.pipeline.chat(sent, memory="off")
    assert reply.text == "How are you?"
    assert [(m.role, m.text) for m in engine(workbench).last] == [
        ("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello"), ("user", "Are you there?"), ("assistant", ""),
        ("user", "How are you?"),
    ]  # fmt: skip


async def test_many_requests_at_once_each_get_their_own_reply(workbench: Workbench) -> None:
    replies = await asyncio.gather(*(workbench.pipeline.chat(f"I am number {i}.", owner=f"o{i}") for i in range(20)))
    assert [r.text for r in replies] == [f"I am number {i}." for i in range(20)]
    assert all(texts(workbench, f"o{i}") == [f"I am number {i}."] * 2 for i in range(20))


async def test_an_unknown_trace_is_told(workbench: Workbench) -> None:
    with pytest.raises(UnknownTrace):
        workbench.telemetry.recent.get("tr_none")


async def test_leaving_while_the_reply_is_stored_stores_it_once_and_whole(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, began, go_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    add = workbench.memory.add

    def slowly(*args: Any) -> Any:
        loop.call_soon_threadsafe(began.set)
        assert go_on.wait(60)
        return add(*args)

    monkeypatch.setattr(workbench.memory, "add", slowly)
    asked = asyncio.create_task(workbench.pipeline.chat("My cat is called Ada.", session="s"))
    await began.wait()
    asked.cancel()
    await asyncio.wait([asked])
    go_on.set()
    await workbench.pipeline.drain()
    (turn,) = workbench.sessions.history("local", "s", limit=5)
    assert (turn.reply, turn.cancelled) == ("My cat is called Ada.", False)
    assert len(texts(workbench)) == 2
    assert workbench.telemetry.recent.list()[0].outcome == "ok"


async def test_what_is_being_stored_at_the_end_is_stored(make: Make) -> None:
    async with make(delay=3600) as made:
        stream = made.pipeline.stream("My cat is called Ada.", session="s")
        await anext(stream)
        token = asyncio.create_task(anext(stream))
        await asyncio.sleep(0)
        token.cancel()
        await asyncio.wait([token])
    async with make() as again:
        assert texts(again) == ["My cat is called Ada."]


async def test_a_store_that_breaks_in_an_unknown_way_costs_no_reply(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(workbench.memory, "add", broken)
    reply = await workbench.pipeline.chat("Hello.")
    assert reply.text == "Hello."
    assert (reply.trace.remembered, reply.trace.remember_error) == (False, "internal_error")


async def test_a_preset_for_another_engine_is_refused(workbench: Workbench) -> None:
    workbench.presets.save(Preset("fast", engine={"dtype": "bfloat16", "engine": "echo"}))
    told = r"fast@1 needs dtype=bfloat16 \(running: auto\): start JC1 with --dtype bfloat16"
    with pytest.raises(InvalidRequest, match=told):
        await workbench.pipeline.chat("Hello.", preset="fast")
    with pytest.raises(InvalidRequest, match="asks for 'warp'"):
        await workbench.pipeline.chat("Hello.", preset=Preset("made", engine={"warp": None}))
    assert workbench.unmet(workbench.presets.resolve("default")) == {}


async def test_limits_hold_for_presets_too_and_cut_what_nobody_asked_for(home: Path, make: Make) -> None:
    async with make() as made:
        made.settings = made.settings.model_copy(update={"max_reply_tokens": 3})
        assert (await made.pipeline.chat("Hello.")).text == "Hel"
        made.presets.save(Preset("long", decoding={"max_tokens": 10}))
        with pytest.raises(InvalidRequest, match="long@1 says max_tokens 10 and the setting max_reply_tokens"):
            await made.pipeline.chat("Hello.", preset="long")
