"""Retention: when a file was deleted from the spool; its row stays. Files are looked up by their digest."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column

from spinepacs.store.columns import UtcTime

revision = "r0007"
down_revision = "r0006"


def upgrade() -> None:
    """Add the column and the index to both tables of files; nothing has been deleted so far."""
    for table in ("arrivals", "objects"):
        op.add_column(table, Column("file_deleted_at", UtcTime))
        op.create_index(f"ix_{table}_sha256", table, ["sha256"])
