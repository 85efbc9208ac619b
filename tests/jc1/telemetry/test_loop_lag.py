"""How late the event loop is."""

from __future__ import annotations

import asyncio
import time

from jc1.telemetry.loop_lag import measuring_lag


async def test_work_that_holds_the_loop_is_seen_and_an_idle_loop_is_on_time() -> None:
    observed: list[float] = []
    woken = asyncio.Event()

    def observe(seconds: float) -> None:
        observed.append(seconds)
        woken.set()

    async with measuring_lag(observe, interval=0.01):
        await woken.wait()
        time.sleep(0.2)  # noqa: ASYNC251 - this is what holds the loop
        woken.clear()
        await woken.wait()
    assert max(observed) >= 0.15
    assert min(observed) >= 0
    before = len(observed)
    await asyncio.sleep(0.03)
    assert len(observed) == before, "it has ended"
