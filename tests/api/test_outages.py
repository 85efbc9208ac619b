"""A full disk and a damaged database under a running server: what the client is told, and that nothing is lost."""

import random
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, event

from jc1 import Settings


async def chat(client: httpx.AsyncClient, text: str, **fields: Any) -> httpx.Response:
    body = {"model": "echo", "messages": [{"role": "user", "content": text}], **fields}
    return await client.post("/v1/chat/completions", json=body)


def fill_disk(database: Engine) -> Any:
    """Let the database grow no further, as on a full disk; gives what makes room again."""

    def limit(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA max_page_count = 1")

    event.listen(database, "connect", limit)
    database.dispose()

    def free() -> None:
        event.remove(database, "connect", limit)
        database.dispose()

    return free


async def test_a_full_disk_refuses_to_store_and_goes_on_to_reply(client: httpx.AsyncClient, database: Engine) -> None:
    kept = (await client.post("/v1/memory", json={"text": "My cat is called Ada."})).json()
    free = fill_disk(database)
    response = await client.post("/v1/memory", json={"text": "long " * 1900})
    assert (response.status_code, response.json()["error"]["code"]) == (507, "storage_full")
    assert "make room" in response.json()["error"]["message"]

    reply = (await chat(client, "long " * 1900, session="s")).json()
    assert reply["choices"][0]["message"]["content"].startswith("long")
    assert (reply["jc1"]["remembered"], reply["jc1"]["remember_error"]) == (False, "storage_full")
    stream = await chat(client, "long " * 1900, session="s", stream=True)
    assert '"remembered":false,"remember_error":"storage_full"' in stream.text
    assert stream.text.endswith("data: [DONE]\n\n")
    assert (await client.get("/v1/memory")).json()["data"] == [kept]

    free()
    assert (await chat(client, "long " * 1900, session="s")).json()["jc1"]["remembered"] is True
    (turn,) = (await client.get("/v1/sessions/s")).json()["data"]
    assert turn["number"] == 1


async def test_a_database_that_is_damaged_while_it_serves_is_named_and_told_apart(
    client: httpx.AsyncClient, database: Engine, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(20):
        await client.post("/v1/memory", json={"text": f"I have seen the lighthouse number {number}."})
    database.dispose()
    file = settings.home / "jc1.db"
    damage(file)
    for method, path, body in (
        ("GET", "/v1/memory", None),
        ("POST", "/v1/memory", {"text": "I like tea."}),
        ("GET", "/v1/sessions", None),
        ("POST", "/v1/chat/completions", {"model": "echo", "messages": [{"role": "user", "content": "Hi."}]}),
    ):
        response = await client.request(method, path, json=body)
        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (500, "database_corrupt"), path
        assert "restore a backup" in error["message"]
        assert "sqlite" not in response.text.lower()
    ready = await client.get("/health/ready")
    assert ready.status_code == 503
    assert ready.json()["checks"]["database"].endswith("[database_corrupt]")


def damage(file: Path) -> None:
    """Overwrite all that follows the first page with noise."""
    size = file.stat().st_size
    assert size > 8192
    with file.open("r+b") as opened:
        opened.seek(4096)
        opened.write(random.Random(1).randbytes(size - 4096))
