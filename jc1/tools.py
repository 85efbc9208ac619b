"""Tools: what a model may ask its caller to do, and what it asked for.

Knows the shape of tools and calls, and what makes a set of them usable. Knows nothing about how a model writes a call
or how it is kept to one: that is `jc1.engines.call_formats`'. JC1 runs no tool itself.
"""

from __future__ import annotations

import json
import re
import secrets
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from jc1.errors import InvalidRequest
from jc1.texts import NOT_TEXT, is_text

Mode = Literal["auto", "none", "required"]
MODES: tuple[Mode, ...] = ("auto", "none", "required")
MAX_TOOLS = 128
"""As many as OpenAI takes."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ID_LETTERS = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may ask for; `parameters` is the JSON Schema of its arguments, an object's.

    With `strict` a schema of which something cannot be enforced is refused; without, that part of it only advises.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    strict: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the tool in OpenAI's form, as chat templates read it."""
        function = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": function}


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What the model asked for: a tool's name, and its arguments as the model wrote them, a JSON object."""

    id: str
    name: str
    arguments: str

    def to_dict(self) -> dict[str, Any]:
        """Return the call in OpenAI's form."""
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """Event: a piece of a call. `index` is the choice's, `call` counts the calls of that choice from 0.

    The first piece of a call has `id` and `name`, all have what is new of the `arguments`.
    """

    index: int
    call: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Toolset:
    """The tools of one request, and whether one must be called: `choice` is `auto`, `required` or a tool's name."""

    tools: tuple[Tool, ...]
    choice: str = "auto"
    parallel: bool = True
    """Whether one reply may hold several calls."""

    @property
    def forced(self) -> bool:
        """Return whether the reply has to be a call."""
        return self.choice != "auto"

    @property
    def callable(self) -> tuple[Tool, ...]:
        """Return the tools that may be called: all, or the one that was chosen."""
        return tuple(tool for tool in self.tools if self.choice in ("auto", "required", tool.name))

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain JSON values."""
        tools = [{**tool.to_dict()["function"], "strict": tool.strict} for tool in self.tools]
        return {"tools": tools, "choice": self.choice, "parallel": self.parallel}


def new_call_id() -> str:
    """Return the id of a new call: nine letters and digits, which is what Mistral's templates take."""
    return "".join(secrets.choice(_ID_LETTERS) for _ in range(9))


def toolset_of(
    tools: Sequence[Tool | Mapping[str, Any]], choice: str = "auto", *, parallel: bool = True
) -> Toolset | None:
    """Return the tools of a request, each a `Tool` or a dict in OpenAI's form; None where none may be called.

    Raises:
        InvalidRequest: A tool is not usable, two share a name, or `choice` is none of them.
    """
    parsed = tuple(tool if isinstance(tool, Tool) else _of_dict(tool) for tool in tools)
    if len(parsed) > MAX_TOOLS:
        raise InvalidRequest(f"{len(parsed)} tools, {MAX_TOOLS} allowed: send fewer.", param="tools")
    names = [tool.name for tool in parsed]
    for tool in parsed:
        _check(tool)
        if names.count(tool.name) > 1:
            raise InvalidRequest(f"Two tools are named {tool.name!r}: give each a name of its own.", param="tools")
    if choice not in (*MODES, *names):
        known = ", ".join((*MODES, *names))
        raise InvalidRequest(f"{choice!r} is no tool of this request: choose one of {known}.", param="tool_choice")
    if choice == "required" and not parsed:
        raise InvalidRequest("A tool is required and none was sent: send 'tools'.", param="tool_choice")
    return None if choice == "none" or not parsed else Toolset(parsed, choice, parallel)


def _check(tool: Tool) -> None:
    if not _NAME.fullmatch(tool.name) or tool.name in MODES:
        raise InvalidRequest(
            f"{tool.name!r:.80} cannot be a tool's name: use up to 64 letters, digits, '_' and '-', and none of "
            f"{', '.join(MODES)}.",
            param="tools",
        )
    if not is_text(tool.description + json.dumps(tool.parameters, ensure_ascii=False)):
        raise InvalidRequest(f"The tool {tool.name!r} {NOT_TEXT}.", param="tools")
    if tool.parameters.get("type", "object") != "object":
        raise InvalidRequest(
            f"The parameters of the tool {tool.name!r} are no object: give them the type 'object'.", param="tools"
        )


def _schema_of(parameters: object) -> Mapping[str, Any]:
    return parameters if isinstance(parameters, Mapping) and parameters else Tool("").parameters


def _of_dict(tool: Any) -> Tool:
    match tool:
        case {"type": "function", "function": {"name": str(name), **rest}}:
            return Tool(
                name,
                str(rest.get("description") or ""),
                _schema_of(rest.get("parameters")),
                bool(rest.get("strict")),
            )
    raise InvalidRequest(
        f"{ascii(tool)[:80]} is no tool: send a `Tool`, or {{'type': 'function', 'function': {{'name': ...}}}}.",
        param="tools",
    )
