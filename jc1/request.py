"""The request: what was sent, checked, and which settings hold for it.

Knows the limits and the one precedence: a request goes before its preset, that before the settings. Serving, sweeps and
promotion all resolve here. Knows nothing about engines, stores, or what is done with a request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from jc1.decoding import Decoding
from jc1.errors import EmptyMessage, InvalidDecoding, InvalidRequest, RequestTooLarge
from jc1.memory.base import Retrieval
from jc1.messages import AudioPart, ImagePart, Message, conversation_of
from jc1.tools import Toolset
from jc1.vision.reading import OCR_MODES, OcrMode, Reading

if TYPE_CHECKING:
    from jc1.prepare import TokenCache
    from jc1.presets import Preset
    from jc1.settings import Settings

MemoryMode = Literal["on", "read", "off"]
"""`on` recalls and remembers, `read` recalls only, `off` does neither."""
RESOLVED_SETTINGS = ("memory_k", "memory_window", "max_reply_tokens", "ocr")
"""The settings that `resolve` reads: who keeps these can resolve again later."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """What holds for a request: its system prompt, how its reply is decoded, and how memories are searched for it."""

    system: str
    decoding: Decoding
    retrieval: Retrieval
    """`k` 0 where nothing is recalled; the other fields then say nothing."""
    ocr: OcrMode = "auto"


def resolve(
    preset: Preset,
    settings: Settings,
    *,
    decoding: Mapping[str, Any] | None = None,
    system: str = "",
    memory: MemoryMode = "on",
    ocr: OcrMode | None = None,
) -> Resolved:
    """Return what holds: what a request says, over its preset, and that over the settings.

    Args:
        decoding: The fields of `Decoding` that the request sets.
        system: The request's own system prompt; empty takes the preset's.
        ocr: What the request says of text in pictures; None takes what the preset says.

    Raises:
        InvalidDecoding: What results cannot be decoded by any engine.
        InvalidRequest: `ocr` is no mode.
    """
    if ocr is not None and ocr not in OCR_MODES:
        raise InvalidRequest(f"ocr is 'auto', 'on' or 'off', not {ocr!r}.", param="ocr")
    default = {"max_tokens": min(Decoding().max_tokens, settings.max_reply_tokens)}
    try:
        chosen = Decoding.parse({**default, **preset.decoding, **(decoding or {})})
    except InvalidDecoding as error:
        if theirs := [f for f in preset.decoding if f not in (decoding or {}) and repr(f) in error.message]:
            error.message += f" The preset {preset.reference} says {' and '.join(map(repr, theirs))}."
            error.param = "preset" if error.param in theirs else error.param
        raise
    recalled = {"k": settings.memory_k, "window": settings.memory_window, **preset.retrieval}
    return Resolved(
        system=system or preset.system,
        decoding=chosen,
        retrieval=Retrieval(**recalled) if recalled["k"] and memory != "off" else Retrieval(k=0),
        ocr=ocr or preset.ocr or settings.ocr,
    )


LIMITS = {"max_tokens": "max_reply_tokens", "n": "max_n", "beam_width": "max_n"}
"""Fields of `Decoding`, and the setting that says how much of each is allowed."""


def check_limits(decoding: Decoding, settings: Settings, preset: Preset, sent: Collection[str] = ()) -> None:
    """Raise `InvalidRequest` where more is asked for than the settings allow: by the request, which `sent` some fields
    of `Decoding`, or by its preset."""
    for name, setting in LIMITS.items():
        asked, limit = getattr(decoding, name), getattr(settings, setting)
        if asked <= limit:
            continue
        if name in sent:
            raise InvalidRequest(f"{name!r} is {asked} and at most {limit} are allowed ({setting}).", param=name)
        raise InvalidRequest(
            f"The preset {preset.reference} says {name} {asked} and the setting {setting} allows at most {limit}: send "
            f"{name!r} yourself, choose another preset, or start JC1 with a greater {setting}.",
            param="preset",
        )


@dataclass(slots=True)
class Request:
    """A request that was checked: what the stages are handed."""

    owner: str
    session: str | None
    memory: MemoryMode
    resolved: Resolved
    message: Message
    history: tuple[Message, ...]
    tokens: TokenCache
    budget: int
    """Tokens that the prompt may take."""
    turns: tuple[int, ...] = ()
    """The numbers of the session's turns that `history` holds."""
    exchange: tuple[Message, ...] = ()
    """What followed the message within its turn: calls of tools, and what the tools said."""
    tools: Toolset | None = None
    pictures: tuple[ImagePart, ...] = ()
    """Those of the message, once they are read."""
    texts: asyncio.Task[list[Reading]] | None = None
    """What stands in them, where it is to be remembered."""

    @property
    def recalls(self) -> bool:
        """Return whether memories are searched for this request, by the words of its message."""
        return self.resolved.retrieval.k > 0 and bool(self.message.said.strip())

    @property
    def messages(self) -> tuple[Message, ...]:
        """Return history, message and exchange."""
        return (*self.history, self.message, *self.exchange)

    @property
    def hears(self) -> bool:
        """Return whether a message holds a recording."""
        return any(map(_has_recording, self.messages))

    @property
    def characters(self) -> int:
        """Return how many characters system prompt, history and the turn's own messages have together."""
        return len(self.resolved.system) + _characters(self.messages)


