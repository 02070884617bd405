"""Urgent studies go before others: whose turn it is has a column and an index of its own."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Boolean, Column, false

from spinepacs.store.columns import UtcTime

revision = "r0008"
down_revision = "r0007"


def upgrade() -> None:
    """Add the columns; studies that wait keep their order."""
    op.add_column("studies", Column("urgent", Boolean, nullable=False, server_default=false()))
    op.add_column("studies", Column("turn_at", UtcTime))
    op.get_bind().exec_driver_sql("UPDATE studies SET turn_at = due_at")
    op.drop_index("ix_studies_state_due_at", "studies")
    op.create_index("ix_studies_state_turn_at", "studies", ["state", "turn_at", "study_uid"])
