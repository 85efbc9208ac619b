"""The remote engine against a server that says and does what each test wants: its failures above all.

A whole JC1 on the other side is in `tests/api/test_remote_engine.py`.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response

from jc1 import Settings, Workbench
from jc1.decoding import Decoding
from jc1.engines.base import EnginePrompt, Step
from jc1.engines.openai.engine import CONTEXT, STANDARD, OpenAIEngine
from jc1.engines.settings import EngineSettings
from jc1.errors import EngineFailed, EngineUnavailable, InvalidSettings, PromptTooLong, UnsupportedDecoding
from jc1.messages import Message
from jc1.tools import Tool, ToolCall, ToolCallDelta, Toolset
from jc1.trace import Usage
from tests.support.chat_server import REPLY, USAGE, Stub, chunk, serving

PROMPT = EnginePrompt((Message.system("Be brief."), Message.user("hello")))


@pytest.fixture(scope="module")
def server() -> Iterator[Stub]:
    with serving(Stub()) as running:
        yield running


@pytest.fixture
def stub(server: Stub) -> Stub:
    """The server as it begins: it replies `hello` and was asked nothing."""
    vars(server).update(vars(Stub(url=server.url)))
    return server


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jc1.engines.openai.engine.PAUSE_SECONDS", 0.0)
    monkeypatch.setattr("jc1.engines.openai.engine.PROBE_SECONDS", 0.01)


async def started(stub: Stub, **settings: Any) -> OpenAIEngine:
    engine = OpenAIEngine(EngineSettings(**{"model": "m", "base_url": stub.url, **settings}))
    await engine.start()
    return engine


async def steps_of(engine: OpenAIEngine, prompt: EnginePrompt = PROMPT, **decoding: Any) -> list[Step]:
    try:
        async with aclosing(engine.generate(prompt, Decoding.parse(decoding))) as steps:
            return [step async for step in steps]
    finally:
        await engine.close()


async def test_a_reply_comes_in_steps_with_the_servers_own_count_at_the_end(stub: Stub) -> None:
    steps = await steps_of(await started(stub))
    assert [step.text for step in steps] == ["hel", "lo", ""]
    assert [step.finish_reason for step in steps] == [None, None, "stop"]
    assert (steps[-1].usage.prompt_tokens, steps[-1].usage.completion_tokens) == (11, 2)
    assert set(steps[0].seconds) == {"queue", "prefill"}


async def test_the_request_says_what_was_chosen_in_the_apis_words(stub: Stub) -> None:
    await steps_of(await started(stub), temperature=0.5, stop="END", logit_bias={7: -1.0}, logprobs=3, seed=4, n=1)
    (asked,) = stub.asked
    assert asked["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}]
    expected = {"temperature": 0.5, "stop": ["END"], "logit_bias": {"7": -1.0}, "logprobs": True, "top_logprobs": 3}
    assert asked | expected | {"seed": 4, "max_tokens": 256, "stream": True, "model": "m"} == asked
    assert asked["top_p"] == 1.0, "a server's own defaults must not fill it in"
    assert "top_k" not in asked
    assert "memory" not in asked


async def test_a_server_that_says_nothing_of_itself_gets_the_standard_fields_only(stub: Stub) -> None:
    stub.models = [{"id": "m"}]
    engine = await started(stub)
    assert engine.capabilities.decoding == STANDARD
    assert engine.capabilities.context_length == CONTEXT
    with pytest.raises(UnsupportedDecoding, match="top_k"):
        await steps_of(engine, top_k=3)
    assert stub.asked == []


async def test_what_a_server_can_do_is_read_from_its_own_document(stub: Stub) -> None:
    fields = ("temperature", "top_k", "min_p", "structured_outputs", "return_token_ids")
    properties: dict[str, Any] = {name: {} for name in fields}
    body = {"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Chat"}}}}}
    stub.document = {
        "paths": {"/v1/chat/completions": {"post": body}},
        "components": {"schemas": {"Chat": {"properties": properties}}},
    }
    stub.chunks = [chunk("hello", token_ids=[5, 6]), chunk(finish="length", token_ids=[7]), USAGE]
    engine = await started(stub)
    assert engine.capabilities.decoding == {"temperature", "top_k", "min_p", "regex", "choice"}
    assert engine.capabilities.context_length == 512
    steps = await steps_of(engine, temperature=1.0, min_p=0.1, regex="h.*")
    assert [step.token_ids for step in steps] == [(5, 6), (7,), ()]
    assert steps[-1].finish_reason == "length"
    (asked,) = stub.asked
    assert (asked["min_p"], asked["structured_outputs"], asked["return_token_ids"]) == (0.1, {"regex": "h.*"}, True)


async def test_logprobs_are_passed_on(stub: Stub) -> None:
    entry = {
        "token": "hi",
        "logprob": -0.1,
        "bytes": None,
        "top_logprobs": [{"token": "hi", "logprob": -0.1, "bytes": [104, 105]}],
    }
    stub.chunks = [chunk("hi", logprobs={"content": [entry], "refusal": None}), chunk(finish="stop"), USAGE]
    steps = await steps_of(await started(stub), logprobs=1)
    assert [(t.text, t.logprob, t.bytes) for t in steps[0].logprobs] == [("hi", -0.1, None)]
    assert [(t.text, t.bytes) for t in steps[0].logprobs[0].top] == [("hi", (104, 105))]


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_passing_failure_before_the_first_token_is_tried_again(stub: Stub, status: int) -> None:
    engine = await started(stub)
    stub.failures = [Response(status_code=status), Response(status_code=status)]
    assert "".join(step.text for step in await steps_of(engine)) == "hello"
    assert len(stub.asked) == 3


async def test_the_server_may_ask_for_a_longer_pause(stub: Stub) -> None:
    engine = await started(stub)
    stub.failures = [Response(status_code=429, headers={"retry-after": "0.3"})]
    since = asyncio.get_running_loop().time()
    await steps_of(engine)
    assert asyncio.get_running_loop().time() - since >= 0.3


async def test_a_server_that_stays_silent_is_not_asked_again(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jc1.engines.openai.client.READ_SECONDS", 0.3)
    stub.chunks, stub.hold = [], threading.Event()
    engine = await started(stub)
    with pytest.raises((EngineUnavailable, EngineFailed)):
        await steps_of(engine)
    stub.hold.set()
    assert len(stub.asked) == 1


async def test_a_lasting_failure_is_told(stub: Stub) -> None:
    engine = await started(stub)
    stub.failures = [Response(status_code=503) for _ in range(9)]
    with pytest.raises(EngineUnavailable, match="503"):
        await steps_of(engine)
    assert len(stub.asked) == 5


async def test_a_stream_that_breaks_off_is_an_error_and_never_sent_again(stub: Stub) -> None:
    stub.chunks, stub.broken = REPLY[:1], True
    with pytest.raises(EngineFailed, match="broke the reply off"):
        await steps_of(await started(stub))
    assert len(stub.asked) == 1


async def test_a_stream_that_ends_without_a_finish_reason_is_an_error(stub: Stub) -> None:
    stub.chunks = REPLY[:1]
    with pytest.raises(EngineFailed, match="broke the reply off"):
        await steps_of(await started(stub))


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        (Response(status_code=401), EngineUnavailable, "JC1_API_KEY"),
        (Response(status_code=403), EngineUnavailable, "JC1_API_KEY"),
        (Response(status_code=404), EngineUnavailable, "--model"),
        (Response(status_code=422), EngineFailed, "422"),
        (
            JSONResponse({"error": {"message": "SECRET", "code": "context_length_exceeded"}}, status_code=400),
            PromptTooLong,
            "512",
        ),
    ],
)
async def test_a_refusal_says_what_to_do_and_nothing_of_the_servers_words(
    stub: Stub, answer: Response, error: type[Exception], told: str
) -> None:
    engine = await started(stub)
    stub.failures = [answer]
    with pytest.raises(error, match=told) as caught:
        await steps_of(engine)
    assert "SECRET" not in str(caught.value)
    assert len(stub.asked) == 1


async def test_the_key_is_sent_and_never_shown(stub: Stub) -> None:
    settings = EngineSettings(model="m", base_url=stub.url, api_key="sk-hidden")
    engine = OpenAIEngine(settings)
    await engine.start()
    await engine.close()
    assert stub.keys == ["Bearer sk-hidden"]
    assert "sk-hidden" not in repr(settings)


async def test_the_only_model_of_a_server_is_taken_and_of_several_the_named_one(stub: Stub) -> None:
    engine = await started(stub, model="jc1-tiny")
    await engine.close()
    assert engine.model == "m"
    stub.models = [{"id": "a"}, {"id": "b"}]
    with pytest.raises(EngineUnavailable, match=r"does not serve 'jc1-tiny': say --model with one of a, b\."):
        await started(stub, model="jc1-tiny")


async def test_of_another_jc1_the_model_that_replies_is_taken(stub: Stub) -> None:
    tasks = {"m": ["chat"], "m@short": ["chat"], "all-MiniLM-L6-v2": ["embedding"]}
    stub.models = [{"id": name, "jc1": {"tasks": kinds}} for name, kinds in tasks.items()]
    engine = await started(stub, model="jc1-tiny")
    await engine.close()
    assert engine.model == "m"


async def test_a_server_that_is_not_there_is_named(unused: Callable[[], int]) -> None:
    engine = OpenAIEngine(EngineSettings(model="m", base_url=f"http://127.0.0.1:{unused()}/v1"))
    with pytest.raises(EngineUnavailable, match="cannot be reached"):
        await engine.start()
    assert not engine.healthy


def test_without_an_address_it_says_what_is_missing() -> None:
    with pytest.raises(InvalidSettings, match="--base-url"):
        OpenAIEngine(EngineSettings())


async def test_closing_the_stream_closes_the_connection_within_a_second(stub: Stub) -> None:
    stub.chunks, stub.hold = REPLY[:1], threading.Event()
    engine = await started(stub)
    stream = engine.generate(PROMPT, Decoding())
    assert (await anext(stream)).text == "hel"
    assert engine.active == 1
    await stream.aclose()
    assert engine.active == 0
    assert await asyncio.to_thread(stub.gone.wait, 1.0)
    stub.hold.set()
    await engine.close()


async def test_a_prompt_that_leaves_no_room_is_refused_here(stub: Stub) -> None:
    engine = await started(stub)
    with pytest.raises(PromptTooLong):
        await steps_of(engine, EnginePrompt((Message.user("x" * 2000),)))
    assert stub.asked == []


async def test_prompts_are_counted_on_the_safe_side(stub: Stub) -> None:
    engine = await started(stub)
    text = "Grüße an die ganze Familie, und bis bald! " * 10
    assert engine.tokenize([Message.user(text)]) == []
    assert engine.count([Message.user(text)]) >= len(text.split())
    assert engine.count([Message.user(text)] * 2) == 2 * engine.count([Message.user(text)])
    await engine.close()


@pytest.fixture
def unused() -> Callable[[], int]:
    """Gives a port that nobody listens on."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return find


