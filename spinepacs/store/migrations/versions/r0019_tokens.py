"""Bearer tokens: by what programs show that they are an account, without its password."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, ForeignKey

from spinepacs.store.columns import SafeText, UtcTime

revision = "r0019"
down_revision = "r0018"


def upgrade() -> None:
    """Add a table."""
    op.create_table(
        "account_tokens",
        Column("token_sha256", SafeText, primary_key=True),
        Column("account", SafeText, ForeignKey("accounts.name"), nullable=False),
        Column("created_at", UtcTime, nullable=False),
        Column("expires_at", UtcTime),
    )
    op.create_index("ix_account_tokens_account", "account_tokens", ["account"])
