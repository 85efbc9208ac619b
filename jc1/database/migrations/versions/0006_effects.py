"""What presets remember of a comparison: the minimum detectable effect is called `mde`, no longer `detectable`."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_PRESETS = sa.table("presets", sa.column("name"), sa.column("version"), sa.column("body", sa.JSON))


def upgrade() -> None:
    _rename("detectable", "mde")


def downgrade() -> None:
    _rename("mde", "detectable")


def _rename(old: str, new: str) -> None:
    connection = op.get_bind()
    for name, version, body in connection.execute(sa.select(_PRESETS)).all():
        difference = (body.get("measured") or {}).get("difference") or {}
        if old in difference:
            difference[new] = difference.pop(old)
            row = sa.and_(_PRESETS.c.name == name, _PRESETS.c.version == version)
            connection.execute(sa.update(_PRESETS).where(row).values(body=body))
