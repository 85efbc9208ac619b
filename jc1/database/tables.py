"""The tables, as SQLAlchemy Core describes them to both SQLite and PostgreSQL.

Knows columns, keys and indexes. Knows nothing about who reads or writes them. A change here needs a migration in
`jc1/database/migrations`; a test holds the two together.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    false,
)

MAX_NAME = 200
"""Most characters of an owner's, a session's, a speaker's or a document's name."""
MAX_PLACE = 400
"""Most characters of where in a document a text stands."""


class UtcDateTime(TypeDecorator[datetime]):
    """A point in time: timezone-aware on the Python side, UTC in the database. SQLite itself keeps no zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite counts rows in its own INTEGER only; AUTOINCREMENT, so that the number of a deleted row is never given again.
_row_number = BigInteger().with_variant(Integer, "sqlite")

owners = Table(
    "owners",
    metadata,
    Column("owner", String(MAX_NAME), primary_key=True),
    # Raised by every write to the owner's records, first thing in its transaction: that also makes the writers of one
    # owner wait for each other.
    Column("version", BigInteger, nullable=False),
    # The version at which rows were last deleted: they are in no row's `changed`, so an older index looks for all.
    Column("deleted", BigInteger, nullable=False, server_default="0"),
)

records = Table(
    "records",
    metadata,
    Column("seq", _row_number, primary_key=True, autoincrement=True),
    Column("id", String(40), nullable=False, unique=True),
    Column("owner", String(MAX_NAME), nullable=False),
    Column("text", Text, nullable=False),
    Column("role", String(16), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("session", String(MAX_NAME)),
    Column("turn", Integer),
    Column("speaker", String(MAX_NAME)),
    # The title of the document that the text is a part of, and where in it: its page and heading.
    Column("document", String(MAX_NAME)),
    Column("place", String(MAX_PLACE)),
    # The SHA-256 of the picture's file that the text tells of, whose thumbnail `pictures` holds.
    Column("picture", String(64)),
    Column("pinned", Boolean, nullable=False, server_default=false()),
    Column("excluded", Boolean, nullable=False, server_default=false()),
    Column("edited", UtcDateTime),
    # Since when it is hidden; some days later the row goes.
    Column("forgotten", UtcDateTime),
    Column("superseded_by", String(40), ForeignKey("records.id"), index=True),
    # Of a reply: what it repeats was edited since, or counts no more.
    Column("outdated", Boolean, nullable=False, server_default=false()),
    # What the statement is about (jc1/memory/supersession/subjects.py); NULL where that is not certain.
    Column("subject", String(400)),
    # The owner's version at which the row last changed, so that an index can read what it has not seen.
    Column("changed", BigInteger, nullable=False),
    # float16, little-endian, of length one, and the fingerprint of the embedder that made it.
    Column("vector", LargeBinary, nullable=False),
    Column("embedder", String(200), nullable=False),
    CheckConstraint("role IN ('system', 'user', 'assistant')", name="role"),
    CheckConstraint("kind IN ('statement', 'question', 'reply')", name="kind"),
    Index(None, "owner", "created", "id"),
    Index(None, "owner", "changed"),
    Index(None, "owner", "subject"),
    Index(None, "owner", "session"),
    Index(None, "forgotten"),
    sqlite_autoincrement=True,
)

# What a record said before it was edited.
edits = Table(
    "edits",
    metadata,
    Column("record", String(40), ForeignKey("records.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("text", Text, nullable=False),
    Column("replaced", UtcDateTime, nullable=False),
)

# What is kept of a picture that was seen: it goes with its record.
pictures = Table(
    "pictures",
    metadata,
    Column("record", String(40), ForeignKey("records.id", ondelete="CASCADE"), primary_key=True),
    # Pixels of the picture itself, upright.
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    # Its file's name, or where it was fetched; empty where it came without either.
    Column("source", String(MAX_PLACE), nullable=False),
    # A JPEG.
    Column("thumbnail", LargeBinary, nullable=False),
)

# Which records a reply repeats. `reply` is its own record; of one that has none, `session` and `turn` say where it is.
repeats = Table(
    "repeats",
    metadata,
    Column("number", _row_number, primary_key=True, autoincrement=True),
    Column("owner", String(MAX_NAME), nullable=False),
    # No foreign keys: a reply goes on repeating what was deleted.
    Column("source", _row_number, nullable=False, index=True),
    Column("reply", _row_number, index=True),
    Column("session", String(MAX_NAME)),
    Column("turn", Integer),
    Index(None, "owner", "session"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("owner", String(MAX_NAME), primary_key=True),
    Column("id", String(MAX_NAME), primary_key=True),
    Column("title", Text, nullable=False),
    Column("turns", Integer, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("updated", UtcDateTime, nullable=False),
    # How often turns that were there already were changed, hidden, restored or removed.
    Column("changes", Integer, nullable=False, server_default="0"),
    Index(None, "owner", "updated"),
)

turns = Table(
    "turns",
    metadata,
    Column("owner", String(MAX_NAME), primary_key=True),
    Column("session", String(MAX_NAME), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("user", Text, nullable=False),
    Column("reply", Text, nullable=False),
    Column("cancelled", Boolean, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("forgotten", UtcDateTime),
    # What was said, or what the reply repeats, was edited or excluded since: no prompt holds the turn.
    Column("outdated", Boolean, nullable=False, server_default=false()),
    ForeignKeyConstraint(["owner", "session"], ["sessions.owner", "sessions.id"], ondelete="CASCADE"),
)

presets = Table(
    "presets",
    metadata,
    Column("name", String(MAX_NAME), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("body", JSON, nullable=False),
    Column("created", UtcDateTime, nullable=False),
)

# No foreign key: an alias may point at a preset that JC1 ships, which no row holds.
preset_aliases = Table(
    "preset_aliases",
    metadata,
    Column("alias", String(MAX_NAME), primary_key=True),
    Column("name", String(MAX_NAME), nullable=False),
    Column("version", Integer, nullable=False),
)

# Every pointing of an alias, counted from 1. The last one that was not taken back is where the alias points.
alias_moves = Table(
    "alias_moves",
    metadata,
    Column("alias", String(MAX_NAME), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", String(MAX_NAME), nullable=False),
    Column("version", Integer, nullable=False),
    # NULL where the alias was pointed there before moves were kept.
    Column("moved", UtcDateTime),
    # Since when it is taken back.
    Column("undone", UtcDateTime),
)

# Deletions whose text may still stand in SQLite's files or in a cache's, until these were rewritten after them.
vacuums_owed = Table(
    "vacuums_owed",
    metadata,
    Column("number", _row_number, primary_key=True, autoincrement=True),
    Column("since", UtcDateTime, nullable=False),
    sqlite_autoincrement=True,
)

# A revoked key keeps its row: while there is any, nobody is let in without one.
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(12), primary_key=True),
    Column("owner", String(MAX_NAME), nullable=False),
    Column("name", String(MAX_NAME), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("limits", JSON, nullable=False),
    # NULL is all of them.
    Column("models", JSON(none_as_null=True)),
    Column("presets", JSON(none_as_null=True)),
    # SHA-256 of the secret; of the one before, which is good until `grace`.
    Column("digest", LargeBinary, nullable=False),
    Column("earlier", LargeBinary),
    Column("grace", UtcDateTime),
    Column("created", UtcDateTime, nullable=False),
    Column("expires", UtcDateTime),
    Column("last_used", UtcDateTime),
    Column("revoked", UtcDateTime),
)

# What each key asked of each model on each day (UTC); the key is empty where there are none.
usage = Table(
    "usage",
    metadata,
    Column("key", String(12), primary_key=True),
    Column("model", String(MAX_NAME), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False),
)

# Requests that a client named, so that each is done once: digests of the name and of the request, and what it made, by
# its id; NULL while it is under way.
idempotency = Table(
    "idempotency",
    metadata,
    Column("owner", String(MAX_NAME), primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("request", LargeBinary, nullable=False),
    Column("made", String(MAX_NAME)),
    Column("created", UtcDateTime, nullable=False),
    Index("ix_idempotency_created", "created"),
)

# What signs things that are handed out and come back, shared by every process on the database.
secrets = Table(
    "secrets",
    metadata,
    Column("name", String(MAX_NAME), primary_key=True),
    Column("value", LargeBinary, nullable=False),
)
