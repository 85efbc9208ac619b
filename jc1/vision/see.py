"""The stage `see`: the pictures of a request become pixels that the engine can show its model.

Knows which messages of a request have pictures, and who may look at them. Knows nothing about files or addresses
(`pictures`), or about what a model makes of pixels (`jc1.engines.eyes`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from jc1.errors import CannotSee
from jc1.messages import ImagePart, Message, pictures_in

if TYPE_CHECKING:
    from jc1.engines.base import Engine
    from jc1.request import Request
    from jc1.trace import Trace
    from jc1.workbench import Workbench


async def see(bench: Workbench, trace: Trace, request: Request) -> None:
    """Read the pictures of a request's messages; nothing where it has none.

    Raises:
        CannotSee: The model reads text alone. Nothing is fetched for it.
        InvalidRequest: And its kin, where a picture cannot be fetched or read.
    """
    parts = list(pictures_in(request.messages))
    if not parts:
        return
    with trace.stage("see"):
        if not bench.engine.capabilities.sees:
            raise cannot_see(bench.engine)
        read = iter(await bench.pictures.read(parts))
        request.history = _with(request.history, read)
        (request.message,) = _with((request.message,), read)
        request.exchange = _with(request.exchange, read)


def seen(engine: Engine, messages: Sequence[Message]) -> list[dict[str, int]]:
    """Return what a trace tells of the pictures in a prompt. Blocks while a processor counts."""
    pictures = [part.picture for part in pictures_in(messages) if part.picture is not None]
    return [
        {"width": picture.width, "height": picture.height, "tokens": engine.picture_tokens(picture)}
        for picture in pictures
    ]


def cannot_see(engine: Engine) -> CannotSee:
    """Return the error for a model that reads text alone: which could look, and how to have it."""
    return CannotSee(
        f"The model {engine.model!r} reads text alone and cannot look at a picture: start JC1 with a vision-language "
        "model that transformers or vLLM knows (LLaVA, Qwen2.5-VL, SmolVLM ...), or leave the picture out.",
        param="messages",
    )


def _with(messages: Sequence[Message], read: Iterator[ImagePart]) -> tuple[Message, ...]:
    """Return messages with each picture as it was read, in their order."""
    return tuple(
        replace(
            message,
            content=tuple(next(read) if isinstance(part, ImagePart) else part for part in message.parts),
        )
        if message.pictures
        else message
        for message in messages
    )
