"""Raw prompts through the pipeline: nothing is put before them, and memory takes no part."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from jc1 import Preset, Settings, Workbench
from jc1.access.keys import Keys
from jc1.completion import complete
from jc1.database.keys import KeyRepository
from jc1.database.presets import PresetRepository
from jc1.decoding import Decoding
from jc1.embedding.base import Embedder
from jc1.engines.base import EnginePrompt, Step
from jc1.engines.echo import EchoEngine
from jc1.errors import EngineFailed, InvalidRequest, PromptTooLong, RequestTooLarge
from jc1.memory.store import DatabaseMemory
from jc1.presets import Presets
from jc1.reply import Done, Reply, Token
from jc1.sessions import Sessions
from jc1.telemetry import Telemetry
from tests.support.database import new_database


class Listener(EchoEngine):
    """The echo engine, which remembers its prompts, and fails at one that holds `broken`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.prompts: list[EnginePrompt] = []

    async def generate(self, prompt: EnginePrompt, decoding: Decoding) -> AsyncGenerator[Step, None]:
        self.prompts.append(prompt)
        if "broken" in self.decode(prompt.token_ids):
            raise EngineFailed("The engine broke: send the request again.")
        async with aclosing(super().generate(prompt, decoding)) as steps:
            async for step in steps:
                yield step


@pytest.fixture
def engine() -> Listener:
    return Listener(context_length=300)


@pytest.fixture
async def workbench(home: Path, engine: Listener, embedder: Embedder) -> AsyncIterator[Workbench]:
    settings = Settings(home=home, engine="echo", max_body_bytes=2000)
    settings.prepare_home()
    database = new_database(home / "jc1.db")
    made = Workbench(
        settings,
        engine=engine,
        memory=DatabaseMemory(database, embedder),
        sessions=Sessions(database),
        presets=Presets(PresetRepository(database)),
        keys=Keys(KeyRepository(database)),
        telemetry=Telemetry(),
    )
    async with made:
        yield made


async def completed(workbench: Workbench, prompts: Any, **options: Any) -> Reply:
    async with aclosing(complete(workbench, prompts, **options)) as events:
        *_, last = [event async for event in events]
    assert isinstance(last, Done)
    return last.reply


async def test_the_engine_is_given_the_prompts_tokens_alone_and_nothing_is_remembered(
    workbench: Workbench, engine: Listener
) -> None:
    workbench.presets.save(Preset("terse", system="Be terse.", decoding={"max_tokens": 4}))
    reply = await completed(workbench, "Once upon a time", preset="terse", owner="ann")
    assert engine.prompts == [EnginePrompt((), tuple(b"Once upon a time"))]
    assert (reply.text, reply.choices[0].finish_reason) == ("Once", "length")
    trace = reply.trace
    assert (trace.owner, trace.preset, trace.outcome, trace.remembered) == ("ann", "terse@1", "ok", None)
    assert (trace.usage.prompt_tokens, trace.usage.completion_tokens) == (len("Once upon a time"), 4)
    assert set(trace.stages) == {"tokenize", "queue", "prefill", "decode"}
    assert workbench.telemetry.recent.get(trace.id) is trace
    assert workbench.memory.list("ann").total == 0


async def test_several_prompts_as_texts_or_ids_are_written_together_and_their_choices_stand_in_order(
    workbench: Workbench, engine: Listener
) -> None:
    reply = await completed(workbench, ["abc", list(b"a long one"), (98,)], n=2, temperature=0.01, seed=1)
    assert [choice.index for choice in reply.choices] == list(range(6))
    assert [choice.text for choice in reply.choices] == ["abc", "abc", "a long one", "a long one", "b", "b"]
    assert reply.trace.usage.prompt_tokens == 3 + 10 + 1
    assert len(engine.prompts) == 3


async def test_the_best_beams_of_several_prompts_have_their_scores_in_order(workbench: Workbench) -> None:
    together = await completed(workbench, ["abc", "de"], beam_width=2, n=2)
    alone = [await completed(workbench, prompt, beam_width=2, n=2) for prompt in ("abc", "de")]
    assert together.trace.scores == [*(alone[0].trace.scores or ()), *(alone[1].trace.scores or ())]


@pytest.mark.parametrize(
    ("prompts", "error"),
    [
        ([], InvalidRequest),
        ("", InvalidRequest),
        (["a", ""], InvalidRequest),
        ([[]], InvalidRequest),
        ([[97, 300]], InvalidRequest),
        ([[97, -1]], InvalidRequest),
        (["a\0"], InvalidRequest),
        (["a"] * 9, InvalidRequest),
        ("a" * 300, PromptTooLong),
        (["a", "a" * 300], PromptTooLong),
        ("a" * 2001, RequestTooLarge),
    ],
)
async def test_what_cannot_be_gone_on_from_is_refused_before_the_engine_is_asked(
    workbench: Workbench, engine: Listener, prompts: Any, error: type[InvalidRequest]
) -> None:
    with pytest.raises(error):
        await completed(workbench, prompts)
    assert engine.prompts == []
    assert workbench.telemetry.recent.list("local")[0].outcome == error.code


async def test_as_many_replies_as_the_settings_allow_are_shared_by_all_prompts(workbench: Workbench) -> None:
    assert len((await completed(workbench, ["a"] * 4, n=2, temperature=1.0)).choices) == 8
    with pytest.raises(InvalidRequest, match="max_n"):
        await completed(workbench, ["a"] * 4, n=3, temperature=1.0)


async def test_where_one_prompt_fails_the_others_end_with_it(workbench: Workbench, engine: Listener) -> None:
    with pytest.raises(EngineFailed):
        await completed(workbench, ["a" * 200, "broken", "broken too"])
    assert engine.active == 0
    assert workbench.telemetry.recent.list("local")[0].outcome == "engine_failed"


async def test_a_completion_that_is_left_in_the_middle_frees_the_engine(workbench: Workbench, engine: Listener) -> None:
    engine._delay = 0.01
    events = complete(workbench, ["a" * 100, "b" * 100])
    assert isinstance(await anext(events), Token)
    assert engine.active == 2
    await events.aclose()
    assert engine.active == 0
    (trace,) = workbench.telemetry.recent.list("local")
    assert (trace.outcome, trace.usage.prompt_tokens, trace.usage.completion_tokens > 0) == ("cancelled", 200, True)


async def test_a_task_that_is_cancelled_takes_its_prompts_with_it(workbench: Workbench, engine: Listener) -> None:
    engine._delay = 0.01
    begun = asyncio.Event()

    async def read() -> None:
        async with aclosing(complete(workbench, ["a" * 100, "b" * 100])) as events:
            async for _ in events:
                begun.set()

    task = asyncio.create_task(read())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.active == 0
