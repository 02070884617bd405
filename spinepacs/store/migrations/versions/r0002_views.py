"""The views that people query; docs/sql.md documents them, and their columns stay.

Plain SQL that SQLite and PostgreSQL read alike.
"""

from __future__ import annotations

from alembic import op

revision = "r0002"
down_revision = "r0001"

# A newer model or policy reads an image again: its newest reading is the current one.
_IS_CURRENT = """NOT EXISTS (
        SELECT 1 FROM readings newer WHERE newer.arrival_id = r.arrival_id AND newer.reading_id > r.reading_id
    )"""

_WHO_AND_WHAT = f"""
    s.study_uid, s.patient_id, s.patient_sex, s.patient_age_years, s.study_date, s.accession_number,
    s.body_part, r.series_uid, r.sop_uid, r.reading_id, r.view_position,
    {_IS_CURRENT} AS is_current,
    r.model_name, r.model_version, r.policy_name, r.policy_version, r.read_at"""

_FINDING = """
    f.kind AS finding, f.value, f.unit, f.computed_grade, f.published_grade, f.reason AS grade_reason"""

VERTEBRA_FINDINGS = f"""
CREATE VIEW vertebra_findings AS
SELECT {_WHO_AND_WHAT},
    v.level, v.level_order, v.raw_level, v.raw_score, v.level_reason, v.score,
    v.centre_x_px, v.centre_y_px, v.area_px,
    v.area_px * r.row_mm * r.column_mm AS area_mm2, r.spacing_basis, r.magnification,
    {_FINDING}
FROM vertebrae v
JOIN readings r ON r.reading_id = v.reading_id
JOIN studies s ON s.study_uid = r.study_uid
LEFT JOIN findings f ON f.reading_id = v.reading_id AND f.level = v.level
"""  # noqa: S608 - fixed text

DISC_FINDINGS = f"""
CREATE VIEW disc_findings AS
SELECT {_WHO_AND_WHAT},
    d.disc, d.disc_order, d.upper_level, d.lower_level,
    upper.raw_level AS upper_raw_level, lower.raw_level AS lower_raw_level,
    d.anterior_px, d.middle_px, d.posterior_px, d.left_px, d.right_px,
    d.anterior_mm, d.middle_mm, d.posterior_mm, d.left_mm, d.right_mm,
    r.spacing_basis, r.magnification, d.height_index, d.wedge_deg,
    {_FINDING}
FROM discs d
JOIN readings r ON r.reading_id = d.reading_id
JOIN studies s ON s.study_uid = r.study_uid
LEFT JOIN vertebrae upper ON upper.reading_id = d.reading_id AND upper.level = d.upper_level
LEFT JOIN vertebrae lower ON lower.reading_id = d.reading_id AND lower.level = d.lower_level
LEFT JOIN findings f ON f.reading_id = d.reading_id AND f.disc = d.disc
"""  # noqa: S608 - fixed text

DELIVERIES = """
CREATE VIEW deliveries AS
SELECT q.study_uid, s.patient_id, s.accession_number, r.sop_uid AS source_sop_uid, o.kind, o.sop_uid,
    o.series_uid, q.destination, q.state, q.attempts, q.status, q.message, q.created_at, q.last_attempt_at,
    q.next_attempt_at, q.sent_at, o.sha256, o.size_bytes,
    r.model_name, r.model_version, r.policy_name, r.policy_version
FROM outbox q
JOIN objects o ON o.sop_uid = q.sop_uid
JOIN readings r ON r.reading_id = o.reading_id
JOIN studies s ON s.study_uid = q.study_uid
"""


def _current(what: str, table: str) -> str:
    """Count or the like over rows that belong to a study's current readings."""
    return f"""(
        SELECT {what} FROM {table} t JOIN readings r ON r.reading_id = t.reading_id
        WHERE r.study_uid = s.study_uid AND {_IS_CURRENT}
    )"""  # noqa: S608 - fixed text


def _images(condition: str) -> str:
    return f"(SELECT count(*) FROM arrivals a WHERE a.study_uid = s.study_uid AND {condition})"  # noqa: S608 - fixed text


def _sent(state: str) -> str:
    return f"(SELECT count(*) FROM outbox q WHERE q.study_uid = s.study_uid AND q.state = '{state}')"  # noqa: S608 - fixed text


_HAS_READING = """EXISTS (
        SELECT 1 FROM readings r WHERE r.arrival_id = a.arrival_id AND r.refusal_code = ''
    )"""

STUDY_SUMMARY = f"""
CREATE VIEW study_summary AS
SELECT s.study_uid, s.state, s.reason_code, s.reason, s.patient_id, s.patient_sex, s.patient_age_years,
    s.study_date, s.accession_number, s.study_description, s.modality, s.body_part,
    {_images("a.state IN ('selected', 'refused')")} AS images,
    {_images("a.state = 'selected'")} AS images_selected,
    {_images(_HAS_READING)} AS images_read,
    {_current("count(*)", "vertebrae")} AS vertebrae,
    {_current("count(*)", "discs")} AS discs,
    {_current("max(t.published_grade)", "findings")} AS highest_grade,
    {_sent("pending")} AS objects_pending,
    {_sent("sent")} AS objects_sent,
    {_sent("failed")} AS objects_failed,
    s.attempts, s.first_arrival_at, s.last_arrival_at, s.changed_at
FROM studies s
"""  # noqa: S608 - fixed text


def upgrade() -> None:
    """Make the views."""
    for view in (STUDY_SUMMARY, VERTEBRA_FINDINGS, DISC_FINDINGS, DELIVERIES):
        op.execute(view)
