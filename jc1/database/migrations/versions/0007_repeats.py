"""Replies know which records they repeat, and go out of date with them."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SAME_TURN = """
    INSERT INTO repeats (owner, source, reply)
    SELECT said.owner, said.seq, replied.seq
    FROM records AS replied
    JOIN records AS said ON said.owner = replied.owner AND said.session = replied.session AND said.turn = replied.turn
    WHERE replied.role = 'assistant' AND said.role = 'user' AND replied.document IS NULL AND said.document IS NULL
"""
OUTDATED = """
    UPDATE records SET outdated = {true} WHERE seq IN (
        SELECT reply FROM repeats JOIN records AS said ON said.seq = repeats.source
        WHERE said.forgotten IS NOT NULL OR said.excluded OR said.superseded_by IS NOT NULL OR said.edited IS NOT NULL
    )
"""


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "repeats",
        sa.Column("number", number, autoincrement=True, nullable=False),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("source", number, nullable=False),
        sa.Column("reply", number),
        sa.Column("session", sa.String(200)),
        sa.Column("turn", sa.Integer),
        sa.PrimaryKeyConstraint("number", name="pk_repeats"),
    )
    op.create_index("ix_repeats_source", "repeats", ["source"])
    op.create_index("ix_repeats_reply", "repeats", ["reply"])
    op.create_index("ix_repeats_owner_session", "repeats", ["owner", "session"])
    for table in ("records", "turns"):
        op.add_column(table, sa.Column("outdated", sa.Boolean, nullable=False, server_default=sa.false()))
    # What replies of other turns repeat is not known of what was said until today.
    op.execute(SAME_TURN)
    op.execute(OUTDATED.format(true="1" if op.get_bind().dialect.name == "sqlite" else "true"))


def downgrade() -> None:
    for table in ("turns", "records"):
        op.drop_column(table, "outdated")
    op.drop_table("repeats")
