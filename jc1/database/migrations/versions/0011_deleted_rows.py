"""Owners say when rows of theirs were last deleted, so that an index need not count its rows after every change."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("owners", sa.Column("deleted", sa.BigInteger, nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("owners", "deleted")
