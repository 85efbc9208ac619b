"""A reply while it is being written, frame by frame.

Knows the pipeline's events and how often a page can be redrawn. Knows nothing about Gradio: a tab turns each frame into
components.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from jc1.errors import Jc1Error
from jc1.reply import Done, Recalled, Token
from jc1.telemetry.context import Current, answering

if TYPE_CHECKING:
    from jc1.access.guarded import GuardedEvent
    from jc1.memory.base import Receipt
    from jc1.trace import Trace

log = logging.getLogger(__name__)

FRAME_SECONDS = 0.05
"""Least time between two frames: twenty a second read as fluent, more would cost the browser and the loop."""


class LiveReply:
    """One reply, under way once it was started. It runs in a task of its own: `stop` works while the engine is silent.

    `stage` is the stage under way as far as events tell: `recall` until memory answered, `prefill` until the first
    token, then `decode`. `trace` is there once the reply is whole. `key` is the id of the key that it is written for.
    """

    def __init__(self, events: AsyncGenerator[GuardedEvent, None], key: str | None = None) -> None:
        self.text = ""
        self.reasoning = ""
        """What the model thought first, where the engine tells the two apart."""
        self.tokens = 0
        self.stage = "recall"
        self.receipts: tuple[Receipt, ...] | None = None
        self.trace: Trace | None = None
        self.error: Jc1Error | None = None
        self.stopped = False
        self.left = False
        """Whether the page shows another conversation by now."""
        self.finished = False
        self._events = events
        self._key = key
        self._began = time.perf_counter()
        self._first: float | None = None
        self._latest: float | None = None
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def first_token(self) -> float | None:
        """Return the seconds from the request to the first token."""
        if self.trace is not None:
            return self.trace.first_token
        return None if self._first is None else self._first - self._began

    @property
    def tokens_per_second(self) -> float | None:
        """Return the output tokens after the first, over the time since the first."""
        if self.trace is not None:
            return self.trace.tokens_per_second
        if self._first is None or self._latest is None or self.tokens < 2 or self._latest <= self._first:
            return None
        return (self.tokens - 1) / (self._latest - self._first)

    def start(self) -> None:
        """Begin to follow the events, unless the reply was stopped before."""
        self._began = time.perf_counter()
        if not self.finished:
            self._task = asyncio.create_task(self._follow())
            # A task that is cancelled before its first step runs none of its own code.
            self._task.add_done_callback(lambda _: self._finish())

    def stop(self) -> None:
        """End the generation now. What was written stays."""
        if self.finished:
            return
        self.stopped = True
        if self._task is None:
            self._finish()
        else:
            self._task.cancel()

    def leave(self) -> None:
        """End the generation now, and let nobody look at the rest."""
        self.left = True
        self.stop()

    async def frames(self) -> AsyncGenerator[LiveReply, None]:
        """Yield this reply, each time it is worth drawing again; the last frame is `finished`.

        Closing the generator stops the reply.
        """
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                # Read before the frame is drawn: a reply that ends meanwhile is drawn once more.
                finished = self.finished
                yield self
                if finished:
                    return
                await asyncio.sleep(FRAME_SECONDS)
        finally:
            self.stop()

    async def _follow(self) -> None:
        # Gradio runs handlers apart from the request that called them: what is logged is of a request of its own.
        with answering(Current(key=self._key)):
            try:
                async with aclosing(self._events):
                    async for event in self._events:
                        self._take(event)
                        self._changed.set()
            except Jc1Error as error:
                self.error = error
            except Exception:
                log.exception("a reply failed")
                self.error = Jc1Error("JC1 failed while it wrote the reply: try again; its log has the reason.")

    def _finish(self) -> None:
        self.finished = True
        self._changed.set()

    def _take(self, event: GuardedEvent) -> None:
        match event:
            case Recalled(receipts):
                self.receipts, self.stage = receipts, "prefill"
            case Token(index=0, text=text, token_ids=token_ids, reasoning=reasoning):
                self._latest = time.perf_counter()
                if self._first is None:
                    self._first = self._latest
                self.text += text
                self.reasoning += reasoning
                self.tokens += len(token_ids)
                self.stage = "decode"
            case Done(reply):
                self.trace = reply.trace
                self.text, self.reasoning = reply.text, reply.choices[0].reasoning
                self.tokens = reply.trace.usage.completion_tokens
