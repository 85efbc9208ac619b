"""The circuit breaker, by a clock of the test's own."""

from __future__ import annotations

import pytest

from jc1.cache.breaker import Breaker


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(failures=3, seconds=5, clock=clock)


def fail(breaker: Breaker, times: int) -> list[bool]:
    return [breaker.failed() for _ in range(times)]


def test_failures_in_a_row_open_it_and_one_of_them_is_told_so(breaker: Breaker) -> None:
    assert fail(breaker, 2) == [False, False]
    assert (breaker.state, breaker.allows()) == ("closed", True)
    assert fail(breaker, 2) == [True, False]
    assert (breaker.state, breaker.allows()) == ("open", False)


def test_a_success_between_failures_counts_them_anew(breaker: Breaker) -> None:
    fail(breaker, 2)
    assert not breaker.succeeded()
    fail(breaker, 2)
    assert breaker.state == "closed"


def test_after_its_time_one_call_tries_and_its_success_closes_it(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 4.9
    assert not breaker.allows()
    clock.now += 0.2
    assert [breaker.allows() for _ in range(3)] == [True, False, False]
    assert breaker.state == "half_open"
    assert breaker.succeeded()
    assert (breaker.state, breaker.allows(), breaker.succeeded()) == ("closed", True, False)


def test_a_try_that_fails_opens_it_for_the_same_time_again(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 5
    assert breaker.allows()
    clock.now += 1
    assert not breaker.failed()
    clock.now += 4.9
    assert (breaker.state, breaker.allows()) == ("open", False)
    clock.now += 0.2
    assert breaker.allows()


def test_a_try_that_never_ends_gives_way_to_another(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 5
    assert breaker.allows()
    clock.now += 5
    assert breaker.allows()
