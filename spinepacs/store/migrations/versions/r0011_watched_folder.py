"""The watched folder's own facts: names of its files, and what lies in its ``failed/``."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Index, MetaData, Table

from spinepacs.store.columns import Key, SafeText, UtcTime
from spinepacs.store.migrations.versions import r0010_own_patient as r0010

revision = "r0011"
down_revision = "r0010"

metadata = MetaData(naming_convention={"pk": "pk_%(table_name)s"})

Table(
    "failed_files",
    metadata,
    Column("failed_file_id", Key, primary_key=True),
    Column("file_name", SafeText, nullable=False),
    Column("reason_code", SafeText, nullable=False),
    Column("reason", SafeText, nullable=False),
    Column("failed_at", UtcTime, nullable=False),
    Column("gone_at", UtcTime),
    Index("ix_failed_files_gone_at", "gone_at"),
)

FILM_READINGS = r0010.VIEWS["film_readings"].replace("r.refusal_reason\n", "r.refusal_reason, a.file_name\n")


def upgrade() -> None:
    """Add the column and the table, and make the view that shows the column anew."""
    op.execute("DROP VIEW film_readings")
    op.add_column("arrivals", Column("file_name", SafeText, nullable=False, server_default=""))
    metadata.create_all(op.get_bind(), checkfirst=False)
    op.execute(FILM_READINGS)
