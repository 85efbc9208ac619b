"""Embeddings: OpenAI's shapes, its client, and what is refused before anything is embedded."""

import base64
from typing import Any

import httpx
import numpy as np
import openai as sdk
import pytest
from openai import OpenAI

from jc1 import Workbench
from jc1.access.principal import Limits
from jc1.embedding.base import Embedder
from jc1_api.routes.embeddings import Embeddings
from tests.api.conftest import bearer
from tests.support.wire import error_of

URL = "/v1/embeddings"
MODEL = "all-MiniLM-L6-v2"
TEXTS = ["A walrus eats clams.", "The tide is out."]


def test_the_official_client_gets_the_vectors_that_memory_has(openai: OpenAI, embedder: Embedder) -> None:
    expected = embedder.embed(TEXTS)
    assert openai.models.retrieve(MODEL).model_extra["jc1"]["tasks"] == ["embedding"]
    for extra in ({}, {"encoding_format": "float"}, {"dimensions": 384, "user": "ann"}):
        answer = openai.embeddings.create(model=MODEL, input=TEXTS, **extra)
        assert [entry.index for entry in answer.data] == [0, 1]
        np.testing.assert_array_equal(np.array([e.embedding for e in answer.data], np.float32), expected)
        assert answer.usage.prompt_tokens == answer.usage.total_tokens == embedder.count(TEXTS)
    (one,) = openai.embeddings.create(model=MODEL, input=TEXTS[1]).data
    np.testing.assert_allclose(one.embedding, expected[1], atol=1e-3)
    with pytest.raises(sdk.NotFoundError) as unknown:
        openai.embeddings.create(model="text-embedding-3-small", input=TEXTS)
    assert (unknown.value.code, MODEL in unknown.value.message) == ("model_not_found", True)


async def test_an_answer_keeps_to_its_schema_in_both_encodings(client: httpx.AsyncClient) -> None:
    both = []
    for encoding in ("float", "base64"):
        answer = await client.post(URL, json={"model": MODEL, "input": "One", "encoding_format": encoding})
        assert answer.status_code == 200, answer.text
        both.append(Embeddings.model_validate(answer.json(), strict=True).data[0].embedding)
    assert isinstance(both[1], str)
    np.testing.assert_array_equal(np.float32(both[0]), np.frombuffer(base64.b64decode(both[1]), "<f4"))


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"input": [1, 2]}, "input", "token ids"),
        ({"input": [[1, 2], [3]]}, "input", "token ids"),
        ({"input": []}, "input", "at least 1"),
        ({"input": ["a"] * 2049}, "input", "at most 2048"),
        ({"input": ""}, "input", "empty"),
        ({"input": ["a", " "]}, "input[1]", "empty"),
        ({"input": ["a", 5]}, "input[1]", "should be a text"),
        ({"input": None}, "input", "should be a text"),
        ({"dimensions": 256}, "dimensions", "384"),
        ({"encoding_format": "int8"}, "encoding_format", "'float'"),
        ({"model": "echo"}, "model", MODEL),
        ({"task": "query"}, "task", "Unknown field"),
    ],
)
async def test_what_cannot_be_embedded_is_refused_by_name(
    client: httpx.AsyncClient, workbench: Workbench, fields: dict[str, Any], param: str, words: str
) -> None:
    answer = await client.post(URL, json={"model": MODEL, "input": "Hello.", **fields})
    assert 400 <= answer.status_code < 500
    assert error_of(answer)["param"] == param
    assert words in error_of(answer)["message"]


async def test_what_a_key_embeds_is_counted_and_limited(client: httpx.AsyncClient, workbench: Workbench) -> None:
    key = bearer(workbench.keys.create("ann", scopes={"embed"}, limits=Limits(tokens_per_minute=8)).token)
    body = {"model": MODEL, "input": "A walrus."}
    answer = await client.post(URL, json=body, headers=key)
    tokens = answer.json()["usage"]["prompt_tokens"]
    assert answer.headers["x-ratelimit-remaining-tokens"] == str(8 - len("A walrus.") // 4)
    over = await client.post(URL, json={**body, "input": "x" * 40}, headers=key)
    assert (over.status_code, error_of(over)["code"]) == (429, "rate_limit_exceeded")
    (row,) = (await client.get("/v1/usage", headers=key)).json()["data"]
    assert (row["model"], row["requests"], row["prompt_tokens"], row["refused"]) == (MODEL, 1, tokens, 1)
    chatting = bearer(workbench.keys.create("ann", scopes={"chat"}).token)
    assert (await client.post(URL, json=body, headers=chatting)).status_code == 403
