"""What is the echo engine's own: what it repeats, toy logits from outside, pace and weight."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jc1.decoding import Decoding
from jc1.engines.base import EnginePrompt, Step
from jc1.engines.echo import EchoEngine
from jc1.messages import ImagePart, Message, TextPart
from jc1.prompt import CLOSE, OPEN


async def steps_of(engine: EchoEngine, *messages: Message, **decoding: object) -> list[Step]:
    await engine.start()
    async with aclosing(engine.generate(EnginePrompt(messages), Decoding.parse(decoding))) as steps:
        return [step async for step in steps]


async def reply(engine: EchoEngine, *messages: Message, **decoding: object) -> str:
    return "".join(step.text for step in await steps_of(engine, *messages, **decoding))


async def test_it_repeats_the_last_user_message() -> None:
    said = [Message.system("Be brief."), Message.user("one"), Message.assistant("two"), Message.user("three\n四 🙂")]
    assert await reply(EchoEngine(), *said) == "three\n四 🙂"


async def test_recalled_memories_are_not_repeated() -> None:
    block = f"{OPEN}\nuser: My cat is called Ada.\n{CLOSE}\n"
    assert await reply(EchoEngine(), Message.user(block + "What is my cat called?")) == "What is my cat called?"
    parts = (TextPart(block), TextPart("And this?"), ImagePart(b"", "image/png"))
    assert (await reply(EchoEngine(), Message.user(parts))).strip() == "And this?"


async def test_a_block_that_the_user_wrote_in_the_middle_is_repeated() -> None:
    text = f"Why does it say {OPEN} here {CLOSE}?"
    assert await reply(EchoEngine(), Message.user(text)) == text


@given(st.text(max_size=40))
def test_any_text_comes_back_as_it_is_with_and_without_the_short_cut(text: str) -> None:
    async def both() -> tuple[str, str]:
        message = Message.user(text)
        return await reply(EchoEngine(), message), await reply(EchoEngine(), message, logprobs=0)

    assert asyncio.run(both()) == (text, text)


async def test_sampling_is_real_and_stays_near_the_message() -> None:
    text = "the quick brown fox jumps over the lazy dog"
    sampled = [await reply(EchoEngine(), Message.user(text), temperature=1.0, seed=seed) for seed in range(8)]
    assert len(set(sampled)) == 8
    same = [a == b for other in sampled for a, b in zip(text, other, strict=False)]
    assert 0.8 < sum(same) / len(same) < 1.0


async def test_logits_from_outside_have_a_vocabulary_of_their_own() -> None:
    def logits(token_ids: Sequence[int]) -> np.ndarray:
        return np.log([0.5, 0.3, 0.2, 1e-12])

    engine = EchoEngine(logits=logits, vocabulary=[b"a", b"b", b"c"])
    steps = await steps_of(engine, Message.user("cab!"), temperature=1.0, seed=1, max_tokens=3000)
    shares = Counter("".join(step.text for step in steps))
    assert steps[-1].finish_reason == "length"
    assert shares["a"] / 3000 == pytest.approx(0.5, abs=0.03)
    assert shares["c"] / 3000 == pytest.approx(0.2, abs=0.03)
    assert set(engine.tokenize([Message.user("cab!")])) <= {0, 1, 2}


async def test_logits_from_outside_see_prompt_and_reply() -> None:
    seen: list[int] = []

    def logits(token_ids: Sequence[int]) -> np.ndarray:
        seen.append(len(token_ids))
        return np.array([1.0, 0.0])

    engine = EchoEngine(logits=logits, vocabulary=[b"a"])
    prompt = engine.tokenize([Message.user("aaa")])
    await steps_of(engine, Message.user("aaa"), max_tokens=3)
    assert seen == [len(prompt), len(prompt) + 1, len(prompt) + 2]


async def test_a_delay_is_kept_for_each_token(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    await steps_of(EchoEngine(delay=0.25), Message.user("four"))
    assert slept == [0.25] * 5


async def test_others_have_their_turn_during_a_long_reply() -> None:
    turns = 0
    over = asyncio.Event()

    async def other() -> None:
        nonlocal turns
        while not over.is_set():
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    await steps_of(EchoEngine(), Message.user("x" * 1000), max_tokens=1000)
    over.set()
    await task
    assert turns > 50


def test_it_imports_neither_torch_nor_transformers() -> None:
    code = (
        "import sys; from jc1.engines import create_engine; from jc1.settings import Settings\n"
        "assert create_engine(Settings(engine='echo')).name == 'echo'\n"
        "assert create_engine(Settings(engine='auto')).name == 'transformers'\n"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
