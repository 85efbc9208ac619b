"""Reading a space: what a mapping of sections says, checked by the models that requests pass through.

Knows what each section may hold, and tells everything that is wrong at once. Knows nothing about files, or which
combinations of settings are trials.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from jc1.decoding import Decoding
from jc1.errors import InvalidDecoding, InvalidSpace
from jc1.prompt import DEFAULT_SYSTEM
from jc1_lab.records.results import SCORE
from jc1_lab.records.trials import TrialSettings
from jc1_lab.spaces.constraints import Constraint, Expression
from jc1_lab.spaces.dimensions import NOT_VARIED, Choices, Dimension, check, dimension, known, recalled

SECTIONS = ("decoding", "system", "retrieval", "engine", "constraints", "baseline", "objectives", "scorers")
SETTINGS = ("decoding", "retrieval", "engine")
"""Sections that hold fields."""
MAX_ENGINES = 256
"""Combinations of engine settings, each of which starts an engine."""


def fields(raw: object, source: str) -> dict[str, Any]:
    """Return the fields of the `Space` that `raw` describes.

    Raises `InvalidSpace` naming `source` and all that is wrong.
    """
    if not isinstance(raw, Mapping):
        raise InvalidSpace(f"{source} is no space: give a mapping of {', '.join(SECTIONS)}.")
    return _Reading(raw, source).fields()


class _Reading:
    """One raw space being read: collects everything that is wrong, so that all of it is told at once."""

    def __init__(self, raw: Mapping[str, Any], source: str) -> None:
        self.raw = raw
        self.source = source
        self.problems: list[str] = []
        self.failed: set[str] = set()
        """Dimensions whose values are wrong."""

    def fields(self) -> dict[str, Any]:
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
        engines = [one.count for name, one in dimensions.items() if name.startswith("engine.")]
        if None not in engines and (starts := math.prod(count or 1 for count in engines)) > MAX_ENGINES:
            self.problems.append(f"engine: {starts:,} combinations, each of which starts an engine: give fewer values")
        if not dimensions and not self.problems:
            self.problems.append("nothing is set: give a field of decoding, system, retrieval or engine")
        result = {
            "dimensions": dimensions,
            "constraints": self._constraints(dimensions),
            "objectives": self._objectives(),
            "baseline": self._baseline(systems),
            "scorers": self._scorers(),
            "systems": systems,
        }
        if self.problems:
            raise InvalidSpace(f"{self.source} cannot be used: " + "; ".join(self.problems) + ".")
        return result

    def _mapping(self, name: str, raw: object) -> Mapping[Any, Any]:
        if raw is None or isinstance(raw, Mapping):
            return raw or {}
        self.problems.append(f"{name} should be a mapping")
        return {}

    def _fields(self, section: str, dimensions: dict[str, Dimension]) -> None:
        for field, raw in self._mapping(section, self.raw[section]).items():
            name = field if section == "decoding" else f"{section}.{field}"
            if not self._known(section, field):
                continue
            try:
                dimensions[name] = dimension(section, field, raw)
            except ValueError as error:
                self.problems.append(f"{name}: {error}")
                self.failed.add(name)
                continue
            if section == "engine" and dimensions[name].count is None:
                self.problems.append(f"{name}: each value starts an engine, so give a list, or a range with a step")

    def _known(self, section: str, field: object) -> bool:
        if field in known(section):
            return True
        if (why := NOT_VARIED.get(section, {}).get(str(field))) is not None:
            self.problems.append(f"{section} may not set {field}: {why}")
        else:
            self.problems.append(f"{section} has no {field!r}: known are {', '.join(known(section))}")
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

    def _constraints(self, dimensions: Mapping[str, Dimension]) -> tuple[Constraint, ...]:
        constraints: list[Constraint] = []
        raw = self.raw.get("constraints") or []
        for one in raw if isinstance(raw, list | tuple) else [raw]:
            if callable(one):
                constraints.append(one)
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
            constraints.append(expression)
        return tuple(constraints)

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
        sections: dict[str, dict[str, Any]] = {}
        before = len(self.problems)
        for section, values in raw.items():
            if section in SETTINGS:
                sections[section] = self._single(section, values)
            elif section != "system":
                self.problems.append(f"baseline has no {section!r}: known are decoding, system, retrieval, engine")
        system = raw.get("system")
        if system is not None and not isinstance(system, str):
            self.problems.append("baseline.system should be one text, or the name of one above")
        if len(self.problems) > before:
            return None
        try:
            Decoding.parse(sections.get("decoding", {}))
        except InvalidDecoding as error:
            self.problems.append(f"baseline.decoding: {error.message.rstrip('.')}")
            return None
        if "retrieval" in sections:
            sections["retrieval"] = recalled(sections["retrieval"], given=True)
        return TrialSettings(**sections, **({} if system is None else {"system": systems.get(system, system)}))

    def _single(self, section: str, values: object) -> dict[str, Any]:
        fields = {}
        for field, value in self._mapping(f"baseline.{section}", values).items():
            if self._known(section, field):
                try:
                    fields[field] = check(section, field, value)
                except ValueError as error:
                    self.problems.append(f"baseline.{section}.{field}: {value!r} {error}")
        return fields
