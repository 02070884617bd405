"""The console: accounts, their sessions, and in the audit trail which account did it; studies by their newest image.

The view ``study_summary`` went through all findings of disc height loss for each of its rows on SQLite, which took the
index of kinds for the one to begin with.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, ForeignKey

from spinepacs.store.columns import SafeText, UtcTime
from spinepacs.store.migrations.versions import r0015_corrections as r0015

revision = "r0017"
down_revision = "r0016"

STUDY_SUMMARY = r0015.VIEWS["study_summary"].replace(
    "t.kind = 'disc_height_loss'",
    "t.kind || '' = 'disc_height_loss'",  # a value that no index has: the readings of the study come first
)


def upgrade() -> None:
    """Add two tables, a column and an index, and make a view anew."""
    op.execute("DROP VIEW study_summary")
    op.execute(STUDY_SUMMARY)
    op.create_table(
        "accounts",
        Column("name", SafeText, primary_key=True),
        Column("role", SafeText, nullable=False),
        Column("password_hash", SafeText, nullable=False),
        Column("created_at", UtcTime, nullable=False),
        Column("password_at", UtcTime, nullable=False),
        Column("disabled_at", UtcTime),
    )
    op.create_table(
        "web_sessions",
        Column("token_sha256", SafeText, primary_key=True),
        Column("account", SafeText, ForeignKey("accounts.name"), nullable=False),
        Column("peer", SafeText, nullable=False),
        Column("created_at", UtcTime, nullable=False),
        Column("expires_at", UtcTime, nullable=False),
    )
    op.create_index("ix_web_sessions_account", "web_sessions", ["account"])
    op.create_index("ix_web_sessions_expires_at", "web_sessions", ["expires_at"])
    op.add_column("audit_events", Column("account", SafeText, nullable=False, server_default=""))
    op.create_index("ix_studies_last_arrival_at_study_uid", "studies", ["last_arrival_at", "study_uid"])
