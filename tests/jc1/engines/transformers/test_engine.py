"""What is the transformers engine's own: loading, the one worker, failures, and agreement with plain transformers."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from jc1.decoding import Decoding
from jc1.engines.base import EnginePrompt, Step
from jc1.engines.settings import EngineSettings
from jc1.engines.transformers.engine import TransformersEngine
from jc1.errors import EngineFailed, EngineUnavailable, UnknownModel
from jc1.messages import Message
from jc1.prompt import DEFAULT_SYSTEM

Start = Callable[[Path], Awaitable[TransformersEngine]]

HELLO = (Message.user("hello"),)
LONG = Decoding(max_tokens=1500, min_tokens=1500)


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts an engine on a folder; the engine is closed after the test."""
    started = []

    async def start(folder: Path) -> TransformersEngine:
        engine = TransformersEngine(EngineSettings(model=str(folder)))
        started.append(engine)
        await engine.start()
        return engine

    yield start
    for engine in started:
        await engine.close()


async def steps_of(engine: TransformersEngine, prompt: EnginePrompt, decoding: Decoding) -> list[Step]:
    async with aclosing(engine.generate(prompt, decoding)) as steps:
        return [step async for step in steps]


async def until_active(engine: TransformersEngine, requests: int) -> None:
    for _ in range(100):
        if engine.active == requests:
            return
        await asyncio.sleep(0)
    pytest.fail(f"{engine.active} requests run or wait, not {requests}")


