"""Governing memory over HTTP: filters, changes, forgetting with its undo, export and import."""

import json
import threading
from collections.abc import AsyncIterator, Generator, Sequence
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from jc1 import Workbench
from jc1.embedding.base import Vectors
from jc1.memory.base import NewRecord, SeenPicture
from jc1.memory.exchange import MAX_LINES
from jc1.memory.store import DatabaseMemory
from tests.api.conftest import serving
from tests.api.test_resources import add, chat
from tests.jc1.memory.conftest import HashingEmbedder


async def call(client: httpx.AsyncClient, method: str, path: str, expected: int = 200, **asked: Any) -> Any:
    """The answer of a call that is answered with the expected status."""
    response = await client.request(method, f"/v1/memory{path}", **asked)
    assert response.status_code == expected, response.text
    return response.json()


async def take_in(client: httpx.AsyncClient, content: Any, expected: int = 200, **params: str) -> Any:
    headers = {"content-type": "application/x-ndjson"}
    return await call(client, "POST", "/import", expected, content=content, headers=headers, params=params)


async def texts(client: httpx.AsyncClient, **params: Any) -> list[str]:
    return [record["text"] for record in (await call(client, "GET", "", params=params))["data"]]


async def test_a_picture_that_was_seen_has_a_thumbnail_for_its_owner_alone(
    client: httpx.AsyncClient, workbench: Workbench
) -> None:
    seen = SeenPicture("ab" * 32, 900, 300, "receipt.png", b"\xff\xd8\xff\xe0 a thumbnail")
    told, said = workbench.memory.add(
        "local", [NewRecord("receipt.png: Total: 17.45 EUR", speaker="picture", picture=seen), NewRecord("Hello.")]
    )
    assert (await call(client, "GET", f"/{told.id}"))["picture"] == seen.sha256
    response = await client.get(f"/v1/memory/{told.id}/thumbnail")
    assert (response.status_code, response.content) == (200, seen.thumbnail)
    assert response.headers["content-type"] == "image/jpeg"
    assert response.headers["x-content-type-options"] == "nosniff"
    other = await call(client, "GET", f"/{told.id}/thumbnail", 404, params={"user": "bob"})
    assert other["error"]["code"] == "record_not_found"
    none = await call(client, "GET", f"/{said.id}/thumbnail", 404)
    assert none["error"]["code"] == "picture_not_found"
    await call(client, "DELETE", f"/{told.id}")
    await call(client, "GET", f"/{told.id}/thumbnail", 404)


async def test_a_memory_is_edited_pinned_and_excluded(client: httpx.AsyncClient) -> None:
    path = f"/{(await add(client, 'I live in Oslo.'))['id']}"
    edited = await call(client, "PATCH", path, json={"text": "I live in Bergen.", "pinned": True})
    assert (edited["text"], edited["pinned"], edited["excluded"]) == ("I live in Bergen.", True, False)
    assert edited["edited"] is not None
    assert (await call(client, "GET", path)) == edited
    assert [edit["text"] for edit in (await call(client, "GET", f"{path}/history"))["data"]] == ["I live in Oslo."]
    assert (await call(client, "PATCH", path, json={"pinned": False, "excluded": True}))["text"] == "I live in Bergen."
    assert (await call(client, "GET", "/search", params={"q": "Bergen"}))["data"] == []
    assert await texts(client, excluded=True) == ["I live in Bergen."]


async def test_the_list_lets_through_what_is_asked_for(client: httpx.AsyncClient) -> None:
    await chat(client, "My cat is called Ada.", session="s")
    await add(client, "I live in Oslo.")
    await add(client, "I moved to Lyon.")
    assert await texts(client, session="s", role="user") == ["My cat is called Ada."]
    assert await texts(client, kind="reply") == ["My cat is called Ada."]
    assert await texts(client, superseded=True) == ["I live in Oslo."]
    assert await texts(client, contains="LYON", pinned=False) == ["I moved to Lyon."]
    assert await texts(client, document="none") == []
    assert (await call(client, "GET", "", params={"kind": "reply"}))["total"] == 1


async def test_forgetting_is_previewed_undone_and_made_final(client: httpx.AsyncClient, workbench: Workbench) -> None:
    await chat(client, "My cat is called Ada.", session="s")
    asked = (await chat(client, "Who is Ada?", session="t"))["jc1"]
    (said,) = (await call(client, "GET", "", params={"session": "s", "role": "user"}))["data"]
    assert said["id"] in [item["id"] for item in asked["recalled"]]
    body = {"records": [said["id"]]}
    going = await call(client, "POST", "/forget/preview", json=body)
    assert (going["records"], going["along"], going["turns"], len(going["first"])) == (2, 1, 1, 2)
    hidden = await call(client, "POST", "/forget", json=body)
    assert (hidden["records"], hidden["turns"], hidden["clean"]) == (2, 1, None)
    assert hidden["restorable_until"] > said["created"]
    assert (await client.get("/v1/sessions/s")).status_code == 404
    assert [s["id"] for s in (await client.get("/v1/sessions")).json()["data"]] == ["t"]
    assert len(await texts(client, forgotten=True)) == 2
    assert await call(client, "POST", "/restore", json=body) == {"records": 2, "turns": 1}
    assert (await client.get("/v1/sessions/s")).json()["data"][0]["user"] == "My cat is called Ada."
    final = await call(client, "POST", "/forget", json={"session": "s", "purge": True})
    assert (final["records"], final["restorable_until"], final["clean"]) == (2, None, True)
    await call(client, "POST", "/restore", json=body, expected=404)
    assert (await client.get(f"/v1/traces/{asked['trace_id']}")).status_code == 404
    await call(client, "POST", "/forget", json={"everything": True})
    purged = await call(client, "POST", "/purge", json={"everything": True})
    assert (purged["records"], purged["turns"], purged["clean"]) == (2, 1, True)
    assert any("Backups" in place for place in purged["remains"])
    assert workbench.memory.statistics("local").forgotten == 0


