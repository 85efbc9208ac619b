"""What a cache is. Knows nothing about where the bytes lie or what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Cache(Protocol):
    """Bytes under (namespace, key), each kept for at most `ttl` seconds. Calls block and may be made from any thread.

    No call raises when the store is down or full: a lookup then finds nothing and a write is lost.
    """

    def get(self, namespace: str, key: bytes) -> bytes | None:
        """The value, or `None` when there is none or its lifetime is over."""

    def get_many(self, namespace: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values in the order of the keys."""

    def put_many(self, namespace: str, items: Mapping[bytes, bytes], *, ttl: float | None = None) -> None:
        """Store all the items; `None` keeps them until they are evicted."""

    def delete(self, namespace: str, key: bytes) -> None:
        """Remove the value if it is there."""

    def clear(self, namespace: str) -> None:
        """Remove every value of the namespace."""

    def close(self) -> None:
        """Flush and close."""
