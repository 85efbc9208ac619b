"""`Idempotency-Key`: how a route does what a request asks for once, however often it is sent.

Knows the header, and what makes two HTTP requests the same. What a key means is `jc1.access.idempotency`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import Header, Request

from jc1.access.idempotency import PARAM
from jc1.workbench import Workbench

T = TypeVar("T")

Key = Annotated[
    str | None,
    Header(
        alias=PARAM,
        min_length=1,
        max_length=255,
        description="A name for this request, such as a UUID: sent again with it within a day, it is done once.",
    ),
]


async def once(
    workbench: Workbench,
    request: Request,
    owner: str,
    key: str | None,
    make: Callable[[], T],
    *,
    id_of: Callable[[T], str],
    again: Callable[[str], T],
) -> T:
    """Return what `make` makes, in a thread; with a key as `Idempotency.once` does, whose arguments these are."""
    if key is None:
        return await asyncio.to_thread(make)
    sent = b"\0".join([request.method.encode(), str(request.url.path).encode(), await request.body()])
    return await asyncio.to_thread(workbench.idempotency.once, owner, key, sent, make, id_of=id_of, again=again)
