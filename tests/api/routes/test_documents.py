"""Documents over HTTP: sent as a form, listed, cited, and refused by name."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from jc1 import Workbench
from jc1_api.app import create_app
from tests.support import pdfs
from tests.support.pictures import encoded, of_text

PATH = "/v1/memory/documents"
HANDBOOK = b"# Setup\n\n## Linux\n\nRun make to install JC1.\n"


async def send(client: httpx.AsyncClient, name: str, data: bytes, title: str | None = None, **params: str) -> Any:
    form = {} if title is None else {"title": title}
    return await client.post(PATH, files={"file": (name, data)}, data=form, params=params)


async def test_a_document_is_sent_listed_and_found(client: httpx.AsyncClient, workbench: Workbench) -> None:
    response = await send(client, "handbook.md", HANDBOOK)
    assert response.status_code == 201, response.text
    done = response.json()
    assert (done["title"], done["parts"], done["added"], done["removed"]) == ("handbook.md", 1, 1, 0)
    (listed,) = (await client.get(PATH)).json()["data"]
    assert listed == {
        "object": "document",
        "title": "handbook.md",
        "session": done["session"],
        "parts": 1,
        "missing": 0,
        "characters": done["characters"],
        "created": listed["created"],
    }
    found = (await client.get("/v1/memory/search", params={"q": "How do I install it?"})).json()["data"]
    assert found[0]["memory"]["session"] == done["session"]
    assert workbench.memory.get("local", found[0]["memory"]["id"]).place == "Setup > Linux"


async def test_a_question_is_answered_with_the_parts_and_their_places(
    client: httpx.AsyncClient, workbench: Workbench
) -> None:
    await send(client, "walrus.pdf", pdfs.written("A walrus eats clams.", "A walrus weighs a ton."))
    reply = await workbench.pipeline.chat("How much does a walrus weigh?")
    assert reply.trace.recalled[0]["turn"] == 2
    recalled = [workbench.memory.get("local", receipt["id"]) for receipt in reply.trace.recalled]
    assert [(record.document, record.place) for record in recalled] == [
        ("walrus.pdf", "page 2"),
        ("walrus.pdf", "page 1"),
    ]


async def test_a_title_replaces_what_was_stored_under_it(client: httpx.AsyncClient) -> None:
    first = (await send(client, "a.txt", b"The walrus sleeps.", "Walrus")).json()
    again = (await send(client, "b.txt", b"The walrus sleeps.", "Walrus")).json()
    changed = (await send(client, "a.txt", b"The walrus wakes up.", "Walrus")).json()
    assert (first["session"], again["added"], again["removed"]) == (again["session"], 0, 0)
    assert (changed["added"], changed["removed"]) == (1, 1)
    assert [document["title"] for document in (await client.get(PATH)).json()["data"]] == ["Walrus"]


async def test_a_photographed_page_is_read_where_that_is_asked_for(client: httpx.AsyncClient) -> None:
    page = encoded(of_text("The walrus sleeps until noon."), "JPEG")
    refused = await send(client, "page.jpg", page)
    assert (refused.status_code, refused.json()["error"]["code"]) == (415, "unsupported_document")
    response = await client.post(PATH, files={"file": ("page.jpg", page)}, data={"ocr": "true"})
    assert (response.status_code, response.json()["parts"]) == (201, 1), response.text
    found = (await client.get("/v1/memory/search", params={"q": "When does the walrus sleep?"})).json()["data"]
    assert found[0]["memory"]["text"] == "The walrus sleeps until noon."


async def test_an_owner_has_documents_of_their_own(client: httpx.AsyncClient) -> None:
    await send(client, "a.txt", b"The walrus sleeps.", user="ann")
    assert (await client.get(PATH)).json()["data"] == []
    assert len((await client.get(PATH, params={"user": "ann"})).json()["data"]) == 1


@pytest.mark.parametrize(
    ("name", "data", "status", "code"),
    [
        ("a.docx", b"PK\x03\x04\x14\x00", 415, "unsupported_document"),
        ("a.pdf", b"%PDF-1.7 rubbish", 400, "damaged_document"),
        ("a.pdf", pdfs.written("Hello.", password="secret"), 400, "encrypted_document"),
        ("a.pdf", pdfs.written(""), 400, "empty_document"),
        ("a.md", b"", 400, "empty_document"),
    ],
)
async def test_what_cannot_be_read_is_refused_by_its_code(
    client: httpx.AsyncClient, name: str, data: bytes, status: int, code: str
) -> None:
    response = await send(client, name, data)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert response.json()["error"]["param"] == "file"
    assert (await client.get(PATH)).json()["data"] == []


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        ({"data": {"title": "Walrus"}, "files": {"nothing": b""}}, "nothing"),
        ({"files": {"file": ("a.txt", b"Hi.")}, "data": {"title": "x" * 201}}, "title"),
        ({"files": {"file": ("a.txt", b"Hi.")}, "data": {"title": " "}}, "title"),
        ({"files": {"title": (None, "Walrus")}}, "file"),
        ({"files": {"file": ("a.txt", b"Hi."), "other": b"Hi."}}, "other"),
        ({"files": [("file", ("a.txt", b"Hi.")), ("file", ("b.txt", b"Ho."))]}, "file"),
        ({"files": {"file": ("a.txt", b"Hi.")}, "data": {"tilte": "x"}}, "tilte"),
        ({"files": {"file": ("a.txt", b"Hi.")}, "data": {"title": "a\nb"}}, "title"),
        ({"files": {"file": ("a.txt", b"Hi.")}, "data": {"title": ".."}}, "title"),
        ({"files": {"file": ("a.txt", b"Hi.")}, "params": {"user": ""}}, "user"),
    ],
)
async def test_a_wrong_field_is_named(client: httpx.AsyncClient, request_: Any, param: str) -> None:
    response = await client.post(PATH, **request_)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, "invalid_request", param)


async def test_a_document_is_a_form(client: httpx.AsyncClient) -> None:
    response = await client.post(PATH, json={"file": "x"})
    assert (response.status_code, response.json()["error"]["code"]) == (415, "unsupported_media_type")


async def test_a_form_that_breaks_off_is_refused(client: httpx.AsyncClient) -> None:
    headers = {"content-type": "multipart/form-data; boundary=b"}
    response = await client.post(PATH, content=b"--x\r\nrubbish", headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_request")


async def test_a_document_may_be_larger_than_other_bodies_up_to_a_limit_of_its_own(workbench: Workbench) -> None:
    small = workbench.settings.model_copy(update={"max_body_bytes": 1_000, "max_document_bytes": 3_000})
    workbench.settings = small
    app = create_app(workbench)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as client,
    ):
        assert (await send(client, "a.txt", b"walrus " * 300)).status_code == 201
        refused = await send(client, "b.txt", b"walrus " * 500)
        assert (refused.status_code, refused.json()["error"]["code"]) == (413, "request_too_large")
        assert "max_document_bytes" in refused.json()["error"]["message"]
        other = await client.post("/v1/memory", json={"text": "walrus " * 300})
        assert (other.status_code, "max_body_bytes" in other.text) == (413, True)


@pytest.mark.parametrize("name", ["..", "x" * 300 + ".md"])
async def test_a_files_name_that_can_be_no_title_is_refused_where_it_would_be_one(
    client: httpx.AsyncClient, name: str
) -> None:
    error = (await send(client, name, HANDBOOK)).json()["error"]
    assert (error["code"], error["param"]) == ("invalid_request", "title")
    assert (await send(client, name, HANDBOOK, title="Handbook")).status_code == 201
