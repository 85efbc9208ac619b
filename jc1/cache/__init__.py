"""Caches: bytes under a namespaced key with a lifetime. A cache that is down is a slower JC1, never a broken one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jc1.errors import InvalidSettings

if TYPE_CHECKING:
    from jc1.cache.base import Cache
    from jc1.settings import Settings


def create_cache(settings: Settings) -> Cache:
    """The cache that the settings name; that it can be reached is not asked for.

    Raises `InvalidSettings` for a name that is not known, and where what it needs is missing.
    """
    if settings.cache == "off":
        from jc1.cache.null import NullCache

        return NullCache()
    if settings.cache == "lmdb":
        from jc1.cache.lmdb import LmdbCache

        return LmdbCache(settings.home / "cache")
    if settings.cache == "redis":
        try:
            from jc1.cache.redis import RedisCache
        except ModuleNotFoundError:
            raise InvalidSettings(
                "The redis cache needs its client: pip install -e '.[stores]' in JC1's folder, or set cache = lmdb."
            ) from None

        return RedisCache(settings.redis_url)
    raise InvalidSettings(f"cache = {settings.cache!r} is not known: use 'lmdb', 'redis' or 'off'.")
