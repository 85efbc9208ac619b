"""JC1's own time for a request: the echo engine, whose work is next to nothing, so that what is left is JC1's.

    python -m experiments.benchmarks.own_time [--requests 300] [--records 10000] [--turns 60]

Three figures: the whole request with memory off beside the bare engine fed with the same prompt, in turns, whose
difference is what the request path costs; the whole request with memory on among an owner's `records`, their embedding
included; and the first token after a session of `turns` turns, counted by jc1-tiny's tokenizer, with the number of
tokens that the request had tokenized. HTTP is not part of any.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from experiments.benchmarks.harness import Figures, main
from jc1.decoding import Decoding
from jc1.engines.base import EnginePrompt
from jc1.engines.echo import EchoEngine
from jc1.memory.base import NewRecord
from jc1.messages import Message
from jc1.models import BUNDLED
from jc1.reply import Token
from jc1.settings import Settings
from jc1.tokenizer.tokenizer import load_tokenizer
from jc1.tools import Toolset
from jc1.workbench import Stores, Workbench

ACCEPTANCE_MS = 2.0
TEXT = "Hello there."
WARM_UP = 20
THINGS = ("walrus", "river", "stone", "garden", "window", "teacher", "market", "bottle", "letter", "castle", "bridge")
QUESTION = "Question {}: what do you know about the number {} and its neighbours in the list?"
ANSWER = "I know that it comes after the one before and before the one that follows, and that there are more of them."


class CountingEcho(EchoEngine):
    """An echo engine with the tokenizer of a real model, which counts what it tokenizes."""

    def __init__(self) -> None:
        super().__init__(context_length=16_384)
        self._model_tokenizer = load_tokenizer(BUNDLED / "jc1-tiny")
        self.tokenized: list[int] = []

    def tokenize(self, messages: Sequence[Message], tools: Toolset | None = None) -> list[int]:
        token_ids = self._model_tokenizer.chat(messages)
        self.tokenized.append(len(token_ids))
        return token_ids


async def measure(requests: int = 300, records: int = 10_000, turns: int = 60) -> Figures:
    """Measure the milliseconds of a request in each of the three circumstances."""
    with tempfile.TemporaryDirectory() as home:
        async with Workbench.open(Settings(home=Path(home), engine="echo")) as workbench:
            return {
                "memory_off": await _memory_off(workbench, requests),
                "memory_on": await _memory_on(workbench, requests, records),
                "first_token": await _first_token(workbench, turns),
            }


async def _memory_off(workbench: Workbench, requests: int) -> Figures:
    messages = (Message.user(TEXT),)
    prompt = EnginePrompt(messages, tuple(workbench.engine.tokenize(messages)))
    whole, bare, stages = list[float](), list[float](), list[dict[str, float]]()
    for _ in range(requests + WARM_UP):
        began = time.perf_counter()
        reply = await workbench.pipeline.chat(TEXT, memory="off")
        middle = time.perf_counter()
        async for _ in workbench.engine.generate(prompt, Decoding()):
            pass
        whole.append(1e3 * (middle - began))
        bare.append(1e3 * (time.perf_counter() - middle))
        stages.append(dict(reply.trace.stages))
    figures = _figures(whole, stages)
    engine = statistics.median(bare[WARM_UP:])
    figures |= {"engine_alone_ms": {"p50": engine}, "own_ms": {"p50": figures["whole_ms"]["p50"] - engine}}
    return figures | {"acceptance_ms": ACCEPTANCE_MS, "met": figures["whole_ms"]["p50"] <= ACCEPTANCE_MS}


async def _memory_on(workbench: Workbench, requests: int, records: int) -> Figures:
    _remember(workbench, records)
    whole, stages = list[float](), list[dict[str, float]]()
    for number in range(requests + WARM_UP):
        began = time.perf_counter()
        reply = await workbench.pipeline.chat(f"Where is my {THINGS[number % len(THINGS)]} number {number * 7}?")
        whole.append(1e3 * (time.perf_counter() - began))
        stages.append(dict(reply.trace.stages))
    return {"records": records, **_figures(whole, stages)}


def remember(settings: Settings, records: int) -> None:
    """Give the settings' owner so many records."""
    stores = Workbench.stores(settings)
    _remember(stores, records)
    asyncio.run(stores.close())


def _remember(stores: Stores, records: int) -> None:
    for start in range(0, records, 500):
        numbers = range(start, min(records, start + 500))
        stores.memory.add(stores.settings.owner, [NewRecord(_statement(number)) for number in numbers])


def _statement(number: int) -> str:
    thing, place, street = (THINGS[number // step % len(THINGS)] for step in (1, 11, 121))
    return f"My {thing} number {number} is kept near the {place} of {street} street {number % 977}."


async def _first_token(workbench: Workbench, turns: int, repeats: int = 30) -> Figures:
    owner = workbench.settings.owner
    for number in range(turns):
        workbench.sessions.append(owner, "long", user=QUESTION.format(number, number), reply=ANSWER)
    engine = workbench.engine = CountingEcho()
    await engine.start()
    waits = []
    for number in range(repeats):
        engine.tokenized.clear()
        began = time.perf_counter()
        events = workbench.pipeline.stream(f"What is my cat called, number {number}?", session="long", memory="off")
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Token):
                    waits.append(1e3 * (time.perf_counter() - began))
                    break
    return {
        "turns": turns,
        "first_token_ms": {"p50": statistics.median(waits[3:]), "min": min(waits)},
        "tokenizations": len(engine.tokenized),
        "tokens_tokenized": sum(engine.tokenized),
    }


def _figures(whole: Sequence[float], stages: Sequence[dict[str, float]]) -> dict[str, Any]:
    whole, stages = whole[WARM_UP:], stages[WARM_UP:]
    return {
        "requests": len(whole),
        "whole_ms": {"p50": statistics.median(whole), "p95": statistics.quantiles(whole, n=20)[-1]},
        "stages_ms_p50": {
            stage: 1e3 * statistics.median(spans[stage] for spans in stages if stage in spans) for stage in stages[0]
        },
    }


if __name__ == "__main__":
    main(measure)
