"""One JC1 that uses another as its engine, over HTTP."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import aclosing
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from starlette.responses import Response

from jc1 import Settings, Workbench
from jc1.decoding import GUIDES, Decoding
from jc1.engines.base import EnginePrompt, Step
from jc1.engines.openai.engine import OpenAIEngine
from jc1.engines.settings import EngineSettings
from jc1.errors import CannotSee, EngineUnavailable
from jc1.messages import ImagePart, Message, TextPart
from jc1.vision.images import Picture, read_picture
from tests.api.conftest import Server, serving
from tests.support.chat_server import REPLY, Stub, chunk
from tests.support.chat_server import serving as serving_chunks

PROMPT = EnginePrompt((Message.user("Grüße an Ada"),))


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jc1.engines.openai.engine.PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("jc1.engines.openai.engine.PROBE_SECONDS", 0.05)


@pytest.fixture
async def remote(server: Server) -> AsyncIterator[OpenAIEngine]:
    engine = OpenAIEngine(EngineSettings(model="echo", base_url=f"{server.url}/v1"))
    await engine.start()
    yield engine
    await engine.close()


async def steps_of(engine: OpenAIEngine, **decoding: Any) -> list[Step]:
    async with aclosing(engine.generate(PROMPT, Decoding.parse(decoding))) as steps:
        return [step async for step in steps]


async def test_every_field_that_the_other_side_takes_is_offered_and_reaches_it(remote: OpenAIEngine) -> None:
    assert remote.capabilities.decoding == Decoding.model_fields.keys() - set(GUIDES)
    sampled = {"temperature": 2.0, "top_k": 40, "min_p": 0.001, "seed": 3, "n": 2, "min_tokens": 20, "max_tokens": 20}
    steps = await steps_of(remote, **sampled)
    assert [step.index for step in steps if step.finish_reason] == [0, 1]
    assert steps[-1].usage.completion_tokens == 40
    again = await steps_of(remote, **sampled)
    assert [step.text for step in steps] == [step.text for step in again]


async def test_its_memory_is_left_alone(remote: OpenAIEngine, server: Server) -> None:
    assert "".join(step.text for step in await steps_of(remote)) == "Grüße an Ada"
    assert server.workbench.memory.list("local").total == 0


async def test_pictures_are_handed_on_as_pixels_alone(remote: OpenAIEngine) -> None:
    assert remote.capabilities.sees
    exif = Image.Exif()
    exif[0x010F] = "Camera of Someone"
    file = BytesIO()
    Image.new("RGB", (40, 20)).save(file, "JPEG", exif=exif)
    read = read_picture(file.getvalue(), max_bytes=10**6, max_pixels=10**6, max_side=512)
    message = Message.user((TextPart("What is this?"), ImagePart(file.getvalue(), "image/jpeg", picture=read)))
    prompt = EnginePrompt((message,))
    async with aclosing(remote.generate(prompt, Decoding())) as steps:
        assert "".join([step.text async for step in steps]) == "What is this?\n[picture 40x20]"
    (sent,) = remote._request(prompt, Decoding())["messages"]
    url = sent["content"][1]["image_url"]["url"]
    assert url.startswith("data:image/jpeg;base64,")
    assert b"Camera" not in base64.b64decode(url.partition(",")[2])
    assert remote.picture_tokens(read) == 40 * 20 // 750 + 1


async def test_a_server_that_refuses_a_picture_is_told_as_one_that_cannot_see() -> None:
    with serving_chunks(Stub()) as stub:
        engine = OpenAIEngine(EngineSettings(model="m", base_url=stub.url))
        await engine.start()
        stub.refuses = lambda request: Response(status_code=400)
        message = Message.user((ImagePart(picture=Picture(1, 1, b"123")),))
        with pytest.raises(CannotSee, match="may read text alone"):
            async with aclosing(engine.generate(EnginePrompt((message,)), Decoding())) as steps:
                [step async for step in steps]
        await engine.close()


async def test_logprobs_come_through(remote: OpenAIEngine) -> None:
    entries = [entry for step in await steps_of(remote, logprobs=2, max_tokens=2) for entry in step.logprobs or ()]
    assert [entry.text for entry in entries][:2] == ["G", "r"]
    assert all(len(entry.top) == 2 for entry in entries)


async def test_the_other_side_going_away_is_told_and_its_return_is_noticed(workbench: Workbench) -> None:
    with serving(workbench) as server:
        engine = OpenAIEngine(EngineSettings(model="echo", base_url=f"{server.url}/v1"))
        await engine.start()
        assert engine.healthy
    with pytest.raises(EngineUnavailable, match="cannot be reached"):
        await steps_of(engine)
    assert not engine.healthy
    with serving(workbench, port=server.port):
        async with asyncio.timeout(30):
            while not engine.healthy:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0.01)
        assert "".join(step.text for step in await steps_of(engine)) == "Grüße an Ada"
    await engine.close()


async def test_closing_the_stream_frees_the_other_sides_slot(slow_server: Server) -> None:
    engine = OpenAIEngine(EngineSettings(model="echo", base_url=f"{slow_server.url}/v1"))
    await engine.start()
    stream = engine.generate(PROMPT, Decoding(max_tokens=4000, min_tokens=4000))
    assert (await anext(stream)).text
    await stream.aclose()
    async with asyncio.timeout(1):
        await asyncio.to_thread(slow_server.wait_until, lambda: slow_server.engine.active == 0)
    await engine.close()


async def test_a_whole_pipeline_stands_on_a_remote_engine(workbench: Workbench, tmp_path: Path) -> None:
    with serving(workbench) as server:
        settings = Settings(home=tmp_path / "front", engine="openai", model="echo", base_url=f"{server.url}/v1")
        async with Workbench.open(settings) as front:
            reply = await front.pipeline.chat("hello there", owner="front")
            assert reply.text == "hello there"
            assert reply.trace.usage.completion_tokens == len("hello there") + 1
            assert reply.trace.engine == "openai"
            assert "hello there" in [record.text for record in front.memory.list("front").records]


async def test_what_the_other_side_thought_first_is_told_apart_from_the_reply(tmp_path: Path) -> None:
    thought = {**chunk(), "choices": [{"index": 0, "delta": {"reasoning": "hm"}, "finish_reason": None}]}
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "memory": "off"}
    with serving_chunks(Stub(chunks=[thought, *REPLY])) as upstream:
        settings = Settings(home=tmp_path / "front", engine="openai", model="m", base_url=upstream.url)
        with serving(Workbench.open(settings)) as server:
            async with httpx.AsyncClient(base_url=server.url) as client:
                whole = (await client.post("/v1/chat/completions", json=body)).json()
                stream = (await client.post("/v1/chat/completions", json={**body, "stream": True})).text
            engine = OpenAIEngine(EngineSettings(model="m", base_url=f"{server.url}/v1"))
            await engine.start()
            steps = await steps_of(engine)
            await engine.close()
    message = {"role": "assistant", "content": "hello", "refusal": None, "reasoning": "hm"}
    assert whole["choices"][0]["message"] == message
    assert '"delta":{"reasoning":"hm"}' in stream
    assert [(step.text, step.reasoning) for step in steps] == [("", "hm"), ("hel", ""), ("lo", ""), ("", "")]