def conversation(
    messages: str | Sequence[Message | Mapping[str, Any]], memory: MemoryMode, settings: Settings
) -> tuple[Message, ...]:
    """Return what was sent as messages that end with the user's, or with what the tools said to it.

    Raises:
        InvalidRequest: It is no conversation, has nothing at its end, or holds what no text holds.
        RequestTooLarge: It is longer than the settings allow, or has more pictures.
    """
    if memory not in ("on", "read", "off"):
        raise InvalidRequest(f"memory is 'on', 'read' or 'off', not {memory!r}.", param="memory")
    parsed = conversation_of(messages)
    if not parsed or parsed[-1].role not in ("user", "tool"):
        raise InvalidRequest("The last message must be the user's, or a tool's.", param="messages")
    _check_answers(parsed)
    if len(parsed) > settings.max_messages:
        raise RequestTooLarge(
            f"{len(parsed)} messages, {settings.max_messages} allowed: send fewer, or use a session.", param="messages"
        )
    size = _characters(parsed)
    if size > settings.max_body_bytes:
        raise RequestTooLarge(
            f"The messages hold {size:,} characters, {settings.max_body_bytes:,} are allowed: shorten them.",
            param="messages",
        )
    if any(_has_recording(message) for message in parsed if message.role != "user"):
        raise InvalidRequest("Only a user's message can hold a recording.", param="messages")
    _check_pictures(parsed, settings)
    message = turn_of(parsed)[1]
    if not message.text.strip() and not message.pictures and not _has_recording(message):
        raise EmptyMessage
    return parsed


def _check_pictures(messages: Sequence[Message], settings: Settings) -> None:
    """Raise `InvalidRequest` where there are too many pictures, or one is nobody's who shows pictures."""
    shown = [message.role for message in messages for _ in message.pictures]
    if any(role != "user" for role in shown):
        raise InvalidRequest("A picture stands in a message of another role: let the user send it.", param="messages")
    if len(shown) > settings.max_images:
        raise RequestTooLarge(
            f"The messages hold {len(shown)} pictures, {settings.max_images} are allowed (max_images): send fewer.",
            param="messages",
        )


def turn_of(messages: Sequence[Message]) -> tuple[Sequence[Message], Message, Sequence[Message]]:
    """Return what came before the newest turn, the user's message that opened it, and what followed within it.

    Raises:
        InvalidRequest: No message is the user's.
    """
    for at in range(len(messages) - 1, -1, -1):
        if messages[at].role == "user":
            return messages[:at], messages[at], messages[at + 1 :]
    raise InvalidRequest("No message is the user's: send the one that the tools were called for.", param="messages")


def _check_answers(messages: Sequence[Message]) -> None:
    """Raise `InvalidRequest` where a tool answers what it was not asked."""
    asked: set[str] = set()
    for message in messages:
        if message.role == "tool" and message.tool_call_id not in asked:
            raise InvalidRequest(
                f"A tool's message answers the call {message.tool_call_id!r}, which no assistant message before it "
                "makes: send that message, with its tool_calls, too.",
                param="messages",
            )
        asked.update(call.id for call in message.tool_calls)


def _has_recording(message: Message) -> bool:
    return any(isinstance(part, AudioPart) for part in message.parts)


def _characters(messages: Sequence[Message]) -> int:
    return sum(len(m.text) + sum(len(call.name) + len(call.arguments) for call in m.tool_calls) for m in messages)
