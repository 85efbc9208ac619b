"""Targets: a pipeline by its traces, a server as its client meets it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from jc1 import Preset
from jc1.errors import EngineUnavailable, InvalidRequest, InvalidSettings, UnknownModel, UnsupportedDecoding
from jc1.messages import Message
from jc1_lab.latency.measure import Objective, measure
from jc1_lab.latency.targets import PipelineTarget, ServerTarget, open_target
from jc1_lab.records.items import Item
from jc1_lab.records.results import Load
from tests.support.chat_server import USAGE, Stub, chunk
from tests.support.chat_server import serving as serving_chunks

SECONDS = 120
"""How long a server may take on a machine that is busy with something else."""
pytestmark = pytest.mark.timeout(2 * SECONDS)
HELLO = Item("hello", (Message.user("Hello there."),))


@contextmanager
def serving(home: Path, **environment: str) -> Iterator[str]:
    """A real `jc1 serve` with the echo engine; its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "jc1", "serve", "--port", "0"],
        env={**os.environ, "JC1_HOME": str(home), "JC1_ENGINE": "echo", **environment},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert found, process.communicate(timeout=SECONDS)[1]
        yield found[0]
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.fixture
async def server(address: str) -> AsyncIterator[ServerTarget]:
    target = await ServerTarget.open(f"{address}/v1")
    yield target
    await target.close()


async def test_a_server_is_timed_as_its_client_meets_it(server: ServerTarget) -> None:
    timing = await server.send(HELLO, Preset("p"), seed=1)
    assert server.model == "echo"
    assert timing.tokens == len("Hello there.") + 1
    assert 0 < timing.ttft <= timing.total
    assert {"tokenize", "prefill", "decode"} <= timing.stages.keys()
    assert sum(timing.stages.values()) <= timing.total
    assert await server.forget_prefixes() is False


async def test_a_servers_memory_is_never_written(server: ServerTarget, address: str) -> None:
    await server.send(HELLO, Preset("p"), seed=1)
    async with httpx.AsyncClient(base_url=address) as http:
        assert (await http.get("/v1/memory")).json()["data"] == []


async def test_a_server_is_measured_like_a_pipeline(server: ServerTarget) -> None:
    presets = {0: Preset("short", decoding={"max_tokens": 3}), 1: Preset("sampled", decoding={"temperature": 0.5})}
    loads = [Load(concurrency=2), Load(rate=200.0)]
    members = {number: (server, preset) for number, preset in presets.items()}
    found = await measure(members, [HELLO], loads, requests=6, blocks=2, warm_up=1, objective=Objective(total=60.0))
    for measured in found.values():
        assert [(latency.load, latency.requests, latency.failed) for latency in measured] == [
            (load, 12, 0) for load in loads
        ]
    assert found[0][0].tokens_per_second == pytest.approx(3 * found[0][0].requests_per_second)


async def test_what_a_server_refuses_is_told_as_its_refusal(server: ServerTarget) -> None:
    with pytest.raises(InvalidRequest, match="400"):
        await server.send(HELLO, Preset("p", decoding={"n": 40, "temperature": 1}), seed=1)
    with pytest.raises(UnsupportedDecoding, match="regex"):
        await server.send(HELLO, Preset("p", decoding={"regex": "a+"}), seed=1)


async def test_a_server_that_keeps_replies_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path / "keeps", JC1_CACHE_REPLIES="60") as address:
        target = await ServerTarget.open(f"{address}/v1")
        await target.send(HELLO, Preset("p"), seed=1)
        with pytest.raises(InvalidSettings, match="cache_replies"):
            await target.send(HELLO, Preset("p"), seed=1)
        await target.close()


PAUSE = 0.3


def delta(**fields: object) -> dict[str, object]:
    return {**chunk(), "choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


@pytest.mark.parametrize(
    "first",
    [delta(reasoning="hm"), delta(reasoning_content="hm"), delta(tool_calls=[{"index": 0, "function": {"name": "f"}}])],
)
@pytest.mark.parametrize("counted", [True, False])
async def test_a_servers_first_token_is_the_first_that_was_generated(first: dict[str, object], counted: bool) -> None:
    role = delta(role="assistant", content="")
    odd = {**chunk(), "choices": None}
    ending = [chunk("lo"), chunk(finish="stop"), *([USAGE] if counted else [])]
    with serving_chunks(Stub(chunks=[role, odd, PAUSE, first, PAUSE, *ending])) as stub:
        target = await ServerTarget.open(stub.url)
        timing = await target.send(HELLO, Preset("p"), seed=1)
        await target.close()
    assert PAUSE / 2 < timing.ttft < timing.total - PAUSE / 2
    assert timing.tokens == 2
    assert timing.stages == {"prefill": timing.ttft, "decode": timing.total - timing.ttft}


async def test_an_unknown_model_and_a_server_that_is_not_there_are_named(address: str) -> None:
    with pytest.raises(UnknownModel, match=r"'other'.*echo"):
        await ServerTarget.open(f"{address}/v1", model="other")
    with pytest.raises(EngineUnavailable, match="does not answer"):
        await ServerTarget.open("http://127.0.0.1:9/v1")


async def test_a_target_opens_by_its_name(address: str, tmp_path: Path) -> None:
    there = await open_target(f"{address}/v1", home=tmp_path)
    assert isinstance(there, ServerTarget)
    await there.close()
    here = await open_target("echo", home=tmp_path / "here")
    assert isinstance(here, PipelineTarget)
    timing = await here.send(HELLO, Preset("p"), seed=1)
    assert timing.tokens == len("Hello there.") + 1
    beams = await here.send(HELLO, Preset("p", decoding={"beam_width": 2, "max_tokens": 4}), seed=1)
    assert (timing.whole, beams.whole) == (False, True)
    await here.close()
    assert not here.workbench.engine.healthy
