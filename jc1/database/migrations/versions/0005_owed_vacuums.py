"""Deletions leave word that the files are to be rewritten, until that is done."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "vacuums_owed",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), autoincrement=True, nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_vacuums_owed"),
        sqlite_autoincrement=True,
    )
    # Nobody knows whether the files were rewritten after what was deleted until today.
    op.execute("INSERT INTO vacuums_owed (since) SELECT CURRENT_TIMESTAMP WHERE EXISTS (SELECT 1 FROM owners)")


def downgrade() -> None:
    op.drop_table("vacuums_owed")
