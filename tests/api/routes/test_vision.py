"""`/v1/vision`: pictures as a form, answered as chat answers; what was seen has a thumbnail."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image

from jc1 import Workbench
from tests.support.sent_pictures import png

PATH = "/v1/vision"


async def look(client: httpx.AsyncClient, *files: bytes, **fields: Any) -> httpx.Response:
    shown = [("images", (f"{number}.png", data, "image/png")) for number, data in enumerate(files)]
    return await client.post(PATH, files=shown, data=fields, params={})


async def test_pictures_and_a_question_are_a_turn_of_chat(client: httpx.AsyncClient, workbench: Workbench) -> None:
    response = await look(client, png(40, 20), png(7, 9), question="What is this?", session="s", ocr="off")
    assert response.status_code == 200, response.text
    reply = response.json()
    assert reply["object"] == "chat.completion"
    assert reply["choices"][0]["message"]["content"] == "[picture 40x20]\n[picture 7x9]\nWhat is this?"
    assert reply["jc1"]["session"] == "s"
    seen = [record for record in workbench.memory.list("local").records if record.picture]
    assert sorted(record.text for record in seen) == [
        "0.png, 40 x 20 pixels, without text.",
        "1.png, 7 x 9 pixels, without text.",
    ]
    thumbnail = await client.get(f"/v1/memory/{seen[0].id}/thumbnail")
    assert Image.open(BytesIO(thumbnail.content)).format == "JPEG"


async def test_a_picture_alone_is_a_question(client: httpx.AsyncClient) -> None:
    response = await look(client, png(40, 20), memory="off")
    assert response.json()["choices"][0]["message"]["content"] == "[picture 40x20]"


async def test_the_reply_comes_as_a_stream_where_that_is_asked_for(client: httpx.AsyncClient) -> None:
    response = await look(client, png(40, 20), question="What is this?", memory="off", stream="true")
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("files", "fields", "status", "code", "param"),
    [
        ((b"",), {}, 400, "damaged_image", "images"),
        ((b"no picture",), {}, 415, "unsupported_image", "images"),
        ((png()[:60],), {}, 400, "damaged_image", "images"),
        ((png(),) * 17, {}, 413, "request_too_large", "images"),
        ((png(),), {"ocr": "maybe"}, 400, "invalid_request", "ocr"),
        ((png(),), {"max_tokens": "0"}, 400, "invalid_request", "max_tokens"),
        ((png(),), {"preset": "nowhere"}, 404, "preset_not_found", "preset"),
    ],
)
async def test_what_cannot_be_seen_is_refused_by_name(
    client: httpx.AsyncClient, files: tuple[bytes, ...], fields: dict[str, str], status: int, code: str, param: str
) -> None:
    response = await look(client, *files, **fields)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (status, code, param), response.text
