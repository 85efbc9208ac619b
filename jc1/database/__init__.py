"""The database: the truth that everything else is derived from. SQLite in WAL mode by default, PostgreSQL by URL."""

from jc1.database.connection import open_database, reading, writing

__all__ = ["open_database", "reading", "writing"]
