"""Load: when requests are sent, and what became of each.

Knows the closed loop, the open loop and the clock. What a request says and who answers it is jc1_lab.latency.targets'.

**Closed loop.** N workers; each sends its next request when its last one ended. It shows how fast the target can go,
and hides how long users would wait: a slow target is simply asked less often.

**Open loop.** Requests come at times drawn in advance, whatever is still running, as users do. Times count from the
planned arrival, so that a request which this process sent late was late (no coordinated omission,
https://www.scylladb.com/2021/04/22/on-coordinated-omission/).
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Protocol, TypeVar

from jc1.errors import InvalidRequest, Jc1Error
from jc1_lab.records.results import Load

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Timing:
    """The timing of one request as its target reports it. Times are in seconds from when it was sent; `tokens` are
    those written.

    `whole` is set where the reply came in one piece, as one that beams were searched for does.
    """

    ttft: float
    total: float
    tokens: int
    stages: Mapping[str, float] = field(default_factory=dict)
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """One request as it went. `planned`, `sent` and `ended` are in seconds from the beginning of the load; `ttft` and
    `total` in seconds from `planned`. `outcome` is `ok` or an error's code: then the times are those of the failure."""

    planned: float
    sent: float
    ended: float
    ttft: float
    tokens: int = 0
    stages: Mapping[str, float] = field(default_factory=dict)
    whole: bool = False
    outcome: str = "ok"

    @property
    def ok(self) -> bool:
        return self.outcome == "ok"

    @property
    def total(self) -> float:
        return self.ended - self.planned

    @property
    def tpot(self) -> float | None:
        """Return the seconds for each token after the first; `None` below two, and of a reply that came whole."""
        if self.whole or self.tokens < 2:
            return None
        return (self.total - self.ttft) / (self.tokens - 1)


class Watcher(Protocol):
    """An observer of a running load; called in the event loop that sends, so it must be quick."""

    def sent(self, at: float) -> None:
        """Note that a request was sent, so many seconds after the beginning."""

    def ended(self, sample: Sample) -> None:
        """Note that a request ended."""


def arrivals(rate: float, count: int, seed: int | str) -> list[float]:
    """Draw when `count` requests arrive, in seconds from the beginning: a Poisson process of `rate` a second."""
    drawn = random.Random(f"arrivals-{seed}")
    return list(accumulate(drawn.expovariate(rate) for _ in range(count)))


def check(load: Load) -> None:
    """Raise `InvalidRequest` unless the load has exactly one of concurrency and rate, above 0."""
    chosen = [value for value in (load.concurrency, load.rate) if value is not None]
    if len(chosen) != 1 or not chosen[0] > 0:
        raise InvalidRequest("A load is either a concurrency of at least 1 or a rate above 0: say one of them.")


async def drive(
    send: Callable[[T], Awaitable[Timing]],
    calls: Sequence[T],
    load: Load,
    *,
    seed: int | str = 0,
    seconds: float = math.inf,
    watcher: Watcher | None = None,
) -> list[Sample]:
    """Send the calls under the load, none of them later than `seconds` after the beginning.

    A `Jc1Error` from `send` is a failed request. Anything else ends the load and is raised. When this is cancelled, so
    are the requests under way, and it returns after the last of them has ended.

    Returns:
        The samples of the calls that were sent, in the order of the calls.

    Raises:
        InvalidRequest: The load has not one of concurrency and rate, above 0.
    """
    check(load)
    began = time.perf_counter()
    samples: dict[int, Sample] = {}

    def clock() -> float:
        return time.perf_counter() - began

    async def one(number: int, call: T, planned: float | None = None) -> None:
        sent = clock()
        planned = sent if planned is None else min(planned, sent)  # a sleep may end a little early
        if watcher:
            watcher.sent(sent)
        try:
            timing = await send(call)
        except Jc1Error as error:
            ended = clock()
            sample = Sample(planned, sent, ended, ended - planned, outcome=error.code)
        else:
            late = sent - planned
            sample = Sample(
                planned,
                sent,
                sent + timing.total,
                late + timing.ttft,
                timing.tokens,
                timing.stages,
                timing.whole,
            )
        samples[number] = sample
        if watcher:
            watcher.ended(sample)

    async def worker(waiting: Iterator[tuple[int, T]]) -> None:
        while clock() < seconds and (following := next(waiting, None)):
            await one(*following)

    try:
        async with asyncio.TaskGroup() as group:
            if load.concurrency is not None:
                waiting = iter(enumerate(calls))
                for _ in range(min(load.concurrency, len(calls))):
                    group.create_task(worker(waiting))
            elif load.rate is not None:
                for number, at in enumerate(arrivals(load.rate, len(calls), seed)):
                    if at > seconds:
                        break
                    await asyncio.sleep(at - clock())
                    group.create_task(one(number, calls[number], at))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [samples[number] for number in sorted(samples)]
