"""The messages of a request as Anthropic's clients send them, and what the pipeline takes them for.

Knows which blocks can be read: text, pictures, calls and what tools said. Blocks of thoughts are passed over, as no
model is told them again; what else cannot be read is refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from jc1.messages import ImagePart, Message, Part, TextPart
from jc1.tools import Tool, ToolCall
from jc1_api.fields import Body, Flag, Text, accepted, refused

THOUGHTS = ("thinking", "redacted_thinking")
BLOCKS = ("text", "image", "tool_use", "tool_result", *THOUGHTS)


class CacheControl(Body):
    """Accepted: prefixes are found without it."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None


class _Block(Body):
    cache_control: CacheControl | None = accepted("prefixes are found without it")

    @model_validator(mode="before")
    @classmethod
    def _known(cls, values: Any) -> Any:
        kind = values.get("type") if isinstance(values, dict) else None
        if isinstance(kind, str) and kind not in BLOCKS:
            reason = f"A block of type {kind!r} cannot be read by this server: send 'text' and 'image' blocks."
            raise refused("type", kind, reason)
        return values


class TextBlockSent(_Block):
    """A piece of text."""

    type: Literal["text"]
    text: Text
    citations: list[Any] | None = accepted("texts are read without them")


class Base64Source(Body):
    """A picture that is sent along."""

    type: Literal["base64"]
    media_type: Text = Field(description="What it is called; what it is, its bytes tell.")
    data: Text


class UrlSource(Body):
    """A picture that is to be fetched."""

    type: Literal["url"]
    url: Text = Field(description="Where the server fetches, https://HOST/PATH; or a data URL.")


def _source(value: Any) -> str:
    return "fetched" if isinstance(value, dict) and value.get("type") == "url" else "sent"


class ImageBlockSent(_Block):
    """A picture."""

    type: Literal["image"]
    source: Annotated[
        Annotated[Base64Source, Tag("sent")] | Annotated[UrlSource, Tag("fetched")], Discriminator(_source)
    ]

    @model_validator(mode="before")
    @classmethod
    def _no_file(cls, values: Any) -> Any:
        source = values.get("source") if isinstance(values, dict) else None
        if isinstance(source, dict) and source.get("type") == "file":
            raise refused("source", source, "No files are kept here: send the picture as 'base64' or 'url'.")
        return values

    def part(self) -> ImagePart:
        """Return the picture as the pipeline takes it. Raises `InvalidRequest` for what is no picture's."""
        if isinstance(self.source, UrlSource):
            return ImagePart.of_url(self.source.url)
        return ImagePart.of_url(f"data:{self.source.media_type};base64,{self.source.data}")


class ToolUseSent(_Block):
    """A call of an earlier message, sent back."""

    type: Literal["tool_use"]
    id: Text
    name: Text
    input: dict[str, Any]
    caller: dict[str, Any] | None = accepted("it is not read")


def _text_or_blocks(value: object) -> str:
    return "blocks" if isinstance(value, list) else "text"


Texts = Annotated[
    Annotated[Text, Tag("text")] | Annotated[list[TextBlockSent], Tag("blocks")], Discriminator(_text_or_blocks)
]


class ToolResultSent(_Block):
    """What a tool said to a call. An error is told to the model as one."""

    type: Literal["tool_result"]
    tool_use_id: Text
    content: Texts | None = None
    is_error: Flag | None = None


class ThoughtsSent(Body):
    """What an earlier message thought first: passed over."""

    model_config = ConfigDict(extra="allow")
    type: Literal["thinking", "redacted_thinking"]


def _kind(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else None
    return "thoughts" if kind in THOUGHTS else str(kind) if kind in BLOCKS else "text"


AnyBlock = Annotated[
    Annotated[TextBlockSent, Tag("text")]
    | Annotated[ImageBlockSent, Tag("image")]
    | Annotated[ToolUseSent, Tag("tool_use")]
    | Annotated[ToolResultSent, Tag("tool_result")]
    | Annotated[ThoughtsSent, Tag("thoughts")],
    Discriminator(_kind),
]


class MessageSent(Body):
    """A message of the conversation."""

    role: Literal["user", "assistant", "system"]
    content: Annotated[
        Annotated[Text, Tag("text")] | Annotated[list[AnyBlock], Tag("blocks")], Discriminator(_text_or_blocks)
    ]


class CustomTool(Body):
    """A tool that the model may ask for."""

    type: Literal["custom"] | None = None
    name: Text
    description: Text | None = None
    input_schema: dict[str, Any] = Field(description="JSON Schema of the input, an object's.")
    strict: Flag | None = Field(None, description="Refuse a schema that cannot be enforced whole.")
    cache_control: CacheControl | None = accepted("prefixes are found without it")
    defer_loading: Flag | None = accepted("every tool is told at once")
    eager_input_streaming: Flag | None = accepted("input is always streamed as it comes")
    input_examples: list[dict[str, Any]] | None = accepted("it is not read")


class ServerTool(Body):
    """A tool of Anthropic's own, such as `web_search_20250305`: passed over, and told in `jc1`."""

    model_config = ConfigDict(extra="allow")
    type: Text


def _tool(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else None
    return "custom" if kind in (None, "custom") else "server"


AnyTool = Annotated[Annotated[CustomTool, Tag("custom")] | Annotated[ServerTool, Tag("server")], Discriminator(_tool)]


def to_messages(system: str | list[TextBlockSent] | None, sent: Sequence[MessageSent]) -> list[Message]:
    """Return the conversation as the pipeline takes it."""
    prompt = [Message("system", _content(system))] if system else []
    return prompt + [message for one in sent for message in _messages(one)]


def to_tools(sent: Sequence[CustomTool | ServerTool]) -> tuple[list[Tool], list[str]]:
    """Return the tools as the pipeline takes them, and the types of those that this server does not have."""
    tools = [
        Tool(tool.name, tool.description or "", tool.input_schema, bool(tool.strict))
        for tool in sent
        if isinstance(tool, CustomTool)
    ]
    return tools, sorted({tool.type for tool in sent if isinstance(tool, ServerTool)})


def _messages(sent: MessageSent) -> Iterator[Message]:
    """Yield what a message holds: what tools said comes before what the user says."""
    if isinstance(sent.content, str):
        yield Message(sent.role, sent.content)
        return
    for block in sent.content:
        if isinstance(block, ToolResultSent):
            yield Message("tool", _result(block), tool_call_id=block.tool_use_id)
    shown = [block for block in sent.content if isinstance(block, TextBlockSent | ImageBlockSent)]
    calls = tuple(_call(block) for block in sent.content if isinstance(block, ToolUseSent))
    if shown or calls or not any(isinstance(block, ToolResultSent) for block in sent.content):
        yield Message(sent.role, _content(shown), calls)


def _call(block: ToolUseSent) -> ToolCall:
    return ToolCall(block.id, block.name, json.dumps(block.input, ensure_ascii=False))


def _result(block: ToolResultSent) -> str | tuple[Part, ...]:
    content = _content(block.content or "")
    return f"Error: {Message('tool', content).text}" if block.is_error else content


def _content(content: str | Sequence[TextBlockSent | ImageBlockSent]) -> str | tuple[Part, ...]:
    if isinstance(content, str):
        return content
    return tuple(block.part() if isinstance(block, ImageBlockSent) else TextPart(block.text) for block in content)
