"""Campaigns over an archive: what is asked for, how far it is, and which study and which reading belongs to one."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Boolean, Column, ForeignKey, Integer, UniqueConstraint, false, text

from spinepacs.store.columns import Key, Measure, PlainJson, SafeText, UtcTime

revision = "r0016"
down_revision = "r0015"


def upgrade() -> None:
    """Add three tables, and to studies and readings whose they are; campaigns are never deleted."""
    op.create_table(
        "campaigns",
        Column("campaign_id", Key, primary_key=True),
        Column("name", SafeText, nullable=False),
        Column("state", SafeText, nullable=False),
        Column("kind", SafeText, nullable=False),
        Column("place", SafeText, nullable=False),
        Column("move_to", SafeText, nullable=False),
        Column("credentials", SafeText, nullable=False),
        Column("query", PlainJson, nullable=False),
        Column("wanted", PlainJson),
        Column("model_folder", SafeText, nullable=False),
        Column("policy_file", SafeText, nullable=False),
        Column("model_name", SafeText, nullable=False),
        Column("model_version", SafeText, nullable=False),
        Column("policy_name", SafeText, nullable=False),
        Column("policy_version", SafeText, nullable=False),
        Column("delivers", Boolean, nullable=False),
        Column("per_hour", Measure),
        Column("hours", PlainJson, nullable=False),
        Column("position", SafeText, nullable=False, server_default=""),
        Column("listed_at", UtcTime),
        Column("trouble", SafeText, nullable=False, server_default=""),
        Column("created_at", UtcTime, nullable=False),
        Column("changed_at", UtcTime, nullable=False),
        UniqueConstraint("name", name="uq_campaigns_name"),
    )
    op.create_table(
        "campaign_items",
        Column("item_id", Key, primary_key=True),
        Column("campaign_id", Key, ForeignKey("campaigns.campaign_id"), nullable=False),
        Column("what", SafeText, nullable=False),
        Column("state", SafeText, nullable=False),
        Column("attempts", Integer, nullable=False, server_default="0"),
        Column("reason_code", SafeText, nullable=False, server_default=""),
        Column("reason", SafeText, nullable=False, server_default=""),
        Column("asked_at", UtcTime),
        Column("due_at", UtcTime),
        Column("changed_at", UtcTime, nullable=False),
        UniqueConstraint("campaign_id", "what", name="uq_campaign_items_campaign_id_what"),
    )
    op.create_index(
        "ix_campaign_items_campaign_id_state", "campaign_items", ["campaign_id", "state", "item_id"]
    )
    op.create_index("ix_campaign_items_campaign_id_asked_at", "campaign_items", ["campaign_id", "asked_at"])
    op.create_table(
        "campaign_films",
        Column("film_id", Key, primary_key=True),
        Column("item_id", Key, ForeignKey("campaign_items.item_id"), nullable=False),
        Column("campaign_id", Key, ForeignKey("campaigns.campaign_id"), nullable=False),
        Column("sop_uid", SafeText, nullable=False),
        Column("study_uid", SafeText, nullable=False),
        Column("state", SafeText, nullable=False),
        Column("reason_code", SafeText, nullable=False, server_default=""),
        Column("reason", SafeText, nullable=False, server_default=""),
        UniqueConstraint("campaign_id", "sop_uid", name="uq_campaign_films_campaign_id_sop_uid"),
    )
    op.create_index("ix_campaign_films_item_id", "campaign_films", ["item_id"])
    op.create_index("ix_campaign_films_sop_uid", "campaign_films", ["sop_uid"])
    op.create_index("ix_campaign_films_study_uid", "campaign_films", ["study_uid"])
    op.create_index(
        "ix_campaign_films_campaign_id_state", "campaign_films", ["campaign_id", "state", "reason_code"]
    )
    op.add_column("studies", Column("campaign_id", Key))
    is_of_one = text("campaign_id IS NOT NULL")
    op.create_index(
        "ix_studies_campaign",
        "studies",
        ["campaign_id", "state"],
        sqlite_where=is_of_one,
        postgresql_where=is_of_one,
    )
    op.add_column("readings", Column("campaign_id", Key))
    op.add_column("readings", Column("bare", Boolean, nullable=False, server_default=false()))
