"""The cache that keeps nothing, for `cache = "off"`. Knows nothing at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class NullCache:
    """A `Cache` in which every lookup finds nothing and every write is lost."""

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

    def close(self) -> None:
        pass
