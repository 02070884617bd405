"""More than one machine: who lives and has a study in hand, whose spool belongs to this database, senders in turns."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, text

from spinepacs.store.columns import Key, PlainJson, SafeText, UtcTime

revision = "r0014"
down_revision = "r0013"


def upgrade() -> None:
    """Add three tables, and to each attempt whose it is."""
    op.create_table(
        "machines",
        Column("machine_id", SafeText, primary_key=True),
        Column("name", SafeText, nullable=False),
        Column("role", SafeText, nullable=False),
        Column("started_at", UtcTime, nullable=False),
        Column("beat_at", UtcTime, nullable=False),
        Column("beats", Key, nullable=False, server_default="0"),
        Column("ended_at", UtcTime),
        Column("ended_how", SafeText, nullable=False, server_default=""),
        Column("processes", PlainJson, nullable=False),
        Column("traffic", PlainJson, nullable=False),
    )
    op.create_table(
        "installation",
        Column("name", SafeText, primary_key=True),
        Column("value", SafeText, nullable=False),
    )
    op.create_table(
        "senders",
        Column("sender", SafeText, primary_key=True),
        Column("turn_at", UtcTime, nullable=False),
    )
    op.add_column("attempts", Column("machine_id", SafeText, nullable=False, server_default=""))
    is_open = text("ended_at IS NULL")
    op.create_index(
        "ix_attempts_machine", "attempts", ["machine_id"], sqlite_where=is_open, postgresql_where=is_open
    )
