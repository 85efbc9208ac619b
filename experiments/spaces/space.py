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
nothing about how points are chosen (experiments/spaces/search.py).
"""

from __future__ import annotations

import itertools
import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import orjson

from experiments.spaces import files
from experiments.spaces.constraints import Expression
from experiments.spaces.dimensions import NOT_VARIED, Choices, Dimension, Range, check, dimension, known
from experiments.sweeps.results import SCORE
from experiments.sweeps.trials import TrialSettings
from jc1.decoding import Decoding
from jc1.errors import InvalidDecoding, InvalidSpace
from jc1.prompt import DEFAULT_SYSTEM

Point = dict[str, Any]
"""A value for each dimension, by its name."""

SECTIONS = ("decoding", "system", "retrieval", "engine", "constraints", "baseline", "objectives", "scorers")
SETTINGS = ("decoding", "retrieval", "engine")
"""Sections that hold fields."""
MOST_ENGINES = 256
"""Combinations of engine settings, each of which starts an engine."""
MOST_COUNTED = 50_000
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
    constraints: tuple[Expression | Callable[[Point], bool], ...] = ()
    objectives: Mapping[str, Literal["max", "min"]] = field(default_factory=lambda: {SCORE: "max"})
    baseline: TrialSettings | str | None = None
    scorers: tuple[str, ...] = ()
    systems: Mapping[str, str] = field(default_factory=dict)
    base: TrialSettings | None = None

    @classmethod
    def load(cls, path: str | Path) -> Space:
        """The space that a YAML file describes. Raises `InvalidSpace` naming the file and all that is wrong."""
        return cls.parse(files.read(path), source=str(path))

    @classmethod
    def parse(cls, raw: object, *, source: str = "The space") -> Space:
        """The space that a mapping describes; its constraints may also be functions of a point.

        Raises `InvalidSpace` naming `source`, and of everything that is wrong the dimension and the reason. Whether
        anything is left to try is known over a baseline only: see `over`.
        """
        if not isinstance(raw, Mapping):
            raise InvalidSpace(f"{source} is no space: give a mapping of {', '.join(SECTIONS)}.")
        return _Reading(raw, source).space()

    def over(self, base: TrialSettings) -> Space:
        """The space whose points are laid over `base`.

        Raises `InvalidSpace` where no combination is a trial then, or a constraint cannot be evaluated.
        """
        space = replace(self, base=base)
        points, refused = space._judged
        if points:
            return space
        told = ", ".join(f"{count} fail {reason.rstrip('.')!r}" for reason, count in refused.most_common(3))
        raise InvalidSpace(
            f"No combination of the space is left to try over the baseline: {told}. Change the space or the baseline."
        )

    @property
    def continuous(self) -> bool:
        """Whether there is no end of values in a dimension, so that the space has no grid."""
        return None in map(_count, self.dimensions.values())

    @cached_property
    def size(self) -> int | None:
        """How many trials the space holds; None where it is continuous, or larger than can be counted."""
        points = self.points()
        return None if points is None else len(points)

    def points(self, engine: Mapping[str, Any] | None = None) -> list[Point] | None:
        """Every trial, or those under the engine's settings `engine`; None where they cannot be counted."""
        return [point for point in self._judged[0] if _under(engine, point)] if self._countable else None

    def skipped(self) -> str:
        """How many combinations are no trial since `Decoding` refuses them, and for instance why; empty where it
        refuses none. Those that the constraints rule out were not asked for and do not count."""
        points, refused = self._judged
        ruled_out = {_named(constraint) for constraint in self.constraints}
        own = Counter({reason: count for reason, count in refused.items() if reason not in ruled_out})
        if not own:
            return ""
        of = f"{len(points) + refused.total():,} combinations" + ("" if self._countable else " drawn at random")
        return f"{own.total():,} of {of} are no trials: {own.most_common(1)[0][0]}"

    def engines(self) -> list[dict[str, Any]]:
        """Each combination of the engine's settings under which there is a trial; `[{}]` where none are set."""
        names = [name for name in self.dimensions if name.startswith("engine.")]
        if self._countable:
            found = [{name: point[name] for name in names} for point in self._judged[0]]
        else:
            found = list(self._product({name: self.dimensions[name] for name in names}))
            own = [c for c in self.constraints if isinstance(c, Expression) and c.names <= set(names)]
            found = [values for values in found if all(self._holds(constraint, values) for constraint in own)]
        unique = {json.dumps(values, sort_keys=True): values for values in found}.values()
        return [{name.removeprefix("engine."): value for name, value in values.items()} for values in unique]

    def draw(self, generator: random.Random, engine: Mapping[str, Any] | None = None) -> Point:
        """A point at random under the engine's settings, which may be one that `refusal` refuses."""
        given = {f"engine.{name}": value for name, value in (engine or {}).items()}
        drawn = {name: one.draw(generator) for name, one in self.dimensions.items() if name not in given}
        return self.point({name: given.get(name, drawn.get(name)) for name in self.dimensions})

    def point(self, values: Mapping[str, Any]) -> Point:
        """`values` of all dimensions as a point: without what means nothing where memory is off."""
        point = dict(values)
        if point.get(_MEMORY, True) and point.get(_K) == 0 and False in _values(self.dimensions.get(_MEMORY)):
            point[_MEMORY] = False
        if not point.get(_MEMORY, True):
            return {name: value for name, value in point.items() if name not in _WITHOUT}
        if point.get(_K) == 0:
            return {name: value for name, value in point.items() if name == _K or name not in _WITHOUT}
        return point

    def refusal(self, point: Point) -> str | None:
        """Why `point` is no trial; None where it is one. Raises `InvalidSpace` for a constraint that cannot be
        evaluated."""
        for constraint in self.constraints:
            if not self._holds(constraint, point):
                return _named(constraint)
        try:
            self.settings(point)
        except InvalidDecoding as error:
            return error.message
        return None

    def settings(self, point: Point, base: TrialSettings | None = None) -> TrialSettings:
        """`point` laid over `base`, or over the space's own. Raises `InvalidSpace` for what is no dimension,
        `InvalidDecoding` where the fields do not go together."""
        base = base or self._base
        found: dict[str, dict[str, Any]] = {section: dict(getattr(base, section)) for section in SETTINGS}
        system = base.system
        for name, value in point.items():
            if name not in self.dimensions:
                raise InvalidSpace(f"The space has no dimension {name!r}: it has {', '.join(self.dimensions)}.")
            section, _, own = name.rpartition(".")
            if name == "system":
                system = self.systems.get(value, value)
            else:
                found[section or "decoding"][own] = value
        Decoding.parse(found["decoding"])
        found["retrieval"] = _recalled(found["retrieval"], given=_K in point)
        return TrialSettings(system=system, **found)

    def describe(self) -> dict[str, Any]:
        """The space as JSON may hold it, from which `Space.parse` makes it again; constraints that are functions are
        left out."""
        described: dict[str, Any] = {}
        for name, one in self.dimensions.items():
            section, _, own = name.rpartition(".")
            if name == "system":
                described["system"] = dict(self.systems) or one.describe()
            else:
                described.setdefault(section or "decoding", {})[own] = one.describe()
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
        return not self.continuous and math.prod(_count(one) or 1 for one in self.dimensions.values()) <= MOST_COUNTED

    @cached_property
    def _judged(self) -> tuple[list[Point], Counter[str]]:
        """Trials, and why other combinations are none: of all, or of some drawn at random where they are too many."""
        if self._countable:
            found = {key(point): point for point in map(self.point, self._product(self.dimensions))}.values()
        else:
            generator = random.Random(0)
            found = [self.draw(generator) for _ in range(TRIED)]
        points, refused = [], Counter[str]()
        for point in found:
            if (reason := self.refusal(point)) is None:
                points.append(point)
            else:
                refused[reason] += 1
        return points, refused

    @staticmethod
    def _product(dimensions: Mapping[str, Dimension]) -> Iterator[dict[str, Any]]:
        for values in itertools.product(*map(_values, dimensions.values())):
            yield dict(zip(dimensions, values, strict=True))

    def _holds(self, constraint: Expression | Callable[[Point], bool], point: Point) -> bool:
        if not isinstance(constraint, Expression):
            try:
                return bool(constraint(dict(point)))
            except Exception as error:  # whatever the user's function raises
                raise InvalidSpace(f"The constraint {_named(constraint)} fails for {point}: mend it.") from error
        unread = {name: value for name, value in _WITHOUT.items() if name in self.dimensions}
        try:
            return constraint.holds({**unread, **point})
        except ValueError as error:
            raise InvalidSpace(f"The constraint {constraint.text!r} {error} for {point}: mend it.") from None


