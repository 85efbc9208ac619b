"""A model that sees, on vLLM's CPU build: the same greedy tokens as on the transformers engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jc1.decoding import Decoding
from jc1.engines.base import Engine, EnginePrompt
from jc1.engines.settings import EngineSettings
from jc1.engines.transformers.engine import TransformersEngine
from jc1.engines.vllm.engine import VllmEngine
from jc1.messages import ImagePart, Message, TextPart
from jc1.vision.images import Picture

pytestmark = pytest.mark.engines


def shown(width: int, height: int, seed: int) -> ImagePart:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return ImagePart(picture=Picture(width, height, pixels.tobytes()))


ONE, OTHER = shown(60, 40, 1), shown(50, 90, 2)
ASKED = (
    Message.user((TextPart("What is this?"), ONE)),
    Message.user((TextPart("Compare"), ONE, TextPart("with"), OTHER)),
    Message.user((TextPart("Compare"), OTHER, TextPart("with"), ONE)),
    Message.user("No picture."),
)


async def replies(engine: Engine, **decoding: Any) -> list[list[int]]:
    """Return the tokens of a greedy reply to each message."""
    texts = []
    for message in ASKED:
        prompt = EnginePrompt((message,), tuple(engine.tokenize([message])))
        token_ids: list[int] = []
        async for step in engine.generate(prompt, Decoding(**{"temperature": 0, "max_tokens": 8, **decoding})):
            token_ids += step.token_ids if step.index == 0 else ()
        texts.append(token_ids)
    return texts


async def test_llava_gives_the_same_greedy_tokens_on_vllm_and_on_transformers(vision_models: dict[str, Path]) -> None:
    settings = {"model": str(vision_models["llava"]), "dtype": "float32"}
    on_transformers = TransformersEngine(EngineSettings(**settings))
    await on_transformers.start()
    expected, beams = await replies(on_transformers), await replies(on_transformers, beam_width=2)
    await on_transformers.close()
    on_vllm = VllmEngine(EngineSettings(**settings, kv_cache_gib=0.25, engine_args={"enforce_eager": True}))
    await on_vllm.start()
    try:
        assert on_vllm.capabilities.sees
        assert await replies(on_vllm) == expected
        assert expected[1] != expected[2]
        assert await replies(on_vllm, beam_width=2) == beams
    finally:
        await on_vllm.close()
