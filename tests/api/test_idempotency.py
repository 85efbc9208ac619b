"""`Idempotency-Key` at the routes that take it."""

from __future__ import annotations

import httpx

from jc1 import Workbench
from jc1.access.principal import ADMIN
from tests.api.conftest import bearer
from tests.support.wire import error_of

ADA = {"text": "My cat is called Ada."}
KEY = {"idempotency-key": "1"}


async def test_a_memory_that_is_sent_twice_is_stored_once(client: httpx.AsyncClient, workbench: Workbench) -> None:
    first, second = [await client.post("/v1/memory", json=ADA, headers=KEY) for _ in range(2)]
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert workbench.memory.list("local").total == 1
    assert (await client.post("/v1/memory?user=ann", json=ADA, headers=KEY)).json()["id"] != first.json()["id"]
    other = await client.post("/v1/memory", json={"text": "My cat is called Bob."}, headers=KEY)
    assert (other.status_code, error_of(other)["code"]) == (422, "idempotency_key_reused")
    await client.delete(f"/v1/memory/{first.json()['id']}")
    assert (await client.post("/v1/memory", json=ADA, headers=KEY)).status_code == 404


async def test_who_may_not_read_is_shown_what_it_sent_and_not_what_became_of_it(
    client: httpx.AsyncClient, workbench: Workbench
) -> None:
    writer, owner = (
        bearer(workbench.keys.create("ann", scopes=scopes).token)
        for scopes in (["memory:write"], ["memory:read", "memory:write"])
    )
    first = (await client.post("/v1/memory", json=ADA, headers={**writer, **KEY})).json()
    await client.patch(f"/v1/memory/{first['id']}", json={"text": "My cat is called Bob."}, headers=owner)
    for headers, text in ((writer, ADA["text"]), (owner, "My cat is called Bob.")):
        assert (await client.post("/v1/memory", json=ADA, headers={**headers, **KEY})).json()["text"] == text


async def test_a_key_that_is_asked_for_twice_is_made_once_and_its_token_told_once(
    client: httpx.AsyncClient, workbench: Workbench
) -> None:
    headers = {**bearer(workbench.keys.create("root", scopes={ADMIN}).token), **KEY}
    first, second = [await client.post("/v1/keys", json={"owner": "ann"}, headers=headers) for _ in range(2)]
    assert (first.status_code, second.status_code) == (201, 409)
    assert error_of(second)["code"] == "conflict"
    assert first.json()["id"] in error_of(second)["message"]
    assert first.json()["key"] not in second.text
    assert len(workbench.keys.list()) == 2


async def test_without_a_key_each_request_is_done(client: httpx.AsyncClient, workbench: Workbench) -> None:
    for _ in range(2):
        await client.post("/v1/memory", json=ADA)
    assert workbench.memory.list("local").total == 2


async def test_a_key_has_1_to_255_characters(client: httpx.AsyncClient, workbench: Workbench) -> None:
    for key, status in (("", 400), ("x" * 256, 400), ("x", 201), ("x" * 255, 201)):
        answer = await client.post("/v1/memory", json=ADA, headers={"idempotency-key": key})
        assert answer.status_code == status
