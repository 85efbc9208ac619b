"""Pages of lists: what follows a page is asked for with the cursor that it ends with.

Knows how a page is read and whether another follows. What a cursor means is the list's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Query
from pydantic import Field

T = TypeVar("T")

Cursor = Annotated[str | None, Query(max_length=500, description="`next_cursor` of the page before.")]
NextCursor = Annotated[str | None, Field(description="Send it as `cursor` for the next page; null on the last.")]


def paged(read: Callable[..., Sequence[T]], mark: Callable[[Sequence[T]], Any], limit: int, at: Any) -> dict[str, Any]:
    """Return a page as `data` and, where another follows, its `next_cursor`.

    Args:
        read: Returns the entries of a page, given how many at most and the place where it begins.
        mark: Returns the place after a page.
        at: Where the page begins, None for the first.
    """
    page = read(limit, at)
    after = mark(page) if len(page) == limit else None
    follows = after is not None and read(1, after)
    return {"data": page, "next_cursor": str(after) if follows else None}
