"""The input of a response request, as OpenAI's clients send it, and what the pipeline takes it for.

Knows which items and parts can be read: text, pictures, calls and what tools said. Items of thoughts are passed over,
as no model is told them again; what else cannot be read is refused by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from jc1.messages import ImagePart, Message, Part, TextPart
from jc1.tools import Tool, ToolCall
from jc1_api.fields import Body, Flag, Text, accepted, refused

PARTS = ("input_text", "output_text", "text", "refusal", "input_image")
ITEMS = ("message", "function_call", "function_call_output", "reasoning")


def _without_nulls(values: Any) -> Any:
    """Return an object without its null fields: clients send items back with all that they may have."""
    return {name: value for name, value in values.items() if value is not None} if isinstance(values, dict) else values


class _Echoed(Body):
    """Something that may be a piece of an earlier response, sent back as it came."""

    @model_validator(mode="before")
    @classmethod
    def _tidy(cls, values: Any) -> Any:
        return _without_nulls(values)


class _Part(_Echoed):
    annotations: list[Any] | None = accepted("texts are read without them")
    logprobs: list[Any] | None = accepted("it is not read")
    prompt_cache_breakpoint: dict[str, Any] | None = accepted("prefixes are found without it")

    @model_validator(mode="before")
    @classmethod
    def _known(cls, values: Any) -> Any:
        kind = values.get("type") if isinstance(values, dict) else None
        if isinstance(kind, str) and kind not in PARTS:
            reason = f"A part of type {kind!r} cannot be read by this server: send 'input_text' and 'input_image'."
            raise refused("type", kind, reason)
        return values


class InputText(_Part):
    """A piece of text."""

    type: Literal["input_text", "output_text", "text"]
    text: Text


class InputRefusal(_Part):
    """What an earlier response said instead of a text."""

    type: Literal["refusal"]
    refusal: Text


class InputImage(_Part):
    """A picture."""

    type: Literal["input_image"]
    image_url: Text = Field(description="data:image/png;base64,... or, where the server fetches, https://HOST/PATH.")
    detail: Literal["auto", "low", "high", "original"] | None = accepted("the model's processor decides sizes")

    @model_validator(mode="before")
    @classmethod
    def _by_url(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("file_id") is not None:
            raise refused("file_id", values["file_id"], "No files are kept here: send the picture as 'image_url'.")
        return values


def _part(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else None
    return {"refusal": "refusal", "input_image": "image"}.get(str(kind), "text")


InputPart = Annotated[
    Annotated[InputText, Tag("text")] | Annotated[InputRefusal, Tag("refusal")] | Annotated[InputImage, Tag("image")],
    Discriminator(_part),
]


def _text_or_parts(value: object) -> str:
    return "parts" if isinstance(value, list) else "text"


Content = Annotated[
    Annotated[Text, Tag("text")] | Annotated[list[InputPart], Tag("parts")], Discriminator(_text_or_parts)
]


class _Item(_Echoed):
    id: Text | None = accepted("it is not read")
    status: Text | None = accepted("it is not read")

    @model_validator(mode="before")
    @classmethod
    def _known(cls, values: Any) -> Any:
        kind = values.get("type") if isinstance(values, dict) else None
        if isinstance(kind, str) and kind not in ITEMS:
            reason = f"An item of type {kind!r} cannot be read by this server: it takes {', '.join(ITEMS)}."
            raise refused("type", kind, reason)
        return values


class MessageItem(_Item):
    """A message. `developer` is OpenAI's newer word for `system`."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: Content
    phase: Text | None = accepted("it is not read")


class CallItem(_Item):
    """A call of an earlier response, sent back."""

    type: Literal["function_call"]
    call_id: Text
    name: Text
    arguments: Text


class CallOutputItem(_Item):
    """What a tool said to a call."""

    type: Literal["function_call_output"]
    call_id: Text
    output: Content


class ReasoningItem(_Item):
    """What an earlier response thought first: passed over."""

    model_config = ConfigDict(extra="allow")
    type: Literal["reasoning"]


def _kind(value: Any) -> str:
    kind = value.get("type", "message") if isinstance(value, dict) else "message"
    return kind if kind in ITEMS else "message"


AnyItem = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[CallItem, Tag("function_call")]
    | Annotated[CallOutputItem, Tag("function_call_output")]
    | Annotated[ReasoningItem, Tag("reasoning")],
    Discriminator(_kind),
]


class SentFunction(Body):
    """A tool that the model may ask for."""

    type: Literal["function"]
    name: Text
    description: Text | None = None
    parameters: dict[str, Any] | None = Field(None, description="JSON Schema of the arguments, an object's.")
    strict: Flag | None = Field(None, description="Refuse a schema that cannot be enforced whole.")
    defer_loading: Flag | None = accepted("every tool is told at once")
    output_schema: dict[str, Any] | None = accepted("it is not read")


class OtherTool(Body):
    """A tool of a type that this server does not have, such as `web_search`: passed over, and told in `jc1`."""

    model_config = ConfigDict(extra="allow")
    type: Text


def _tool(value: Any) -> str:
    return "function" if isinstance(value, dict) and value.get("type") == "function" else "other"


AnyTool = Annotated[Annotated[SentFunction, Tag("function")] | Annotated[OtherTool, Tag("other")], Discriminator(_tool)]


def to_messages(items: Sequence[MessageItem | CallItem | CallOutputItem | ReasoningItem]) -> list[Message]:
    """Return items as the pipeline takes them: calls belong to the assistant's message before them."""
    messages: list[Message] = []
    for item in items:
        match item:
            case MessageItem():
                role: Any = "system" if item.role == "developer" else item.role
                messages.append(Message(role, _content(item.content)))
            case CallItem():
                said = messages.pop() if messages and messages[-1].role == "assistant" else Message.assistant("")
                call = ToolCall(item.call_id, item.name, item.arguments)
                messages.append(Message("assistant", said.content, (*said.tool_calls, call)))
            case CallOutputItem():
                messages.append(Message("tool", _content(item.output), tool_call_id=item.call_id))
    return messages


def to_tools(sent: Sequence[SentFunction | OtherTool]) -> tuple[list[Tool], list[str]]:
    """Return the tools as the pipeline takes them, and the types of those that this server does not have."""
    tools = [
        Tool(tool.name, tool.description or "", tool.parameters or Tool("").parameters, bool(tool.strict))
        for tool in sent
        if isinstance(tool, SentFunction)
    ]
    return tools, sorted({tool.type for tool in sent if isinstance(tool, OtherTool)})


def _content(content: str | list[InputText | InputRefusal | InputImage]) -> str | tuple[Part, ...]:
    return content if isinstance(content, str) else tuple(map(_to_part, content))


def _to_part(part: InputText | InputRefusal | InputImage) -> Part:
    if isinstance(part, InputImage):
        return ImagePart.of_url(part.image_url)
    return TextPart(part.text if isinstance(part, InputText) else part.refusal)
