"""Valid text: the characters that UTF-8, JSON and every database carry.

Knows the one rule and both ways to keep it. A text that people send is refused where it breaks the rule; what models
write and documents hold is put right where it is stored.
"""

from __future__ import annotations

import re

# A NUL, which PostgreSQL has no place for, and halves of a surrogate pair, which UTF-8 has none for.
_NOT_TEXT = re.compile(r"[\0\ud800-\udfff]")

LINE_ENDS = {end: f"\\u{end:04x}" for end in (0x85, 0x2028, 0x2029)}
"""How JSON writes the characters at which some programs end a line, Python's `splitlines` among them. They stand in its
strings alone, so that a table for `str.translate` does."""
MOST_TOLD = 1_000
"""Most characters of a message that may quote what was sent."""

NOT_TEXT = "holds a NUL or half of a surrogate pair: send text that UTF-8 can carry"
"""Why a text is refused, after its name."""


def is_text(text: str) -> bool:
    """Return whether every character is one that text can have."""
    return _NOT_TEXT.search(text) is None


def checked(text: str) -> str:
    """Return `text` as it is. Raises `ValueError` where it holds what text cannot."""
    if not is_text(text):
        raise ValueError(NOT_TEXT)
    return text


def as_text(text: str) -> str:
    """Return `text` with U+FFFD in the place of each character that text cannot have."""
    return _NOT_TEXT.sub("\N{REPLACEMENT CHARACTER}", text)


def shortened(text: str) -> str:
    """Return `text` without its middle, where it is too long to be told."""
    half = MOST_TOLD // 2
    return text if len(text) <= MOST_TOLD else f"{text[:half]} ... {text[-half:]}"
