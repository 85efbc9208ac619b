"""Pictures in the requests of other people's clients: every shape in which they are sent, and what is refused."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest

from jc1 import Workbench
from jc1.access.principal import USUAL_SCOPES
from tests.support.sent_pictures import data_url, png

URL = data_url(png())
SHAPES: dict[str, tuple[str, Any]] = {
    "chat": (
        "/v1/chat/completions",
        lambda url: {"messages": [{"role": "user", "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": url, "detail": "high"}}]}]},
    ),
    "responses": (
        "/v1/responses",
        lambda url: {"input": [{"role": "user", "content": [
            {"type": "input_text", "text": "What is this?"},
            {"type": "input_image", "image_url": url, "detail": "auto"}]}]},
    ),
    "messages": (
        "/v1/messages",
        lambda url: {"max_tokens": 99, "messages": [{"role": "user", "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image", "source": {"type": "url", "url": url}}]}]},
    ),
}  # fmt: skip


def text_of(body: dict[str, Any]) -> str:
    """Return the reply, whichever shape it has."""
    if "choices" in body:
        return str(body["choices"][0]["message"]["content"])
    parts = body["output"][0]["content"] if "output" in body else body["content"]
    return str(parts[0]["text"])


def code_of(body: dict[str, Any]) -> str:
    return str(body["error"].get("code") or body["error"]["type"])


async def asked(client: httpx.AsyncClient, shape: str, url: str) -> httpx.Response:
    path, body = SHAPES[shape]
    return await client.post(path, json={"model": "echo", **body(url)})


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_picture_in_a_data_url_is_seen(client: httpx.AsyncClient, shape: str) -> None:
    reply = await asked(client, shape, URL)
    assert reply.status_code == 200, reply.text
    assert text_of(reply.json()) == "What is this?\n[picture 40x20]"


@pytest.mark.parametrize("shape", SHAPES)
async def test_what_is_no_picture_or_not_fetched_is_refused_by_its_code(client: httpx.AsyncClient, shape: str) -> None:
    cases = {
        data_url(b"nothing"): (415, "unsupported_image"),
        data_url(png()[:40]): (400, "damaged_image"),
        data_url(b""): (400, "damaged_image"),
        "data:image/png;base64,%%%": (400, "invalid_request"),
        "https://pictures.test/a.png": (400, "address_refused"),
        "file:///etc/passwd": (400, "address_refused"),
    }
    for url, (status, code) in cases.items():
        reply = await asked(client, shape, url)
        assert reply.status_code == status, reply.text
        if shape != "messages":  # Anthropic's errors have types of their own
            assert code_of(reply.json()) == code


async def test_anthropics_clients_send_a_pictures_bytes(client: httpx.AsyncClient) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(png()).decode()}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "What is this?"}]
    body = {"model": "echo", "max_tokens": 99, "messages": [{"role": "user", "content": content}]}
    assert text_of((await client.post("/v1/messages", json=body)).json()) == "[picture 40x20]\nWhat is this?"
    counted = (
        await client.post("/v1/messages/count_tokens", json={k: v for k, v in body.items() if k != "max_tokens"})
    ).json()
    content.pop(0)
    without = (
        await client.post("/v1/messages/count_tokens", json={k: v for k, v in body.items() if k != "max_tokens"})
    ).json()
    assert counted["input_tokens"] - without["input_tokens"] == len("[picture 40x20]\n")


SHOWN = [{"type": "image_url", "image_url": {"url": URL}}]
HI = {"role": "user", "content": "Hi"}


def said(*content: dict[str, Any], role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": list(content)}


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/v1/responses", {"input": [said({"type": "input_image", "file_id": "f", "image_url": "x"})]}, "No files"),
        (
            "/v1/messages",
            {"max_tokens": 9, "messages": [said({"type": "image", "source": {"type": "file", "file_id": "f"}})]},
            "No files",
        ),
        ("/v1/chat/completions", {"messages": [said({"type": "input_video"})]}, "'input_video'"),
        ("/v1/chat/completions", {"messages": [said(*SHOWN, role="system"), HI]}, "let the user"),
        ("/v1/chat/completions", {"messages": [said(*SHOWN, role="assistant"), HI]}, "cannot stand"),
    ],
)
async def test_what_cannot_be_read_is_refused_by_name(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], words: str
) -> None:
    reply = await client.post(path, json={"model": "echo", **body})
    assert reply.status_code == 400, reply.text
    assert words in reply.text


async def test_a_body_may_be_as_large_as_a_picture_may_and_its_text_no_larger_than_ever(
    client: httpx.AsyncClient, workbench: Workbench
) -> None:
    large = png(3, 3) + bytes(2_000_000)  # what follows a PNG's end is not read
    assert (await asked(client, "chat", data_url(large))).status_code == 200
    limit = workbench.settings.max_image_bytes
    reply = await asked(client, "chat", data_url(bytes(limit * 2)))
    assert (reply.status_code, code_of(reply.json())) == (413, "request_too_large")
    long = {"model": "echo", "messages": [{"role": "user", "content": "x" * (workbench.settings.max_body_bytes + 1)}]}
    assert (await client.post("/v1/chat/completions", json=long)).status_code == 413
    assert (await client.post("/v1/completions", json={"model": "echo", "prompt": "x" * 2_000_000})).status_code == 413


async def test_the_model_says_that_it_sees_and_the_trace_what_it_saw(client: httpx.AsyncClient) -> None:
    (model, *_) = (await client.get("/v1/models")).json()["data"]
    assert model["jc1"]["modalities"] == ["image", "text"]
    reply = (await asked(client, "chat", URL)).json()
    trace = (await client.get(f"/v1/traces/{reply['jc1']['trace_id']}")).json()
    assert trace["pictures"] == [{"width": 40, "height": 20, "tokens": 15}]


async def test_a_key_without_the_scope_for_pictures_is_refused(client: httpx.AsyncClient, workbench: Workbench) -> None:
    token = workbench.keys.create("ann", scopes=USUAL_SCOPES - {"vision"}).token
    client.headers["authorization"] = f"Bearer {token}"
    for shape in SHAPES:
        assert (await asked(client, shape, URL)).status_code == 403
    path, body = "/v1/messages/count_tokens", SHAPES["messages"][1](URL)
    body.pop("max_tokens")
    assert (await client.post(path, json={"model": "echo", **body})).status_code == 403
