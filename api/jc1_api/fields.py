"""The types of which request bodies are made, and the base that refuses what it does not know.

Knows JSON types, and how a field is refused with a reason of its own. Knows no route.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from jc1.texts import checked

NAME_LENGTH = 200
"""Most characters of a session's, preset's or model's name."""


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty: send some text")
    return checked(text)


def _addressable(name: str) -> str:
    if any(unicodedata.category(c) == "Cc" for c in name) or {".", ".."} & set(name.split("/")):
        raise ValueError("cannot stand in an address: send a name without control characters, '.' and '..'")
    return name


def _integral(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Text = Annotated[str, AfterValidator(checked)]
NOT_BLANK = AfterValidator(_not_blank)
Name = Annotated[str, Field(min_length=1, max_length=NAME_LENGTH), NOT_BLANK]
NewName = Annotated[Name, AfterValidator(_addressable)]
"""The name of something that is read and deleted under an address later."""
Whole = Annotated[int, Strict(), BeforeValidator(_integral, json_schema_input_type=int)]
Number = Annotated[float, Strict()]
Flag = Annotated[bool, Strict()]


class Body(BaseModel):
    """A body, or an object in one: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


ACCEPTED = "Accepted: "


def accepted(why: str) -> Any:
    """Return an optional field that clients send and that has no effect, with the reason. docs/api.md lists them."""
    return Field(None, description=f"{ACCEPTED}{why}.")


def refused(name: str, value: object, reason: str) -> ValidationError:
    """Return the error that names a field of the model being validated, wherever in the body the model stands."""
    problem = PydanticCustomError("refused", "{reason}", {"reason": reason})
    return ValidationError.from_exception_data("body", [InitErrorDetails(type=problem, loc=(name,), input=value)])


def without_refused(values: Any, unsupported: Mapping[str, tuple[tuple[Any, ...], str]]) -> Any:
    """Return the body without those fields that ask for nothing: null, empty, or with a value listed as harmless.

    Args:
        values: The body as it was sent; what is no object passes, for pydantic to refuse.
        unsupported: By field, the values that ask for nothing, and why any other is refused.

    Raises:
        ValidationError: For one of the others, with the reason that is listed.
    """
    if not isinstance(values, dict):
        return values
    body = dict(values)
    for name in values.keys() & unsupported.keys():
        harmless, reason = unsupported[name]
        value = body.pop(name)
        if value not in (None, [], {}) and value not in harmless:
            raise refused(name, value, f"{name!r} cannot be honoured: {reason}. Leave it out.")
    return body
