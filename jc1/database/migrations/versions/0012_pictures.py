"""Records tell of pictures that were seen, and a thumbnail of each is kept with its record."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("records", sa.Column("picture", sa.String(64)))
    op.create_table(
        "pictures",
        sa.Column("record", sa.String(40), nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("source", sa.String(400), nullable=False),
        sa.Column("thumbnail", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("record", name="pk_pictures"),
        sa.ForeignKeyConstraint(["record"], ["records.id"], name="fk_pictures_record", ondelete="CASCADE"),
    )


def downgrade() -> None:
    op.drop_table("pictures")
    op.drop_column("records", "picture")
