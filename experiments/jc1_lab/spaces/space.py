"""Spaces: which settings a sweep may try, from a YAML file or a mapping, checked before anything runs.

    decoding: {temperature: {low: 0, high: 1, step: 0.25}, top_p: [0.9, 1]}
    system: {plain: null, brief: Answer in one word.}
    retrieval: {memory: [true, false], k: [2, 8]}
    engine: {speculation: [off, "ngram:4"]}
    constraints: [temperature > 0 or top_p == 1]
    baseline: default

A point holds a value for each dimension, by its name: `temperature`, `system`, `retrieval.k`, `engine.speculation`.
Without memory the other fields of `retrieval` mean nothing and are not in the point, so that it is one trial and not
several; constraints see k and window as 0 and stopwords as false there. A combination that `Decoding` refuses, such as
beam search with a temperature, is no trial either; as points are laid over a baseline, that depends on it. Knows
nothing about how points are chosen (jc1_lab.spaces.search).
"""

from __future__ import annotations

import itertools
import json
import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import orjson

from jc1.decoding import Decoding
from jc1.errors import InvalidDecoding, InvalidSpace
from jc1_lab.records.results import SCORE
from jc1_lab.records.trials import TrialSettings
from jc1_lab.spaces import parser, yaml_loader
from jc1_lab.spaces.constraints import Constraint, Expression
from jc1_lab.spaces.dimensions import Dimension, recalled
from jc1_lab.spaces.parser import SETTINGS

Point = dict[str, Any]
"""A value for each dimension, by its name."""

MAX_COUNTED = 50_000
"""Combinations that are gone through one by one; a space of more is treated as if it were continuous."""
TRIED = 2_000
"""Points drawn from such a space to see how many of them are trials."""
_MEMORY, _K = "retrieval.memory", "retrieval.k"
_WITHOUT = {_K: 0, "retrieval.window": 0, "retrieval.stopwords": False}
"""What constraints see of `retrieval` where memory is off."""