# what is generated, and how it is counted

PAUSE = 0.3


def thought(text: str, name: str = "reasoning") -> dict[str, Any]:
    return delta({name: text})


def delta(fields: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    return {**chunk(), "choices": [{"index": 0, "delta": fields, "finish_reason": None, **more}]}


CALL = delta({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]})
REASONED = {**USAGE, "usage": {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}}


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
async def test_reasoning_comes_as_it_is_generated_and_is_no_part_of_the_text(stub: Stub, name: str) -> None:
    stub.chunks = [
        thought("let me ", name),
        thought("see", name),
        chunk("hel"),
        chunk("lo"),
        chunk(finish="stop"),
        USAGE,
    ]
    steps = await steps_of(await started(stub))
    assert [(step.text, step.reasoning) for step in steps] == [
        ("", "let me "),
        ("", "see"),
        ("hel", ""),
        ("lo", ""),
        ("", ""),
    ]
    assert steps[0].seconds


@pytest.mark.parametrize("first", [thought("hm"), CALL, delta({"refusal": "No."}), chunk("hel")])
async def test_the_first_token_is_the_first_that_was_generated_and_the_rate_counts_all(
    stub: Stub, first: dict[str, Any], tmp_path: Path
) -> None:
    stub.chunks = [delta({"role": "assistant", "content": ""}), PAUSE, first, PAUSE, chunk("lo"), chunk(finish="stop")]
    stub.chunks += [REASONED]
    settings = Settings(home=tmp_path / "home", engine="openai", model="m", base_url=stub.url)
    async with Workbench.open(settings) as workbench:
        trace = (await workbench.pipeline.chat("hello", memory="off")).trace
    assert PAUSE / 2 < trace.first_token < trace.total - PAUSE / 2
    assert trace.tokens_per_second == pytest.approx(4 / trace.stages["decode"])
    assert trace.stages["decode"] > PAUSE / 2


