"""What else a vertebra may be called where its level is not sure; NULL in rows of r0023 and before."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column

from spinepacs.store.columns import SafeText
from spinepacs.store.migrations.versions import r0015_corrections as r0015

revision = "r0024"
down_revision = "r0023"

VERTEBRA_FINDINGS = r0015.VIEWS["vertebra_findings"].replace(
    "v.level_margin\n", "v.level_margin, v.other_level\n"
)


def upgrade() -> None:
    """Add the column, and make the view that shows it anew."""
    op.execute("DROP VIEW vertebra_findings")
    op.add_column("vertebrae", Column("other_level", SafeText))
    op.execute(VERTEBRA_FINDINGS)
