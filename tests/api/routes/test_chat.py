"""Chat completions: OpenAI's shapes, JC1's fields, and what is refused before the engine is asked."""

import json
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from jc1 import Preset, Workbench
from jc1.decoding import Decoding
from jc1.engines.base import EnginePrompt, Step
from jc1.engines.echo import EchoEngine
from jc1.errors import EngineFailed, PromptTooLong
from jc1.memory.base import NewRecord
from jc1.trace import STAGES
from jc1_api.openai_format import ChatCompletion, ChatCompletionChunk
from jc1_api.routes.chat import UNSUPPORTED

URL = "/v1/chat/completions"


def asking(text: str = "Hello there.", **fields: Any) -> dict[str, Any]:
    return {"model": "echo", "messages": [{"role": "user", "content": text}], "memory": "off", **fields}


async def ask(client: httpx.AsyncClient, text: str = "Hello there.", **fields: Any) -> dict[str, Any]:
    response = await client.post(URL, json=asking(text, **fields))
    assert response.status_code == 200, response.text
    reply: dict[str, Any] = response.json()
    return reply


async def refused(client: httpx.AsyncClient, body: Any) -> dict[str, Any]:
    response = await client.post(URL, json=body)
    assert 400 <= response.status_code < 500, response.text
    error: dict[str, Any] = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    return error


def events(response: httpx.Response) -> list[dict[str, Any]]:
    """The chunks of a stream; it must end with `[DONE]`."""
    *data, last, rest = response.text.split("\n\n")
    assert (last, rest) == ("data: [DONE]", "")
    return [json.loads(line.removeprefix("data: ")) for line in data]


async def stream(client: httpx.AsyncClient, text: str = "Hello there.", **fields: Any) -> list[dict[str, Any]]:
    response = await client.post(URL, json=asking(text, stream=True, **fields))
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    return events(response)


async def test_a_reply_has_openais_shape_and_jc1s_story(client: httpx.AsyncClient, workbench: Workbench) -> None:
    workbench.memory.add("local", [NewRecord("My cat is called Ada.")])
    reply = await ask(client, "What is my cat called?", memory="on", session="s", max_tokens=4)
    ChatCompletion.model_validate(reply, strict=False)
    (choice,) = reply["choices"]
    assert choice["message"] == {"role": "assistant", "content": "What", "refusal": None}
    assert (choice["finish_reason"], choice["logprobs"]) == ("length", None)
    assert reply["usage"]["completion_tokens"] == 4
    assert reply["usage"]["total_tokens"] == reply["usage"]["prompt_tokens"] + 4
    told = reply["jc1"]
    assert list(told["stages"]) == [s for s in STAGES if s not in ("hear", "see", "speak")]
    assert told["recalled"][0]["id"] == workbench.memory.list("local").records[-1].id
    assert told["recalled"][0]["dense_score"] > 0
    assert (told["session"], told["remembered"], told["preset"]) == ("s", True, "default@0")
    assert told["dropped"] == {"memories": [], "messages": 0}
    assert workbench.telemetry.recent.get(told["trace_id"]).session == "s"


async def test_a_language_that_the_model_does_not_know_is_told_beside_the_reply(
    client: httpx.AsyncClient, workbench: Workbench
) -> None:
    workbench.engine.model = "jc1-tiny"
    reply = await ask(client, "我的猫叫什么名字？", model="jc1-tiny")
    (notice,) = ChatCompletion.model_validate(reply).jc1.notices
    assert notice.code == "language_not_known"
    assert (await stream(client, "我的猫叫什么名字？", model="jc1-tiny"))[-1]["jc1"]["notices"] == [notice.model_dump()]
    assert (await ask(client, "What is my cat called?", model="jc1-tiny"))["jc1"]["notices"] == []


