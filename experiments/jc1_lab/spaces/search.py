"""Search: which points of a space are tried, in batches: all of them, a random few, or where earlier ones did well.

Deterministic: the same space, seed, sizes of batches and told values give the same points, so an interrupted sweep
asks for the same ones again. No point comes twice, and none that the space refuses. Knows nothing about how points are
measured.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from jc1.errors import InvalidSpace
from jc1_lab.spaces.dimensions import Dimension, Range
from jc1_lab.spaces.space import MAX_COUNTED, Point, Space, key

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

FRUITLESS = 2_000
"""Draws without a new point after which a space that cannot be counted is taken to be exhausted."""
STUBBORN = 5
"""Suggestions of TPE (10 ms each) in a row that are no new point, before one is drawn at random instead."""


class Search(Protocol):
    """Ask for points, tell how they did."""

    def ask(self, count: int) -> list[Point]:
        """Return up to `count` points that were not asked for before; none when there are no more."""

    def tell(self, points: Sequence[Point], values: Sequence[tuple[float, ...]]) -> None:
        """Record how the points did in each objective of the space, in that order; NaN where one could not be measured.

        Points that are never told count as still running.
        """


def create_search(
    space: Space,
    kind: str,
    *,
    trials: int | None,
    seed: int,
    engine: Mapping[str, Any],
) -> Search:
    """Return the search over what one running engine can vary: the points that hold its settings `engine`.

    At most `trials` points are asked for, and all there are where it is None. Raises `InvalidSpace` where all of a
    space that has no end are asked for.
    """
    if trials is None and (kind == "tpe" or space.size is None):
        raise InvalidSpace(
            "TPE goes on for as long as it is asked: say how many --trials."
            if kind == "tpe"
            else f"The space is continuous or has more than {MAX_COUNTED:,} combinations: say how many --trials, or "
            "give ranges a larger step."
        )
    return STRATEGIES[kind].create(space, trials, seed, engine)


class _Drawn:
    """New points at random: from the list of all where they can be counted, so that each is as likely as any other and
    the last one is found too."""

    def __init__(self, space: Space, generator: random.Random, engine: Mapping[str, Any]) -> None:
        self.space = space
        self.engine = dict(engine)
        self.generator = generator
        self.seen: set[str] = set()
        self.listed = space.points(engine)
        self.shuffled = None if self.listed is None else generator.sample(self.listed, len(self.listed))

    def new(self, point: Point) -> bool:
        """Tell whether `point` may be asked for; from then on it may not."""
        if key(point) in self.seen or self.space.refusal(point) is not None:
            return False
        self.seen.add(key(point))
        return True

    def one(self) -> Point | None:
        """Draw a point that was not there before; None when none is found."""
        if self.shuffled is not None:
            while self.shuffled:
                if self.new(point := self.shuffled.pop()):
                    return point
            return None
        for _ in range(FRUITLESS):
            if self.new(point := self.space.draw(self.generator, self.engine)):
                return point
        return None


class _Listed:
    """Grid and random search: the points do not depend on what is told."""

    def __init__(
        self,
        space: Space,
        trials: int | None,
        seed: int,
        engine: Mapping[str, Any],
        *,
        in_order: bool,
    ) -> None:
        drawn = _Drawn(space, random.Random(seed), engine)
        self.points: list[Point] = []
        while (trials is None or len(self.points) < trials) and (point := drawn.one()) is not None:
            self.points.append(point)
        if in_order and drawn.listed is not None:
            places = {key(point): i for i, point in enumerate(drawn.listed)}
            self.points.sort(key=lambda point: places[key(point)])

    def ask(self, count: int) -> list[Point]:
        points, self.points = self.points[:count], self.points[count:]
        return points

    def tell(self, points: Sequence[Point], values: Sequence[tuple[float, ...]]) -> None:
        """Do nothing: no later point depends on it."""


class _Tpe:
    """The tree-structured Parzen estimator of Optuna (Bergstra and others, NIPS 2011; for several objectives Ozaki and
    others, GECCO 2020). Points of a batch are kept apart by the constant liar: what runs counts as bad.

    The sampler sees settings that mean nothing where memory is off too. What the space refuses is never told, so it
    counts as bad as well; what is suggested twice is put aside. After `STUBBORN` of those the next point is random.
    """

    def __init__(self, space: Space, trials: int, seed: int, engine: Mapping[str, Any]) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.space = space
        self.remaining = trials
        self.drawn = _Drawn(space, random.Random(seed), engine)
        self.engine = {f"engine.{name}": value for name, value in engine.items()}
        self.varied = {name: one for name, one in space.dimensions.items() if name not in self.engine}
        self.distributions = {name: _distribution(one) for name, one in self.varied.items()}
        self.numbers: dict[str, int] = {}
        # Everything is kept in memory.
        self.study = optuna.create_study(
            directions=["maximize" if wanted == "max" else "minimize" for wanted in space.objectives.values()],
            sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True),
        )

    def ask(self, count: int) -> list[Point]:
        points: list[Point] = []
        while len(points) < min(count, self.remaining) and (point := self._next()) is not None:
            points.append(point)
        self.remaining -= len(points)
        return points

    def tell(self, points: Sequence[Point], values: Sequence[tuple[float, ...]]) -> None:
        from optuna.trial import TrialState

        for point, objectives in zip(points, values, strict=True):
            number = self.numbers[key(point)]
            if any(math.isnan(value) for value in objectives):
                self.study.tell(number, state=TrialState.FAIL)
            else:
                self.study.tell(number, list(objectives))

    def _next(self) -> Point | None:
        from optuna.trial import TrialState

        if self.drawn.listed is not None and len(self.drawn.seen) >= len(self.drawn.listed):
            return None
        for _ in range(STUBBORN):
            trial = self.study.ask(self.distributions)
            point = self.space.point({name: self._value(name, trial.params) for name in self.space.dimensions})
            repeated = key(point) in self.drawn.seen
            if self.drawn.new(point):
                self.numbers[key(point)] = trial.number
                return point
            if repeated:
                self.study.tell(trial, state=TrialState.FAIL)
        if (drawn := self.drawn.one()) is None:
            return None
        # Settings that are not in the point mean nothing in it: their first value stands for them.
        self.study.enqueue_trial({name: _raw(one, drawn.get(name)) for name, one in self.varied.items()})
        self.numbers[key(drawn)] = self.study.ask(self.distributions).number
        return drawn

    def _value(self, name: str, params: Mapping[str, Any]) -> Any:
        if name in self.engine:
            return self.engine[name]
        one = self.varied[name]
        return one.near(params[name]) if isinstance(one, Range) else one.values[params[name]]


@dataclass(frozen=True, slots=True)
class Strategy:
    """A way to choose points. `create` makes the search from space, trials, seed and engine settings; it proposes
    `batch` points at a time, all at once where that is `None`, since it learns nothing on the way."""

    create: Callable[[Space, int | None, int, Mapping[str, Any]], Search]
    batch: int | None = None


STRATEGIES: dict[str, Strategy] = {
    "grid": Strategy(lambda space, trials, seed, engine: _Listed(space, trials, seed, engine, in_order=True)),
    "random": Strategy(lambda space, trials, seed, engine: _Listed(space, trials, seed, engine, in_order=False)),
    "tpe": Strategy(lambda space, trials, seed, engine: _Tpe(space, trials or 0, seed, engine), batch=16),
}
"""Every way to search, by name."""


def _distribution(one: Dimension) -> BaseDistribution:
    """Return Optuna's distribution of a dimension, choices as places in their list: it takes no lists or mappings."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not isinstance(one, Range):
        return CategoricalDistribution(range(len(one.values)))
    if one.whole:
        return IntDistribution(int(one.low), int(one.high), log=one.log, step=int(one.step or 1))
    return FloatDistribution(one.low, one.last, log=one.log, step=one.step)


def _raw(one: Dimension, value: Any) -> Any:
    if isinstance(one, Range):
        return one.low if value is None else value
    return 0 if value is None else one.values.index(value)


def shares(trials: int | None, sizes: Sequence[int | None]) -> list[int | None]:
    """Return how many of `trials` points each engine gets, given how many it has (`None`: no end of them).

    The parts are equal, and what one has no points for goes to the others. Where all points are tried, `None` each.
    """
    if trials is None:
        return [None] * len(sizes)
    given = [0] * len(sizes)
    while open_ := [i for i, size in enumerate(sizes) if size is None or given[i] < size]:
        unassigned = trials - sum(given)
        if not unassigned:
            break
        for place, i in enumerate(open_):
            part = unassigned // len(open_) + (place < unassigned % len(open_))
            size = sizes[i]
            given[i] += part if size is None else min(part, size - given[i])
    return [*given]
