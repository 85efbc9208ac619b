"""The pictures of requests: from a part of a message to pixels, fetched where they have to be.

Knows the caps that settings put on pictures, and keeps the pictures of the last requests, since clients send a
conversation with its pictures anew for each turn. Knows nothing about prompts or models.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from jc1.errors import InvalidRequest
from jc1.fetch.fetcher import Fetcher
from jc1.messages import ImagePart
from jc1.vision.images import Picture, read_picture

if TYPE_CHECKING:
    from jc1.settings import Settings

FETCH_SECONDS = 20.0
"""How long a picture may take to come from its URL."""
KEPT_BYTES = 64_000_000
"""Of the pixels of pictures that were read last."""


class Pictures:
    """What reads the pictures of requests."""

    def __init__(self, settings: Settings, fetcher: Fetcher | None = None) -> None:
        self._settings = settings
        self._fetcher = fetcher or Fetcher.from_settings(settings)
        self._kept: OrderedDict[bytes, Picture] = OrderedDict()
        """By the SHA-256 of their files, the latest last."""

    async def read(self, parts: Sequence[ImagePart]) -> list[ImagePart]:
        """Return the parts with the pictures that they hold, at the same time; the first that fails ends the others.

        Raises:
            AddressRefused: A URL is not fetched.
            FetchFailed: It could not be.
            DamagedImage: A picture cannot be read.
            UnsupportedImage: It is of a format that is not read, or animated.
            RequestTooLarge: It is larger than the settings allow.
        """
        tasks = [asyncio.create_task(self._read(part)) for part in parts]
        try:
            return [await task for task in tasks]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, part: ImagePart) -> ImagePart:
        if part.url and not part.data:
            try:
                fetched = await self._fetcher.fetch(
                    part.url, max_bytes=self._settings.max_image_bytes, seconds=FETCH_SECONDS, noun="picture"
                )
            except InvalidRequest as error:
                error.param = "messages"
                raise
            part = replace(part, data=fetched.data, media_type=fetched.media_type)
        key, picture = await asyncio.to_thread(self._picture, part.data)
        self._keep(key, picture)
        return replace(part, picture=picture)

    def _picture(self, data: bytes) -> tuple[bytes, Picture]:
        key = hashlib.sha256(data).digest()
        settings = self._settings
        return key, self._kept.get(key) or read_picture(
            data,
            max_bytes=settings.max_image_bytes,
            max_pixels=settings.max_image_pixels,
            max_side=settings.max_image_side,
        )

    def _keep(self, key: bytes, picture: Picture) -> None:
        self._kept[key] = picture
        self._kept.move_to_end(key)
        while sum(len(kept.pixels) for kept in self._kept.values()) > KEPT_BYTES:
            self._kept.popitem(last=False)
