"""The pipeline for blocking code: scripts, notebooks, REPLs. Works inside a running event loop too.

Knows how to hand work to an event loop in a thread of its own, and how a caller that waits is interrupted. Everything
else is `jc1.pipeline`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from typing import Any, Self, TypeVar

from jc1.messages import Message
from jc1.reply import Event, Reply
from jc1.settings import Settings
from jc1.workbench import Workbench

T = TypeVar("T")

WAKE_SECONDS = 0.5
"""Ctrl-C that comes at the very moment when a wait begins is noticed when the wait ends, so no wait is longer."""


class LoopThread:
    """An event loop in a thread of its own. Close it, or use it in a `with`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="jc1", daemon=True)
        self._thread.start()

    @property
    def closed(self) -> bool:
        """Return whether the loop was closed: it takes no more work."""
        return self._loop.is_closed()

    def run(self, work: Awaitable[T]) -> T:
        """Return the result of `work`, done in the loop; raise what it raises.

        If the caller is interrupted (Ctrl-C), `work` is cancelled, and has ended before the interrupt goes on.
        """
        outcome: Future[T] = Future()
        tasks: list[asyncio.Task[T]] = []

        def begin() -> None:
            tasks.append(self._loop.create_task(_awaited(work)))
            tasks[0].add_done_callback(lambda task: _hand_over(task, outcome))

        def stop() -> None:
            if tasks:
                tasks[0].cancel()
            else:
                outcome.cancel()  # the interrupt came before `begin` was handed over

        try:
            self._loop.call_soon_threadsafe(begin)
            while not outcome.done():
                wait([outcome], WAKE_SECONDS)
            return outcome.result()
        except BaseException:
            if not outcome.done():
                self._loop.call_soon_threadsafe(stop)
                wait([outcome])
            raise

    def close(self) -> None:
        """End the loop and its thread. May be called twice."""
        if not self.closed:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class SyncPipeline:
    """`Pipeline`, blocking. Starts when it is made; close it, or use it in a `with`.

    Takes settings, or a workbench that was not started yet. `workbench` is that of the one or the other: its memory,
    presets and sessions are there to be called too.
    """

    def __init__(self, settings: Settings | None = None, *, workbench: Workbench | None = None) -> None:
        self.workbench = workbench or Workbench.open(settings)
        self._open: set[AsyncGenerator[Event, None]] = set()
        self._loop = LoopThread()
        try:
            self._loop.run(self.workbench.start())
        except BaseException:
            self.close()
            raise

    def chat(self, messages: str | Sequence[Message | Mapping[str, Any]], **options: Any) -> Reply:
        """Return the reply, whole: `Pipeline.chat`, with the same options."""
        return self._loop.run(self.workbench.pipeline.chat(messages, **options))

    def stream(self, messages: str | Sequence[Message | Mapping[str, Any]], **options: Any) -> Iterator[Event]:
        """Yield the events of a reply: `Pipeline.stream`, with the same options.

        Leaving the loop early cancels the reply.
        """
        events = self.workbench.pipeline.stream(messages, **options)
        self._open.add(events)
        try:
            while events in self._open:
                try:
                    yield self._loop.run(anext(events))
                except StopAsyncIteration:
                    return
        finally:
            self._leave(events)

    def close(self) -> None:
        """Cancel the streams that were left open, close the workbench and end the thread. May be called twice."""
        if self._loop.closed:
            return
        for events in [*self._open]:
            self._leave(events)
        self._loop.run(self.workbench.close())
        self._loop.close()

    def _leave(self, events: AsyncGenerator[Event, None]) -> None:
        if events in self._open:
            self._open.discard(events)
            self._loop.run(events.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


async def _awaited(work: Awaitable[T]) -> T:
    return await work


def _hand_over(task: asyncio.Task[T], outcome: Future[T]) -> None:
    error = asyncio.CancelledError() if task.cancelled() else task.exception()
    if error is not None:
        outcome.set_exception(error)
    else:
        outcome.set_result(task.result())