def key(point: Point) -> str:
    """The same text for points that are the same, whatever the order of their names."""
    return json.dumps(point, sort_keys=True)


def _values(one: Dimension | None) -> tuple[Any, ...]:
    return one.values or () if one else ()


def _count(one: Dimension) -> int | None:
    return one.count if isinstance(one, Range) else len(one.values)


def _under(engine: Mapping[str, Any] | None, point: Point) -> bool:
    return all(point[f"engine.{name}"] == value for name, value in (engine or {}).items())


def _named(constraint: Expression | Callable[[Point], bool]) -> str:
    return constraint.text if isinstance(constraint, Expression) else getattr(constraint, "__name__", "function")


def _recalled(retrieval: dict[str, Any], *, given: bool) -> dict[str, Any]:
    """`retrieval` in the fields of `Retrieval`: no memory is k 0 and nothing else. `given` is whether the point says
    what k is; where it only says that there is memory, a base's k of 0 does not stay."""
    memory = retrieval.pop("memory", None)
    if memory is False or (retrieval.get("k") == 0 and (given or memory is None)):
        return {"k": 0}
    if retrieval.get("k") == 0:
        del retrieval["k"]
    return retrieval


class _Reading:
    """One raw space being read: collects everything that is wrong, so that all of it is told at once."""

    def __init__(self, raw: Mapping[str, Any], source: str) -> None:
        self.raw = raw
        self.source = source
        self.problems: list[str] = []
        self.failed: set[str] = set()
        """Dimensions whose values are wrong."""

    def space(self) -> Space:
        for name in self.raw:
            if name not in SECTIONS:
                self.problems.append(f"{name!r} is no section: known are {', '.join(SECTIONS)}")
        dimensions: dict[str, Dimension] = {}
        systems: dict[str, str] = {}
        for section in self.raw:  # the order of the file is that of tables and plots
            if section == "system":
                systems = self._system(dimensions)
            elif section in SETTINGS:
                self._fields(section, dimensions)
        engines = [_count(one) for name, one in dimensions.items() if name.startswith("engine.")]
        if None not in engines and (starts := math.prod(count or 1 for count in engines)) > MOST_ENGINES:
            self.problems.append(f"engine: {starts:,} combinations, each of which starts an engine: give fewer values")
        if not dimensions and not self.problems:
            self.problems.append("nothing is set: give a field of decoding, system, retrieval or engine")
        space = Space(
            dimensions=dimensions,
            constraints=self._constraints(dimensions),
            objectives=self._objectives(),
            baseline=self._baseline(systems),
            scorers=self._scorers(),
            systems=systems,
        )
        if not self.problems:
            self._write(space)
        if self.problems:
            raise InvalidSpace(f"{self.source} cannot be used: " + "; ".join(self.problems) + ".")
        return space

    def _mapping(self, name: str, raw: object) -> Mapping[Any, Any]:
        if raw is None or isinstance(raw, Mapping):
            return raw or {}
        self.problems.append(f"{name} should be a mapping")
        return {}

    def _fields(self, section: str, dimensions: dict[str, Dimension]) -> None:
        for own, raw in self._mapping(section, self.raw[section]).items():
            name = own if section == "decoding" else f"{section}.{own}"
            if not self._known(section, own):
                continue
            try:
                dimensions[name] = dimension(section, own, raw)
            except ValueError as error:
                self.problems.append(f"{name}: {error}")
                self.failed.add(name)
                continue
            if section == "engine" and _count(dimensions[name]) is None:
                self.problems.append(f"{name}: each value starts an engine, so give a list, or a range with a step")

    def _known(self, section: str, own: object) -> bool:
        if own in known(section):
            return True
        if (why := NOT_VARIED.get(section, {}).get(str(own))) is not None:
            self.problems.append(f"{section} may not set {own}: {why}")
        else:
            self.problems.append(f"{section} has no {own!r}: known are {', '.join(known(section))}")
        return False

    def _system(self, dimensions: dict[str, Dimension]) -> dict[str, str]:
        raw = self.raw["system"]
        texts = raw if isinstance(raw, Mapping | list | tuple) else [raw]
        for text in texts.values() if isinstance(texts, Mapping) else texts:
            if text is not None and not isinstance(text, str):
                self.problems.append(f"system: {text!r} should be a text, or null for JC1's own")
        if not texts:
            self.problems.append("system: no text is given")
        if isinstance(texts, Mapping):
            if wrong := [name for name in texts if not isinstance(name, str)]:
                self.problems.append(f"system: the name {wrong[0]!r} should be a text, so put it in quotes")
            dimensions["system"] = Choices(tuple(texts))
            return {name: DEFAULT_SYSTEM if text is None else text for name, text in texts.items()}
        dimensions["system"] = Choices(tuple(dict.fromkeys(DEFAULT_SYSTEM if t is None else str(t) for t in texts)))
        return {}

    def _constraints(self, dimensions: Mapping[str, Dimension]) -> tuple[Expression | Callable[[Point], bool], ...]:
        found: list[Expression | Callable[[Point], bool]] = []
        raw = self.raw.get("constraints") or []
        for one in raw if isinstance(raw, list | tuple) else [raw]:
            if callable(one):
                found.append(one)
                continue
            try:
                expression = Expression.parse(str(one))
            except ValueError as error:
                self.problems.append(f"the constraint {one!r} {error}")
                continue
            if unknown := sorted(expression.names - set(dimensions) - self.failed):
                self.problems.append(
                    f"the constraint {one!r} names {unknown[0]!r}, which this space does not set: it sets "
                    f"{', '.join(dimensions) or 'nothing'}"
                )
            found.append(expression)
        return tuple(found)

    def _objectives(self) -> dict[str, Literal["max", "min"]]:
        raw = self._mapping("objectives", self.raw.get("objectives"))
        for metric, wanted in raw.items():
            if not isinstance(metric, str) or wanted not in ("max", "min"):
                self.problems.append(
                    f"objectives: {metric!r} is {wanted!r}, and should be a metric's name with max or min"
                )
        return dict(raw) or {SCORE: "max"}

    def _scorers(self) -> tuple[str, ...]:
        raw = self.raw.get("scorers") or []
        names = [raw] if isinstance(raw, str) else raw
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            self.problems.append("scorers should be a list of names")
            return ()
        return tuple(dict.fromkeys(names))

    def _baseline(self, systems: Mapping[str, str]) -> TrialSettings | str | None:
        raw = self.raw.get("baseline")
        if raw is None or (isinstance(raw, str) and raw):
            return raw
        if not isinstance(raw, Mapping):
            self.problems.append(
                "baseline should be a preset's name, or a mapping of decoding, system, retrieval, engine"
            )
            return None
        found: dict[str, dict[str, Any]] = {}
        before = len(self.problems)
        for section, values in raw.items():
            if section in SETTINGS:
                found[section] = self._single(section, values)
            elif section != "system":
                self.problems.append(f"baseline has no {section!r}: known are decoding, system, retrieval, engine")
        system = raw.get("system")
        if system is not None and not isinstance(system, str):
            self.problems.append("baseline.system should be one text, or the name of one above")
        if len(self.problems) > before:
            return None
        try:
            Decoding.parse(found.get("decoding", {}))
        except InvalidDecoding as error:
            self.problems.append(f"baseline.decoding: {error.message.rstrip('.')}")
            return None
        if "retrieval" in found:
            found["retrieval"] = _recalled(found["retrieval"], given=True)
        return TrialSettings(**found, **({} if system is None else {"system": systems.get(system, system)}))

    def _single(self, section: str, values: object) -> dict[str, Any]:
        found = {}
        for own, value in self._mapping(f"baseline.{section}", values).items():
            if self._known(section, own):
                try:
                    found[own] = check(section, own, value)
                except ValueError as error:
                    self.problems.append(f"baseline.{section}.{own}: {value!r} {error}")
        return found

    def _write(self, space: Space) -> None:
        """See that the space can be written down, as every sweep does."""
        try:
            orjson.dumps(space.describe())
        except TypeError:
            self.problems.append(
                "a number has more than 64 bits, a key is no text, or a text is not Unicode: none of these can be "
                "written down"
            )
