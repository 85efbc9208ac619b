"""Messages of a conversation and the reply to one.

Knows what a message is made of. Knows nothing about prompts, templates, tokens or where a message came from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant")


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

    @property
    def text(self) -> str:
        """The text of the message; parts that are not text are left out, text parts are joined by a newline."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content if isinstance(part, TextPart))

    @classmethod
    def system(cls, content: str) -> Message:
        return cls("system", content)

    @classmethod
    def user(cls, content: str | tuple[Part, ...]) -> Message:
        return cls("user", content)

    @classmethod
    def assistant(cls, content: str) -> Message:
        return cls("assistant", content)