@dataclass(frozen=True)
class Space:
    """Dimensions in the order of the file, and what else it says. Build it with `Space.load` or `Space.parse`.

    `objectives` maps metrics to the direction wanted. `baseline` is a preset's reference, settings, or None where the
    sweep is to choose; `scorers` names metrics to compute besides. `systems` has the text of each named system prompt.
    `base` is what points are laid over, which `over` sets; until then the baseline, where it is settings, and else
    JC1's defaults.
    """

    dimensions: Mapping[str, Dimension]
    constraints: tuple[Constraint, ...] = ()
    objectives: Mapping[str, Literal["max", "min"]] = field(default_factory=lambda: {SCORE: "max"})
    baseline: TrialSettings | str | None = None
    scorers: tuple[str, ...] = ()
    systems: Mapping[str, str] = field(default_factory=dict)
    base: TrialSettings | None = None

    @classmethod
    def load(cls, path: str | Path) -> Space:
        """Read the space that a YAML file describes. Raises `InvalidSpace` naming the file and all that is wrong."""
        return cls.parse(yaml_loader.read(path), source=str(path))

    @classmethod
    def parse(cls, raw: object, *, source: str = "The space") -> Space:
        """Read the space that a mapping describes; its constraints may also be functions of a point.

        Raises `InvalidSpace` naming `source`, and of everything that is wrong the dimension and the reason. Whether
        anything is left to try is known over a baseline only: see `over`.
        """
        space = cls(**parser.fields(raw, source))
        try:
            orjson.dumps(space.describe())
        except TypeError:
            raise InvalidSpace(
                f"{source} cannot be written down, as every sweep does: a number has more than 64 bits, a key is no "
                "text, or a text is not Unicode."
            ) from None
        return space

    def over(self, base: TrialSettings) -> Space:
        """Return the space whose points are laid over `base`.

        Raises `InvalidSpace` where no combination is a trial then, or a constraint cannot be evaluated.
        """
        space = replace(self, base=base)
        points, refused = space._judged
        if points:
            return space
        reasons = ", ".join(f"{count} fail {reason.rstrip('.')!r}" for reason, count in refused.most_common(3))
        raise InvalidSpace(
            f"No combination of the space is left to try over the baseline: {reasons}. "
            "Change the space or the baseline."
        )

    @property
    def continuous(self) -> bool:
        """Return whether there is no end of values in a dimension, so that the space has no grid."""
        return None in [one.count for one in self.dimensions.values()]

    @cached_property
    def size(self) -> int | None:
        """Return the number of trials in the space; None where it is continuous, or larger than can be counted."""
        points = self.points()
        return None if points is None else len(points)

    def points(self, engine: Mapping[str, Any] | None = None) -> list[Point] | None:
        """Return every trial, or those under the engine's settings `engine`; None where they cannot be counted."""
        return [point for point in self._judged[0] if _under(engine, point)] if self._countable else None

    def skipped(self) -> str:
        """Return how many combinations are no trial since `Decoding` refuses them, and for instance why; empty where it
        refuses none. Those that the constraints rule out were not asked for and do not count."""
        points, refused = self._judged
        ruled_out = {_named(constraint) for constraint in self.constraints}
        by_decoding = Counter({reason: count for reason, count in refused.items() if reason not in ruled_out})
        if not by_decoding:
            return ""
        of = f"{len(points) + refused.total():,} combinations" + ("" if self._countable else " drawn at random")
        return f"{by_decoding.total():,} of {of} are no trials: {by_decoding.most_common(1)[0][0]}"

    def engines(self) -> list[dict[str, Any]]:
        """Return each combination of the engine's settings under which there is a trial; `[{}]` where none are set."""
        names = [name for name in self.dimensions if name.startswith("engine.")]
        if self._countable:
            points = [{name: point[name] for name in names} for point in self._judged[0]]
        else:
            points = list(self._product({name: self.dimensions[name] for name in names}))
            constraints = [c for c in self.constraints if isinstance(c, Expression) and c.names <= set(names)]
            points = [values for values in points if all(self._holds(constraint, values) for constraint in constraints)]
        unique = {json.dumps(values, sort_keys=True): values for values in points}.values()
        return [{name.removeprefix("engine."): value for name, value in values.items()} for values in unique]

    def draw(self, generator: random.Random, engine: Mapping[str, Any] | None = None) -> Point:
        """Draw a point at random under the engine's settings, which may be one that `refusal` refuses."""
        given = {f"engine.{name}": value for name, value in (engine or {}).items()}
        drawn = {name: one.draw(generator) for name, one in self.dimensions.items() if name not in given}
        return self.point({name: given.get(name, drawn.get(name)) for name in self.dimensions})

    def point(self, values: Mapping[str, Any]) -> Point:
        """Return `values` of all dimensions as a point: without what means nothing where memory is off."""
        point = dict(values)
        if point.get(_MEMORY, True) and point.get(_K) == 0 and False in _values(self.dimensions.get(_MEMORY)):
            point[_MEMORY] = False
        if not point.get(_MEMORY, True):
            return {name: value for name, value in point.items() if name not in _WITHOUT}
        if point.get(_K) == 0:
            return {name: value for name, value in point.items() if name == _K or name not in _WITHOUT}
        return point

    def refusal(self, point: Point) -> str | None:
        """Return why `point` is no trial; None where it is one.

        Raises `InvalidSpace` for a constraint that cannot be evaluated.
        """
        for constraint in self.constraints:
            if not self._holds(constraint, point):
                return _named(constraint)
        try:
            self.settings(point)
        except InvalidDecoding as error:
            return error.message
        return None

    def settings(self, point: Point, base: TrialSettings | None = None) -> TrialSettings:
        """Return `point` laid over `base`, or over the space's own.

        Raises:
            InvalidSpace: A name in the point is no dimension.
            InvalidDecoding: The fields do not go together.
        """
        base = base or self._base
        sections: dict[str, dict[str, Any]] = {section: dict(getattr(base, section)) for section in SETTINGS}
        system = base.system
        for name, value in point.items():
            if name not in self.dimensions:
                raise InvalidSpace(f"The space has no dimension {name!r}: it has {', '.join(self.dimensions)}.")
            section, _, field = name.rpartition(".")
            if name == "system":
                system = self.systems.get(value, value)
            else:
                sections[section or "decoding"][field] = value
        Decoding.parse(sections["decoding"])
        sections["retrieval"] = recalled(sections["retrieval"], given=_K in point)
        return TrialSettings(system=system, **sections)

    def describe(self) -> dict[str, Any]:
        """Return the space as JSON, from which `Space.parse` makes it again, but for constraints that are functions."""
        described: dict[str, Any] = {}
        for name, one in self.dimensions.items():
            section, _, field = name.rpartition(".")
            if name == "system":
                described["system"] = dict(self.systems) or one.describe()
            else:
                described.setdefault(section or "decoding", {})[field] = one.describe()
        if texts := [constraint.text for constraint in self.constraints if isinstance(constraint, Expression)]:
            described["constraints"] = texts
        if isinstance(self.baseline, TrialSettings):
            described["baseline"] = self.baseline.model_dump(mode="json", exclude_defaults=True)
        elif self.baseline is not None:
            described["baseline"] = self.baseline
        described["objectives"] = dict(self.objectives)
        return described | ({"scorers": list(self.scorers)} if self.scorers else {})

    @property
    def _base(self) -> TrialSettings:
        return self.base or (self.baseline if isinstance(self.baseline, TrialSettings) else TrialSettings())

    @property
    def _countable(self) -> bool:
        return not self.continuous and math.prod(one.count or 1 for one in self.dimensions.values()) <= MAX_COUNTED

    @cached_property
    def _judged(self) -> tuple[list[Point], Counter[str]]:
        """Return trials, and why other combinations are none: of all, or of a random sample where they are too many."""
        if self._countable:
            combinations = [*{key(point): point for point in map(self.point, self._product(self.dimensions))}.values()]
        else:
            generator = random.Random(0)
            combinations = [self.draw(generator) for _ in range(TRIED)]
        points, refused = [], Counter[str]()
        for point in combinations:
            if (reason := self.refusal(point)) is None:
                points.append(point)
            else:
                refused[reason] += 1
        return points, refused

    @staticmethod
    def _product(dimensions: Mapping[str, Dimension]) -> Iterator[dict[str, Any]]:
        for values in itertools.product(*map(_values, dimensions.values())):
            yield dict(zip(dimensions, values, strict=True))

    def _holds(self, constraint: Constraint, point: Point) -> bool:
        if not isinstance(constraint, Expression):
            try:
                return bool(constraint(dict(point)))
            except Exception as error:  # whatever the user's function raises
                raise InvalidSpace(f"The constraint {_named(constraint)} fails for {point}: correct it.") from error
        unread = {name: value for name, value in _WITHOUT.items() if name in self.dimensions}
        try:
            return constraint.holds({**unread, **point})
        except ValueError as error:
            raise InvalidSpace(f"The constraint {constraint.text!r} {error} for {point}: correct it.") from None


def key(point: Point) -> str:
    """Return the same text for points that are the same, whatever the order of their names."""
    return json.dumps(point, sort_keys=True)


def _values(one: Dimension | None) -> tuple[Any, ...]:
    return one.values or () if one else ()


def _under(engine: Mapping[str, Any] | None, point: Point) -> bool:
    return all(point[f"engine.{name}"] == value for name, value in (engine or {}).items())


def _named(constraint: Constraint) -> str:
    return constraint.text if isinstance(constraint, Expression) else getattr(constraint, "__name__", "function")
