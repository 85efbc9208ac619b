"""Caches: bytes under a namespaced key with a lifetime. A cache that is down is a slower JC1, never a broken one.

Knows the list of caches: one joins by its file and its row in `CACHES`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from jc1.errors import InvalidSettings

if TYPE_CHECKING:
    from jc1.cache.base import Cache
    from jc1.settings import Settings


def create_cache(settings: Settings) -> Cache:
    """Return the cache that the settings name, whether or not it can be reached.

    Raises `InvalidSettings` where what it needs is missing.
    """
    return CACHES[settings.cache](settings)


def vacuum(cache: Cache, settings: Settings) -> bool:
    """Rewrite or delete the cache's files, and return whether none on this machine holds what was removed.

    That goes for the files, too, that a cache of earlier settings left.
    """
    if settings.cache != "lmdb":
        shutil.rmtree(_folder(settings), ignore_errors=True)
        if _folder(settings).exists():
            return False
    return cache.vacuum()


def _folder(settings: Settings) -> Path:
    return settings.home / "cache"


def _lmdb(settings: Settings) -> Cache:
    from jc1.cache.lmdb import LmdbCache

    return LmdbCache(_folder(settings))


def _redis(settings: Settings) -> Cache:
    try:
        from jc1.cache.redis import RedisCache
    except ModuleNotFoundError:
        raise InvalidSettings(
            "The redis cache needs its client: pip install -e '.[stores]' in JC1's folder, or set cache = lmdb."
        ) from None

    return RedisCache(settings.redis_url)


def _off(settings: Settings) -> Cache:
    from jc1.cache.null import NullCache

    return NullCache()


CACHES: Mapping[str, Callable[[Settings], Cache]] = {"lmdb": _lmdb, "redis": _redis, "off": _off}
"""Factories by the word in the settings."""