async def test_a_purge_removes_what_is_named_and_nothing_else(client: httpx.AsyncClient) -> None:
    named, other = (await add(client, "I live in Oslo."))["id"], (await add(client, "My cat is called Ada."))["id"]
    await call(client, "POST", "/forget", json={"everything": True})
    purged = await call(client, "POST", "/purge", json={"records": [named]})
    assert purged["records"] == 1
    assert (await call(client, "POST", "/restore", json={"everything": True}))["records"] == 1
    assert [record["id"] for record in (await call(client, "GET", ""))["data"]] == [other]


async def test_no_form_and_no_empty_body_purges(client: httpx.AsyncClient, workbench: Workbench) -> None:
    await add(client, "I live in Oslo.")
    await call(client, "POST", "/forget", json={"everything": True})
    forms: tuple[dict[str, Any], ...] = (
        {},
        {"data": {"everything": "true"}},
        {"files": {"everything": (None, "true")}},
        {"content": b'{"everything": true}', "headers": {"content-type": "text/plain"}},
        {"content": b'{"everything": true}'},
    )
    for form in forms:
        error = (await call(client, "POST", "/purge", 415, **form))["error"]
        assert error["code"] == "unsupported_media_type"
        assert "application/json" in error["message"]
    await call(client, "POST", "/purge", 400, headers={"content-type": "application/json"})
    await call(client, "POST", "/purge", 400, json={"everything": True, "usr": "bob"})
    await call(client, "POST", "/purge", 400, json={})
    assert workbench.memory.statistics("local").forgotten == 1


async def test_the_figures_are_told(client: httpx.AsyncClient) -> None:
    await chat(client, "My cat is called Ada.", session="s")
    figures = await call(client, "GET", "/statistics")
    assert (figures["records"], figures["kinds"], figures["sessions"]) == (2, {"statement": 1, "reply": 1}, {"s": 2})


async def test_an_export_can_be_imported_by_somebody_else(client: httpx.AsyncClient) -> None:
    record = await add(client, "I live in Oslo.")
    await call(client, "PATCH", f"/{record['id']}", json={"text": "I live in Bergen."})
    await add(client, "I moved to Lyon.")
    export = await client.get("/v1/memory/export")
    assert export.headers["content-type"].startswith("application/x-ndjson")
    lines = [json.loads(line) for line in export.text.splitlines()]
    assert [line["text"] for line in lines] == ["I live in Bergen.", "I moved to Lyon."]
    for expected in ({"added": 2, "same": 0, "kept": 0}, {"added": 0, "same": 2, "kept": 0}):
        assert await take_in(client, export.content, user="ann") == expected
    assert await texts(client, user="ann", superseded=True) == ["I live in Bergen."]
    wrong = await take_in(client, export.content + b"{}\n", 400, user="ben")
    assert "Line 3" in wrong["error"]["message"]
    assert await texts(client, user="ben") == []


async def test_a_file_may_be_larger_than_other_bodies_and_has_a_limit_of_its_own(
    client: httpx.AsyncClient, workbench: Workbench
) -> None:
    line = {"id": "mem_1", "text": "x", "role": "user", "kind": "statement", "created": "2026-01-01T00:00:00Z"}
    blank = b" " * (workbench.settings.max_body_bytes + 1) + b"\n"
    assert (await take_in(client, blank + json.dumps(line).encode()))["added"] == 1
    refused = await call(client, "PATCH", "/mem_1", 413, content=blank, headers={"content-type": "application/json"})
    assert refused["error"]["code"] == "request_too_large"

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield blank

    refused = await take_in(client, endless(), 413)
    assert refused["error"]["code"] == "request_too_large"


async def test_a_file_of_newlines_is_refused_by_their_number(client: httpx.AsyncClient) -> None:
    refused = await take_in(client, b"\n" * (MAX_LINES + 1), 413)
    assert "250,000 lines" in refused["error"]["message"]


