"""Messages of a conversation and the reply to one.

Knows what a message is made of, and how it is written as a dict. Knows nothing about prompts, templates or tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from jc1.errors import InvalidRequest, UnknownRole
from jc1.texts import NOT_TEXT, is_text
from jc1.tools import ToolCall

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class TextPart:
    """A piece of text inside a message."""

    text: str


@dataclass(frozen=True, slots=True)
class ImagePart:
    """A picture inside a message, as its encoded bytes (PNG, JPEG or WebP)."""

    data: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class AudioPart:
    """A recording inside a message, as its encoded bytes (WAV or FLAC)."""

    data: bytes
    media_type: str


Part = TextPart | ImagePart | AudioPart


@dataclass(frozen=True, slots=True)
class Message:
    """One message: who speaks, and a string or a tuple of parts.

    `Message.user("hi")` and its siblings are the short spelling.
    """

    role: Role
    content: str | tuple[Part, ...]
    tool_calls: tuple[ToolCall, ...] = ()
    """What an assistant asked for."""
    tool_call_id: str | None = None
    """Of a tool's message: the call that it answers."""

    @property
    def text(self) -> str:
        """Return the text of the message: its text parts joined by newlines, without what is not text."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content if isinstance(part, TextPart))

    @property
    def parts(self) -> tuple[Part, ...]:
        """Return the content as parts: a string is one of text."""
        return (TextPart(self.content),) if isinstance(self.content, str) else self.content

    @classmethod
    def system(cls, content: str) -> Message:
        return cls("system", content)

    @classmethod
    def user(cls, content: str | tuple[Part, ...]) -> Message:
        return cls("user", content)

    @classmethod
    def assistant(cls, content: str, tool_calls: tuple[ToolCall, ...] = ()) -> Message:
        return cls("assistant", content, tool_calls)

    @classmethod
    def tool(cls, content: str, tool_call_id: str) -> Message:
        return cls("tool", content, tool_call_id=tool_call_id)


def conversation_of(messages: str | Sequence[Message | Mapping[str, Any]]) -> tuple[Message, ...]:
    """Return messages however they were written: a user's text, `Message`s, or dicts with `role` and `content`.

    Raises:
        InvalidRequest: One is no message, or holds characters that no text has.
        UnknownRole: One has a role that is not in `ROLES`.
    """
    if isinstance(messages, str):
        messages = (Message.user(messages),)
    parsed = tuple(message if isinstance(message, Message) else _of_dict(message) for message in messages)
    for message in parsed:
        if message.role not in ROLES:
            raise UnknownRole(message.role)
        calls = "".join(call.id + call.name + call.arguments for call in message.tool_calls)
        if not is_text(message.text + calls + (message.tool_call_id or "")):
            raise InvalidRequest(f"A message {NOT_TEXT}.", param="messages")
    return parsed


def _of_dict(message: Any) -> Message:
    """Return the message that a dict means. Fields that are None mean nothing: clients send them back with a reply."""
    given = message if isinstance(message, Mapping) else {}
    match {name: value for name, value in given.items() if value is not None}:
        case {"role": "assistant", "tool_calls": [*calls], **rest}:
            text = _of_dict({**rest, "role": "assistant"})
            return Message("assistant", text.content, tuple(_of_call(call, message) for call in calls))
        case {"role": "tool", "tool_call_id": str(answered), **rest}:
            return Message("tool", _of_dict({**rest, "role": "user"}).content, tool_call_id=answered)
        case {"role": role, "content": str(content), **rest} if not rest and role != "tool":
            return Message(role, content)
        case {"role": role, "content": [*parts], **rest} if not rest and role != "tool":
            return Message(role, tuple(_of_part(part, message) for part in parts))
        case {"role": "assistant", **rest} if not rest:
            return Message.assistant("")
    raise _no_message(message)


def _of_call(call: Any, message: Any) -> ToolCall:
    match call:
        case {"id": str(id), "function": {"name": str(name), "arguments": str(arguments)}}:
            return ToolCall(id, name, arguments)
    raise _no_message(message)


def _of_part(part: Any, message: Any) -> TextPart:
    match part:
        case {"type": "text", "text": str(text), **rest} if not rest:
            return TextPart(text)
    raise _no_message(message)


def _no_message(message: Any) -> InvalidRequest:
    return InvalidRequest(
        f"{ascii(message)[:80]} is no message: send a `Message`, or a dict with 'role' and 'content', which is a "
        "string or a list of {'type': 'text', 'text': ...}, and with 'tool_calls' or 'tool_call_id' in OpenAI's form.",
        param="messages",
    )
