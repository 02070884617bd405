"""Notifications: what is to be told to whom, and how far the ledger was looked through; samples for the plots.

And indexes for what the console is asked for: studies of a state by age, what is rare by level, disc and model.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Integer, text

from spinepacs.store.columns import Key, Measure, PlainJson, SafeText, UtcTime

revision = "r0022"
down_revision = "r0021"


def upgrade() -> None:
    """Add three tables and four indexes."""
    op.create_table(
        "notices",
        Column("notice_id", Key, primary_key=True),
        Column("channel", SafeText, nullable=False),
        Column("kind", SafeText, nullable=False),
        Column("subject", SafeText, nullable=False),
        Column("study_uid", SafeText, nullable=False, server_default=""),
        Column("detail", PlainJson, nullable=False),
        Column("made_at", UtcTime, nullable=False),
        Column("ended_at", UtcTime),
        Column("state", SafeText, nullable=False),
        Column("batch", SafeText, nullable=False, server_default=""),
        Column("attempts", Integer, nullable=False, server_default="0"),
        Column("next_attempt_at", UtcTime, nullable=False),
        Column("sent_at", UtcTime),
        Column("message", SafeText, nullable=False, server_default=""),
    )
    lasts, waits = text("ended_at IS NULL"), text("state = 'pending'")
    op.create_index(
        "uq_notices_subject", "notices", ["channel", "kind", "subject"], unique=True,
        sqlite_where=lasts, postgresql_where=lasts,
    )  # fmt: skip
    op.create_index(
        "ix_notices_pending", "notices", ["channel", "batch", "made_at"],
        sqlite_where=waits, postgresql_where=waits,
    )  # fmt: skip
    op.create_index("ix_notices_channel_state_sent_at", "notices", ["channel", "state", "sent_at"])
    op.create_table(
        "notice_marks",
        Column("channel", SafeText, primary_key=True),
        Column("source", SafeText, primary_key=True),
        Column("reached", Key, nullable=False),
        Column("looked_at", UtcTime, nullable=False),
    )
    op.create_table(
        "samples",
        Column("taken_at", UtcTime, primary_key=True),
        Column("seconds", Measure, nullable=False),
        Column("counted", PlainJson, nullable=False),
        Column("waiting", PlainJson, nullable=False),
        Column("reached", PlainJson, nullable=False),
    )
    op.create_index("ix_studies_state_last_arrival_at", "studies", ["state", "last_arrival_at", "study_uid"])
    op.create_index("ix_readings_model_name", "readings", ["model_name", "model_version", "study_uid"])
    op.create_index("ix_vertebrae_level", "vertebrae", ["level", "reading_id"])
    op.create_index("ix_discs_disc", "discs", ["disc", "reading_id"])