async def test_a_stream_is_role_contents_finish_and_done(client: httpx.AsyncClient) -> None:
    chunks = await stream(client, "Hi!")
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk, strict=False)
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [c["choices"][0]["delta"] for c in chunks[1:-1]] == [{"content": c} for c in "Hi!"]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert [c["choices"][0]["finish_reason"] for c in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert len({c["id"] for c in chunks}) == 1
    assert all("usage" not in c for c in chunks)
    assert [bool(c.get("jc1")) for c in chunks] == [False] * (len(chunks) - 1) + [True]


async def test_a_stream_ends_with_usage_and_the_story_when_usage_is_asked_for(client: httpx.AsyncClient) -> None:
    chunks = await stream(client, "Hi!", stream_options={"include_usage": True})
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == 4
    assert chunks[-1]["jc1"]["trace_id"].startswith("tr_")
    assert all(c["usage"] is None and "jc1" not in c for c in chunks[:-1])


async def test_several_choices_each_come_whole_in_both_forms(client: httpx.AsyncClient) -> None:
    fields = {"n": 3, "temperature": 1.0, "seed": 5}
    whole = [c["message"]["content"] for c in (await ask(client, "Hello there.", **fields))["choices"]]
    assert len(set(whole)) > 1
    parts = ["", "", ""]
    for chunk in await stream(client, "Hello there.", **fields):
        for choice in chunk["choices"]:
            parts[choice["index"]] += choice["delta"].get("content", "")
    assert parts == whole


async def test_a_preset_may_ask_for_several_choices_and_each_begins_with_its_role(
    client: httpx.AsyncClient, workbench: Workbench
) -> None:
    workbench.presets.save(Preset("pair", decoding={"n": 2, "temperature": 1.0}))
    seen: dict[int, list[Any]] = {}
    for chunk in await stream(client, "Hi!", preset="pair"):
        for choice in chunk["choices"]:
            seen.setdefault(choice["index"], []).append(choice["delta"])
    assert [deltas[0] for deltas in seen.values()] == [{"role": "assistant", "content": ""}] * 2
    assert all("role" not in delta for deltas in seen.values() for delta in deltas[1:])


async def test_an_empty_reply_has_its_role_too(client: httpx.AsyncClient) -> None:
    first, last = await stream(client, "Hi!", stop="H")
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert last["choices"][0]["finish_reason"] == "stop"


async def test_logprobs_come_for_each_token_and_can_be_read_as_json(client: httpx.AsyncClient) -> None:
    fields = {"logprobs": True, "top_logprobs": 2, "max_tokens": 2}
    content = (await ask(client, "é!", **fields))["choices"][0]["logprobs"]["content"]
    assert [len(token["top_logprobs"]) for token in content] == [2, 2]
    assert all(-9999 <= token["logprob"] <= 0 for token in content)
    assert [byte for token in content for byte in token["bytes"]] == list("é".encode()), "halves of a character"
    streamed = [c["choices"][0]["logprobs"] for c in await stream(client, "é!", **fields)]
    assert [t for logprobs in streamed if logprobs for t in logprobs["content"]] == content


async def test_logprobs_are_of_the_text_and_not_of_what_ended_it(client: httpx.AsyncClient) -> None:
    for ended in ({}, {"stop": "lo"}):
        choice = (await ask(client, "Hello", logprobs=True, **ended))["choices"][0]
        spelled = bytes(byte for token in choice["logprobs"]["content"] for byte in token["bytes"])
        assert spelled.decode() == choice["message"]["content"]
        chunks = await stream(client, "Hello", logprobs=True, **ended)
        assert all(c["choices"][0]["delta"] or c["choices"][0]["finish_reason"] for c in chunks)


async def test_an_impossible_token_has_the_lowest_number_json_can_hold(
    client: httpx.AsyncClient, workbench: Workbench
) -> None:
    workbench.engine = EchoEngine(logits=lambda _: [0.0, -float("inf"), -float("inf")], vocabulary=[b"a", b"b"])
    await workbench.engine.start()
    (token,) = (await ask(client, logprobs=True, top_logprobs=2, max_tokens=1))["choices"][0]["logprobs"]["content"]
    assert [other["logprob"] for other in token["top_logprobs"]] == [0.0, -9999.0]


async def test_every_sampler_field_reaches_the_engine(client: httpx.AsyncClient) -> None:
    assert (await ask(client, "Hello.", stop="lo"))["choices"][0]["message"]["content"] == "Hel"
    assert (await ask(client, "Hello.", stop=["o", "e"]))["choices"][0]["message"]["content"] == "H"
    assert (await ask(client, "Hello.", max_completion_tokens=2))["usage"]["completion_tokens"] == 2
    assert (await ask(client, "a", logit_bias={"97": -100, "98": 100}, max_tokens=3))["choices"][0]["message"][
        "content"
    ] == "bbb"
    fields = {"temperature": 1.5, "top_k": 5, "top_p": 0.9, "min_p": 0.01, "repetition_penalty": 1.1, "seed": 3}
    fields |= {"presence_penalty": 0.1, "frequency_penalty": 0.1, "min_tokens": 2, "max_tokens": 6}
    assert (await ask(client, **fields))["choices"] == (await ask(client, **fields))["choices"]


async def test_the_model_name_picks_a_preset(client: httpx.AsyncClient, workbench: Workbench) -> None:
    saved = workbench.presets.save(Preset("short", decoding={"max_tokens": 2}))
    workbench.presets.set_alias("champion", saved.reference)
    for fields in ({"model": "echo@champion"}, {"model": "echo@short@1"}, {"preset": "short"}):
        reply = await ask(client, "Hello.", **fields)
        assert reply["choices"][0]["message"]["content"] == "He"
        assert (reply["jc1"]["preset"], reply["model"]) == ("short@1", "echo")


async def test_the_user_names_the_owner(client: httpx.AsyncClient, workbench: Workbench) -> None:
    await ask(client, "My cat is called Ada.", memory="on", user="ann")
    assert workbench.memory.list("ann").total == 2
    assert workbench.memory.list("local").total == 0
    reply = await ask(client, "What is my cat called?", memory="read")
    assert reply["jc1"]["recalled"] == []


async def test_beams_come_whole_with_their_scores_also_in_a_stream(client: httpx.AsyncClient) -> None:
    fields = {"beam_width": 3, "n": 2, "length_penalty": 0.5, "max_tokens": 40}
    reply = await ask(client, "Hi", **fields)
    texts = [choice["message"]["content"] for choice in reply["choices"]]
    assert texts[0] == "Hi"
    scores = reply["jc1"]["scores"]
    assert len(scores) == 2
    assert scores == sorted(scores, reverse=True)
    chunks = await stream(client, "Hi", **fields)
    said = [
        (c["index"], c["delta"]["content"]) for chunk in chunks for c in chunk["choices"] if c["delta"].get("content")
    ]
    assert said == list(enumerate(texts))
    assert chunks[-1]["jc1"]["scores"] == scores


class _Guided(EchoEngine):
    """Takes guides, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self._capabilities = replace(self._capabilities, decoding=frozenset(Decoding.model_fields))
        self.asked: list[Decoding] = []

    async def generate(self, prompt: EnginePrompt, decoding: Decoding) -> AsyncGenerator[Step, None]:
        self.asked.append(decoding)
        yield Step(0, "ok", (1,), "stop")


async def test_a_response_format_reaches_an_engine_that_has_guides(
    client: httpx.AsyncClient, workbench: Workbench
) -> None:
    engine = workbench.engine = _Guided()
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    wrapped = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    await ask(client, response_format=wrapped)
    await ask(client, response_format={"type": "json_object"})
    await ask(client, response_format={"type": "text"}, choice=["a", "b"])
    assert [decoding.json_schema for decoding in engine.asked] == [schema, {"type": "object"}, None]
    assert engine.asked[2].choice == ("a", "b")


async def test_text_parts_developer_messages_and_fields_that_clients_send_back_are_taken(
    client: httpx.AsyncClient,
) -> None:
    first = (await ask(client))["choices"][0]["message"]
    nothing = {"tool_calls": None, "function_call": None, "annotations": [], "audio": None}
    last = {"role": "user", "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "two"}]}
    messages = [{"role": "developer", "content": "Be brief."}, {**first, **nothing}, last]
    reply = await ask(client, messages=messages, tools=[], tool_choice="none", response_format={"type": "text"},
                      metadata={"a": "b"}, store=False, stream=False, stream_options=None, stop=None)  # fmt: skip
    assert reply["choices"][0]["message"]["content"] == "One\ntwo"


@pytest.mark.parametrize("empty", [{"content": None}, {}, {"content": None, "tool_calls": [], "refusal": ""},
                                   {"content": "Hi.", "reasoning": "A greeting."}])  # fmt: skip
async def test_names_and_replies_without_content_are_taken_as_openai_takes_them(
    client: httpx.AsyncClient, empty: dict[str, Any]
) -> None:
    messages = [
        {"role": "user", "content": "Hello.", "name": "Ann"},
        {"role": "assistant", "name": "Bo", **empty},
        {"role": "user", "content": "And now?", "name": None},
    ]
    assert (await ask(client, messages=messages))["choices"][0]["message"]["content"] == "And now?"


CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOL = {"role": "tool", "tool_call_id": "call_1", "content": "4"}
FILE = {"type": "file", "file": {"file_id": "x"}}


@pytest.mark.parametrize(
    ("message", "param", "words"),
    [
        ({"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "f"}}]},
         "tool_calls[0].function.arguments", "is missing"),
        ({"role": "assistant", "tool_calls": [{**CALL, "type": "custom"}]}, "tool_calls[0].type", "'function'"),
        ({"role": "assistant", "function_call": CALL["function"]}, "function_call", "older name"),
        ({"role": "assistant", "audio": {"id": "a"}}, "audio", "messages are text"),
        ({"role": "assistant", "refusal": 5}, "refusal", "should be a text"),
        ({"role": "user", "content": "Hi", "refusal": "No."}, "refusal", "the assistant alone refuses"),
        ({**TOOL, "tool_call_id": None}, "tool_call_id", "should be a text"),
        ({"role": "function", "name": "f", "content": "4"}, "role", "'function' cannot be read"),
        ({"role": "user", "content": None}, "content", "should be a text"),
        ({"role": "user"}, "content", "is missing"),
        ({"role": "user", "content": 5}, "content", "should be a text"),
        ({"role": "user", "content": [FILE]}, "content[0].type", "'file' cannot be read"),
        ({"role": "user", "content": [{"type": "text", "text": 5}]}, "content[0].text", "should be a text"),
        ({"role": "user", "content": [{"type": "text"}]}, "content[0].text", "is missing"),
        ({"role": "user", "content": [{"type": "text", "text": "a", "tone": "b"}]}, "content[0].tone", "Unknown"),
        ({"role": "user", "content": ["Hi"]}, "content[0]", "should be an object"),
        ({"role": "user", "content": "Hi", "tone": "b"}, "tone", "Unknown field"),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else "",
)  # fmt: skip
async def test_a_message_that_cannot_be_read_is_blamed_on_the_part_that_is_wrong(
    client: httpx.AsyncClient, message: dict[str, Any], param: str, words: str
) -> None:
    error = await refused(client, asking(messages=[{"role": "user", "content": "One."}, message]))
    assert (error["code"], error["param"]) == ("invalid_request", f"messages[1].{param}")
    assert words in error["message"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"max_completion_tokens": 4097}, "max_completion_tokens"),
        ({"max_completion_tokens": 5, "max_tokens": 5, "min_tokens": -1}, "min_tokens"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"model": "echo@nobody"}, "model"),
        ({"preset": "nobody"}, "preset"),
        ({"stop": ["a", 1]}, "stop[1]"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
    ],
)
async def test_the_field_that_was_sent_is_blamed(client: httpx.AsyncClient, fields: dict[str, Any], param: str) -> None:
    error = await refused(client, asking(**fields))
    assert error["param"] == param
    for other in ("'max_tokens'", "'json_schema'", "'preset'"):
        assert other not in error["message"] or other == repr(param)


async def test_minus_one_is_off_as_on_other_servers(client: httpx.AsyncClient, workbench: Workbench) -> None:
    workbench.presets.save(Preset("narrow", decoding={"temperature": 2.0, "top_k": 1, "seed": 7}))
    texts = [
        (await ask(client, "Hello.", preset="narrow", **fields))["choices"][0]["message"]["content"]
        for fields in ({"top_k": -1, "seed": 1}, {"top_k": -1, "seed": 1}, {"top_k": -1, "seed": -1}, {})
    ]
    assert texts[0] == texts[1]
    assert len(set(texts)) == 3
    workbench.presets.save(Preset("short", decoding={"max_tokens": 2}))
    for name in ("max_tokens", "max_completion_tokens"):
        whole = await ask(client, "Hello.", preset="short", **{name: -1})
        assert whole["choices"][0]["message"]["content"] == "Hello."


async def test_no_character_ends_a_line_of_an_event(client: httpx.AsyncClient) -> None:
    text = "a\u2028b\u2029c\x85d"
    response = await client.post(URL, json=asking(text, stream=True))
    assert len(response.text.splitlines()) == len(response.text.split("\n")) - 1
    assert "".join(e["choices"][0]["delta"].get("content", "") for e in events(response)) == text


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"messages": []}, "invalid_request", "messages"),
        ({"messages": [{"role": "user", "content": " "}]}, "empty_message", "messages"),
        ({"messages": [{"role": "user", "content": ""}]}, "empty_message", "messages"),
        ({"messages": [{"role": "wizard", "content": "Hi"}] * 2}, "unknown_role", "messages"),
        ({"messages": [{"role": "user", "content": "a\ud800"}]}, "invalid_request", "messages[0].content"),
        ({"messages": [{"role": "assistant", "content": "Hi"}]}, "invalid_request", "messages"),
        ({"messages": [{"role": "user", "content": "Hi"}] * 501}, "request_too_large", "messages"),
        ({"messages": "Hi"}, "invalid_request", "messages"),
        ({"temperature": -1}, "invalid_decoding", "temperature"),
        ({"temperature": "0.5"}, "invalid_request", "temperature"),
        ({"temperature": True}, "invalid_request", "temperature"),
        ({"top_k": 1.5}, "invalid_request", "top_k"),
        ({"max_tokens": 0}, "invalid_decoding", "max_tokens"),
        ({"max_tokens": 4097}, "invalid_request", "max_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "invalid_request", "max_tokens"),
        ({"n": 9, "temperature": 1}, "invalid_request", "n"),
        ({"n": 2}, "invalid_decoding", None),
        ({"beam_width": 2, "stop": "x"}, "invalid_decoding", None),
        ({"regex": "a+"}, "unsupported_decoding", "regex"),
        ({"choice": ["a", "b"]}, "unsupported_decoding", "choice"),
        ({"top_logprobs": 2}, "invalid_request", "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "invalid_request", "top_logprobs"),
        ({"logit_bias": {"cat": 1}}, "invalid_decoding", "logit_bias"),
        ({"stop": [""]}, "invalid_decoding", "stop"),
        ({"memory": "maybe"}, "invalid_request", "memory"),
        ({"session": ""}, "invalid_request", "session"),
        ({"session": "x" * 201}, "invalid_request", "session"),
        ({"session": "a\nb"}, "invalid_request", "session"),
        ({"session": ".."}, "invalid_request", "session"),
        ({"user": ""}, "invalid_request", "user"),
        ({"user": "a\nb"}, "invalid_request", "user"),
        ({"colour": "red"}, "invalid_request", "colour"),
        ({"response_format": {"type": "json_object"}}, "unsupported_decoding", "response_format"),
        ({"response_format": {"type": "json_schema"}}, "invalid_request", "response_format"),
        ({"response_format": {"type": "xml"}}, "invalid_request", "response_format.type"),
        ({"model": "gpt-5"}, "model_not_found", "model"),
        ({"model": "echoes"}, "model_not_found", "model"),
        ({"model": "echo@"}, "model_not_found", "model"),
        ({"model": "echo@nobody"}, "preset_not_found", "model"),
        ({"preset": "nobody"}, "preset_not_found", "preset"),
        ({"model": "echo@default", "preset": "default"}, "invalid_request", "preset"),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else None,
)  # fmt: skip
@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "stream"])
async def test_what_cannot_be_served_is_refused_with_its_code_and_field_and_stores_nothing(
    client: httpx.AsyncClient, workbench: Workbench, fields: dict[str, Any], code: str, param: str, streaming: bool
) -> None:
    body = json.dumps({**asking(memory="on"), **fields, "stream": streaming}).encode()
    response = await client.post(URL, content=body, headers={"content-type": "application/json"})
    error = response.json()["error"]
    assert (error["code"], error["param"]) == (code, param), error
    assert response.status_code == {"request_too_large": 413}.get(code, 404 if code.endswith("not_found") else 400)
    assert error["message"].endswith(".")
    assert workbench.memory.list("local").total == 0


@pytest.mark.parametrize("name", sorted(UNSUPPORTED))
async def test_a_field_that_cannot_be_honoured_is_refused_by_name(client: httpx.AsyncClient, name: str) -> None:
    error = await refused(client, asking(**{name: [{"type": "function"}]}))
    assert (error["code"], error["param"]) == ("invalid_request", name)
    assert repr(name) in error["message"]
    assert (await ask(client, **{name: None}))["choices"]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"{", {}),
        (b"", {}),
        (b"[]", {}),
        (b'"x"', {}),
        (b"\xff\xfe", {}),
        (b"[" * 200_000, {}),
        (b'{"model":"echo","messages":[],"temperature":NaN}', {}),
        (b'{"model":"echo","messages":[],"n":' + b"9" * 5000 + b"}", {}),
    ],
    ids=["cut", "nothing", "list", "text", "bytes", "deep", "nan", "digits"],
)
async def test_a_body_that_is_no_request_is_refused(
    client: httpx.AsyncClient, body: bytes, headers: dict[str, str]
) -> None:
    response = await client.post(URL, content=body, headers={"content-type": "application/json", **headers})
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid_request"


async def test_a_prompt_that_is_too_long_is_an_http_error_also_for_a_stream(
    client: httpx.AsyncClient, workbench: Workbench
) -> None:
    workbench.engine = EchoEngine(context_length=200)
    await workbench.engine.start()
    error = await refused(client, asking("word " * 100, stream=True))
    assert error["code"] == PromptTooLong.code == "context_length_exceeded"
    for words in (
        "prompt is too long",
        "this model's maximum context length is",
    ):
        assert words in error["message"]


class Breaking(EchoEngine):
    """Breaks after three tokens."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def generate(self, prompt: Any, decoding: Any) -> Any:
        for text in "abc":
            yield Step(0, text, (1,))
        raise self.error


@pytest.mark.parametrize(
    ("error", "code"), [(EngineFailed("The engine broke: restart it."), "engine_failed"), (KeyError("pass"), None)]
)
async def test_an_engine_that_breaks_in_the_middle_ends_the_stream_with_an_error(
    client: httpx.AsyncClient, workbench: Workbench, error: Exception, code: str | None
) -> None:
    workbench.engine = Breaking(error)
    response = await client.post(URL, json=asking(stream=True))
    *_, last, rest = response.text.split("\n\n")
    told = json.loads(last.removeprefix("data: "))["error"]
    assert (response.status_code, rest) == (200, "")
    assert (told["code"], told["type"]) == (code or "internal_error", "server_error")
    assert "pass" not in response.text
    whole = await client.post(URL, json=asking())
    assert (whole.status_code, whole.json()["error"]["code"]) == (500, code or "internal_error")


async def test_a_preset_is_blamed_by_name_for_the_fields_that_it_alone_sets(
    client: httpx.AsyncClient, workbench: Workbench
) -> None:
    workbench.presets.save(Preset("form", decoding={"regex": "a+"}))
    workbench.presets.save(Preset("warm", decoding={"temperature": 0.8}))
    error = await refused(client, asking(preset="form"))
    assert (error["code"], error["param"]) == ("unsupported_decoding", "preset")
    assert "cannot honour 'regex', which the preset form@1 sets: send 'regex' yourself" in error["message"]
    assert (await refused(client, asking(model="echo@form")))["param"] == "model"
    error = await refused(client, asking(preset="form", regex="b+"))
    assert (error["param"], "preset" in error["message"]) == ("regex", False)
    error = await refused(client, asking(preset="warm", beam_width=2))
    assert (error["code"], error["param"]) == ("invalid_decoding", None)
    assert error["message"].endswith("The preset warm@1 says 'temperature'.")
    error = await refused(client, asking(preset="warm", beam_width=2, temperature=1))
    assert "warm@1" not in error["message"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"session": "x" * 201}, "'session': should have at most 200 characters."),
        ({"messages": [{"role": "user", "content": 5}]}, "'messages[0].content': should be a text."),
        ({"temperature": "warm"}, "'temperature': should be a valid number."),
        ({"memory": "x" * 5000}, "'memory': should be 'on', 'read' or 'off'."),
        ({"max_tokens": 10**400}, "'max_tokens' should be less than or equal to 2147483647."),
    ],
)
async def test_an_error_speaks_of_the_field_and_not_of_python(
    client: httpx.AsyncClient, fields: dict[str, Any], message: str
) -> None:
    assert (await refused(client, asking(**fields)))["message"] == message


@pytest.mark.parametrize("fields", [{"c" * 100_000: 1}, {"messages": [{"role": "w" * 100_000, "content": "Hi"}]}])
async def test_an_error_does_not_repeat_what_is_long(client: httpx.AsyncClient, fields: dict[str, Any]) -> None:
    error = await refused(client, asking(**fields))
    assert len(json.dumps(error)) < 3000
    assert error["message"].endswith(".")
