"""The messages of a chat request, as OpenAI's clients send them, and what the pipeline takes them for.

Knows which of OpenAI's fields mean nothing here: they are taken where they say nothing and refused by name where not.
"""

from __future__ import annotations

from base64 import b64decode
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from jc1.errors import InvalidRequest
from jc1.messages import AudioPart, ImagePart, Message, Part, TextPart
from jc1_api.fields import Body, Text, accepted, refused, without_refused
from jc1_api.openai_tools import SentCall, to_calls

UNSUPPORTED: dict[str, tuple[tuple[Any, ...], str]] = {
    "annotations": ((), "texts are read without them"),
    "audio": ((), "messages are text"),
    "function_call": ((), "it is the older name of 'tool_calls'"),
    "refusal": (("",), "the assistant alone refuses"),
}
"""Fields of OpenAI's messages that clients send back with a reply, each with the values that say nothing, and why."""


def _one_or_list(value: object) -> str:
    return "list" if isinstance(value, list) else "one"


class ContentPart(Body):
    """A piece of text."""

    type: Literal["text"]
    text: Text

    @model_validator(mode="before")
    @classmethod
    def _only_text(cls, values: Any) -> Any:
        kind = values.get("type") if isinstance(values, dict) else None
        if isinstance(kind, str) and kind != "text":
            raise refused("type", kind, f"A part of type {kind!r} cannot stand in this message: send 'text' parts.")
        return values


class ImageUrl(Body):
    """Where a picture is."""

    url: Text = Field(description="data:image/png;base64,... or, where the server fetches, https://HOST/PATH.")
    detail: Literal["auto", "low", "high", "original"] | None = accepted("the model's processor decides sizes")


class ImagePartSent(Body):
    """A picture."""

    type: Literal["image_url"]
    image_url: ImageUrl


class InputAudio(Body):
    """A recording's file, and what the client calls its format."""

    data: Text = Field(description="Base64 of wav, mp3, or what else /v1/audio/transcriptions takes.")
    format: Text = Field(max_length=20, description="wav or mp3; the content tells. pcm is 16 kHz, 16 bits, mono.")


class AudioPartSent(Body):
    """A recording; what is said in it is read."""

    type: Literal["input_audio"]
    input_audio: InputAudio

    def to_part(self) -> AudioPart:
        """Return the recording. Raises `InvalidRequest` where it is no base64."""
        try:
            data = b64decode(self.input_audio.data, validate=True)
        except ValueError:
            raise InvalidRequest("The 'data' of an input_audio is no base64.", param="messages") from None
        return AudioPart(data, f"audio/{self.input_audio.format}")


class TextPartSent(ContentPart):
    """A piece of text, among pictures and recordings."""

    @model_validator(mode="before")
    @classmethod
    def _only_text(cls, values: Any) -> Any:
        kind = values.get("type") if isinstance(values, dict) else None
        if isinstance(kind, str) and kind != "text":
            reason = (
                f"A part of type {kind!r} cannot be read by this server: send 'text', 'image_url' or 'input_audio'."
            )
            raise refused("type", kind, reason)
        return values


def _part(value: Any) -> str:
    # No tag is called as a field of its part is: errors name the fields on their way.
    kind = value.get("type") if isinstance(value, dict) else None
    return {"image_url": "picture", "input_audio": "recording"}.get(str(kind), "words")


AnyPart = Annotated[
    Annotated[TextPartSent, Tag("words")]
    | Annotated[ImagePartSent, Tag("picture")]
    | Annotated[AudioPartSent, Tag("recording")],
    Discriminator(_part),
]
_One = Annotated[Text, Tag("one")]
OneOrSeveral = Annotated[_One | Annotated[list[Text], Tag("list")], Discriminator(_one_or_list)]
Content = Annotated[_One | Annotated[list[ContentPart], Tag("list")], Discriminator(_one_or_list)]
AnyContent = Annotated[_One | Annotated[list[AnyPart], Tag("list")], Discriminator(_one_or_list)]


class _Message(Body):
    name: Text | None = accepted("who speaks is told apart by role")

    @model_validator(mode="before")
    @classmethod
    def _refuse_by_name(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("role") == "function":
            reason = "A message of role 'function' cannot be read: it is the older name of 'tool'."
            raise refused("role", "function", reason)
        return without_refused(values, {name: UNSUPPORTED[name] for name in UNSUPPORTED.keys() - cls.model_fields})


class AssistantMessage(_Message):
    """An earlier reply, which may be empty, and may have called tools."""

    role: Literal["assistant"]
    content: Content | None = None
    refusal: Text | None = Field(None, description="What the assistant said instead of a reply.")
    parsed: Any = accepted("it is the content, as OpenAI's client has read it")
    tool_calls: list[SentCall] | None = None
    reasoning: Text | None = accepted("no model is told it again")


class ToolMessage(_Message):
    """What a tool said to a call."""

    role: Literal["tool"]
    content: Content | None = None
    tool_call_id: Text


class ChatMessage(_Message):
    """A message of anybody else. `developer` is OpenAI's newer word for `system`."""

    # Any text is taken here: the pipeline knows the roles, and has an error of its own for the others.
    role: Annotated[Text, Field(json_schema_extra={"enum": ["system", "developer", "user"]})]
    content: AnyContent


def _speaker(value: Any) -> str:
    role = value.get("role") if isinstance(value, dict) else None
    return role if role in ("assistant", "tool") else "other"


AnyMessage = Annotated[
    Annotated[ChatMessage, Tag("other")]
    | Annotated[AssistantMessage, Tag("assistant")]
    | Annotated[ToolMessage, Tag("tool")],
    Discriminator(_speaker),
]


def _to_part(part: ContentPart | ImagePartSent | AudioPartSent) -> Part:
    if isinstance(part, AudioPartSent):
        return part.to_part()
    return ImagePart.of_url(part.image_url.url) if isinstance(part, ImagePartSent) else TextPart(part.text)


def to_message(sent: ChatMessage | AssistantMessage | ToolMessage) -> Message:
    """Return a message as the pipeline takes it."""
    role: Any = "system" if sent.role == "developer" else sent.role
    content = sent.content or ""
    said: str | tuple[Part, ...] = content if isinstance(content, str) else tuple(map(_to_part, content))
    if isinstance(sent, ToolMessage):
        return Message(role, said, tool_call_id=sent.tool_call_id)
    if not isinstance(sent, AssistantMessage):
        return Message(role, said)
    if sent.refusal:
        said = (*Message(role, said).parts, TextPart(sent.refusal)) if said else sent.refusal
    return Message(role, said, to_calls(sent.tool_calls or ()))
