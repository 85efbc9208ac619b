"""Passages of a long text, each as long as an embedder reads, so that its end is found by meaning as its beginning is.

Knows that a record's vector is that of its text, or where the text is long, those of its passages one after the other.
Knows nothing about embedders, and leaves to `documents.parts` where to cut.
"""

from __future__ import annotations

from jc1.documents.parts import TOKENS, Block, parts, tokens


def passages(text: str) -> list[str]:
    """Return the text in passages of at most `TOKENS` estimated tokens; most texts are one."""
    if len(text) <= TOKENS or tokens(text) <= TOKENS:
        return [text]
    return [part.text for part in parts([Block(text)])] or [text]


def embedding_texts(speaker: str | None, text: str) -> list[str]:
    """Return a record's passages as they are embedded: each after the speaker's name."""
    return [f"{speaker}: {passage}" if speaker else passage for passage in passages(text)]
