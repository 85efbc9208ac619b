"""The database: the truth that everything else is derived from. SQLite in WAL mode by default, PostgreSQL by URL."""
