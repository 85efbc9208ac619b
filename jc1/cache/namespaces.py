"""What is kept in a cache, and under which names. Knows nothing about caches."""

from __future__ import annotations

import hashlib

EMBEDDING, HISTORY, REPLY = "embedding", "history", "reply"
KINDS = (EMBEDDING, HISTORY, REPLY)
"""What JC1 keeps: the word before a namespace's first slash. Metrics have series for each of these."""


def owned(kind: str, owner: str) -> str:
    """Return the namespace of what is kept of one `kind` for one owner: clearing it purges that, and nothing else."""
    return f"{kind}/{hashlib.sha256(owner.encode('utf-8', 'surrogatepass')).hexdigest()[:40]}"


def prefix(namespace: str) -> bytes:
    """Return what the stored keys of a namespace, and of no other, begin with.

    Raises `ValueError` for an impossible name.
    """
    name = namespace.encode()
    if b"\0" in name or len(name) > 200:
        raise ValueError(f"{namespace!r} cannot be a namespace: it has a NUL, or more than 200 bytes")
    return name + b"\0"
