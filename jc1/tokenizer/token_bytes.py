"""The bytes of each token: what it adds to a reply, to the byte.

Knows how vocabularies spell bytes that are no text. Knows nothing about which tokens are special.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tokenizers

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
"""A byte as SentencePiece spells it."""
SPACE = "▁"


def of_sentencepiece(piece: str) -> bytes:
    """Return the bytes of a piece of SentencePiece's, or of a vocabulary that was made of one."""
    byte = _BYTE.fullmatch(piece)
    return bytes([int(byte[1], 16)]) if byte else piece.replace(SPACE, " ").encode()


def of_byte_level(token: str) -> bytes:
    """Return the bytes of a token of a byte-level vocabulary, in which each letter stands for a byte."""
    letters = _letters()
    return b"".join(bytes([letters[letter]]) if letter in letters else letter.encode() for letter in token)


def reader_for(own: tokenizers.Tokenizer) -> Callable[[str], bytes] | None:
    """Return what gives the bytes of the tokens of a `tokenizer.json`; None where its decoder is of another kind."""
    kinds = _kinds(json.loads(own.to_str()).get("decoder"))
    if "ByteLevel" in kinds:
        return of_byte_level
    return of_sentencepiece if kinds & {"ByteFallback", "Metaspace", "Replace"} else None


def _kinds(decoder: object) -> set[str]:
    """Return the types of a decoder and of those that it is made of."""
    if not isinstance(decoder, dict):
        return set()
    parts = decoder.get("decoders") or ()
    return {str(decoder.get("type"))}.union(*map(_kinds, parts))


@cache
def _letters() -> dict[str, int]:
    """Return the byte of each letter: as in GPT-2 printable ones stand for themselves, U+0100 and on for the others."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    letters = {chr(byte): byte for byte in printable}
    others = (byte for byte in range(256) if byte not in printable)
    return letters | {chr(256 + place): byte for place, byte in enumerate(others)}
