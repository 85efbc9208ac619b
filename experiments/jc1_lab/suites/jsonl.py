"""Lines of JSON as the shapes they should have, and every line that is wrong with its file, number and reason.

Knows how such a file is read and how mistakes are told. Knows nothing about what the lines mean.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from jc1.database.tables import MAX_NAME
from jc1.errors import InvalidSuite
from jc1.texts import checked
from jc1_lab.records.items import refuse

Line = TypeVar("Line", bound=BaseModel)


def _not_empty(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty")
    return value


Label = Annotated[str, AfterValidator(checked)]
Text = Annotated[Label, AfterValidator(_not_empty)]
Name = Annotated[Text, Field(max_length=MAX_NAME)]


class Problems:
    """The lines of a file that cannot be used, or what else it is made of."""

    def __init__(self, path: Path, unit: str = "line") -> None:
        self.path = path
        self.unit = unit
        self.reasons: dict[int, str] = {}

    def add(self, number: int, reason: str) -> None:
        self.reasons.setdefault(number, reason)

    def check(self) -> None:
        """Raise `InvalidSuite` if there are any."""
        refuse([f"{self.place(number)}: {reason}" for number, reason in sorted(self.reasons.items())], self.unit)

    def place(self, number: int) -> str:
        """Return the file and the number of a line, as a person reads it."""
        return f"{self.path}, {self.unit} {number}"


def read_lines(path: Path, shape: type[Line]) -> list[tuple[int, Line]]:
    """Return every line as `shape`, with its number. Raises `InvalidSuite`."""
    problems = Problems(path)
    lines = [(number, parsed(shape, value, number, problems)) for number, value in values(path, problems)]
    problems.check()
    return [(number, line) for number, line in lines if line is not None]


def values(path: Path, problems: Problems) -> Iterator[tuple[int, Any]]:
    """Yield the JSON value of each line that is not blank, with its number from 1; other lines go to `problems`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidSuite(f"{path}: it cannot be read: {error.strerror}.", param="suite") from None
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line.decode())
        except UnicodeDecodeError as error:
            problems.add(number, f"not UTF-8 at byte {error.start + 1}")
        except json.JSONDecodeError as error:
            problems.add(number, f"not JSON: {error.msg} at character {error.colno}")
        except (ValueError, RecursionError):
            problems.add(number, "not JSON that can be read: a number is too long, or lists too deep")


def parsed(shape: type[Line], value: Any, number: int, problems: Problems) -> Line | None:
    """Return the value as `shape`; where it is none, add the line's reasons to `problems` and return None."""
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        problems.add(number, "; ".join(_reason(one, shape) for one in error.errors(include_url=False)[:3]))
        return None


def _reason(error: Mapping[str, Any], shape: type[BaseModel]) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        known = f": known are {', '.join(shape.model_fields)}" if len(error["loc"]) == 1 else ""
        return f"unknown field {where!r}{known}"
    if error["type"] == "missing":
        return f"{where!r} is missing"
    if error["type"] == "model_type":
        return f"{where!r} is no JSON object" if where else "no JSON object"
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{where!r}: {message}" if where else message
