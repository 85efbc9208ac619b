"""The pipeline for blocking code: scripts, notebooks, REPLs. Works inside a running event loop too.

Knows how to hand work to an event loop in a thread of its own. Everything else is `jc1.pipeline`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, Self, TypeVar

from jc1.messages import Message
from jc1.pipeline import Pipeline
from jc1.reply import Event, Reply
from jc1.settings import Settings

T = TypeVar("T")


class SyncPipeline:
    """`Pipeline`, blocking. Starts when it is made; close it, or use it in a `with`.

    Takes settings, or a pipeline that was not started yet.
    """

    def __init__(self, settings: Settings | None = None, *, pipeline: Pipeline | None = None) -> None:
        self.pipeline = pipeline or Pipeline.from_settings(settings)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="jc1", daemon=True)
        self._thread.start()
        try:
            self._run(self.pipeline.start())
        except BaseException:
            self.close()
            raise

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def chat(self, messages: str | Sequence[Message], **options: Any) -> Reply:
        """See `Pipeline.chat`."""
        return self._run(self.pipeline.chat(messages, **options))

    def stream(self, messages: str | Sequence[Message], **options: Any) -> Iterator[Event]:
        """See `Pipeline.stream`. Leaving the loop early cancels the reply."""
        events = self.pipeline.stream(messages, **options)
        try:
            while True:
                try:
                    yield self._run(anext(events))
                except StopAsyncIteration:
                    return
        finally:
            self._run(events.aclose())

    def close(self) -> None:
        """Close the pipeline and end the thread. May be called twice."""
        if self._loop.is_closed():
            return
        self._run(self.pipeline.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
