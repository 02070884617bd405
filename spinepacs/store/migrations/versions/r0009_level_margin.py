"""How sure the level of each vertebra is, beside the network's own answer; NULL in rows of r0008 and before."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column

from spinepacs.store.columns import Measure

revision = "r0009"
down_revision = "r0008"

# A newer model or policy reads an image again: its newest reading is the current one.
VERTEBRA_FINDINGS = """
CREATE VIEW vertebra_findings AS
SELECT s.study_uid, s.patient_id, s.patient_sex, s.patient_age_years, s.study_date, s.accession_number,
    s.body_part, r.series_uid, r.sop_uid, r.reading_id, r.view_position,
    NOT EXISTS (
        SELECT 1 FROM readings newer WHERE newer.arrival_id = r.arrival_id AND newer.reading_id > r.reading_id
    ) AS is_current,
    r.model_name, r.model_version, r.policy_name, r.policy_version, r.read_at,
    v.level, v.level_order, v.raw_level, v.raw_score, v.level_reason, v.score,
    v.centre_x_px, v.centre_y_px, v.area_px,
    v.area_px * r.row_mm * r.column_mm AS area_mm2, r.spacing_basis, r.magnification,
    f.kind AS finding, f.value, f.unit, f.computed_grade, f.published_grade, f.reason AS grade_reason,
    f.side, f.scheme, f.uncertainty, f.basis, f.lowest_grade, f.highest_grade, f.expected, f.expected_from,
    f.form, f.reference_scheme, f.reference_grade,
    v.level_margin
FROM vertebrae v
JOIN readings r ON r.reading_id = v.reading_id
JOIN studies s ON s.study_uid = r.study_uid
LEFT JOIN findings f ON f.reading_id = v.reading_id AND f.level = v.level
"""


def upgrade() -> None:
    """Add the column, and make the view that shows it anew."""
    op.execute("DROP VIEW vertebra_findings")
    op.add_column("vertebrae", Column("level_margin", Measure))
    op.execute(VERTEBRA_FINDINGS)
