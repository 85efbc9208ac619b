"""The stage `see`: the pictures of a request become pixels that the engine can show its model, and the text in them.

Knows which messages of a request have pictures, who may look at them, and where a text stands in for them. Knows
nothing about files or addresses (`pictures`), about how text is read (`ocr`), or about what a model makes of pixels
(`jc1.engines.eyes`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jc1.errors import CannotSee
from jc1.messages import ImagePart, Message, Part, TextPart, pictures_in
from jc1.models import seeing
from jc1.prompt import render_reading

if TYPE_CHECKING:
    from jc1.engines.base import Engine
    from jc1.request import Request
    from jc1.trace import Trace
    from jc1.vision.reading import Reading
    from jc1.workbench import Workbench


async def see(bench: Workbench, trace: Trace, request: Request) -> None:
    """Read the pictures of a request's messages; nothing where it has none.

    A model that sees none is given the text that stands in them.

    Raises:
        CannotSee: The model reads text alone, and none is read in the pictures. Nothing is fetched where none is to be.
        OcrUnavailable: The text cannot be read.
        InvalidRequest: And its kin, where a picture cannot be fetched or read.
    """
    parts = list(pictures_in(request.messages))
    if not parts:
        return
    sees, ocr = bench.engine.capabilities.sees, request.resolved.ocr
    reads = ocr == "on" or (ocr == "auto" and not sees)
    with trace.stage("see"):
        if not (sees or reads):
            raise cannot_see(bench.engine)
        # 1) Pixels
        pictures = await bench.pictures.read(parts)
        shown = len(request.message.pictures)
        first = len(list(pictures_in(request.history)))
        request.pictures = tuple(pictures[first : first + shown])
        # 2) The text in them
        readings = await bench.texts.read(pictures) if reads else []
        if not sees and shown and not any(reading.text for reading in readings[first : first + shown]):
            raise cannot_see(bench.engine, "no text can be read in it, and ")
        if request.memory == "on" and ocr != "off" and request.pictures:
            request.texts = _beside(bench.texts.read(request.pictures))
        # 3) Both in the places of the pictures
        blocks = [TextPart(render_reading(i, reading), read=True) for i, reading in enumerate(readings, start=1)]
        columns: list[Sequence[Part]] = [*([pictures] if sees else []), *([blocks] if reads else [])]
        stand_ins = iter(list(zip(*columns, strict=True)))
        request.history = _with(request.history, stand_ins)
        (request.message,) = _with((request.message,), stand_ins)
        request.exchange = _with(request.exchange, stand_ins)


def seen(engine: Engine, messages: Sequence[Message]) -> list[dict[str, int]]:
    """Return what a trace tells of the pictures in a prompt. Blocks while a processor counts."""
    pictures = [part.picture for part in pictures_in(messages) if part.picture is not None]
    return [
        {"width": picture.width, "height": picture.height, "tokens": engine.picture_tokens(picture)}
        for picture in pictures
    ]


def cannot_see(engine: Engine, besides: str = "") -> CannotSee:
    """Return the error for a model that reads text alone: which could look, and how to have it."""
    known = "".join(f"--model {name}, or with " for name in seeing())
    return CannotSee(
        f"The model {engine.model!r} reads text alone and cannot look at a picture: {besides}start JC1 with {known}a "
        "vision-language model that transformers or vLLM knows (LLaVA, Qwen2.5-VL, SmolVLM ...), or leave the picture "
        "out.",
        param="messages",
    )


def _beside(reading: Coroutine[Any, Any, list[Reading]]) -> asyncio.Task[list[Reading]]:
    """Return a task that reads text for memory while the request goes on; nobody need wait for how it ends."""
    task = asyncio.get_running_loop().create_task(reading)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


def _with(messages: Sequence[Message], stand_ins: Iterator[tuple[Part, ...]]) -> tuple[Message, ...]:
    """Return messages with what stands in for each picture in its place, in their order."""

    def parts(message: Message) -> Iterator[Part]:
        for part in message.parts:
            yield from next(stand_ins) if isinstance(part, ImagePart) else (part,)

    return tuple(replace(m, content=tuple(parts(m))) if m.pictures else m for m in messages)
