"""The text in the pictures of requests: each picture read once, one after the other, in a thread of its own.

Knows that clients send a conversation with its pictures anew for each turn, so what was read last is kept. Knows
nothing about how text is read (`jc1.vision.ocr`), or about prompts.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from jc1.vision.reading import Reading

if TYPE_CHECKING:
    from jc1.messages import ImagePart
    from jc1.vision.images import Picture
    from jc1.vision.ocr import Ocr

KEPT = 64
"""Pictures whose text is kept: a megabyte of dense pages."""


class Texts:
    """What reads the text in pictures of requests. More than one at a time would only slow each: it uses several cores
    already."""

    def __init__(self, ocr: Ocr) -> None:
        self._ocr = ocr
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ocr")
        self._kept: OrderedDict[bytes, Reading] = OrderedDict()
        """By the SHA-256 of their files, the latest last."""

    async def read(self, parts: Sequence[ImagePart]) -> list[Reading]:
        """Return the text in pictures whose pixels are there. Cancelled, it leaves the pictures unread that wait.

        Raises `OcrUnavailable`.
        """
        return [await self._read(part.data, part.picture) for part in parts if part.picture is not None]

    async def _read(self, data: bytes, picture: Picture) -> Reading:
        key = await asyncio.to_thread(_digest, data)
        reading = self._kept.get(key)
        if reading is None:
            work = asyncio.get_running_loop().run_in_executor
            reading = await work(self._thread, lambda: self._ocr.read(picture.array()))
        self._kept[key] = reading
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return reading

    def close(self) -> None:
        """End when the picture under way is read."""
        self._thread.shutdown(cancel_futures=True)


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
