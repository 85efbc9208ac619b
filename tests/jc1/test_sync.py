"""The blocking form gives what the asynchronous one gives, also inside a running event loop."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from jc1 import Decoding, Done, Pipeline, Recalled, Settings, SyncPipeline, Token, Workbench
from jc1.engines.base import EnginePrompt, Step
from jc1.engines.echo import EchoEngine
from jc1.errors import EmptyMessage


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", engine="echo")


@pytest.fixture
def pipeline(settings: Settings) -> Iterator[SyncPipeline]:
    with SyncPipeline(settings) as made:
        yield made


async def test_both_forms_agree_and_the_blocking_one_works_inside_a_loop(settings: Settings) -> None:
    options = {"memory": "off", "temperature": 1.0, "seed": 7, "max_tokens": 30, "n": 2}
    async with Workbench.open(settings) as workbench:
        expected = (await workbench.pipeline.chat("Hello there.", **options)).choices
    with SyncPipeline(settings) as blocking:
        assert blocking.chat("Hello there.", **options).choices == expected


@pytest.mark.parametrize("method", ["chat", "stream"])
def test_both_forms_take_messages_of_the_same_types(method: str) -> None:
    forms = (getattr(form, method).__annotations__["messages"] for form in (Pipeline, SyncPipeline))
    assert len(set(forms)) == 1


def test_messages_may_be_dicts(pipeline: SyncPipeline) -> None:
    assert pipeline.chat([{"role": "user", "content": "Hi."}], memory="off").text == "Hi."


def test_a_stream_can_be_left_early(pipeline: SyncPipeline) -> None:
    for event in pipeline.stream("A long story.", session="s"):
        if isinstance(event, Token):
            break
    pipeline.close()
    (turn,) = pipeline.workbench.sessions.history("local", "s", limit=1)
    assert turn.cancelled


def test_a_stream_ends_with_done(pipeline: SyncPipeline) -> None:
    *_, last = pipeline.stream("Hi.", memory="off")
    assert isinstance(last, Done)
    assert last.reply.text == "Hi."


def test_errors_come_through(pipeline: SyncPipeline) -> None:
    with pytest.raises(EmptyMessage):
        pipeline.chat("")


def test_closing_twice_is_fine(pipeline: SyncPipeline) -> None:
    pipeline.close()
    pipeline.close()


class Lingering(EchoEngine):
    """Interrupts the main thread in the middle of a reply, and takes a while to end."""

    ended = False

    async def generate(self, prompt: EnginePrompt, decoding: Decoding) -> AsyncGenerator[Step, None]:
        try:
            async with aclosing(super().generate(prompt, decoding)) as steps:
                yield await anext(steps)
                os.kill(os.getpid(), signal.SIGINT)
                await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            self.ended = True


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C interrupts, also where the tests were started in the background and ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_in_the_middle_of_a_reply_ends_it_first_and_keeps_the_turn(settings: Settings) -> None:
    workbench = Workbench.open(settings)
    workbench.engine = engine = Lingering()
    with SyncPipeline(workbench=workbench) as blocking:
        with pytest.raises(KeyboardInterrupt):
            for _ in blocking.stream("A long story.", session="s"):
                pass
        assert engine.ended
        blocking.close()
        (turn,) = workbench.sessions.history("local", "s", limit=1)
    assert turn.cancelled


def test_a_stream_left_open_is_closed_with_the_workbench(settings: Settings) -> None:
    blocking = SyncPipeline(settings)
    stream = blocking.stream("A long story.", session="s")
    assert isinstance(next(stream), Recalled)
    blocking.close()
    assert list(stream) == []
    (turn,) = blocking.workbench.sessions.history("local", "s", limit=1)
    assert turn.cancelled
