"""An engine whose work is done by other processes: watched, and started again when they die.

Knows when to start, start again and end. What is started is the engine's own: it says whether its processes live,
begins and ends them. Knows nothing about requests but how many there are.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from jc1.engines.local import LocalEngine
from jc1.engines.settings import EngineSettings
from jc1.errors import EngineUnavailable

log = logging.getLogger(__name__)

WATCH_SECONDS, RETRY_SECONDS = 1.0, 10.0
"""How often the processes are looked after while nobody asks, and the pause after a start that failed."""
DRAIN_SECONDS = 10.0
"""How long `close` waits for replies under way."""


class SupervisedEngine(LocalEngine):
    """Start, restart and end, over `_alive`, `_begin` and `_end`."""

    def __init__(self, settings: EngineSettings) -> None:
        super().__init__(settings)
        self.restarts = 0
        """How often the processes died and came back."""
        self._closed = True
        self._changing = asyncio.Lock()
        """Held while processes are begun or ended."""
        self._idle = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None
        self._reviver: asyncio.Task[None] | None = None

    @property
    @abstractmethod
    def _alive(self) -> bool:
        """Return whether the processes are there."""

    @abstractmethod
    async def _begin(self) -> None:
        """Start the processes and wait until they can serve; leave none behind when that fails or is cancelled.

        Raises:
            EngineUnavailable: They do not start.
            InvalidSettings: They cannot, with these settings.
        """

    @abstractmethod
    async def _end(self) -> None:
        """End the processes, dead ones included; does nothing where there are none."""

    async def start(self) -> None:
        async with self._changing:
            if not self._alive:
                await self._end()
                await self._begin()
            self._closed = False
            if self._watcher is None:
                self._watcher = asyncio.create_task(self._watch(), name=f"jc1-{self.name}-watch")

    async def close(self) -> None:
        self._closed = True
        await self._stop_watching()
        async with self._changing:
            # A start that was under way until now has begun anew to watch.
            self._closed = True
            await self._stop_watching()
            try:
                if self.active and self._alive:
                    self._idle.clear()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(DRAIN_SECONDS):
                            await self._idle.wait()
            finally:
                await self._end()

    async def _stop_watching(self) -> None:
        tasks = [task for task in (self._watcher, self._reviver) if task is not None]
        self._watcher = self._reviver = None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Count one request for as long as it takes."""
        self.active += 1
        try:
            yield
        finally:
            self.active -= 1
            if not self.active:
                self._idle.set()

    async def _running(self) -> None:
        """Return once the processes are there, started again if need be. Raises `EngineUnavailable`."""
        if not self._closed and not self._alive:
            await asyncio.wait([self._revive()])
        if self._closed:
            raise self._not_running()
        if not self._alive:
            raise EngineUnavailable(
                f"The {self.name} engine died and could not be started again: the server's log says why."
            )

    def _revive(self) -> asyncio.Task[None]:
        """Start again, in a task of its own, so that no request that gives up takes it along."""
        if self._reviver is None or self._reviver.done():
            self._reviver = asyncio.create_task(self._start_again(), name=f"jc1-{self.name}-revive")
        return self._reviver

    async def _start_again(self) -> None:
        async with self._changing:
            if self._closed or self._alive:
                return
            log.error("the %s engine died: starting it again", self.name)
            try:
                await self._end()
                await self._begin()
            except Exception as error:
                log.error("the %s engine could not be started again: %s", self.name, error)
            else:
                self.restarts += 1
                log.warning("the %s engine is back", self.name)

    async def _watch(self) -> None:
        """Start again what dies while nobody asks."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if not self._alive:
                await asyncio.wait([self._revive()])
                if not self._alive:
                    await asyncio.sleep(RETRY_SECONDS)
