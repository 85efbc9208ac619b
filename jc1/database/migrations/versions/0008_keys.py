"""Keys, by which JC1 tells who asks, and the secrets that sign what it hands out."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(12), nullable=False),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("limits", sa.JSON, nullable=False),
        sa.Column("models", sa.JSON),
        sa.Column("presets", sa.JSON),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("earlier", sa.LargeBinary),
        sa.Column("grace", moment),
        sa.Column("created", moment, nullable=False),
        sa.Column("expires", moment),
        sa.Column("last_used", moment),
        sa.Column("revoked", moment),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
    )
    op.create_table(
        "secrets",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_secrets"),
    )


def downgrade() -> None:
    op.drop_table("secrets")
    op.drop_table("api_keys")
