"""What may be stored: names that are refused when they are not usable, and texts that are made storable.

Knows what SQLite and PostgreSQL can both hold. Knows nothing about tables.
"""

from __future__ import annotations

import re

from jc1.database.tables import MAX_NAME
from jc1.errors import InvalidRequest

# A NUL, which PostgreSQL has no place for, and halves of a surrogate pair, which UTF-8 has none for.
_UNSTORABLE = re.compile(r"[\0\ud800-\udfff]")


def check_name(name: str, field: str) -> str:
    """`name` as it is, if it can name an owner, a session or a preset. Raises `InvalidRequest` naming the field.

    Names are compared to the letter: case, spaces and ways of writing an accent make different names.
    """
    if not name.strip():
        raise InvalidRequest(f"{field!r} is empty: give it a name.", param=field)
    if len(name) > MAX_NAME:
        raise InvalidRequest(f"{field!r} has {len(name)} characters and {MAX_NAME} are allowed.", param=field)
    if _UNSTORABLE.search(name):
        raise InvalidRequest(f"{field!r} holds characters that no text has: send it as valid Unicode.", param=field)
    return name


def storable(text: str) -> str:
    """`text` with every character that a database cannot hold replaced by U+FFFD."""
    return _UNSTORABLE.sub("�", text)


def check_limit(limit: int, most: int) -> int:
    """`limit` as it is, if it is between 1 and `most`. Raises `InvalidRequest`."""
    if not 1 <= limit <= most:
        raise InvalidRequest(f"'limit' is {limit}: ask for 1 to {most}.", param="limit")
    return limit
