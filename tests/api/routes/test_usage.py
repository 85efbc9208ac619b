"""`/v1/usage` and the headers of limits, as clients meet them."""

from __future__ import annotations

from typing import Any

import httpx

from jc1 import Workbench
from jc1.access.principal import ADMIN, Limits
from tests.api.conftest import bearer

ASKED: dict[str, Any] = {"model": "echo", "messages": [{"role": "user", "content": "Hello there."}], "memory": "off"}
CHAT = "/v1/chat/completions"


async def test_without_keys_usage_is_counted_under_none(client: httpx.AsyncClient) -> None:
    spent = (await client.post(CHAT, json=ASKED)).json()["usage"]
    (row,) = (await client.get("/v1/usage")).json()["data"]
    assert row == {
        "key": "",
        "model": "echo",
        "day": row["day"],
        "requests": 1,
        "prompt_tokens": spent["prompt_tokens"],
        "completion_tokens": spent["completion_tokens"],
        "refused": 0,
    }


async def test_a_key_sees_its_own_usage_and_an_admin_everybodys(
    client: httpx.AsyncClient, workbench: Workbench
) -> None:
    keys = workbench.keys
    ann, ben, root = keys.create("ann"), keys.create("ben"), keys.create("root", scopes={ADMIN})
    for issued in (ann, ben, ben):
        assert (await client.post(CHAT, json=ASKED, headers=bearer(issued.token))).status_code == 200

    async def seen(token: str, **query: str) -> dict[str, int]:
        answer = await client.get("/v1/usage", headers=bearer(token), params=query)
        return {row["key"]: row["requests"] for row in answer.json()["data"]}

    assert await seen(ann.token) == await seen(ann.token, key=ann.key.id) == {ann.key.id: 1}
    assert await seen(root.token) == {ann.key.id: 1, ben.key.id: 2}
    assert await seen(root.token, key=ben.key.id) == {ben.key.id: 2}
    spied = await client.get("/v1/usage", headers=bearer(ann.token), params={"key": ben.key.id})
    assert spied.status_code == 403


async def test_an_answer_says_what_is_left_and_a_refusal_when_to_come_back(
    client: httpx.AsyncClient, workbench: Workbench
) -> None:
    limits = Limits(requests_per_minute=2, tokens_per_minute=10_000)
    headers = bearer(workbench.keys.create("ann", limits=limits).token)
    whole = await client.post(CHAT, json=ASKED, headers=headers)
    streamed = await client.post(CHAT, json={**ASKED, "stream": True}, headers=headers)
    for answer, left in ((whole, "1"), (streamed, "0")):
        assert answer.status_code == 200
        assert answer.headers["x-ratelimit-limit-requests"] == "2"
        assert answer.headers["x-ratelimit-remaining-requests"] == left
        assert int(answer.headers["x-ratelimit-remaining-tokens"]) < 10_000
    refused = await client.post(CHAT, json=ASKED, headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"


async def test_what_works_with_memory_counts_as_a_request_too(client: httpx.AsyncClient, workbench: Workbench) -> None:
    headers = bearer(workbench.keys.create("ann", limits=Limits(requests_per_minute=3)).token)

    async def statuses(times: int) -> list[int]:
        params = {"q": "a walrus"}
        answers = [await client.get("/v1/memory/search", headers=headers, params=params) for _ in range(times)]
        return [answer.status_code for answer in answers]

    assert (await client.post("/v1/memory", json={"text": "A walrus."}, headers=headers)).status_code == 201
    assert await statuses(3) == [200, 200, 429]
    assert (await client.post(CHAT, json=ASKED, headers=headers)).status_code == 429
    assert (await client.get("/v1/models", headers=headers)).status_code == 200


async def test_whatever_is_refused_moves_a_counter_also_what_never_reached_the_pipeline(
    client: httpx.AsyncClient,
) -> None:
    await client.post(CHAT, json={**ASKED, "model": "other"})
    await client.post(CHAT, content=b"{", headers={"content-type": "application/json"})
    await client.get("/v1/models", headers={"host": "evil.example"})
    await client.get("/v1/nothing")
    figures = (await client.get("/metrics")).text
    for code in ("model_not_found", "invalid_request", "host_refused", "not_found"):
        assert f'jc1_http_errors_total{{code="{code}"}} 1.0' in figures, code
    assert "jc1_request_seconds_count" not in figures
