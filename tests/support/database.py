"""New databases at the newest schema: a file that was migrated once is copied, which takes a tenth of migrating again.

The migrations themselves are the subject of `tests/jc1/database`.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from sqlalchemy import Engine

from jc1.database import open_database


@cache
def migrated() -> bytes:
    """Return the bytes of a SQLite file at the newest schema that holds nothing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "jc1.db"
        open_database(f"sqlite:///{path}").dispose()
        return path.read_bytes()


def new_database(path: Path) -> Engine:
    """Open the database there as JC1 does; where there is none, put an empty one there first."""
    if not path.exists():
        path.write_bytes(migrated())
        path.chmod(0o600)
    return open_database(f"sqlite:///{path}")
