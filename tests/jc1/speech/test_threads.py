"""Stepping through what blocks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import aclosing

import pytest

from jc1.errors import SpeechFailed
from jc1.speech.threads import steps


class Counting:
    """An iterator that counts, waits before each number but the first until it may go on, and notes where it ran."""

    def __init__(self) -> None:
        self.threads: set[str] = set()
        self.may_go_on = threading.Event()
        self.waits = threading.Event()
        self.closed = threading.Event()
        self.taken = 0

    def run(self) -> Iterator[int]:
        try:
            while True:
                self.threads.add(threading.current_thread().name)
                self.taken += 1
                yield self.taken
                self.waits.set()
                self.may_go_on.wait(30)
        finally:
            self.closed.set()


async def test_each_step_is_taken_outside_the_loops_thread() -> None:
    async with aclosing(steps(lambda: iter([1, 2, 3]))) as numbers:
        assert [number async for number in numbers] == [1, 2, 3]
    counting = Counting()
    counting.may_go_on.set()
    async with aclosing(steps(counting.run)) as numbers:
        assert [await anext(numbers) for _ in range(3)] == [1, 2, 3]
    assert threading.current_thread().name not in counting.threads


async def test_who_closes_between_two_steps_closes_the_iterator() -> None:
    counting = Counting()
    async with aclosing(steps(counting.run)) as numbers:
        assert await anext(numbers) == 1
    assert await asyncio.to_thread(counting.closed.wait, 30)
    assert counting.taken == 1


async def test_who_is_cancelled_within_a_step_does_not_wait_for_it_and_no_other_begins() -> None:
    counting = Counting()
    numbers = steps(counting.run)
    assert await anext(numbers) == 1
    waiting = asyncio.ensure_future(anext(numbers))
    assert await asyncio.to_thread(counting.waits.wait, 30)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not counting.closed.is_set()  # its thread still waits, and nobody waits for it
    counting.may_go_on.set()
    assert await asyncio.to_thread(counting.closed.wait, 30)
    assert counting.taken <= 2


async def test_what_a_step_raises_reaches_who_waits() -> None:
    def breaking() -> Iterator[int]:
        yield 1
        raise SpeechFailed("broken")

    numbers = steps(breaking)
    assert await anext(numbers) == 1
    with pytest.raises(SpeechFailed):
        await anext(numbers)


async def test_many_that_wait_keep_nobody_elses_work_from_being_done() -> None:
    counts = [Counting() for _ in range(64)]
    streams = [steps(counting.run) for counting in counts]
    assert await anext(streams[0]) == 1
    waiting = [asyncio.ensure_future(anext(stream)) for stream in streams]
    assert await asyncio.to_thread(counts[0].waits.wait, 30)
    assert await asyncio.wait_for(asyncio.to_thread(lambda: "done"), 30) == "done"
    for counting in counts:
        counting.may_go_on.set()
    await asyncio.gather(*waiting)
    for stream in streams:
        await stream.aclose()