async def test_greedy_tokens_are_those_of_plain_transformers(start: Start, random_model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    engine = await start(random_model)
    token_ids = engine.tokenize(HELLO)
    model = AutoModelForCausalLM.from_pretrained(random_model, dtype="float32")
    model.generation_config = GenerationConfig()
    inputs = torch.tensor([token_ids])
    plain = model.generate(inputs, attention_mask=torch.ones_like(inputs), max_new_tokens=40)[0, inputs.shape[1] :]
    steps = await steps_of(engine, EnginePrompt(HELLO), Decoding(max_tokens=40))
    assert [token for step in steps for token in step.token_ids] == plain.tolist()
    assert len(set(plain.tolist())) > 5


async def test_the_bundled_model_is_read_with_sentencepiece_and_replies_as_plain_transformers_does() -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from jc1.models import resolve
    from jc1.tokenizer.tokenizer import load_tokenizer

    folder = resolve("jc1-tiny").path
    assert load_tokenizer(folder).reason == ""
    engine = TransformersEngine(EngineSettings())
    await engine.start()
    said = (Message.system(DEFAULT_SYSTEM), Message.user("My cat is called Ada."))
    steps = await steps_of(engine, EnginePrompt(said), Decoding(max_tokens=40))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    inputs = torch.tensor([engine.tokenize(said)])
    plain = model.generate(inputs, attention_mask=torch.ones_like(inputs), max_new_tokens=40, do_sample=False)
    assert [token for step in steps for token in step.token_ids] == plain[0, inputs.shape[1] :].tolist()
    assert steps[-1].finish_reason == "stop"
    await engine.close()


async def test_logprobs_are_those_of_the_models_forward_pass(start: Start, random_model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    engine = await start(random_model)
    token_ids = engine.tokenize(HELLO)
    model = AutoModelForCausalLM.from_pretrained(random_model, dtype="float32")
    with torch.inference_mode():
        expected = torch.log_softmax(model(torch.tensor([token_ids])).logits[0, -1].double(), dim=0)
    decoding = Decoding(max_tokens=1, logprobs=5, temperature=1.0, seed=4, repetition_penalty=1.5, top_p=0.9)
    (step,) = await steps_of(engine, EnginePrompt(HELLO), decoding)
    assert step.logprobs is not None
    (entry,) = step.logprobs
    assert entry.logprob == pytest.approx(expected[entry.token_id].item(), abs=1e-4)
    assert [other.token_id for other in entry.top] == expected.topk(5).indices.tolist()


async def test_a_request_waits_its_turn_and_says_how_long(start: Start, bigram_model: Path) -> None:
    engine = await start(bigram_model)
    running = engine.generate(EnginePrompt(HELLO), LONG)
    await anext(running)
    waiting = asyncio.create_task(steps_of(engine, EnginePrompt(HELLO), Decoding()))
    await until_active(engine, 2)
    since = time.perf_counter()
    await anext(running)
    waited = time.perf_counter() - since
    await running.aclose()
    assert (await waiting)[0].seconds["queue"] >= waited


async def together(engine: TransformersEngine, *asked: tuple[str, dict[str, object]]) -> list[object]:
    """The replies to requests that all wait while another one runs; what failed is its exception."""
    running = engine.generate(EnginePrompt(HELLO), LONG)
    await anext(running)
    waiting = [
        asyncio.create_task(steps_of(engine, EnginePrompt((Message.user(text),)), Decoding.parse(decoding)))
        for text, decoding in asked
    ]
    await until_active(engine, 1 + len(asked))
    await running.aclose()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    return [reply if isinstance(reply, BaseException) else _tokens(reply) for reply in found]


def _tokens(steps: list[Step]) -> dict[int, list[int]]:
    return {i: [t for s in steps if s.index == i for t in s.token_ids] for i in {s.index for s in steps}}


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many requests each call of the model served."""
    from jc1.engines.transformers.model import LoadedModel

    seen: list[int] = []
    generate = LoadedModel.generate
    monkeypatch.setattr(LoadedModel, "generate", lambda self, jobs: (seen.append(len(jobs)), generate(self, jobs))[1])
    return seen


SAMPLED = {"temperature": 1.2, "repetition_penalty": 1.2, "top_p": 0.95, "max_tokens": 9}


async def test_requests_that_wait_share_a_batch_and_each_gets_what_it_gets_alone(
    start: Start, random_model: Path, batches: list[int]
) -> None:
    engine = await start(random_model)
    asked = [
        ("short", {**SAMPLED, "seed": 1}),
        ("a longer question than the others have", {**SAMPLED, "seed": 2, "n": 2}),
        ("another", {**SAMPLED, "seed": 3, "max_tokens": 4, "logprobs": 1}),
    ]
    alone = [
        _tokens(await steps_of(engine, EnginePrompt((Message.user(text),)), Decoding.parse(decoding)))
        for text, decoding in asked
    ]
    batches.clear()
    assert await together(engine, *asked) == alone
    assert batches == [1, 3]


async def test_requests_with_other_filters_or_beams_wait_for_a_batch_of_their_own(
    start: Start, random_model: Path, batches: list[int]
) -> None:
    engine = await start(random_model)
    greedy, warm = {"max_tokens": 3}, {"max_tokens": 3, "temperature": 0.5, "seed": 1}
    found = await together(engine, ("a", greedy), ("b", warm), ("c", greedy), ("d", {"beam_width": 2, "max_tokens": 3}))
    assert [len(reply[0]) for reply in found] == [3, 3, 3, 3]
    assert batches == [1, 2, 1]


async def test_a_batch_has_its_limit(start: Start, random_model: Path, batches: list[int]) -> None:
    engine = await start(random_model)
    many = {"temperature": 1.0, "n": 20, "max_tokens": 2}
    await together(engine, ("a", many), ("b", many), ("c", {**many, "n": 12}))
    assert batches == [1, 2, 1]


async def test_a_request_without_numbers_fails_alone(start: Start, poisoned_model: Path, batches: list[int]) -> None:
    engine = await start(poisoned_model)
    good, bad, fine = await together(engine, ("hello", {}), ("Zoo", {}), ("hello", {"max_tokens": 4}))
    assert isinstance(bad, EngineFailed)
    assert batches == [1, 3]
    assert good[0][:4] == fine[0]
    assert len(good[0]) > 4


async def test_one_of_a_batch_can_be_given_up(start: Start, bigram_model: Path) -> None:
    engine = await start(bigram_model)
    running = engine.generate(EnginePrompt(HELLO), LONG)
    await anext(running)
    long = engine.generate(EnginePrompt(HELLO), LONG)
    first = asyncio.create_task(anext(long))
    other = asyncio.create_task(steps_of(engine, EnginePrompt(HELLO), Decoding(max_tokens=60, min_tokens=60)))
    await until_active(engine, 3)
    await running.aclose()
    await first
    await long.aclose()
    assert len(await other) == 60
    assert engine.active == 0


async def test_a_waiting_request_that_is_given_up_never_runs(start: Start, bigram_model: Path) -> None:
    engine = await start(bigram_model)
    running = engine.generate(EnginePrompt(HELLO), LONG)
    await anext(running)
    waiting = asyncio.create_task(steps_of(engine, EnginePrompt(HELLO), LONG))
    await until_active(engine, 2)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert engine.active == 1
    await running.aclose()
    assert engine.active == 0


async def test_closing_lets_the_running_reply_end_and_refuses_those_that_wait(start: Start, bigram_model: Path) -> None:
    engine = await start(bigram_model)
    running = engine.generate(EnginePrompt(HELLO), Decoding(max_tokens=300, min_tokens=300))
    steps = [await anext(running)]
    waiting = asyncio.create_task(steps_of(engine, EnginePrompt(HELLO), Decoding()))
    await until_active(engine, 2)
    await engine.close()
    with pytest.raises(EngineUnavailable, match="start it"):
        await waiting
    steps += [step async for step in running]
    assert (len(steps), steps[-1].finish_reason) == (300, "length")
    assert engine.active == 0


async def test_a_model_that_gives_no_numbers_fails_with_the_next_step(start: Start, broken_model: Path) -> None:
    engine = await start(broken_model)
    with pytest.raises(EngineFailed, match="no number: start with dtype float32"):
        await steps_of(engine, EnginePrompt(HELLO), Decoding())
    assert engine.active == 0


async def test_a_foreign_exception_is_logged_and_its_text_is_not_told(
    start: Start, bigram_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = await start(bigram_model)
    outside = EnginePrompt(HELLO, (10**6,))
    with caplog.at_level(logging.ERROR), pytest.raises(EngineFailed) as caught:
        await steps_of(engine, outside, Decoding())
    assert caught.value.message == (
        "The transformers engine broke while generating: send the request again, or see the server's log."
    )
    assert caught.value.__cause__ is None
    assert "IndexError" in caplog.text
    assert (await steps_of(engine, EnginePrompt(HELLO), Decoding()))[-1].finish_reason == "stop"


async def test_a_folder_without_weights_is_named_with_the_next_step(
    start: Start, random_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "half-a-model"
    shutil.copytree(random_model, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    with pytest.raises(EngineUnavailable, match=r"'half-a-model' holds no \*.safetensors: download the weights"):
        await start(folder)


async def test_a_folder_that_transformers_cannot_load_is_told_without_its_words(
    start: Start, random_model: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(random_model, tmp_path / "unheard-of")
    (folder / "config.json").write_text('{"model_type": "unheard-of"}')
    with pytest.raises(EngineUnavailable, match=r"'unheard-of' could not be loaded: .*the log says why") as caught:
        await start(folder)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"{}", b"\xff\xfe"], ids=repr)
@pytest.mark.parametrize("file", ["tokenizer.json", "model.safetensors", "model.safetensors.index.json"])
async def test_a_damaged_file_is_named_with_the_next_step_and_nothing_is_logged(
    start: Start, random_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, file: str, content: bytes
) -> None:
    folder = shutil.copytree(random_model, tmp_path / "damaged")
    (folder / file).write_bytes(content)
    with pytest.raises(EngineUnavailable, match=f"The {file} of 'damaged' cannot be read: download the model again"):
        await start(folder)
    assert not caplog.records


@pytest.mark.parametrize("content", ["", "{", "[1]", '"llama"'])
async def test_a_damaged_config_is_named_with_the_next_step(
    start: Start, random_model: Path, tmp_path: Path, content: str
) -> None:
    folder = shutil.copytree(random_model, tmp_path / "damaged")
    (folder / "config.json").write_text(content)
    with pytest.raises(EngineUnavailable, match=r"The config.json of 'damaged' cannot be read"):
        await start(folder)


async def test_weights_that_were_cut_short_are_named_as_are_those_that_are_missing(
    start: Start, random_model: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(random_model, tmp_path / "cut")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(EngineUnavailable, match=r"The model.safetensors of 'cut' cannot be read"):
        await start(folder)
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-2.safetensors"}}')
    with pytest.raises(EngineUnavailable, match=r"'cut' holds no model-2.safetensors: download the rest"):
        await start(folder)


async def test_token_ids_that_are_no_numbers_are_told_as_a_tokenizer_that_cannot_be_read(
    start: Start, random_model: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(random_model, tmp_path / "odd")
    (folder / "generation_config.json").write_text('{"eos_token_id": {"first": 1}}')
    with pytest.raises(EngineUnavailable, match="The tokenizer of 'odd' cannot be read"):
        await start(folder)


async def test_a_folder_without_a_tokenizer_is_named_with_the_next_step(
    start: Start, random_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mute"
    shutil.copytree(random_model, folder, ignore=shutil.ignore_patterns("tokenizer*"))
    with pytest.raises(EngineUnavailable, match=r"'mute' holds no tokenizer: add"):
        await start(folder)


async def test_a_failed_start_can_be_tried_again(random_model: Path, tmp_path: Path) -> None:
    engine = TransformersEngine(EngineSettings(model=str(tmp_path / "model")))
    with pytest.raises(UnknownModel):
        await engine.start()
    assert not engine.healthy
    shutil.copytree(random_model, tmp_path / "model")
    await engine.start()
    assert engine.healthy
    assert engine.model == "model"
    await engine.close()


async def test_before_the_start_it_says_so(bigram_model: Path) -> None:
    engine = TransformersEngine(EngineSettings(model=str(bigram_model)))
    assert not engine.healthy
    for ask in (lambda: engine.capabilities, lambda: engine.tokenize(HELLO)):
        with pytest.raises(EngineUnavailable, match="start it"):
            ask()


@pytest.mark.parametrize(("asked", "given"), [("auto", "float32"), ("bfloat16", "bfloat16")])
def test_the_weights_are_float32_on_the_cpu_unless_another_precision_is_asked_for(
    random_model: Path, asked: str, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from jc1.engines.transformers.model import LoadedModel
    from jc1.tokenizer.tokenizer import load_tokenizer

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    model = LoadedModel(random_model, dtype=asked, tokenizer=load_tokenizer(random_model))
    assert model.dtype == given
