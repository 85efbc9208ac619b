"""Completions: raw prompts, to which no template is applied, and what goes on from them.

Knows what such a request may ask for, its few stages in their order, and how several prompts are written at the same
time. Knows nothing about chat or memory, which take no part.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jc1.engines.base import EnginePrompt, Step
from jc1.engines.output_processor import reply_limit
from jc1.errors import InvalidRequest, RequestTooLarge
from jc1.prepare import preset_for
from jc1.reply import Done, Event, ReplyBuilder
from jc1.texts import NOT_TEXT, is_text
from jc1.trace import Trace, Usage

if TYPE_CHECKING:
    from jc1.decoding import Decoding
    from jc1.engines.base import Engine
    from jc1.presets import Preset
    from jc1.settings import Settings
    from jc1.workbench import Workbench

RawPrompt = str | Sequence[int]
"""A text, or token ids."""


async def complete(
    bench: Workbench,
    prompts: str | Sequence[RawPrompt],
    *,
    owner: str | None = None,
    preset: str | Preset | None = None,
    trace: Trace | None = None,
    admit: Callable[[int], Awaitable[None]] | None = None,
    **decoding: Any,
) -> AsyncGenerator[Event, None]:
    """Go on from prompts as they are, event by event: `Token` ..., `Done`. Memory and sessions take no part.

    Args:
        bench: Whose engine writes.
        prompts: A text, or several prompts, each as a text or as token ids. No template is applied to them, and no
            system prompt stands before them. The choices of the first come first.
        owner: Whose trace; the settings' owner where none is named.
        preset: As `Pipeline.stream` takes it; of it counts how is decoded.
        trace: As `Pipeline.stream` takes it.
        admit: As `Pipeline.stream` takes it, for all prompts together.
        decoding: Fields of `Decoding`, which go before the preset's.

    Raises:
        InvalidRequest: And its kin, before the engine is asked.
        Unavailable: And its kin, when a part fails.
    """
    trace = trace or bench.begin_trace(owner)
    writing = ReplyBuilder(trace)
    with bench.telemetry.recorded(trace):
        # 1) prepare: check what was sent, and find what holds for it.
        sent, chosen = await _prepare(bench, trace, prompts, preset=preset, decoding=decoding)
        # 2) tokenize: nothing gives way where a prompt does not fit.
        with trace.stage("tokenize"):
            tokens = await asyncio.to_thread(_tokenized, bench.engine, sent, chosen)
        trace.usage = Usage(prompt_tokens=sum(len(prompt.token_ids) for prompt in tokens))
        if admit is not None:
            await admit(trace.usage.prompt_tokens)
        # 3) generate: all prompts at the same time.
        with writing.timed():
            async with aclosing(_together(bench.engine, tokens, chosen)) as steps:
                async for step in steps:
                    for piece in writing.add(step):
                        yield piece
        # 4) reply: whole, with its trace.
        trace.outcome = "ok"
        bench.telemetry.finish(trace)
        yield Done(writing.reply())


async def _prepare(
    bench: Workbench,
    trace: Trace,
    prompts: str | Sequence[RawPrompt],
    *,
    preset: str | Preset | None,
    decoding: Mapping[str, Any],
) -> tuple[tuple[RawPrompt, ...], Decoding]:
    """Return the prompts, and how what goes on from each is decoded.

    Raises:
        InvalidRequest: And its kin, where the request cannot be served.
    """
    bench.engine.capabilities.check_raw(bench.engine.name)
    sent = (prompts,) if isinstance(prompts, str) else tuple(prompts)
    known = await preset_for(bench, preset)
    trace.preset = known.reference
    chosen = bench.resolve(known, decoding=decoding, memory="off").decoding
    _check(sent, chosen, bench.settings)
    return sent, chosen


def _tokenized(engine: Engine, prompts: Sequence[RawPrompt], decoding: Decoding) -> list[EnginePrompt]:
    """Return the prompts as the engine takes them. Blocks.

    Raises:
        InvalidRequest: One holds no token, or one that is none of the model's.
        PromptTooLong: One leaves no room.
    """
    tokens = [engine.encode(prompt) for prompt in prompts]
    for token_ids in tokens:
        if not token_ids:
            raise InvalidRequest("The prompt is empty: send some text, or token ids.", param="prompt")
        reply_limit(len(token_ids), decoding, engine.capabilities.context_length)
    return [EnginePrompt((), token_ids) for token_ids in tokens]


async def _together(engine: Engine, prompts: Sequence[EnginePrompt], decoding: Decoding) -> AsyncGenerator[Step, None]:
    """Yield the steps of all prompts as they come: the choices of the first prompt are counted first.

    Closing the generator frees the engine. What speculation told is of one prompt, and left out where there are more.
    """
    arrived: asyncio.Queue[Step | asyncio.Task[None]] = asyncio.Queue()

    async def write(place: int, prompt: EnginePrompt) -> None:
        async with aclosing(engine.generate(prompt, decoding)) as steps:
            async for step in steps:
                speculation = step.speculation if len(prompts) == 1 else None
                arrived.put_nowait(replace(step, index=place * decoding.n + step.index, speculation=speculation))

    tasks = [asyncio.create_task(write(place, prompt)) for place, prompt in enumerate(prompts)]
    for task in tasks:
        task.add_done_callback(arrived.put_nowait)
    running = len(tasks)
    try:
        while running:
            came = await arrived.get()
            if isinstance(came, Step):
                yield came
            else:
                came.result()  # raises what the prompt failed with
                running -= 1
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _check(prompts: Sequence[RawPrompt], decoding: Decoding, settings: Settings) -> None:
    """Raise `InvalidRequest` where the prompts are none, no text, or more than the settings allow."""
    if not prompts:
        raise InvalidRequest("There is no prompt: send one.", param="prompt")
    if not all(is_text(prompt) for prompt in prompts if isinstance(prompt, str)):
        raise InvalidRequest(f"A prompt {NOT_TEXT}.", param="prompt")
    if len(prompts) * decoding.n > settings.max_n:
        raise InvalidRequest(
            f"{len(prompts)} prompts and {decoding.n} replies to each are more than {settings.max_n} replies (max_n): "
            "send fewer.",
            param="prompt",
        )
    size = sum(map(len, prompts))
    if size > settings.max_body_bytes:
        raise RequestTooLarge(
            f"The prompts hold {size:,} characters, {settings.max_body_bytes:,} are allowed: shorten them.",
            param="prompt",
        )
