"""Sentences of a text that is still being written: each is handed on as soon as it is whole.

Knows where sentences, lines and blocks of code end (sentencex tells abbreviations and decimals from ends). Knows
nothing about how a sentence is read out. Nothing is lost or changed: the sentences joined are the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

LONGEST = 240
"""Characters of a sentence; a longer one is handed on in parts. Read out, that is about 15 s."""
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})", re.MULTILINE)
_LINE = re.compile(r"[^\n]*\n\s*|[^\n]+\Z")
_PAUSE = re.compile(r"[,;:)–—]\s|\s")


class Sentences:
    """Cuts text that comes in pieces: `feed` it, then `finish` it."""

    def __init__(self, language: str = "en") -> None:
        self._language = language or "en"
        self._rest = ""
        """What is not handed on yet."""

    def feed(self, text: str) -> list[str]:
        """Return the sentences that became whole with `text`, often none."""
        self._rest += text
        whole: list[str] = []
        while (sentence := self._next()) is not None:
            self._rest = self._rest[len(sentence) :]
            whole.append(sentence)
        return whole

    def finish(self) -> list[str]:
        """Return what is left when nothing more comes."""
        rest, self._rest = self._rest, ""
        return [sentence for block in _blocks(rest) for sentence in _split(block, self._language)]

    def _next(self) -> str | None:
        """Return the first sentence, if it is whole."""
        # 1) A block of code is one sentence, whole when its fence closes.
        opening = _FENCE.match(self._rest)
        if opening:
            end = _end_of_code(self._rest, opening[1])
            return self._rest[:end] if end is not None else None
        # 2) Else a sentence is whole when its line ends or another begins behind it.
        block = next(_blocks(self._rest), "")
        sentences = _split(block, self._language)
        ended = "\n" in block and len(block) < len(self._rest)
        if len(sentences) > 1 or (sentences and ended):
            return sentences[0]
        return None


def _blocks(text: str) -> Iterator[str]:
    """Yield lines with the empty ones behind them, and blocks of code whole."""
    at = 0
    while at < len(text):
        opening = _FENCE.match(text, at)
        if opening:
            end = _end_of_code(text[at:], opening[1])
            block = text[at:] if end is None else text[at : at + end]
        else:
            line = _LINE.match(text, at)
            block = line[0] if line else text[at:]
            # Spaces that lead a line of code are the fence's, not the line's before.
            if "\n" in block and _FENCE.match(text, at + block.rindex("\n") + 1):
                block = block[: block.rindex("\n") + 1]
        yield block
        at += len(block)


def _end_of_code(text: str, fence: str) -> int | None:
    """Return where a block of code ends that a fence opens at the start of `text`; None where it does not yet."""
    closing = re.compile(rf"^ {{0,3}}{re.escape(fence)}+[ \t]*(\n\s*|\Z)", re.MULTILINE)
    body = text.find("\n")
    end = closing.search(text, body + 1) if body >= 0 else None
    return end.end() if end else None


def _split(block: str, language: str) -> list[str]:
    """Return the sentences of a line, or a block of code as one; what is too long in parts."""
    if _FENCE.match(block):
        return [block]
    from sentencex import segment

    parts: list[str] = []
    for sentence in segment(language, block):
        # Space alone says nothing: it belongs to the sentence before.
        if parts and not sentence.strip():
            parts[-1] += sentence
        else:
            parts.extend(_cut(sentence))
    return parts


def _cut(sentence: str) -> Iterator[str]:
    """Yield a sentence in parts of `LONGEST` characters at most, cut behind a comma, else a space, else anywhere."""
    while len(sentence) > LONGEST:
        pauses = [pause for pause in _PAUSE.finditer(sentence, 0, LONGEST) if pause.end() > LONGEST // 3]
        commas = [pause for pause in pauses if not pause[0].isspace()]
        end = (commas or pauses)[-1].end() if pauses else LONGEST
        yield sentence[:end]
        sentence = sentence[end:]
    yield sentence
