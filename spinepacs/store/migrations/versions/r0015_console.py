"""The console: accounts, their sessions, and in the audit trail which account did it; studies by their newest image."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, ForeignKey

from spinepacs.store.columns import SafeText, UtcTime

revision = "r0015"
down_revision = "r0014"


def upgrade() -> None:
    """Add two tables, a column and an index."""
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
