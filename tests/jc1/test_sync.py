"""The blocking form gives what the asynchronous one gives, also inside a running event loop."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from jc1 import Done, Pipeline, Settings, SyncPipeline, Token
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
    async with Pipeline.from_settings(settings) as pipeline:
        expected = (await pipeline.chat("Hello there.", **options)).choices
    with SyncPipeline(settings) as blocking:
        assert blocking.chat("Hello there.", **options).choices == expected


def test_a_stream_can_be_left_early(pipeline: SyncPipeline) -> None:
    for event in pipeline.stream("A long story.", session="s"):
        if isinstance(event, Token):
            break
    pipeline.close()
    (turn,) = pipeline.pipeline.sessions.history("local", "s", limit=1)
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