async def test_the_reasoning_of_a_reply_is_kept_beside_its_text(stub: Stub, tmp_path: Path) -> None:
    stub.chunks = [thought("let me "), thought("see"), chunk("hello"), chunk(finish="stop"), USAGE]
    settings = Settings(home=tmp_path / "home", engine="openai", model="m", base_url=stub.url)
    async with Workbench.open(settings) as workbench:
        reply = await workbench.pipeline.chat("hello", session="s")
        assert (reply.text, reply.choices[0].reasoning) == ("hello", "let me see")
        (turn,) = workbench.sessions.history("local", "s")
    assert turn.reply == "hello"


@pytest.mark.parametrize(
    "odd",
    [
        {**chunk(), "choices": None},
        {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"},
        {},
        delta(None),
        {**chunk(), "choices": [{"index": 0}]},
        {**chunk(), "choices": [{"delta": {"content": None}}]},
        {**USAGE, "usage": None},
        delta({"content": "", "tool_calls": None}, logprobs={"content": None}),
    ],
    ids=str,
)
@pytest.mark.parametrize("place", [0, 1, 3])
async def test_a_chunk_that_says_nothing_does_no_harm(stub: Stub, odd: dict[str, Any], place: int) -> None:
    stub.chunks = [*REPLY[:place], odd, *REPLY[place:]]
    steps = await steps_of(await started(stub))
    assert "".join(step.text for step in steps) == "hello"
    assert steps[-1].usage == Usage(11, 2)


@pytest.mark.parametrize(
    "usage", [[], [{**USAGE, "usage": {}}], [{**USAGE, "usage": {"prompt_tokens": 11, "completion_tokens": None}}]]
)
async def test_without_usage_what_was_generated_is_counted(stub: Stub, usage: list[dict[str, Any]]) -> None:
    stub.chunks = [delta({"role": "assistant", "content": ""}), thought("hm"), *REPLY[:-1], *usage]
    engine = await started(stub)
    steps = await steps_of(engine)
    assert steps[-1].usage == Usage(engine.count(PROMPT.messages), 3)
    stub.chunks = [chunk("hello", token_ids=[5, 6]), chunk(finish="stop", token_ids=[7])]
    assert (await steps_of(await started(stub)))[-1].usage.completion_tokens == 3


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("eos", "stop"),
    ],
)
async def test_the_end_is_what_the_server_says(stub: Stub, word: str, reason: str) -> None:
    stub.chunks = [chunk("hel"), chunk("lo", finish=word), USAGE]
    steps = await steps_of(await started(stub))
    assert [(step.text, step.finish_reason) for step in steps] == [("hel", None), ("lo", None), ("", reason)]


