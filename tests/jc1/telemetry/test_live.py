"""Listening to finished requests: bounded, each owner's own, and ended with the server."""

from __future__ import annotations

import asyncio
import threading

import pytest

from jc1.errors import Overloaded
from jc1.telemetry import Telemetry
from jc1.telemetry.live import MAX_WAITING, Listener
from jc1.trace import Trace


async def heard(listener: Listener) -> list[str]:
    return [trace.owner async for trace in listener.traces()]


async def test_a_listener_hears_of_its_own_and_one_without_an_owner_of_all() -> None:
    telemetry = Telemetry()
    telemetry.record(Trace(owner="early"))
    with telemetry.live.listening("ann") as anns, telemetry.live.listening(None) as all_of_them:
        telemetry.record(Trace(owner="ann"))
        thread = threading.Thread(target=telemetry.record, args=[Trace(owner="bob")])
        thread.start()
        thread.join()
        telemetry.live.end()
        assert (await heard(anns), await heard(all_of_them)) == (["ann"], ["ann", "bob"])
    with telemetry.live.listening(None) as late:
        assert await heard(late) == []


async def test_a_listener_that_waits_is_woken() -> None:
    telemetry = Telemetry()
    with telemetry.live.listening(None) as listener:
        traces = listener.traces()
        first = asyncio.ensure_future(anext(traces))
        await asyncio.sleep(0)
        telemetry.record(Trace(owner="ann"))
        assert (await first).owner == "ann"


async def test_a_slow_listener_is_dropped_and_holds_nobody_up() -> None:
    telemetry = Telemetry()
    with telemetry.live.listening(None) as slow, telemetry.live.listening("bob") as other:
        for _ in range(MAX_WAITING + 2):
            telemetry.record(Trace(owner="ann"))
        telemetry.record(Trace(owner="bob"))
        telemetry.live.end()
        with pytest.raises(Overloaded):
            await heard(slow)
        assert await heard(other) == ["bob"]


def test_a_listener_whose_loop_is_closed_disturbs_nobody() -> None:
    telemetry = Telemetry()

    async def leave_it() -> Listener:
        return Listener(None)

    left = asyncio.run(leave_it())
    left.tell(Trace(owner="ann"))
    telemetry.record(Trace(owner="ann"))
    assert len(telemetry.recent) == 1
