"""What a workitem states of its priority."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column

from spinepacs.store.columns import SafeText

revision = "r0023"
down_revision = "r0022"


def upgrade() -> None:
    """Add a column; what is known already is as urgent as it was taken to be."""
    op.add_column("workitems", Column("priority", SafeText, nullable=False, server_default="MEDIUM"))
