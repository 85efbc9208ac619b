"""Many requests, some of them left early: nothing piles up, and what was acknowledged is there."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from jc1 import Settings, Workbench
from jc1.request import MemoryMode

ROUNDS, AT_ONCE = 60, 20
MODES: tuple[MemoryMode, ...] = ("on", "read", "off")


def held() -> tuple[int, int]:
    """Open files and threads of this process."""
    return len(os.listdir("/proc/self/fd")), threading.active_count()


async def ask(workbench: Workbench, number: int) -> int:
    """One request; every seventh is left before its reply ends. How many records it leaves in memory."""
    owner, mode = f"owner {number % 5}", MODES[number % 3]
    text = f"My code number {number} is {number * 37}."
    if number % 7:
        reply = await workbench.pipeline.chat(text, owner=owner, session=f"s{number % 11}", memory=mode)
        assert reply.text == text
        return 2 if mode == "on" else 0
    stream = workbench.pipeline.stream(text, owner=owner, session=f"s{number % 11}", memory=mode)
    await anext(stream)
    await anext(stream)
    await stream.aclose()
    return 1 if mode == "on" else 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_files_and_threads_stay_as_they_are_and_every_record_is_there(home: Path) -> None:
    async with Workbench.open(Settings(home=home, engine="echo")) as workbench:
        stored, first = 0, (0, 0)
        for round_ in range(ROUNDS):
            numbers = range(round_ * AT_ONCE, (round_ + 1) * AT_ONCE)
            stored += sum(await asyncio.gather(*(ask(workbench, number) for number in numbers)))
            if round_ == ROUNDS // 3:
                first = held()
        await workbench.pipeline.drain()
        files, threads = held()
        assert files <= first[0] + 5
        assert threads <= first[1] + 2
        assert workbench.engine.active == 0
        assert sum(workbench.memory.list(f"owner {i}").total for i in range(5)) == stored
