"""Models that see, on the transformers engine: the tokens are those that transformers itself gives for the pictures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jc1 import Settings, Workbench
from jc1.compat.processors import load_processor
from jc1.decoding import Decoding
from jc1.embedding.base import Embedder
from jc1.engines.base import EnginePrompt
from jc1.engines.settings import EngineSettings
from jc1.engines.transformers.engine import TransformersEngine
from jc1.errors import InvalidRequest, PromptTooLong
from jc1.messages import ImagePart, Message, TextPart
from jc1.vision.images import Picture
from tests.api.conftest import echo_workbench
from tests.support.database import new_database
from tests.support.sent_pictures import part


def shown(width: int, height: int, seed: int) -> ImagePart:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return ImagePart(picture=Picture(width, height, pixels.tobytes()))


ONE, OTHER = shown(60, 40, 1), shown(50, 90, 2)
ASKED = Message.user((TextPart("Compare"), ONE, TextPart("with"), OTHER))
TURNED = Message.user((TextPart("Compare"), OTHER, TextPart("with"), ONE))


@pytest.fixture
async def engine(vision_model: Path) -> AsyncIterator[TransformersEngine]:
    running = TransformersEngine(EngineSettings(model=str(vision_model)))
    await running.start()
    yield running
    await running.close()


async def tokens(engine: TransformersEngine, *messages: Message, **decoding: Any) -> list[list[int]]:
    """Return the token ids of each choice, greedy unless said otherwise."""
    prompt = EnginePrompt(messages, tuple(engine.tokenize(messages)))
    replies: dict[int, list[int]] = {}
    async for step in engine.generate(prompt, Decoding(**{"temperature": 0, "max_tokens": 8, **decoding})):
        replies.setdefault(step.index, []).extend(step.token_ids)
    return [replies[index] for index in sorted(replies)]


async def likelihood(engine: TransformersEngine, message: Message) -> list[float]:
    """Return the log probabilities of the five most likely first tokens."""
    prompt = EnginePrompt((message,), tuple(engine.tokenize([message])))
    (step, *_) = [step async for step in engine.generate(prompt, Decoding(temperature=0, max_tokens=1, logprobs=5))]
    assert step.logprobs is not None
    return [entry.logprob for entry in step.logprobs[0].top]


def reference(folder: Path, engine: TransformersEngine, message: Message, **options: Any) -> list[int]:
    """Return what transformers gives by itself: its processor on the whole prompt, its own loop."""
    from transformers import AutoModelForImageTextToText, GenerationConfig

    assert engine._tokenizer is not None
    text = engine._tokenizer.template.render([message], True)
    images = [each.picture.image() for each in message.pictures if each.picture]
    inputs = load_processor(folder)(text=[text], images=images, return_tensors="pt")
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype="float32", local_files_only=True)
    model.generation_config = GenerationConfig(eos_token_id=engine._tokenizer.end_tokens[0], pad_token_id=0)
    output = model.generate(**inputs, max_new_tokens=8, do_sample=False, **options)
    return list(output[0, inputs["input_ids"].shape[1] :].tolist())


async def test_the_tokens_are_those_of_transformers_own_loop(engine: TransformersEngine, vision_model: Path) -> None:
    assert engine.capabilities.sees
    (reply,) = await tokens(engine, ASKED)
    assert reply == reference(vision_model, engine, ASKED)


async def test_another_order_of_the_pictures_is_another_prompt(engine: TransformersEngine) -> None:
    assert await likelihood(engine, ASKED) != pytest.approx(await likelihood(engine, TURNED), abs=1e-3)


async def test_beams_see_too(engine: TransformersEngine, vision_model: Path) -> None:
    # Whether a search goes on behind a sequence that has ended is each one's own: here none ends before the last.
    best, *_ = await tokens(engine, ASKED, beam_width=2, n=2, length_penalty=0.0, min_tokens=8)
    assert best == reference(vision_model, engine, ASKED, num_beams=2, length_penalty=0.0, min_new_tokens=8)


async def test_several_replies_to_one_picture_and_requests_beside_it_see_what_is_theirs(
    engine: TransformersEngine,
) -> None:
    ((one,), (other,), (text,)) = [
        await tokens(engine, message) for message in (ASKED, TURNED, Message.user("No picture."))
    ]
    together = await asyncio.gather(
        tokens(engine, ASKED, temperature=1, top_k=1, n=3),
        tokens(engine, TURNED),
        tokens(engine, Message.user("No picture.")),
    )
    assert together == [[one, one, one], [other], [text]]


async def test_a_placeholder_that_the_user_writes_is_no_picture(engine: TransformersEngine) -> None:
    assert engine._eyes is not None
    mark, placeholder = engine._eyes.mark, engine._eyes.placeholder
    assert placeholder not in engine.tokenize([Message.user(f"Look: {mark}")])
    asked = Message.user((TextPart(f"{mark}{mark}"), ONE, TextPart(mark)))
    assert engine.tokenize([asked]).count(placeholder) == engine.tokenize([Message.user((ONE,))]).count(placeholder)
    unread = ImagePart(b"The template has a place for it, and nothing fills it.")
    with pytest.raises(InvalidRequest, match="no place"):
        engine.tokenize([Message.user((ONE, unread))])


async def test_speculation_answers_a_picture_without_drafts(vision_models: dict[str, Path]) -> None:
    plain, drafting = (
        TransformersEngine(EngineSettings(model=str(vision_models["llava"]), speculation=speculation))
        for speculation in ("off", "ngram:4")
    )
    for running in (plain, drafting):
        await running.start()
    try:
        assert await tokens(drafting, ASKED) == await tokens(plain, ASKED)
    finally:
        for running in (plain, drafting):
            await running.close()


async def test_pictures_count_in_the_budget_and_the_trace_tells_how_much(
    vision_models: dict[str, Path], home: Path, embedder: Embedder
) -> None:
    settings = Settings(home=home, engine="echo")
    settings.prepare_home()
    bench: Workbench = echo_workbench(settings, new_database(home / "jc1.db"), embedder)
    bench.engine = TransformersEngine(EngineSettings(model=str(vision_models["smolvlm"])))
    async with bench:
        asked = Message.user((TextPart("What is this?"), part(60, 40)))
        options: dict[str, Any] = {"memory": "off", "max_tokens": 4, "temperature": 0}
        reply = await bench.pipeline.chat([asked], **options)
        (seen,) = reply.trace.pictures
        assert seen == {"width": 60, "height": 40, "tokens": 34}  # six pieces and the whole, as the processor cuts it
        without = await bench.pipeline.chat("What is this?", **options)
        assert reply.trace.usage.prompt_tokens - without.trace.usage.prompt_tokens == 34
        # Older pictures give way with their turns; the newest alone has to fit.
        turns = [asked, Message.assistant("Noise.")] * 12
        reply = await bench.pipeline.chat([*turns, asked], **options)
        assert reply.trace.dropped_messages > 0
        assert len(reply.trace.pictures) < 13
        assert reply.trace.usage.prompt_tokens <= bench.engine.capabilities.context_length
        with pytest.raises(PromptTooLong):
            await bench.pipeline.chat([Message.user((part(60, 40),) * 15)], **options)
