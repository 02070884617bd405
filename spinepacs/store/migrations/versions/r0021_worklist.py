"""Workitems of a UPS-RS server: claimed under which Transaction UID, and what became of them."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Integer, text

from spinepacs.store.columns import PlainJson, SafeText, UtcTime

revision = "r0021"
down_revision = "r0020"


def upgrade() -> None:
    """Add a table."""
    op.create_table(
        "workitems",
        Column("workitem_uid", SafeText, primary_key=True),
        Column("transaction_uid", SafeText, nullable=False),
        Column("state", SafeText, nullable=False),
        Column("attempts", Integer, nullable=False, server_default="0"),
        Column("progress", Integer, nullable=False, server_default="-1"),
        Column("code", PlainJson),
        Column("inputs", PlainJson),
        Column("films", PlainJson),
        Column("reason_code", SafeText, nullable=False, server_default=""),
        Column("reason", SafeText, nullable=False, server_default=""),
        Column("found_at", UtcTime, nullable=False),
        Column("due_at", UtcTime, nullable=False),
        Column("claimed_at", UtcTime),
        Column("ended_at", UtcTime),
    )
    is_open = text("state IN ('claiming', 'claimed')")
    op.create_index(
        "ix_workitems_open", "workitems", ["due_at"], sqlite_where=is_open, postgresql_where=is_open
    )
