"""Completions: OpenAI's older shapes, its client, and what is refused before the engine is asked."""

import json
from typing import Any

import httpx
import openai as sdk
import pytest
from openai import OpenAI

from jc1 import Preset, Settings, Workbench
from jc1.access.principal import Limits
from jc1.engines.echo import EchoEngine
from jc1_api.completions_format import Completion, CompletionChunk
from jc1_api.routes.completions import UNSUPPORTED
from tests.api.conftest import bearer
from tests.support.wire import error_of

URL = "/v1/completions"


async def ask(client: httpx.AsyncClient, prompt: Any = "Once upon", **fields: Any) -> dict[str, Any]:
    response = await client.post(URL, json={"model": "echo", "prompt": prompt, **fields})
    assert response.status_code == 200, response.text
    reply: dict[str, Any] = response.json()
    return reply


async def stream(client: httpx.AsyncClient, prompt: Any = "Once upon", **fields: Any) -> list[dict[str, Any]]:
    response = await client.post(URL, json={"model": "echo", "prompt": prompt, "stream": True, **fields})
    assert response.status_code == 200, response.text
    *data, last, rest = response.text.split("\n\n")
    assert (last, rest) == ("data: [DONE]", "")
    return [json.loads(line.removeprefix("data: ")) for line in data]


def test_the_official_client_completes_texts_and_tokens(openai: OpenAI) -> None:
    for prompt in ("Once upon", ["Once upon"], list(b"Once upon"), [list(b"Once upon")]):
        reply = openai.completions.create(model="echo", prompt=prompt)
        assert (reply.choices[0].text, reply.choices[0].finish_reason) == ("Once upon", "stop")
        assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (9, 10)
    several = openai.completions.create(model="echo", prompt=["one", "two"], n=2, temperature=0.01, best_of=2, seed=-1)
    assert [choice.text for choice in several.choices] == ["one", "one", "two", "two"]
    assert several.model_extra["jc1"]["recalled"] == []


def test_the_official_client_streams(openai: OpenAI) -> None:
    texts = ["", ""]
    streamed = openai.completions.create(
        model="echo", prompt=["one", "two"], echo=True, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(streamed)
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert texts == ["oneone", "twotwo"]
    assert chunks[-1].usage.prompt_tokens == 6
    assert chunks[-1].model_extra["jc1"]["trace_id"]
    with pytest.raises(sdk.BadRequestError) as refused:
        openai.completions.create(model="echo", prompt="x" * 20_000, stream=True)
    assert (refused.value.code, refused.value.param) == ("context_length_exceeded", "prompt")


async def test_a_reply_and_its_stream_keep_to_their_schemas(client: httpx.AsyncClient) -> None:
    whole = await ask(client, "Hé!", logprobs=2)
    Completion.model_validate(whole)
    chunks = await stream(client, "Hé!", logprobs=2)
    for chunk in chunks:
        CompletionChunk.model_validate(chunk)
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == whole["choices"][0]["text"] == "Hé!"
    assert [bool(chunk.get("jc1")) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


async def test_logprobs_are_lists_with_the_place_of_each_token(client: httpx.AsyncClient) -> None:
    logprobs = (await ask(client, "aé!", logprobs=1, max_tokens=4))["choices"][0]["logprobs"]
    assert logprobs["tokens"] == ["a", "bytes:\\xc3", "bytes:\\xa9", "!"]
    assert logprobs["text_offset"] == [0, 1, 1, 2]
    for token, logprob, top in zip(
        logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True
    ):
        assert top[token] == logprob == max(top.values()) < 0
    chunks = [choice for chunk in await stream(client, "aé!", logprobs=1, max_tokens=4) for choice in chunk["choices"]]
    streamed = [choice["logprobs"] for choice in chunks if choice["logprobs"]]
    for name, values in logprobs.items():
        assert [value for one in streamed for value in one[name]] == values
    (forced,) = (await ask(client, "a", logprobs=0, max_tokens=1, logit_bias={98: 100}))["choices"]
    assert forced["logprobs"]["tokens"] == list(forced["logprobs"]["top_logprobs"][0]) == ["b"]


async def test_the_prompt_is_echoed_before_each_choice_also_where_nothing_follows(client: httpx.AsyncClient) -> None:
    fields = {"echo": True, "stop": "o", "n": 2, "temperature": 0.01}
    prompts = [list(b"Two"), list("é".encode())]
    expected = ["TwoTw", "TwoTw", "éé", "éé"]
    assert [choice["text"] for choice in (await ask(client, prompts, **fields))["choices"]] == expected
    texts = [""] * 4
    for chunk in await stream(client, prompts, **fields):
        for choice in chunk["choices"]:
            texts[choice["index"]] += choice["text"]
    assert texts == expected
    (silent,) = await stream(client, "oh", echo=True, stop="o")
    assert (silent["choices"][0]["text"], silent["choices"][0]["finish_reason"]) == ("oh", "stop")


async def test_decoding_is_the_requests_then_its_presets_but_for_the_number_of_replies(
    client: httpx.AsyncClient, workbench: Workbench, settings: Settings
) -> None:
    workbench.presets.save(Preset("pair", decoding={"n": 2, "temperature": 1.0, "max_tokens": 3}))
    (choice,) = (await ask(client, model="echo@pair", temperature=0))["choices"]
    assert choice["text"] == "Onc"
    long = "x" * (settings.max_reply_tokens + 5)
    fields = {"top_k": -1, "seed": -1, "max_tokens": -1, "min_p": 0.0, "preset": "pair", "temperature": 0}
    assert (await ask(client, long, **fields))["usage"]["completion_tokens"] == settings.max_reply_tokens


async def test_nothing_is_remembered_and_the_trace_is_the_users(
    client: httpx.AsyncClient, workbench: Workbench
) -> None:
    reply = await ask(client, "My cat is called Ada.", user="ann", memory="off")
    assert workbench.memory.list("ann").total == workbench.memory.list("local").total == 0
    assert workbench.telemetry.recent.get(reply["jc1"]["trace_id"]).owner == "ann"


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"prompt": ""}, "prompt", "empty"),
    ({"prompt": []}, "prompt", "at least 1"),
    ({"prompt": None}, "prompt", "should be a text"),
    ({"prompt": {"a": 1}}, "prompt", "should be a text"),
    ({"prompt": [5, "a"]}, "prompt[1]", "integer"),
    ({"prompt": [5, 10_000]}, "prompt", "10000"),
    ({"prompt": [True]}, "prompt[0]", "integer"),
    ({"prompt": [[-1]]}, "prompt[0][0]", "greater than or equal to 0"),
    ({"prompt": ["a", 5]}, "prompt[1]", "should be a text"),
    ({"prompt": ["a"] * 9}, "prompt", "max_n"),
    ({"suffix": "end"}, "suffix", "fills in"),
    ({"memory": "on"}, "memory", "chat"),
    ({"session": "s"}, "session", "chat"),
    ({"messages": [{"role": "user", "content": "Hi"}]}, "messages", "prompt"),
    ({"best_of": 3}, "best_of", "'n'"),
    ({"echo": True, "logprobs": 1}, "echo", "logprobs"),
    ({"logprobs": 21}, "logprobs", "20"),
    ({"n": 0}, "n", "1"),
    ({"max_tokens": 0}, "max_tokens", "1"),
    ({"stream_options": {"include_usage": True}}, "stream_options", "stream"),
    ({"model": "gpt-5"}, "model", "echo"),
    ({"model": "echo@none"}, "model", "none"),
    ({"logit_bias": {"9999": 1}}, "logit_bias", "9999"),
    ({"tools": []}, "tools", "Unknown field"),
]


