"""Priors: whose earlier studies an archive is to be asked for, and which of a campaign's studies were found so."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Date, Integer, UniqueConstraint, text

from spinepacs.store.columns import Key, SafeText, UtcTime

revision = "r0020"
down_revision = "r0019"


def upgrade() -> None:
    """Add a table, and a column that leads to it."""
    op.create_table(
        "prior_asks",
        Column("ask_id", Key, primary_key=True),
        Column("patient_id", SafeText, nullable=False),
        Column("issuer", SafeText, nullable=False),
        Column("study_uid", SafeText, nullable=False),
        Column("study_date", Date),
        Column("state", SafeText, nullable=False),
        Column("attempts", Integer, nullable=False, server_default="0"),
        Column("reason_code", SafeText, nullable=False, server_default=""),
        Column("reason", SafeText, nullable=False, server_default=""),
        Column("due_at", UtcTime, nullable=False),
        Column("wanted_at", UtcTime, nullable=False),
        Column("asked_at", UtcTime),
        Column("found", Integer, nullable=False, server_default="0"),
        Column("strangers", Integer, nullable=False, server_default="0"),
        UniqueConstraint("patient_id", "issuer", name="uq_prior_asks_patient_id_issuer"),
    )
    is_open = text("state IN ('waiting', 'asking', 'failed')")
    op.create_index(
        "ix_prior_asks_open", "prior_asks", ["due_at"], sqlite_where=is_open, postgresql_where=is_open
    )
    op.add_column("campaign_items", Column("ask_id", Key))
