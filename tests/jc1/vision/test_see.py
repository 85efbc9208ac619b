"""The stage `see`: pictures become what the model is shown, in a pipeline that is whole but for the model."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jc1 import Message, Settings, Workbench
from jc1.access.principal import Limits, Principal
from jc1.embedding.base import Embedder
from jc1.engines.base import TEXT
from jc1.engines.echo import EchoEngine
from jc1.errors import (
    AddressRefused,
    CannotSee,
    DamagedImage,
    InvalidRequest,
    RateLimited,
    Refused,
    RequestTooLarge,
    UnsupportedImage,
)
from jc1.fetch.addresses import networks
from jc1.fetch.fetcher import Fetcher
from jc1.messages import ImagePart, TextPart, conversation_of
from jc1.vision import pictures as reading
from jc1.vision.pictures import Pictures
from tests.api.conftest import echo_workbench
from tests.support.database import new_database
from tests.support.https_server import answer, certificate, serving
from tests.support.sent_pictures import asked, data_url, part, png


@pytest.fixture
async def workbench(home: Path, embedder: Embedder) -> AsyncIterator[Workbench]:
    settings = Settings(home=home, engine="echo", max_images=4)
    settings.prepare_home()
    async with echo_workbench(settings, new_database(home / "jc1.db"), embedder) as bench:
        yield bench


def user(*parts: Any) -> Message:
    return Message.user(tuple(TextPart(each) if isinstance(each, str) else each for each in parts))


async def test_pictures_reach_the_engine_where_they_stand_and_the_trace_tells_what_they_take(
    workbench: Workbench,
) -> None:
    message = user("First", part(40, 20), "then", part(7, 9, (0, 0, 255)))
    reply = await workbench.pipeline.chat([message])
    assert reply.text == "First\n[picture 40x20]\nthen\n[picture 7x9]"
    assert reply.trace.pictures == [
        {"width": 40, "height": 20, "tokens": len("[picture 40x20]")},
        {"width": 7, "height": 9, "tokens": len("[picture 7x9]")},
    ]
    assert list(reply.trace.stages)[:2] == ["see", "tokenize"]
    assert reply.trace.to_dict()["pictures"] == reply.trace.pictures


async def test_a_request_of_text_alone_passes_by(workbench: Workbench) -> None:
    reply = await workbench.pipeline.chat("Hello.")
    assert "see" not in reply.trace.stages
    assert reply.trace.pictures == []


async def test_the_pictures_of_a_conversation_are_seen_in_every_turn_and_read_once(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0
    lock = threading.Lock()
    read = reading.read_picture

    def counted(data: bytes, **caps: Any) -> Any:
        nonlocal reads
        with lock:
            reads += 1
        return read(data, **caps)

    monkeypatch.setattr(reading, "read_picture", counted)
    turns = [user("What is this?", part()), Message.assistant("A picture."), user("And this?", part(5, 5))]
    reply = await workbench.pipeline.chat(turns)
    assert [(seen["width"], seen["height"]) for seen in reply.trace.pictures] == [(40, 20), (5, 5)]
    again = await workbench.pipeline.chat([*turns, Message.assistant("Small."), Message.user("Which is larger?")])
    assert len(again.trace.pictures) == 2
    assert reads == 2


async def test_in_a_session_a_turn_that_is_sent_again_with_its_picture_is_seen_again(workbench: Workbench) -> None:
    first = user("What is this?", part())
    await workbench.pipeline.chat([first], session="s", memory="off")
    alone = await workbench.pipeline.chat("And its colour?", session="s", memory="off")
    assert alone.trace.pictures == []  # a session keeps words
    again = [first, Message.assistant("A picture."), Message.user("And its shape?")]
    reply = await workbench.pipeline.chat(again, session="s", memory="off")
    assert [seen["width"] for seen in reply.trace.pictures] == [40]
    assert workbench.sessions.history("local", "s", limit=9)[0].user == "What is this?"


async def test_dicts_with_data_urls_are_what_openais_clients_write(workbench: Workbench) -> None:
    reply = await workbench.pipeline.chat([asked(data_url(png()))])
    assert reply.text == "What is this?\n[picture 40x20]"


async def test_a_picture_alone_is_a_question_which_is_answered_and_remembered_without_words(
    workbench: Workbench,
) -> None:
    reply = await workbench.pipeline.chat([user(part())], session="s")
    assert reply.text == "[picture 40x20]"
    assert reply.trace.remembered is True
    assert "recall" not in reply.trace.stages


@pytest.mark.parametrize(
    ("shown", "error", "words"),
    [
        ([ImagePart(b"", "image/png")], DamagedImage, "empty"),
        ([ImagePart(png()[:40], "image/png")], DamagedImage, "damaged"),
        ([ImagePart(b"%PDF-1.7", "image/png")], UnsupportedImage, "PDF"),
        ([ImagePart(png(8000, 8000), "image/png")], RequestTooLarge, "pixels"),
        ([part()] * 5, RequestTooLarge, "max_images"),
        ([ImagePart.of_url("https://pictures.test/a.png")], AddressRefused, "fetches no URLs"),
        ([part(), ImagePart(b"nothing", "image/png")], UnsupportedImage, "no format"),
    ],
)
async def test_what_cannot_be_shown_is_refused_before_the_engine_and_stores_nothing(
    workbench: Workbench, shown: list[ImagePart], error: type[InvalidRequest], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        await workbench.pipeline.chat([user("What is this?", *shown)], session="s")
    assert caught.value.param in ("messages", None)
    assert workbench.sessions.list("local", limit=5) == ()
    (trace,) = workbench.telemetry.recent.list()
    assert trace.outcome == error.code
    assert (await workbench.pipeline.chat("Still there?")).text == "Still there?"


@pytest.mark.parametrize(
    "url",
    ["data:image/png;base64,%%%", "data:image/png;base64,AAA", "data:image/png,abc", "data:,", "DATA:x", "x" * 9000],
)
def test_a_url_that_holds_no_picture_is_refused_by_the_form_that_would(url: str) -> None:
    with pytest.raises(InvalidRequest, match="send data:image/png;base64"):
        conversation_of([asked(url)])


def test_a_data_url_may_be_written_in_capitals_and_with_parameters() -> None:
    (message,) = conversation_of([asked("Data:IMAGE/PNG;name=a.png;BASE64,QUJD")])
    assert message.pictures == (ImagePart(b"ABC", "image/png"),)


async def test_a_model_of_text_alone_refuses_before_anything_is_fetched_or_read(workbench: Workbench) -> None:
    workbench.engine._capabilities = replace(workbench.engine.capabilities, modalities=TEXT)
    shown = [ImagePart.of_url("https://pictures.test/a.png"), ImagePart(b"no picture", "image/png")]
    for each in shown:
        with pytest.raises(CannotSee, match=r"'echo' reads text alone.*LLaVA, Qwen") as caught:
            await workbench.pipeline.chat([user("What is this?", each)], ocr="off")
        assert caught.value.param == "messages"


async def test_a_picture_is_fetched_where_the_operator_lets_it(
    workbench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    async with serving({"/a.png": answer(png(), content_type="text/html"), "/big": answer(bytes(3000))}, pem) as server:
        url = server.url("/a.png", host="127.0.0.1")
        settings = workbench.settings.model_copy(update={"max_image_bytes": 2000})
        workbench.pictures = Pictures(settings, Fetcher(on=True, allowed=networks("127.0.0.1")))
        assert (await workbench.pipeline.chat([user(ImagePart.of_url(url))])).text == "[picture 40x20]"
        with pytest.raises(RequestTooLarge, match="2,000 bytes"):
            await workbench.pipeline.chat([user(ImagePart.of_url(url.replace("a.png", "big")))])


async def test_a_caller_needs_the_scope_for_pictures_and_their_tokens_are_taken_from_its_limit(
    workbench: Workbench,
) -> None:
    blind = Principal("ann", frozenset({"chat"}), key="a")
    with pytest.raises(Refused, match="'vision'"):
        await workbench.guarded.chat(blind, [user("What is this?", part())])
    assert (await workbench.guarded.chat(blind, "Hello.")).text == "Hello."

    limited = Principal("ann", frozenset({"chat", "vision"}), key="b", limits=Limits(tokens_per_minute=300))
    assert (await workbench.guarded.chat(limited, "Hello.", max_tokens=10)).text == "Hello."
    with pytest.raises(RateLimited):
        await workbench.guarded.chat(limited, [user("What is this?", part())], max_tokens=30)
    wide = Principal("ann", frozenset({"chat", "vision"}), key="c", limits=Limits(tokens_per_minute=3000))
    assert "[picture" in (await workbench.guarded.chat(wide, [user(part())], max_tokens=30)).text


async def test_the_newest_pictures_are_kept_and_no_more_than_fit(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "KEPT_BYTES", 3000)
    reader = Pictures(workbench.settings)
    (first,) = await reader.read([part(30, 30)])
    assert (await reader.read([part(30, 30)]))[0].picture is first.picture
    await reader.read([part(20, 20)])
    assert (await reader.read([part(30, 30)]))[0].picture is not first.picture


def test_the_engine_that_echoes_shows_how_large_a_picture_is_also_in_a_longer_talk() -> None:
    assert EchoEngine().capabilities.sees
