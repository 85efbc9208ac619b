"""Namespaces of what is cached: one for each kind and owner. Knows nothing about who keeps the bytes."""

from __future__ import annotations

import hashlib

EMBEDDING, HISTORY, REPLY = "embedding", "history", "reply"
KINDS = (EMBEDDING, HISTORY, REPLY)
"""What JC1 keeps: the word before a namespace's first slash. Metrics have series for each of these."""


def owned(kind: str, owner: str) -> str:
    """Return the namespace of what is kept of one `kind` for one owner: clearing it purges that, and nothing else.

    The owner's name is in it as a hash only.
    """
    return f"{kind}/{hashlib.sha256(owner.encode('utf-8', 'surrogatepass')).hexdigest()[:40]}"


def prefix(namespace: str) -> bytes:
    """Return the bytes that the stored keys of a namespace, and of no other, begin with.

    Raises `ValueError` for a name with a NUL or of more than 200 bytes.
    """
    name = namespace.encode()
    if b"\0" in name or len(name) > 200:
        raise ValueError(f"{namespace!r} cannot be a namespace: it has a NUL, or more than 200 bytes")
    return name + b"\0"
