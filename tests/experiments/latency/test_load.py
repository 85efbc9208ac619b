"""Load: arrivals are what they say, a closed loop keeps to its number, and an open one waits for nobody."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time

import pytest

from jc1.errors import EngineFailed, InvalidRequest
from jc1_lab.latency.load import Sample, Timing, arrivals, drive
from jc1_lab.records.results import Load


class Gate:
    """Replies to nobody until opened, and knows who waits."""

    def __init__(self, *, expected: int) -> None:
        self.open = asyncio.Event()
        self.full = asyncio.Event()
        self.waiting = 0
        self.most = 0
        self._expected = expected

    async def send(self, call: int) -> Timing:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        if self.waiting == self._expected:
            self.full.set()
        try:
            await self.open.wait()
        finally:
            self.waiting -= 1
        return Timing(0.25, 1.0, 4)


async def at_once(call: int) -> Timing:
    return Timing(0.25, 1.0, 4)


def test_arrivals_are_a_poisson_process_that_a_seed_repeats() -> None:
    times = arrivals(5.0, 20_000, seed=7)
    gaps = [later - earlier for earlier, later in itertools.pairwise([0.0, *times])]
    assert min(gaps) > 0
    assert statistics.mean(gaps) == pytest.approx(0.2, rel=0.03)
    assert statistics.stdev(gaps) == pytest.approx(0.2, rel=0.03)
    counts = [0] * int(times[-1])
    for at in times:
        if at < len(counts):
            counts[int(at)] += 1
    assert statistics.variance(counts) == pytest.approx(statistics.mean(counts), rel=0.1)
    assert arrivals(5.0, 20_000, seed=7) == times
    assert arrivals(5.0, 20_000, seed=8) != times


async def test_a_closed_loop_fills_its_number_and_never_exceeds_it() -> None:
    gate = Gate(expected=3)
    load = asyncio.create_task(drive(gate.send, range(10), Load(concurrency=3)))
    await gate.full.wait()
    gate.open.set()
    samples = await load
    assert gate.most == 3
    assert len(samples) == 10


async def test_an_open_loop_sends_on_while_nothing_is_answered() -> None:
    gate = Gate(expected=50)
    load = asyncio.create_task(drive(gate.send, range(50), Load(rate=2000.0), seed=1))
    await gate.full.wait()  # all were sent, none has ended
    gate.open.set()
    samples = await load
    planned = arrivals(2000.0, 50, seed=1)
    assert [sample.planned for sample in samples] == pytest.approx(planned, abs=1e-3)


@pytest.mark.parametrize("load", [Load(concurrency=2), Load(rate=1000.0)], ids=str)
async def test_nothing_is_sent_after_the_time_is_over(load: Load) -> None:
    async def send(call: int) -> Timing:
        await asyncio.sleep(0.005)
        return Timing(0.005, 0.005, 1)

    samples = await drive(send, range(100_000), load, seconds=0.1)
    assert 0 < len(samples) < 100_000
    assert max(sample.planned for sample in samples) <= 0.1


async def test_a_request_that_was_sent_late_was_late() -> None:
    """No coordinated omission: the first reply keeps the loop itself from sending."""

    held = 0.0

    async def hold(call: int) -> Timing:
        nonlocal held
        if call == 0:
            began = time.perf_counter()
            while (held := time.perf_counter() - began) < 0.05:
                pass
        return Timing(0.0, 0.0, 1)

    samples = await drive(hold, range(40), Load(rate=1000.0), seed=1)
    late = [sample for sample in samples if sample.ttft > 0.01]
    assert late
    assert all(sample.ttft == pytest.approx(sample.sent - sample.planned) for sample in late)
    assert samples[1].ttft > held / 2


async def test_times_count_from_the_plan_and_the_rest_is_the_targets_own() -> None:
    sample = (await drive(at_once, [0], Load(concurrency=1)))[0]
    assert (sample.ttft, sample.total, sample.tokens, sample.ok) == (0.25, pytest.approx(1.0), 4, True)
    assert sample.tpot == pytest.approx(0.25)


@pytest.mark.parametrize(("tokens", "whole"), [(0, False), (1, False), (9, True)])
def test_a_reply_without_a_second_token_or_in_one_piece_has_no_time_per_token(tokens: int, whole: bool) -> None:
    assert Sample(0.0, 0.0, 1.0, 0.5, tokens, whole=whole).tpot is None


@pytest.mark.parametrize("load", [Load(concurrency=2), Load(rate=1000.0)], ids=str)
async def test_an_error_of_jc1_is_a_failed_request_and_the_others_go_on(load: Load) -> None:
    async def send(call: int) -> Timing:
        if call % 3 == 0:
            raise EngineFailed("It broke: try again.")
        return await at_once(call)

    samples = await drive(send, range(9), load)
    assert [sample.outcome for sample in samples] == ["engine_failed", "ok", "ok"] * 3


@pytest.mark.parametrize("load", [Load(concurrency=2), Load(rate=1000.0)], ids=str)
async def test_any_other_error_ends_the_load_and_is_raised_as_it_is(load: Load) -> None:
    ended = []

    async def send(call: int) -> Timing:
        if call == 1:
            raise KeyError(call)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(call)
        raise AssertionError("nobody sets that event")

    with pytest.raises(KeyError):
        await drive(send, range(2), load)
    assert ended == [0]


@pytest.mark.parametrize("load", [Load(concurrency=4), Load(rate=2000.0)], ids=str)
async def test_a_cancelled_load_returns_when_its_requests_have_ended(load: Load) -> None:
    gate = Gate(expected=4)
    running = asyncio.create_task(drive(gate.send, range(4), load))
    await gate.full.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert gate.waiting == 0


async def test_a_watcher_sees_each_request_begin_and_end() -> None:
    class Watcher:
        def __init__(self) -> None:
            self.flight = [0]
            self.samples: list[Sample] = []

        def sent(self, at: float) -> None:
            self.flight.append(self.flight[-1] + 1)

        def ended(self, sample: Sample) -> None:
            self.flight.append(self.flight[-1] - 1)
            self.samples.append(sample)

    watcher = Watcher()
    samples = await drive(at_once, range(6), Load(concurrency=2), watcher=watcher)
    assert watcher.samples == samples
    assert (watcher.flight[-1], len(watcher.flight)) == (0, 13)


@pytest.mark.parametrize(
    "load", [Load(), Load(concurrency=1, rate=1.0), Load(concurrency=0), Load(rate=0.0), Load(rate=-1.0)], ids=repr
)
async def test_a_load_is_one_of_the_two_and_more_than_nothing(load: Load) -> None:
    with pytest.raises(InvalidRequest):
        await drive(at_once, [0], load)
