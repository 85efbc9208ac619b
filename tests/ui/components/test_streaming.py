"""The end of a streaming handler, as Gradio sees it."""

from __future__ import annotations

import typing
from collections.abc import AsyncGenerator

import gradio as gr
import pytest

from jc1_ui.components.streaming import Updates, ends_quietly


@ends_quietly
async def counting(request: gr.Request, numbers: int) -> AsyncGenerator[Updates, None]:
    for number in range(numbers):
        yield {"shown": number}


@pytest.mark.parametrize("numbers", [0, 1, 3])
async def test_a_stream_ends_with_a_frame_that_changes_nothing_however_short_it_is(numbers: int) -> None:
    frames = [frame async for frame in counting(gr.Request(), numbers)]
    assert frames == [*({"shown": number} for number in range(numbers)), gr.skip()]


async def test_a_stream_that_is_closed_closes_the_handler() -> None:
    closed = []

    @ends_quietly
    async def endless() -> AsyncGenerator[Updates, None]:
        try:
            while True:
                yield {}
        finally:
            closed.append(True)

    frames = endless()
    await anext(frames)
    await frames.aclose()
    assert closed == [True]


def test_gradio_still_sees_what_the_handler_takes() -> None:
    assert typing.get_type_hints(counting)["request"] is gr.Request
