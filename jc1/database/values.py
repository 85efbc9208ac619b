"""Checks of names and limits, which are refused where they are not usable.

Knows how long a name may be. Knows nothing about rows, or about what text is: `jc1.texts` does.
"""

from __future__ import annotations

from jc1.database.tables import MAX_NAME
from jc1.errors import InvalidRequest
from jc1.texts import NOT_TEXT, is_text


def check_name(name: str, field: str) -> str:
    """Return `name` unchanged if it can name an owner, a session or a preset.

    Names are compared to the letter: case, spaces and ways of writing an accent make different names.

    Raises `InvalidRequest`, which names the `field`.
    """
    if not name.strip():
        raise InvalidRequest(f"{field!r} is empty: give it a name.", param=field)
    if len(name) > MAX_NAME:
        raise InvalidRequest(f"{field!r} has {len(name)} characters and {MAX_NAME} are allowed.", param=field)
    if not is_text(name):
        raise InvalidRequest(f"{field!r} {NOT_TEXT}.", param=field)
    return name


def check_limit(limit: int, most: int) -> int:
    """Return `limit` unchanged if it is between 1 and `most`. Raises `InvalidRequest`."""
    if not 1 <= limit <= most:
        raise InvalidRequest(f"'limit' is {limit}: ask for 1 to {most}.", param="limit")
    return limit
