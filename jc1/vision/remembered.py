"""What memory keeps of a picture: a thumbnail, and words by which it is found again.

Knows how a picture is told in words. Knows nothing about storing (`jc1.memory.pictures`) or about reading text in it.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from jc1.memory.base import NewRecord, SeenPicture

if TYPE_CHECKING:
    from jc1.vision.images import Picture

SPEAKER = "picture"
"""Who says what stands in a picture: not the user, whose statements it must not supersede."""
SIDE = 256
"""Pixels of a thumbnail's longer side."""
MAX_TEXT = 20_000
"""Most characters of its text that are remembered: five dense pages."""


def remembered(
    data: bytes, picture: Picture, source: str, text: str, *, session: str | None, turn: int | None
) -> NewRecord:
    """Return the record that tells of a picture.

    Args:
        data: Its file.
        source: Its file's name or URL; empty where neither is known.
        text: What was read in it; empty where that is nothing.
        session: Where it was shown, with the number of the turn.
    """
    seen = SeenPicture(
        hashlib.sha256(data).hexdigest(), picture.width, picture.height, _shown(source), thumbnail(picture)
    )
    caption = f"{seen.source or 'A picture'}, {picture.width} x {picture.height} pixels"
    told = f"{caption}. Text in it:\n{text[:MAX_TEXT]}" if text.strip() else f"{caption}, without text."
    return NewRecord(told, "user", "statement", session=session, turn=turn, speaker=SPEAKER, picture=seen)


def thumbnail(picture: Picture) -> bytes:
    """Return a JPEG of at most `SIDE` pixels either way, some 15,000 bytes."""
    small = picture.image()
    small.thumbnail((SIDE, SIDE), reducing_gap=3.0)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=80)
    return file.getvalue()


def _shown(source: str) -> str:
    """Return a source as it may be shown: a file's name without folders, a URL without user, query and fragment."""
    if "://" not in source:
        return PurePosixPath(source.replace("\\", "/")).name
    parts = urlsplit(source)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
