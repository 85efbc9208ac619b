"""Usage: what each key asked of each model on each day."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    def count(name: str) -> sa.Column[int]:
        return sa.Column(name, sa.BigInteger, nullable=False)

    op.create_table(
        "usage",
        sa.Column("key", sa.String(12), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("day", sa.Date, nullable=False),
        count("requests"),
        count("prompt_tokens"),
        count("completion_tokens"),
        count("refused"),
        sa.PrimaryKeyConstraint("key", "model", "day", name="pk_usage"),
    )


def downgrade() -> None:
    op.drop_table("usage")
