"""Aliases remember where they pointed, so that a promotion can be taken back."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "alias_moves",
        sa.Column("alias", sa.String(200), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("moved", moment),
        sa.Column("undone", moment),
        sa.PrimaryKeyConstraint("alias", "number", name="pk_alias_moves"),
    )
    op.execute(
        "INSERT INTO alias_moves (alias, number, name, version) SELECT alias, 1, name, version FROM preset_aliases"
    )


def downgrade() -> None:
    op.drop_table("alias_moves")
