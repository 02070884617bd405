"""The watched folder's own facts: names of its files, and what lies in its ``failed/``."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Index, MetaData, Table

from spinepacs.store.columns import Key, SafeText, UtcTime

revision = "r0011"
down_revision = "r0009"

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

# A newer model or policy reads an image again: its newest reading is the current one.
FILM_READINGS = """
CREATE VIEW film_readings AS
SELECT s.study_uid, s.patient_id, s.patient_sex, s.patient_age_years, s.study_date, s.accession_number,
    s.body_part, r.series_uid, r.sop_uid, r.reading_id, r.view_position,
    NOT EXISTS (
        SELECT 1 FROM readings newer WHERE newer.arrival_id = r.arrival_id AND newer.reading_id > r.reading_id
    ) AS is_current,
    r.model_name, r.model_version, r.policy_name, r.policy_version, r.read_at,
    s.study_description, r.rows_px, r.columns_px, r.row_mm, r.column_mm, r.spacing_basis,
    r.magnification, r.anterior_left, r.anterior_basis, r.missing_levels, r.notes, r.refusal_code, r.refusal_reason,
    a.file_name
FROM readings r
JOIN studies s ON s.study_uid = r.study_uid
JOIN arrivals a ON a.arrival_id = r.arrival_id
"""


def upgrade() -> None:
    """Add the column and the table, and make the view that shows the column anew."""
    op.execute("DROP VIEW film_readings")
    op.add_column("arrivals", Column("file_name", SafeText, nullable=False, server_default=""))
    metadata.create_all(op.get_bind(), checkfirst=False)
    op.execute(FILM_READINGS)
