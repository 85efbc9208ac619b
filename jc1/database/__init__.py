"""The database: the truth that everything else is derived from. SQLite in WAL mode by default, PostgreSQL by URL."""

from jc1.database.connection import reading, writing
from jc1.database.opening import open_database

__all__ = ["open_database", "reading", "writing"]
