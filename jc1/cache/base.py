"""The interface of all caches. Knows nothing about where the bytes lie or what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from jc1.cache.lookups import Lookups

State = Literal["closed", "half_open", "open"]
"""States of a circuit breaker before the store: `closed` lets calls through, `open` none, `half_open` one as a try."""


class Cache(Protocol):
    """Bytes under (namespace, key), each kept for at most `ttl` seconds. Calls block and may be made from any thread.

    No call raises when the store is down or full: a lookup then finds nothing and a write is lost. A namespace has no
    NUL and at most 200 bytes, or the call raises `ValueError`.
    """

    lookups: Lookups
    """Counters of the lookups of this process."""

    @property
    def state(self) -> State | None:
        """Return whether the store is in use, as a `State`; `None` where there is no store."""

    def get(self, namespace: str, key: bytes) -> bytes | None:
        """Return the value, or `None` where there is none or its lifetime is over."""

    def get_many(self, namespace: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values in the order of the keys, `None` for each that is missing."""

    def put_many(self, namespace: str, items: Mapping[bytes, bytes], *, ttl: float | None = None) -> None:
        """Store all the items for at most `ttl` seconds; `None` keeps them until they are evicted."""

    def delete(self, namespace: str, key: bytes) -> None:
        """Remove the value if it is there."""

    def clear(self, namespace: str) -> None:
        """Remove every value of the namespace."""

    def vacuum(self) -> bool:
        """Clear removed values out of the files, and return whether none on this machine holds any.

        Values that are kept may go with them.
        """

    def close(self) -> None:
        """Flush and close."""