class Waiting(HashingEmbedder):
    """Tells when it is asked, and waits the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go_on = threading.Event(), threading.Event()

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.asked.set()
        assert self.go_on.wait(60)
        return super().embed(texts)


def test_an_import_ends_when_its_client_leaves(
    workbench: Workbench, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jc1.memory.exchange.BATCH", 1)
    embedder = Waiting()
    workbench.memory = DatabaseMemory(database, embedder)
    line = {"text": "x", "role": "user", "kind": "reply", "created": "2026-01-01T00:00:00Z"}
    body = "".join(json.dumps({**line, "id": f"mem_{n}"}) + "\n" for n in range(500)).encode()
    head = "POST /v1/memory/import HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson"
    with serving(workbench) as server:
        with server.connect() as client:
            client.sendall(f"{head}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
            assert embedder.asked.wait(60)
        assert httpx.get(f"{server.url}/v1/memory", timeout=60).json()["total"] == 0  # it has seen who left by now
        embedder.go_on.set()
    assert len(embedder.texts) < 100


def test_a_client_that_leaves_an_export_early_ends_it(
    workbench: Workbench, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # More than the buffers between server and client hold.
    records = [NewRecord(f"{n} " + "x" * 9000, kind="reply") for n in range(1000)]
    workbench.memory = memory = DatabaseMemory(database, HashingEmbedder())
    memory.add("local", records)
    export = memory.export_lines
    read: list[str] = []

    def observed(owner: str) -> Generator[str]:
        for line in export(owner):
            read.append(line)
            yield line

    monkeypatch.setattr(memory, "export_lines", observed)
    with serving(workbench) as server:
        with httpx.stream("GET", f"{server.url}/v1/memory/export", timeout=60) as response:
            assert next(response.iter_lines())
        server.wait_until(lambda: database.pool.checkedout() == 0)  # type: ignore[attr-defined]
        assert len(read) < len(records)
        assert len(httpx.get(f"{server.url}/v1/memory/export", timeout=60).text.splitlines()) == len(records)


async def test_an_owner_governs_nothing_of_another(client: httpx.AsyncClient) -> None:
    path = f"/{(await add(client, 'I live in Oslo.', user='ann'))['id']}"
    others = {"params": {"user": "ben"}}
    await call(client, "PATCH", path, 404, json={"pinned": True}, **others)
    await call(client, "GET", f"{path}/history", 404, **others)
    for way in ("/forget", "/forget/preview", "/restore", "/purge"):
        await call(client, "POST", way, 404, json={"records": [path[1:]]}, **others)
        await call(client, "POST", way, json={"everything": True}, **others)
    await call(client, "POST", "/purge", json={"everything": True}, **others)
    assert (await client.get("/v1/memory/export", **others)).text == ""
    assert (await call(client, "GET", "/statistics", **others))["bytes"] == 0
    assert await texts(client, user="ann") == ["I live in Oslo."]


@pytest.mark.parametrize(
    ("method", "path", "body", "param"),
    [
        ("PATCH", "/mem_1", {"text": " "}, "text"),
        ("PATCH", "/mem_1", {"text": "x" * 100_001}, "text"),
        ("PATCH", "/mem_1", {"kind": "reply"}, "kind"),
        ("PATCH", "/mem_1", {"pinned": "yes"}, "pinned"),
        ("POST", "/forget", {"records": ["mem_1"] * 1001}, "records"),
        ("POST", "/forget", {"session": ""}, "session"),
        ("POST", "/forget", {"purge": 1, "everything": True}, "purge"),
        ("POST", "/restore", {"everything": True, "purge": True}, "purge"),
        ("GET", "?kind=lie", None, "kind"),
        ("GET", "?contains=" + "x" * 1001, None, "contains"),
    ],
)
async def test_a_wrong_field_is_named(client: httpx.AsyncClient, method: str, path: str, body: Any, param: str) -> None:
    error = (await call(client, method, path, 400, json=body))["error"]
    assert (error["code"], error["param"]) == ("invalid_request", param)


@pytest.mark.parametrize("body", [{}, {"everything": True, "session": "s"}, {"records": [], "everything": False}])
async def test_a_selection_says_one_thing(client: httpx.AsyncClient, body: Any) -> None:
    for way in ("/forget", "/forget/preview", "/restore", "/purge"):
        assert "one way" in (await call(client, "POST", way, 400, json=body))["error"]["message"]


async def test_nothing_that_a_tool_says_can_be_remembered(client: httpx.AsyncClient) -> None:
    refused = await client.post("/v1/memory", json={"text": "It is 21 degrees.", "role": "tool"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "role")


async def test_each_exported_memory_is_one_line_for_every_reader_and_comes_back(client: httpx.AsyncClient) -> None:
    text = "One\u2028two\u0085three\u2029four."
    await client.post("/v1/memory", json={"text": text})
    exported = (await client.get("/v1/memory/export")).text
    assert len(exported.splitlines()) == 1
    for begin in ("", "\ufeff"):  # as editors on Windows begin a file
        sent = (begin + exported).encode()
        kind = {"content-type": "application/x-ndjson"}
        taken = await client.post("/v1/memory/import", params={"user": f"ann{len(begin)}"}, content=sent, headers=kind)
        assert taken.json()["added"] == 1, taken.text
    (record,) = (await client.get("/v1/memory", params={"user": "ann1"})).json()["data"]
    assert record["text"] == text
