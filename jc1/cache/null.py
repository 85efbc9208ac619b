"""The cache that keeps nothing, for `cache = "off"`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jc1.cache.lookups import Lookups


class NullCache:
    """A `Cache` in which every lookup finds nothing and every write is lost. It counts nothing."""

    state = None

    def __init__(self) -> None:
        self.lookups = Lookups()

    def get(self, namespace: str, key: bytes) -> bytes | None:
        return None

    def get_many(self, namespace: str, keys: Sequence[bytes]) -> list[bytes | None]:
        return [None] * len(keys)

    def put_many(self, namespace: str, items: Mapping[bytes, bytes], *, ttl: float | None = None) -> None:
        pass

    def delete(self, namespace: str, key: bytes) -> None:
        pass

    def clear(self, namespace: str) -> None:
        pass

    def vacuum(self) -> bool:
        return True

    def close(self) -> None:
        pass
