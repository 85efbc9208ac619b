"""What a cache is, and what is kept in it. Knows nothing about where the bytes lie or what they mean."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from jc1.cache.lookups import Lookups

EMBEDDING, HISTORY, REPLY = "embedding", "history", "reply"
KINDS = (EMBEDDING, HISTORY, REPLY)
"""What JC1 keeps: the word before a namespace's first slash. Metrics have series for each of these."""

State = Literal["closed", "half_open", "open"]
"""Of what guards the store, in a circuit breaker's words: `closed` is in use, `open` left alone, `half_open` tried."""


class Cache(Protocol):
    """Bytes under (namespace, key), each kept for at most `ttl` seconds. Calls block and may be made from any thread.

    No call raises when the store is down or full: a lookup then finds nothing and a write is lost. A namespace has no
    NUL and at most 200 bytes, or the call raises `ValueError`.
    """

    lookups: Lookups
    """How the lookups of this process went."""

    @property
    def state(self) -> State | None:
        """Whether the store is in use; `None` where there is no store."""

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

    def vacuum(self) -> bool:
        """Return whether removed values are in no file of this machine any more; what is kept may go with them."""

    def close(self) -> None:
        """Flush and close."""


def owned(kind: str, owner: str) -> str:
    """The namespace of what is kept of one `kind` for one owner: clearing it purges that, and nothing of others."""
    return f"{kind}/{hashlib.sha256(owner.encode('utf-8', 'surrogatepass')).hexdigest()[:40]}"


def prefix(namespace: str) -> bytes:
    """What the stored keys of a namespace, and of no other, begin with. Raises `ValueError` for an impossible name."""
    name = namespace.encode()
    if b"\0" in name or len(name) > 200:
        raise ValueError(f"{namespace!r} cannot be a namespace: it has a NUL, or more than 200 bytes")
    return name + b"\0"