@pytest.mark.parametrize(("stop_reason", "stop"), [("END", "END"), (2, None), (None, None)])
async def test_the_stop_string_that_ended_a_reply_is_the_one_that_the_server_names(
    stub: Stub, stop_reason: str | int | None, stop: str | None
) -> None:
    # vLLM's field: a text is the stop string, a number the id of the token that ended the reply.
    stub.chunks = [chunk("hi"), delta({}, finish_reason="stop", stop_reason=stop_reason), USAGE]
    assert (await steps_of(await started(stub)))[-1].stop == stop


@pytest.mark.parametrize(
    "refusal",
    [
        JSONResponse({"error": {"message": "Unrecognized request argument supplied: stream_options"}}, status_code=400),
        JSONResponse({"detail": [{"loc": ["body", "stream_options"], "msg": "Extra inputs"}]}, status_code=422),
        JSONResponse({"error": "unknown field"}, status_code=400),
    ],
)
async def test_a_server_that_takes_no_stream_options_is_asked_without(stub: Stub, refusal: Response) -> None:
    stub.refuses = lambda request: refusal if "stream_options" in request else None
    stub.chunks = list(REPLY[:-1])
    engine = await started(stub)
    for expected in (2, 3):  # it is remembered
        async with aclosing(engine.generate(PROMPT, Decoding())) as steps:
            found = [step async for step in steps]
        assert found[-1].usage.completion_tokens == 2
        assert len(stub.asked) == expected
    await engine.close()


async def test_a_refusal_of_another_field_is_told_and_usage_is_asked_for_again(stub: Stub) -> None:
    engine = await started(stub)
    stub.refuses = lambda request: JSONResponse({"error": "unknown field seed"}, status_code=400)
    with pytest.raises(EngineFailed, match="400"):
        await anext(engine.generate(PROMPT, Decoding(seed=1)))
    stub.refuses = lambda request: None
    assert (await steps_of(engine))[-1].usage == Usage(11, 2)
    assert "stream_options" in stub.asked[-1]


# tools

CLOCK = Tool("clock", "Tell the time.", {"type": "object", "properties": {"zone": {"type": "string"}}})


