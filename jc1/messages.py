"""Messages of a conversation and the reply to one.

Knows what a message is made of, and how it is written as a dict. Knows nothing about prompts, templates or tokens.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

from jc1.errors import InvalidRequest, UnknownRole
from jc1.texts import NOT_TEXT, is_text
from jc1.tools import ToolCall

if TYPE_CHECKING:
    from jc1.vision.images import Picture

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant", "tool")
MOST_OF_A_URL = 8_192
"""Characters of an address that is no data URL."""
_DATA_URL = re.compile(r"data:(?P<media_type>[\w.+-]+/[\w.+-]+)?(;[\w.+-]+=[^;,]*)*;base64,", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TextPart:
    """A piece of text inside a message. What was `read` in a picture nobody said."""

    text: str
    read: bool = False


@dataclass(frozen=True, slots=True)
class ImagePart:
    """A picture inside a message: its encoded bytes (PNG, JPEG, WebP or GIF), or the URL at which they are, and the
    name of its file, where that is known.

    `picture` is what was read of it, once a request is prepared.
    """

    data: bytes = b""
    media_type: str = ""
    url: str = ""
    picture: Picture | None = field(default=None, compare=False)
    name: str = ""

    @classmethod
    def of_url(cls, url: str) -> Self:
        """Return the picture that a URL means: a data URL holds it, what any other leads to is fetched later.

        Raises:
            InvalidRequest: It is a data URL without base64 in it, or no URL at all.
        """
        head = _DATA_URL.match(url[:MOST_OF_A_URL])
        if head is not None:
            try:
                data = base64.b64decode(url[head.end() :], validate=True)
            except (binascii.Error, ValueError):
                raise _no_url("holds no valid base64") from None
            return cls(data, (head["media_type"] or "").lower())
        if url[:5].lower() == "data:":
            raise _no_url("is a data URL of another form")
        if len(url) > MOST_OF_A_URL:
            raise _no_url(f"has more than {MOST_OF_A_URL:,} characters")
        return cls(url=url)


@dataclass(frozen=True, slots=True)
class AudioPart:
    """A recording inside a user's message: a file's bytes, whose format they tell themselves, or bare samples."""

    data: bytes
    media_type: str
    """`PCM` for samples; anything else means a file."""


PCM = "audio/pcm"
"""Samples of 16 bits, little-endian, mono, 16,000 a second."""


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
    def said(self) -> str:
        """Return the text of the message without what was read in its pictures."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content if isinstance(part, TextPart) and not part.read)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Return the content as parts: a string is one of text."""
        return (TextPart(self.content),) if isinstance(self.content, str) else self.content

    @property
    def pictures(self) -> tuple[ImagePart, ...]:
        """Return the pictures of the message, in their order."""
        return tuple(part for part in self.parts if isinstance(part, ImagePart))

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


def pictures_in(messages: Sequence[Message]) -> Iterator[ImagePart]:
    """Yield the pictures of messages, in their order."""
    return (picture for message in messages for picture in message.pictures)


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


def _of_part(part: Any, message: Any) -> Part:
    match part:
        case {"type": "text", "text": str(text), **rest} if not rest:
            return TextPart(text)
        case {"type": "image_url", "image_url": {"url": str(url)}, **rest} if not rest:
            return ImagePart.of_url(url)
        case {"type": "input_audio", "input_audio": {"data": str(data), "format": str(form)}, **rest} if not rest:
            try:
                return AudioPart(base64.b64decode(data, validate=True), f"audio/{form}")
            except binascii.Error:
                raise InvalidRequest("The 'data' of an input_audio is no base64.", param="messages") from None
    raise _no_message(message)


def _no_message(message: Any) -> InvalidRequest:
    return InvalidRequest(
        f"{ascii(message)[:80]} is no message: send a `Message`, or a dict with 'role' and 'content', which is a "
        "string or a list of {'type': 'text', 'text': ...}, {'type': 'image_url', 'image_url': {'url': ...}} and "
        "{'type': 'input_audio', ...}, and with 'tool_calls' or 'tool_call_id' in OpenAI's form.",
        param="messages",
    )


def _no_url(reason: str) -> InvalidRequest:
    return InvalidRequest(
        f"The URL of a picture {reason}: send data:image/png;base64,... or https://HOST/PATH.", param="messages"
    )
