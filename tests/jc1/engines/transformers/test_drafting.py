"""Speculation on transformers: the same tokens as without it, in fewer forward passes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jc1.decoding import Decoding
from jc1.engines.base import EnginePrompt, Step
from jc1.engines.settings import EngineSettings
from jc1.engines.speculation import LONGEST_MATCH, SHORTEST_MATCH
from jc1.engines.transformers.drafting import PromptLookup
from jc1.engines.transformers.engine import TransformersEngine
from jc1.errors import InvalidSettings
from jc1.messages import Message

Start = Callable[..., Awaitable[TransformersEngine]]
HELLO = (Message.user("hello"),)


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    started = []

    async def start(folder: Path | str, speculation: str = "off") -> TransformersEngine:
        engine = TransformersEngine(EngineSettings(model=str(folder), speculation=speculation))
        started.append(engine)
        await engine.start()
        return engine

    yield start
    for engine in started:
        await engine.close()


async def steps_of(engine: TransformersEngine, messages: tuple[Message, ...], **decoding: Any) -> list[Step]:
    async with aclosing(engine.generate(EnginePrompt(messages), Decoding.parse(decoding))) as steps:
        return [step async for step in steps]


def tokens_of(steps: list[Step]) -> dict[int, list[int]]:
    return {i: [t for s in steps if s.index == i for t in s.token_ids] for i in {s.index for s in steps}}


@pytest.mark.parametrize(
    ("text", "count", "draft"),
    [
        ([7, 1, 2, 3, 9, 5, 1, 2, 4, 8, 1, 2, 3], 3, [9, 5, 1]),
        ([7, 1, 2, 3, 9, 5, 1, 2, 4, 8, 1, 2], 3, [4, 8, 1]),
        ([1, 2, 3, 9, 1, 2, 4, 7, 8, 1, 2], 2, [4, 7]),
        ([5, 1, 2, 3, 6, 1, 2, 4, 5, 1, 2], 3, [3, 6, 1]),
        ([1, 2, 3, 4], 3, []),
        ([7, 7, 7], 3, [7]),
        ([], 3, []),
    ],
)
def test_prompt_lookup_drafts_what_followed_the_longest_match_last_time(
    text: list[int], count: int, draft: list[int]
) -> None:
    assert PromptLookup().propose(text, count) == draft


def searched(text: list[int], count: int) -> list[int]:
    """The same by looking at every place."""
    for size in range(LONGEST_MATCH, SHORTEST_MATCH - 1, -1):
        for start in range(len(text) - size - 1, -1, -1):
            if text[start : start + size] == text[-size:]:
                return text[start + size : start + size + count]
    return []


@given(st.lists(st.integers(0, 3), max_size=60), st.lists(st.integers(1, 7), max_size=20), st.integers(1, 5))
def test_prompt_lookup_finds_what_a_search_of_the_whole_text_finds(
    text: list[int], grows: list[int], count: int
) -> None:
    lookup = PromptLookup()
    for length in accumulate(grows):
        assert lookup.propose(text[:length], count) == searched(text[:length], count)


class Counted(list[int]):
    """A list that counts how many of its items were read."""

    read = 0

    def __getitem__(self, at: Any) -> Any:
        got = super().__getitem__(at)
        self.read += len(got) if isinstance(at, slice) else 1
        return got

    def __iter__(self) -> Any:
        self.read += len(self)
        return super().__iter__()


@pytest.mark.parametrize("repeats", [True, False])
def test_prompt_lookup_reads_each_token_a_few_times_however_long_the_text(repeats: bool) -> None:
    lookup, text = PromptLookup(), Counted(range(4000))
    for token in range(1000):
        text.append(token % 5 if repeats else 4000 + token)
        lookup.propose(text, 4)
    assert text.read < 20 * len(text)


async def test_a_draft_model_reads_each_token_once(random_model: Path) -> None:
    import torch

    from jc1.engines.transformers.model import LoadedModel
    from jc1.tokenizer.tokenizer import load_tokenizer

    loaded = LoadedModel(random_model, dtype="auto", tokenizer=load_tokenizer(random_model), draft=random_model)
    plain = loaded.drafter()
    text = Counted([5, 6, 7, 8] * 20)
    drafter = loaded.drafter()
    with torch.inference_mode():
        for accepted in (3, 0, 1, 2, 3):
            draft = drafter.propose(text, 3)
            copy = text.copy()
            assert draft == plain.propose(copy, 3) == loaded.drafter().propose(copy, 3)
            text += [*draft[:accepted], 9]
    assert text.read < 3 * len(text)


@pytest.mark.parametrize("speculation", ["ngram:4", "draft:{model}:3", "draft:{other}:3"])
@pytest.mark.parametrize(
    "decoding",
    [
        {},
        {"temperature": 0.8, "seed": 3, "n": 2, "top_p": 0.9},
        {"temperature": 1.0, "seed": 5, "repetition_penalty": 1.3, "frequency_penalty": 0.5, "min_p": 0.02},
    ],
    ids=["greedy", "sampled", "penalised"],
)
async def test_replies_are_those_without_speculation(
    start: Start, random_model: Path, bigram_model: Path, speculation: str, decoding: dict[str, Any]
) -> None:
    words = speculation.format(model=random_model, other=bigram_model)
    plain, speculating = await start(random_model), await start(random_model, words)
    expected = await steps_of(plain, HELLO, max_tokens=40, **decoding)
    found = await steps_of(speculating, HELLO, max_tokens=40, **decoding)
    assert tokens_of(found) == tokens_of(expected)
    assert "".join(s.text for s in found if s.index == 0) == "".join(s.text for s in expected if s.index == 0)
    ends = [step for step in found if step.finish_reason]
    for step in ends:
        told = step.speculation
        assert told["method"] == words
        assert told["accepted"] == sum(told["flags"]) <= told["drafted"]
        assert len(told["flags"]) == len(tokens_of(found)[step.index])


async def test_a_draft_that_is_the_model_is_always_accepted(start: Start, random_model: Path) -> None:
    engine = await start(random_model, f"draft:{random_model}:3")
    told = (await steps_of(engine, HELLO, max_tokens=41))[-1].speculation
    assert told["acceptance"] == 1.0
    assert told["mean_accepted_length"] == pytest.approx(4.0)
    assert told["by_position"] == [1.0, 1.0, 1.0]


async def test_copying_from_the_prompt_is_drafted_by_lookup(start: Start) -> None:
    engine = await start("jc1-tiny", "ngram:4")
    said = (Message.user("Please remember that my order number is 4471-4471-4471."),)
    told = (await steps_of(engine, said))[-1].speculation
    assert told["fired"]
    assert told["accepted"] > 0


async def test_stop_strings_and_limits_hold_inside_a_draft(start: Start, bigram_model: Path) -> None:
    engine = await start(bigram_model, f"draft:{bigram_model}:4")
    cut = await steps_of(engine, HELLO, stop="gen")
    assert "".join(step.text for step in cut) == "Jür"
    assert cut[-1].finish_reason == "stop"
    assert [len(tokens_of(await steps_of(engine, HELLO, max_tokens=n))[0]) for n in (1, 2, 3, 7)] == [1, 2, 3, 7]


def test_other_methods_are_refused() -> None:
    with pytest.raises(InvalidSettings, match="not by 'eagle'"):
        TransformersEngine(EngineSettings(speculation="eagle:head:3"))


async def test_a_draft_with_another_tokenizer_is_refused(random_model: Path) -> None:
    engine = TransformersEngine(EngineSettings(model=str(random_model), speculation="draft:jc1-tiny:3"))
    with pytest.raises(InvalidSettings, match="different tokenizers"):
        await engine.start()
