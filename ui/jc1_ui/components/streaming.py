"""Streaming handlers: how one ends without changing the page.

Knows what Gradio makes of a generator's end. Knows nothing about what is streamed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import wraps
from typing import Any, ParamSpec

import gradio as gr

P = ParamSpec("P")
Updates = dict[Any, Any]
"""What a handler gives Gradio: new values, by component."""


def ends_quietly(handler: Callable[P, AsyncGenerator[Updates, None]]) -> Callable[P, AsyncGenerator[Updates, None]]:
    """Let the end of a streaming handler change nothing.

    A generator that ends without a yield gives every output `None`, which wipes the page; and when one is over, Gradio
    repeats its last frame, by which time the page may show another conversation.
    """

    @wraps(handler)
    async def stream(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Updates, None]:
        async with aclosing(handler(*args, **kwargs)) as frames:
            async for updates in frames:
                yield updates
        yield gr.skip()

    return stream
