"""The first tables: owners, records, sessions, turns, presets and their aliases.

A migration is a record of the past: it names columns itself and never imports the tables of today.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "owners",
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("owner", name="pk_owners"),
    )
    op.create_table(
        "records",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("created", moment, nullable=False),
        sa.Column("session", sa.String(200)),
        sa.Column("turn", sa.Integer),
        sa.Column("superseded_by", sa.String(40)),
        sa.Column("subject", sa.String(400)),
        sa.Column("changed", sa.BigInteger, nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
        sa.Column("embedder", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_records"),
        sa.UniqueConstraint("id", name="uq_records_id"),
        sa.ForeignKeyConstraint(["superseded_by"], ["records.id"], name="fk_records_superseded_by"),
        sa.CheckConstraint("role IN ('system', 'user', 'assistant')", name=op.f("ck_records_role")),
        sa.CheckConstraint("kind IN ('statement', 'question', 'reply')", name=op.f("ck_records_kind")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_records_superseded_by", "records", ["superseded_by"])
    op.create_index("ix_records_owner_created_id", "records", ["owner", "created", "id"])
    op.create_index("ix_records_owner_changed", "records", ["owner", "changed"])
    op.create_index("ix_records_owner_subject", "records", ["owner", "subject"])
    op.create_table(
        "sessions",
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("id", sa.String(200), nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("turns", sa.Integer, nullable=False),
        sa.Column("created", moment, nullable=False),
        sa.Column("updated", moment, nullable=False),
        sa.PrimaryKeyConstraint("owner", "id", name="pk_sessions"),
    )
    op.create_index("ix_sessions_owner_updated", "sessions", ["owner", "updated"])
    op.create_table(
        "turns",
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("session", sa.String(200), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("user", sa.Text, nullable=False),
        sa.Column("reply", sa.Text, nullable=False),
        sa.Column("cancelled", sa.Boolean, nullable=False),
        sa.Column("created", moment, nullable=False),
        sa.PrimaryKeyConstraint("owner", "session", "number", name="pk_turns"),
        sa.ForeignKeyConstraint(
            ["owner", "session"], ["sessions.owner", "sessions.id"], name="fk_turns_owner_session", ondelete="CASCADE"
        ),
    )
    op.create_table(
        "presets",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("body", sa.JSON, nullable=False),
        sa.Column("created", moment, nullable=False),
        sa.PrimaryKeyConstraint("name", "version", name="pk_presets"),
    )
    op.create_table(
        "preset_aliases",
        sa.Column("alias", sa.String(200), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("alias", name="pk_preset_aliases"),
    )


def downgrade() -> None:
    for table in ("preset_aliases", "presets", "turns", "sessions", "records", "owners"):
        op.drop_table(table)
