"""Tools and calls as OpenAI's clients send and read them, and what the pipeline takes them for.

Knows the shapes alone. Which tools are usable is `jc1.tools`' to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Discriminator, Field, Tag

from jc1.tools import Tool, ToolCall, ToolCallDelta
from jc1_api.fields import Body, Flag, Text


class Function(Body):
    """What a tool is called, does and takes."""

    name: Text
    description: Text | None = None
    parameters: dict[str, Any] | None = Field(None, description="JSON Schema of the arguments, an object's.")
    strict: Flag | None = Field(
        None, description="Refuse a schema that cannot be enforced whole; arguments fit it as far as it can anyway."
    )


class FunctionTool(Body):
    """A tool that the model may ask for. Functions are the only kind."""

    type: Literal["function"]
    function: Function


class FunctionName(Body):
    name: Text


class NamedChoice(Body):
    """The one tool that has to be called."""

    type: Literal["function"]
    function: FunctionName


def _word_or_named(value: object) -> str:
    return "named" if isinstance(value, dict | Body) else "word"


Named = TypeVar("Named", bound=Body)
WordOrNamed = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("word")] | Annotated[Named, Tag("named")],
    Discriminator(_word_or_named),
]
"""Whether a tool has to be called: a word, or the one tool in the form of the address."""
ToolChoice = WordOrNamed[NamedChoice]


class SentFunction(Body):
    name: Text
    arguments: Text


class SentCall(Body):
    """A call of an earlier reply, sent back."""

    id: Text
    type: Literal["function"]
    function: SentFunction


class CalledFunction(BaseModel):
    name: str
    arguments: str = Field(description="A JSON object, as text.")


class Call(BaseModel):
    """What the model asks for."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class FunctionPiece(BaseModel):
    name: str | None = None
    arguments: str


class CallPiece(BaseModel):
    """A piece of a call: the first has `id`, `type` and the name, all have what is new of the arguments."""

    index: int
    id: str | None = None
    type: Literal["function"] | None = None
    function: FunctionPiece


def to_tools(sent: Sequence[FunctionTool]) -> list[Tool]:
    """Return the tools as the pipeline takes them."""
    return [
        Tool(
            tool.function.name,
            tool.function.description or "",
            tool.function.parameters or Tool("").parameters,
            bool(tool.function.strict),
        )
        for tool in sent
    ]


def to_choice(sent: ToolChoice | None) -> str:
    """Return the choice as the pipeline takes it: a word, or a tool's name."""
    return sent.function.name if isinstance(sent, NamedChoice) else sent or "auto"


def to_calls(sent: Sequence[SentCall]) -> tuple[ToolCall, ...]:
    """Return an earlier reply's calls as the pipeline takes them."""
    return tuple(ToolCall(call.id, call.function.name, call.function.arguments) for call in sent)


def piece(delta: ToolCallDelta) -> dict[str, Any]:
    """Return a piece of a call as a chunk has it."""
    if not delta.id:
        return {"index": delta.call, "function": {"arguments": delta.arguments}}
    function = {"name": delta.name, "arguments": delta.arguments}
    return {"index": delta.call, "id": delta.id, "type": "function", "function": function}
