"""Caches: bytes under a namespaced key with a lifetime. A cache that is down is a slower JC1, never a broken one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jc1.errors import InvalidSettings

if TYPE_CHECKING:
    from jc1.cache.base import Cache
    from jc1.settings import Settings


def create_cache(settings: Settings) -> Cache:
    """The cache that the settings name. Raises `InvalidSettings` for a name that is not known."""
    if settings.cache == "off":
        from jc1.cache.null import NullCache

        return NullCache()
    if settings.cache == "lmdb":
        from jc1.cache.lmdb import LmdbCache

        return LmdbCache(settings.home / "cache")
    raise InvalidSettings(f"cache = {settings.cache!r} is not known: use 'lmdb' or 'off'.")
