"""Estimates: what a request needs and about how much it reads, before anything of it is done.

Knows how tokens are guessed from what was sent. Knows nothing about tokenizers, limits or principals.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jc1.messages import AudioPart, Message, conversation_of, pictures_in
from jc1.speech.hear import tokens_of_recording

if TYPE_CHECKING:
    from jc1.completion import RawPrompt
    from jc1.speech.base import Speaking

CHARACTERS_A_TOKEN = 4
"""About; of English, as OpenAI's help says. What a session's history and recalled memories take is not in the estimate:
it is corrected when the prompt is built, and again when the reply is there."""
TOKENS_A_PICTURE = 256
"""About, of a small one; corrected like the rest of the estimate."""


def tokens_of(messages: str | Sequence[Message | Mapping[str, Any]]) -> int:
    """Return about how many tokens a conversation has, without its session's history and recalled memories."""
    sent = conversation_of(messages)
    recordings = [part for message in sent for part in message.parts if isinstance(part, AudioPart)]
    pictures = sum(1 for _ in pictures_in(sent))
    words = tokens_in(message.text for message in sent)
    return words + sum(map(tokens_of_recording, recordings)) + TOKENS_A_PICTURE * pictures


def scopes_of(messages: str | Sequence[Message | Mapping[str, Any]], voice: Speaking | None) -> tuple[str, ...]:
    """Return the scopes that a conversation needs besides `chat`. Raises `InvalidRequest` where it is none."""
    sent = conversation_of(messages)
    hears = any(isinstance(part, AudioPart) for message in sent for part in message.parts)
    sees = any(pictures_in(sent))
    return (*(("vision",) if sees else ()), *(("speech",) if hears or voice is not None else ()))


def tokens_raw(prompts: Sequence[RawPrompt]) -> int:
    """Return about how many tokens raw prompts have; token ids count as they are."""
    texts = [prompt for prompt in prompts if isinstance(prompt, str)]
    return (tokens_in(texts) if texts else 0) + sum(len(prompt) for prompt in prompts if not isinstance(prompt, str))


def tokens_in(texts: Iterable[str]) -> int:
    """Return about how many tokens texts have, 1 at least."""
    return max(1, sum(map(len, texts)) // CHARACTERS_A_TOKEN)
