"""Whose turn it is: counted in positions, never in time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jc1.access.admission import Admission
from jc1.errors import Overloaded


class Crowd:
    """Callers at an admission. Each runs until it is told to end; `order` is in which they were let in."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.order: list[str] = []
        self.ends: list[asyncio.Event] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def come(self, *callers: str) -> None:
        """Let callers come, one after the other."""
        for caller in callers:
            self.tasks.append(asyncio.create_task(self._run(caller)))
            await asyncio.sleep(0)

    async def _run(self, caller: str) -> None:
        async with self.admission.turn(caller):
            self.order.append(caller)
            self.ends.append(end := asyncio.Event())
            await end.wait()

    async def end_all(self) -> None:
        """End whoever runs, one after the other, until nobody is left."""
        while self.admission.running:
            self.ends.pop(0).set()
            await _settle()

    def turned_away(self) -> list[int]:
        return [i for i, task in enumerate(self.tasks) if task.done() and isinstance(task.exception(), Overloaded)]


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_as_many_run_as_may_and_the_others_wait_in_their_order() -> None:
    crowd = Crowd(Admission(2, 10))
    await crowd.come("a", "a", "a", "a")
    assert (crowd.admission.running, crowd.admission.waiting) == (2, 2)
    await crowd.end_all()
    assert len(crowd.order) == 4
    assert (crowd.admission.running, crowd.admission.waiting) == (0, 0)


async def test_a_flood_of_two_hundred_lets_the_first_of_another_caller_in_before_its_own_second() -> None:
    crowd = Crowd(Admission(4, 1000))
    await crowd.come(*["flood"] * 200, "ann", "ben", "ann")
    await crowd.end_all()
    assert crowd.order[:4] == ["flood"] * 4
    assert crowd.order[4:10] == ["flood", "ann", "ben", "flood", "ann", "flood"]
    assert len(crowd.order) == 203


async def test_a_flood_cannot_fill_the_waiting_room_against_others() -> None:
    crowd = Crowd(Admission(1, 8))
    await crowd.come(*["flood"] * 200)
    assert len(crowd.turned_away()) == 191
    await crowd.come("ann", "ben")
    await _settle()
    assert crowd.turned_away()[:2] == [7, 8], "the newest of the flood gave way"
    assert not any(task.done() for task in crowd.tasks[-2:])
    await crowd.end_all()
    assert crowd.order == ["flood", "flood", "ann", "ben", *["flood"] * 5]


async def test_who_finds_the_waiting_room_full_of_equals_is_told_to_come_back() -> None:
    crowd = Crowd(Admission(1, 2))
    await crowd.come("a", "a", "b", "c")
    await _settle()
    error = crowd.tasks[-1].exception()
    assert isinstance(error, Overloaded)
    assert error.headers["retry-after"] == "1"
    await crowd.end_all()


async def test_a_caller_that_would_have_most_waiting_is_turned_away_and_not_another() -> None:
    crowd = Crowd(Admission(1, 3))
    await crowd.come("x", "a", "a", "b", "b")  # with its second, b would wait as often as a
    await _settle()
    assert crowd.turned_away() == [4]
    await crowd.end_all()

    crowd = Crowd(Admission(1, 4))
    await crowd.come("x", "a", "a", "a", "b", "b")  # a waits more often also then
    await _settle()
    assert crowd.turned_away() == [3]
    await crowd.end_all()
    assert crowd.order == ["x", "a", "b", "a", "b"]


async def test_without_a_waiting_room_who_cannot_run_is_turned_away_at_once() -> None:
    crowd = Crowd(Admission(1, 0))
    await crowd.come("a", "b")
    assert crowd.turned_away() == [1]
    await crowd.end_all()


async def test_who_goes_away_while_waiting_leaves_the_queue() -> None:
    crowd = Crowd(Admission(1, 3))
    await crowd.come("a", "b", "c")
    crowd.tasks[1].cancel()
    await _settle()
    assert crowd.admission.waiting == 1
    await crowd.end_all()
    assert crowd.order == ["a", "c"]


async def test_a_turn_is_not_wasted_on_who_goes_away_at_that_moment() -> None:
    crowd = Crowd(Admission(1, 3))
    await crowd.come("a", "b", "c")
    crowd.ends.pop(0).set()
    crowd.tasks[1].cancel()  # before a hands its place on, and before b's queue hears of it
    await _settle()
    assert crowd.order == ["a", "c"]
    await crowd.end_all()
    assert crowd.admission.running == 0


async def test_a_turn_that_comes_as_its_owner_goes_away_is_passed_on() -> None:
    crowd = Crowd(Admission(1, 3))
    await crowd.come("a", "b", "c")
    crowd.ends.pop(0).set()
    await asyncio.sleep(0)  # a ends, and hands its place to b, who has not run since
    crowd.tasks[1].cancel()
    await _settle()
    assert crowd.order == ["a", "c"]
    await crowd.end_all()
    assert crowd.admission.running == 0


async def test_who_goes_away_at_that_moment_is_the_one_that_gives_way() -> None:
    crowd = Crowd(Admission(1, 2))
    await crowd.come("a", "a", "a")
    crowd.tasks[2].cancel()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0), crowd.admission.turn("b"):  # before the queue hears of it
            raise AssertionError("not reached")
    await _settle()
    assert [task.cancelled() for task in crowd.tasks] == [False, False, True]
    assert (crowd.admission.running, crowd.admission.waiting) == (1, 1)
    await crowd.end_all()


async def test_the_tokens_of_those_that_wait_are_counted_until_their_turn_or_their_leaving() -> None:
    admission = Admission(1, 3)
    end = asyncio.Event()

    async def come(tokens: int) -> None:
        async with admission.turn("a", lambda: tokens):
            await end.wait()

    tasks = [asyncio.create_task(come(tokens)) for tokens in (1, 20, 300)]
    await _settle()
    assert admission.waiting_tokens == 320
    tasks[1].cancel()
    await _settle()
    assert admission.waiting_tokens == 300
    end.set()
    await _settle()
    assert (admission.waiting_tokens, admission.running) == (0, 0)
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_saturation_is_the_share_of_places_that_are_taken() -> None:
    crowd = Crowd(Admission(2, 2))
    assert crowd.admission.saturation == 0
    await crowd.come("a", "a", "a")
    assert crowd.admission.saturation == 0.75
    await crowd.end_all()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60), st.integers(1, 3), st.integers(0, 6))
def test_places_are_never_lost_or_doubled(events: Iterable[tuple[str, bool]], running: int, waiting: int) -> None:
    """Callers come, end and go away in any order: the numbers stay within the bounds and come back to nothing."""

    async def play() -> None:
        crowd = Crowd(Admission(running, waiting))
        for caller, leaves in events:
            await crowd.come(caller)
            if leaves and crowd.tasks:
                crowd.tasks[len(crowd.order) * 7 % len(crowd.tasks)].cancel()
                await _settle()
            assert 0 <= crowd.admission.running <= running
            assert crowd.admission.waiting <= waiting
        for task in crowd.tasks:
            task.cancel()
        await asyncio.gather(*crowd.tasks, return_exceptions=True)
        assert (crowd.admission.running, crowd.admission.waiting) == (0, 0)

    asyncio.run(play())
