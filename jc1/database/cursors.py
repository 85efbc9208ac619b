"""Cursors: where in a list that is sorted by time a page ends, as text that clients send back.

Knows a moment and the name that tells apart what has the same moment. Knows nothing about what is listed.
"""

from __future__ import annotations

from datetime import UTC, datetime

from jc1.errors import InvalidRequest
from jc1.texts import as_text


def cursor_at(moment: datetime, name: str) -> str:
    """Return the cursor of an entry."""
    # With a Z, since the + of an offset is a space in an address.
    return f"{moment.astimezone(UTC).isoformat().replace('+00:00', 'Z')}_{name}"


def read_cursor(cursor: str) -> tuple[datetime, str]:
    """Return the moment and the name of a cursor's entry. Raises `InvalidRequest`."""
    at, _, name = cursor.partition("_")
    try:
        moment = datetime.fromisoformat(at).astimezone(UTC) if at.endswith("Z") else None
    except (ValueError, OverflowError):
        moment = None
    if moment is None or not name:
        raise no_cursor()
    return moment, as_text(name)


def no_cursor() -> InvalidRequest:
    """Return the error for a text that is no cursor."""
    return InvalidRequest("The cursor is not one: pass on the one that the page before ended with.", param="cursor")
