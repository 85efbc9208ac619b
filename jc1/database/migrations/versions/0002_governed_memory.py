"""Memory that a person governs: who said it, from which document, pinned, excluded, edited, forgotten."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    for column in (
        sa.Column("speaker", sa.String(200)),
        sa.Column("document", sa.String(200)),
        sa.Column("place", sa.String(400)),
        sa.Column("pinned", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("excluded", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("edited", moment),
        sa.Column("forgotten", moment),
    ):
        op.add_column("records", column)
    op.create_index("ix_records_owner_session", "records", ["owner", "session"])
    op.create_index("ix_records_forgotten", "records", ["forgotten"])
    op.add_column("turns", sa.Column("forgotten", moment))
    op.create_table(
        "edits",
        sa.Column("record", sa.String(40), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("replaced", moment, nullable=False),
        sa.PrimaryKeyConstraint("record", "number", name="pk_edits"),
        sa.ForeignKeyConstraint(["record"], ["records.id"], name="fk_edits_record", ondelete="CASCADE"),
    )


def downgrade() -> None:
    op.drop_table("edits")
    op.drop_column("turns", "forgotten")
    op.drop_index("ix_records_forgotten", "records")
    op.drop_index("ix_records_owner_session", "records")
    for column in ("forgotten", "edited", "excluded", "pinned", "place", "document", "speaker"):
        op.drop_column("records", column)