def call(index: int | None, id: str | None, name: str | None, arguments: str | None) -> dict[str, Any]:
    return {"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


async def reply_with(stub: Stub, *deltas: dict[str, Any], finish: str = "tool_calls") -> list[Step]:
    stub.chunks = [*(delta({"tool_calls": [piece]}) for piece in deltas), chunk(finish=finish), USAGE]
    return await steps_of(await started(stub), EnginePrompt(PROMPT.messages, tools=Toolset((CLOCK,))))


async def test_tools_and_what_was_called_and_said_are_passed_on(stub: Stub) -> None:
    turn = (*PROMPT.messages, Message.assistant("", (ToolCall("c1", "clock", "{}"),)), Message.tool("Noon.", "c1"))
    tools = Toolset((CLOCK, replace(CLOCK, name="strict", strict=True)), "clock", parallel=False)
    await steps_of(await started(stub), EnginePrompt(turn, tools=tools))
    asked = stub.asked[-1]
    assert asked["messages"][2:] == [
        {"role": "assistant", "content": None, "tool_calls": [ToolCall("c1", "clock", "{}").to_dict()]},
        {"role": "tool", "content": "Noon.", "tool_call_id": "c1"},
    ]
    assert asked["tools"][0] == CLOCK.to_dict()
    assert asked["tools"][1]["function"]["strict"] is True
    assert asked["tool_choice"] == {"type": "function", "function": {"name": "clock"}}
    assert asked["parallel_tool_calls"] is False


@pytest.mark.parametrize(("choice", "sent"), [("auto", None), ("required", "required")])
async def test_a_choice_is_sent_where_it_is_not_the_default(stub: Stub, choice: str, sent: str | None) -> None:
    await steps_of(await started(stub), EnginePrompt(PROMPT.messages, tools=Toolset((CLOCK,), choice)))
    assert stub.asked[-1].get("tool_choice") == sent
    assert "parallel_tool_calls" not in stub.asked[-1]


async def test_calls_come_in_pieces_as_the_server_sends_them(stub: Stub) -> None:
    steps = await reply_with(
        stub, call(0, "a", "clock", ""), call(0, None, None, '{"zo'), call(0, None, None, 'ne": "x"}'),
        call(1, "b", "clock", "{}"),
    )  # fmt: skip
    assert [piece for step in steps for piece in step.calls] == [
        ToolCallDelta(0, 0, "a", "clock"), ToolCallDelta(0, 0, arguments='{"zo'),
        ToolCallDelta(0, 0, arguments='ne": "x"}'), ToolCallDelta(0, 1, "b", "clock", "{}"),
    ]  # fmt: skip
    assert (steps[-1].finish_reason, "".join(step.text for step in steps)) == ("tool_calls", "")


async def test_a_call_has_one_id_and_one_name_whatever_the_server_repeats_or_leaves_out(stub: Stub) -> None:
    repeated = await reply_with(stub, call(0, "a", "clock", "{"), call(0, "a", "clock", "}"))
    pieces = [piece for step in repeated for piece in step.calls]
    assert pieces == [ToolCallDelta(0, 0, "a", "clock", "{"), ToolCallDelta(0, 0, arguments="}")]
    nameless = await reply_with(stub, call(None, None, "clock", "{}"), finish="stop")
    (piece,) = [piece for step in nameless for piece in step.calls]
    assert (len(piece.id), piece.name, nameless[-1].finish_reason) == (9, "clock", "tool_calls")


async def test_a_server_whose_document_knows_no_tools_is_given_none(stub: Stub) -> None:
    schema = {"properties": {"temperature": {}}}
    body = {"requestBody": {"content": {"application/json": {"schema": schema}}}}
    stub.document = {"paths": {"/v1/chat/completions": {"post": body}}}
    with pytest.raises(UnsupportedDecoding, match="'tools'"):
        await steps_of(await started(stub), EnginePrompt(PROMPT.messages, tools=Toolset((CLOCK,))))


async def test_a_turn_with_calls_of_a_remote_model_is_remembered_without_them(stub: Stub, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", engine="openai", model="m", base_url=stub.url)
    async with Workbench.open(settings) as workbench:
        stub.chunks = [CALL, chunk(finish="tool_calls"), USAGE]
        reply = await workbench.pipeline.chat("What time is it?", tools=[replace(CLOCK, name="f")], session="s")
        (asked,) = reply.choices[0].tool_calls
        stub.chunks = [thought("noon, so"), chunk("It is noon."), chunk(finish="stop"), USAGE]
        turn = [Message.user("What time is it?"), Message.assistant("", (asked,)), Message.tool("12:00", asked.id)]
        await workbench.pipeline.chat(turn, session="s")
        (stored,) = workbench.sessions.history("local", "s")
        texts = {record.text for record in workbench.memory.list("local").records}
    assert (stored.user, stored.reply) == ("What time is it?", "It is noon.")
    assert texts == {"What time is it?", "It is noon."}