@pytest.mark.parametrize(("fields", "param", "words"), REFUSED)
async def test_what_cannot_be_honoured_is_refused_by_name(
    client: httpx.AsyncClient, fields: dict[str, Any], param: str, words: str
) -> None:
    answer = await client.post(URL, json={"model": "echo", "prompt": "Once upon", **fields})
    assert 400 <= answer.status_code < 500, answer.text
    assert (error_of(answer)["param"], words in error_of(answer)["message"]) == (param, True), answer.text


def test_every_field_that_is_refused_with_a_reason_is_tried() -> None:
    assert UNSUPPORTED.keys() <= {name for fields, _, _ in REFUSED for name in fields}


async def test_what_a_key_has_completed_is_counted_and_limited(client: httpx.AsyncClient, workbench: Workbench) -> None:
    limits = Limits(tokens_per_minute=60)
    key = bearer(workbench.keys.create("ann", scopes={"chat"}, limits=limits, presets=["default"]).token)
    body = {"model": "echo", "prompt": [list(b"one"), list(b"two")], "max_tokens": 10}
    answer = await client.post(URL, json=body, headers=key)
    assert answer.headers["x-ratelimit-remaining-tokens"] == str(60 - (3 + 3 + 2 * 10))
    over = await client.post(URL, json={**body, "max_tokens": 30}, headers=key)
    assert (over.status_code, error_of(over)["code"]) == (429, "rate_limit_exceeded")
    other = await client.post(URL, json={**body, "preset": "creative"}, headers=key)
    assert (other.status_code, error_of(other)["param"]) == (403, "preset")
    (row,) = (await client.get("/v1/usage", headers=key)).json()["data"]
    assert (row["requests"], row["prompt_tokens"], row["completion_tokens"], row["refused"]) == (1, 6, 8, 2)
    embedding = bearer(workbench.keys.create("ann", scopes={"embed"}).token)
    assert (await client.post(URL, json=body, headers=embedding)).status_code == 403


async def test_an_engine_that_takes_no_raw_prompts_refuses_them_and_is_not_listed_for_them(
    client: httpx.AsyncClient, workbench: Workbench
) -> None:
    engine = workbench.engine
    assert isinstance(engine, EchoEngine)
    object.__setattr__(engine.capabilities, "raw", False)
    for fields in ({}, {"stream": True}, {"echo": True}):
        answer = await client.post(URL, json={"model": "echo", "prompt": "Once upon", **fields})
        assert (answer.status_code, error_of(answer)["code"]) == (400, "unsupported_decoding")
        assert error_of(answer)["param"] == "prompt"
    assert (await client.get("/v1/models/echo")).json()["jc1"]["tasks"] == ["chat"]
