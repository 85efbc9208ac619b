"""Dimensions of a space: one setting and the values it may take, checked by the models that requests pass through.

Knows the settings that a sweep may vary, by section, and what a list or a range is. Knows nothing about combinations
of settings, which `jc1_lab.spaces.space` judges.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError

from jc1.decoding import Decoding
from jc1.engines.settings import EngineSettings
from jc1.engines.speculation import Speculation
from jc1.errors import InvalidSettings
from jc1.settings import Settings, is_secret

NOT_VARIED = {
    "decoding": {"seed": "the sweep gives every repeat its seed, the same one in all trials"},
    "engine": dict.fromkeys(("base_url", "api_key"), "it tells where a server is or opens it, and belongs in jc1.toml"),
}
"""Fields that a space may not set, and why."""
_RETRIEVAL = {"k": "memory_k", "window": "memory_window"}
"""Fields of `Retrieval`, by the setting that knows their bounds."""
_RANGE = ("low", "high", "step", "log")


@dataclass(frozen=True, slots=True)
class Choices:
    """Values to choose from; a single one is fixed for all trials."""

    values: tuple[Any, ...]

    @property
    def count(self) -> int:
        """Return the number of values."""
        return len(self.values)

    def draw(self, generator: random.Random) -> Any:
        """Draw one of the values, each as likely as any other."""
        return generator.choice(self.values)

    def describe(self) -> list[Any]:
        """Return the values as they may stand in a file."""
        return list(self.values)


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`, both included; every `step`-th one where there is a step, evenly by logarithm where
    `log` is set. Without a step, numbers that are not whole are continuous."""

    low: float
    high: float
    step: float | None = None
    log: bool = False
    whole: bool = False

    @property
    def count(self) -> int | None:
        """Return the number of values; None where they are continuous."""
        if self.low == self.high:
            return 1
        step = self.step or (1 if self.whole else None)
        return step and int((Decimal(str(self.high)) - Decimal(str(self.low))) // Decimal(str(step))) + 1

    @property
    def values(self) -> tuple[Any, ...] | None:
        """Return all values; None where they are continuous."""
        return None if self.count is None else tuple(self._at(i) for i in range(self.count))

    @property
    def last(self) -> Any:
        """Return the greatest value; `high` where they are continuous."""
        return self.high if self.count is None else self._at(self.count - 1)

    def _at(self, i: int) -> float:
        value = Decimal(str(self.low)) + i * Decimal(str(self.step or 1))
        return int(value) if self.whole else float(value)

    def draw(self, generator: random.Random) -> Any:
        """Draw one of the values, as `near` writes it."""
        if self.count is not None and not self.log:
            return self._at(generator.randrange(self.count))
        if self.log:
            return self.near(math.exp(generator.uniform(math.log(self.low), math.log(self.high))))
        return self.near(generator.uniform(self.low, self.high))

    def near(self, value: float) -> Any:
        """Return `value` with no more digits than tell it apart, a thousandth of the range, to be written down."""
        if self.whole:
            return min(int(self.high), max(int(self.low), round(value)))
        if self.step is not None:
            return self._at(round((value - self.low) / self.step))
        finest = value if self.log else self.high - self.low
        digits = 3 - math.floor(math.log10(finest)) if finest > 0 else 3
        return min(self.high, max(self.low, round(value, digits)))

    def describe(self) -> dict[str, Any]:
        """Return the range as it may stand in a file."""
        described: dict[str, Any] = {"low": self.low, "high": self.high}
        return described | ({"step": self.step} if self.step else {}) | ({"log": True} if self.log else {})


Dimension = Choices | Range


@cache
def known(section: str) -> tuple[str, ...]:
    """Return the fields that `section` (decoding, retrieval or engine) may hold."""
    names = {
        "decoding": tuple(Decoding.model_fields),
        "retrieval": ("k", "window", "stopwords", "memory"),
        "engine": tuple(field.name for field in fields(EngineSettings)),
    }[section]
    return tuple(name for name in names if name not in NOT_VARIED.get(section, {}))


def check(section: str, field: str, value: Any) -> Any:
    """Return `value` as the model of that field has it, ready for JSON. Raises `ValueError` with the reason."""
    kind = _kind(section, field)
    if isinstance(value, bool) and kind is str:
        # YAML reads off as false: where a word says that something is off, it is meant.
        default = Settings.model_fields[field].default
        if value or default not in ("off", ""):
            raise ValueError("should be a text: YAML reads on, off, yes and no as true and false, so put it in quotes")
        value = default
    if isinstance(value, bool) and kind in (int, float):
        raise ValueError("should be a number")
    if section == "retrieval" and field not in _RETRIEVAL:
        return _with_reason(lambda: TypeAdapter(bool).validate_python(value))
    if section == "decoding":
        return _plain(_field_of(Decoding, field, value))
    checked = _field_of(Settings, _RETRIEVAL.get(field, field) if section == "retrieval" else field, value)
    if field == "speculation":
        try:
            Speculation.parse(checked)
        except InvalidSettings:
            raise ValueError("say off, ngram:4 or draft:MODEL:3") from None
    if field == "engine_args" and (secret := next(filter(is_secret, checked), None)):
        raise ValueError(f"{secret!r} may be a secret, and a space is shown to others: set it in jc1.toml")
    return _plain(checked)


def dimension(section: str, field: str, raw: Any) -> Dimension:
    """Return what `raw` stands for: a value, a list of them or a range. Raises `ValueError` with every reason."""
    kind = _kind(section, field)
    if isinstance(raw, Mapping) and kind is not dict:
        return _range(section, field, raw)
    values = raw if isinstance(raw, list | tuple) else [raw]
    if not values:
        raise ValueError("the list is empty: give at least one value")
    checked, reasons = [], []
    for value in values:
        try:
            checked.append(check(section, field, value))
        except ValueError as error:
            reasons.append(f"{value!r} {error}")
    if reasons:
        raise ValueError("; ".join(reasons))
    return Choices(tuple({json.dumps(value, sort_keys=True): value for value in checked}.values()))


def _range(section: str, field: str, raw: Mapping[str, Any]) -> Range:
    kind = _kind(section, field)
    if kind not in (int, float):
        raise ValueError("is no number, so it takes a value or a list, not a range")
    if unknown := [repr(name) for name in raw if name not in _RANGE]:
        raise ValueError(f"a range has no {', '.join(unknown)}: it is {{low, high}} with step or log")
    if missing := [name for name in ("low", "high") if name not in raw]:
        raise ValueError(f"a range needs {' and '.join(missing)}")
    low, high = (_end(section, field, name, raw[name]) for name in ("low", "high"))
    if low > high:
        raise ValueError(f"low {low:g} is above high {high:g}")
    step, log = raw.get("step"), raw.get("log", False)
    if not isinstance(log, bool):
        raise ValueError("log should be true or false")
    if step is not None:
        number = int if kind is int else float
        if (
            isinstance(step, bool)
            or not isinstance(step, int | float)
            or not 0 < step < math.inf
            or number(step) != step
        ):
            raise ValueError(f"step should be a{' whole' if kind is int else ''} number above 0")
        step = number(step)
    if log and step is not None:
        raise ValueError("a range has a step or is by logarithm, not both")
    if log and low <= 0:
        raise ValueError("a range by logarithm begins above 0")
    return Range(low, high, step, log, whole=kind is int)


def _end(section: str, field: str, name: str, value: Any) -> float:
    try:
        checked = check(section, field, value)
    except ValueError as error:
        raise ValueError(f"{name} {value!r} {error}") from None
    if checked is None:
        raise ValueError(f"{name} should be a number")
    return float(checked) if _kind(section, field) is float else int(checked)


def recalled(retrieval: dict[str, Any], *, given: bool) -> dict[str, Any]:
    """Return `retrieval` in the fields of `Retrieval`: no memory is k 0 and nothing else.

    `given` is whether the point says what k is; where it only says that there is memory, a base's k of 0 does not stay.
    """
    memory = retrieval.pop("memory", None)
    if memory is False or (retrieval.get("k") == 0 and (given or memory is None)):
        return {"k": 0}
    if retrieval.get("k") == 0:
        del retrieval["k"]
    return retrieval


@cache
def _kind(section: str, field: str) -> Any:
    """Return the type of a field without its None: int, float, bool, str, tuple or dict."""
    if section == "retrieval" and field not in _RETRIEVAL:
        return bool
    model, name = (Decoding, field) if section == "decoding" else (Settings, _RETRIEVAL.get(field, field))
    annotation = model.model_fields[name].annotation
    if NoneType in get_args(annotation):
        annotation = next(kind for kind in get_args(annotation) if kind is not NoneType)
    origin = get_origin(annotation) or annotation
    return str if not isinstance(origin, type) else origin  # a Literal holds words


def _field_of(model: type[BaseModel], field: str, value: Any) -> Any:
    """Return the value as the model keeps it, judged without the other fields."""
    rest = {"home": Path()} if model is Settings else {}
    try:
        return getattr(model.model_validate({**rest, field: value}), field)
    except ValidationError as error:
        if any(problem["loc"] for problem in error.errors(include_url=False)):
            raise ValueError(_reason(error)) from None
    # Only its company is wrong, such as 'n' above 1 without a temperature.
    annotation: Any = model.model_fields[field].annotation
    return _with_reason(lambda: TypeAdapter(annotation).validate_python(value))


def _with_reason(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except ValidationError as error:
        raise ValueError(_reason(error)) from None


def _reason(error: ValidationError) -> str:
    message = error.errors(include_url=False)[0]["msg"]
    return message.removeprefix("Value error, ").removeprefix("Input ")


def _plain(value: Any) -> Any:
    """Return the value in JSON's types.

    Token ids, the keys of 'logit_bias', become texts, which `Decoding` reads as numbers again.
    """
    if isinstance(value, Mapping):
        return {str(name): item for name, item in value.items()}
    return list(value) if isinstance(value, tuple) else value
