"""The views over measures, signs and conclusions, and one that follows a disc through the years.

docs/sql.md documents them, and their columns stay. Plain SQL that SQLite and PostgreSQL read alike.
"""

from __future__ import annotations

from alembic import op

revision = "r0004"
down_revision = "r0003"

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
    f.kind AS finding, f.value, f.unit, f.computed_grade, f.published_grade, f.reason AS grade_reason,
    f.side, f.scheme, f.uncertainty, f.basis, f.lowest_grade, f.highest_grade, f.expected, f.expected_from,
    f.form, f.reference_scheme, f.reference_grade"""

_READING = "JOIN readings r ON r.reading_id = {row}.reading_id JOIN studies s ON s.study_uid = r.study_uid"

_NEIGHBOURS = """LEFT JOIN vertebrae upper ON upper.reading_id = d.reading_id AND upper.level = d.upper_level
LEFT JOIN vertebrae lower ON lower.reading_id = d.reading_id AND lower.level = d.lower_level"""

VERTEBRA_FINDINGS = f"""
CREATE VIEW vertebra_findings AS
SELECT {_WHO_AND_WHAT},
    v.level, v.level_order, v.raw_level, v.raw_score, v.level_reason, v.score,
    v.centre_x_px, v.centre_y_px, v.area_px,
    v.area_px * r.row_mm * r.column_mm AS area_mm2, r.spacing_basis, r.magnification,
    {_FINDING}
FROM vertebrae v
{_READING.format(row="v")}
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
{_READING.format(row="d")}
{_NEIGHBOURS}
LEFT JOIN findings f ON f.reading_id = d.reading_id AND f.disc = d.disc
"""  # noqa: S608 - fixed text

FILM_READINGS = f"""
CREATE VIEW film_readings AS
SELECT {_WHO_AND_WHAT}, s.study_description, r.rows_px, r.columns_px, r.row_mm, r.column_mm, r.spacing_basis,
    r.magnification, r.anterior_left, r.anterior_basis, r.missing_levels, r.notes, r.refusal_code, r.refusal_reason
FROM readings r
JOIN studies s ON s.study_uid = r.study_uid
"""  # noqa: S608 - fixed text

STUDY_FINDINGS = f"""
CREATE VIEW study_findings AS
SELECT {_WHO_AND_WHAT}, f.finding_id, f.place, f.level_order, {_FINDING}
FROM findings f
{_READING.format(row="f")}
"""  # noqa: S608 - fixed text

STUDY_MEASURES = f"""
CREATE VIEW study_measures AS
SELECT {_WHO_AND_WHAT}, m.quantity, m.place, m.upper_level, m.lower_level, m.level_order,
    m.value, m.unit, m.uncertainty, m.basis, m.apex, m.convex_left
FROM measures m
{_READING.format(row="m")}
"""  # noqa: S608 - fixed text

STUDY_CONCLUSIONS = f"""
CREATE VIEW study_conclusions AS
SELECT {_WHO_AND_WHAT}, c.conclusion_id, c.area, c.span, c.scheme, c.computed_degree, c.published_degree,
    c.statement, c.sentence, c.reason, c.for_age
FROM conclusions c
{_READING.format(row="c")}
"""  # noqa: S608 - fixed text


def _measured(quantity: str, alias: str, unit: str = "", what: str = "value") -> str:
    """One measure of a disc as a column, where it has the unit."""
    only = f" AND m.unit = '{unit}'" if unit else ""
    return f"""(SELECT m.{what} FROM measures m WHERE m.reading_id = d.reading_id
        AND m.quantity = '{quantity}' AND m.place = d.disc{only}) AS {alias}"""  # noqa: S608 - fixed text


def _graded(kind: str, what: str, alias: str) -> str:
    """A column of one sign at a disc."""
    return f"""(SELECT max(f.{what}) FROM findings f WHERE f.reading_id = d.reading_id
        AND f.kind = '{kind}' AND f.place = d.disc) AS {alias}"""  # noqa: S608 - fixed text


_DISC_COLUMNS = ",\n    ".join(
    [
        _measured("disc_height_anterior", "anterior_mm_sd", "mm", "uncertainty"),
        _measured("disc_height_middle", "middle_mm_sd", "mm", "uncertainty"),
        _measured("disc_height_posterior", "posterior_mm_sd", "mm", "uncertainty"),
        _measured("disc_height_index", "height_index_sd", what="uncertainty"),
        _measured("disc_angle", "wedge_deg_sd", what="uncertainty"),
        _measured("disc_height_frobin", "frobin_index"),
        _measured("disc_height_dabbs", "dabbs_mm", "mm"),
        _measured("disc_height_hurxthal", "hurxthal_mm", "mm"),
        _measured("slip", "slip_mm", "mm"),
        _measured("slip", "slip_mm_sd", "mm", "uncertainty"),
        _measured("slip_share", "slip_share"),
        _measured("slip_share", "slip_share_sd", what="uncertainty"),
        _measured("lateral_listhesis", "lateral_listhesis_mm", "mm"),
        _graded("disc_height_loss", "value", "height_loss"),
        _graded("disc_height_loss", "uncertainty", "height_loss_sd"),
        _graded("disc_height_loss", "expected", "expected_height_index"),
        _graded("disc_height_loss", "computed_grade", "computed_stage"),
        _graded("disc_height_loss", "published_grade", "stage"),
        _graded("disc_height_loss", "reason", "stage_reason"),
        _graded("spondylolisthesis", "published_grade", "spondylolisthesis_grade"),
        _graded("osteophytes", "published_grade", "osteophytes_grade"),
        _graded("subchondral_sclerosis", "published_grade", "sclerosis_grade"),
        _graded("disc_degeneration", "published_grade", "degeneration_degree"),
    ]
)

DISC_MEASURES = f"""
CREATE VIEW disc_measures AS
SELECT {_WHO_AND_WHAT},
    d.disc, d.disc_order, d.upper_level, d.lower_level,
    upper.raw_level AS upper_raw_level, lower.raw_level AS lower_raw_level,
    d.anterior_mm, d.middle_mm, d.posterior_mm, d.left_mm, d.right_mm, r.spacing_basis, r.magnification,
    d.anterior_px, d.middle_px, d.posterior_px, d.left_px, d.right_px, d.height_index, d.wedge_deg,
    {_DISC_COLUMNS}
FROM discs d
{_READING.format(row="d")}
{_NEIGHBOURS}
"""  # noqa: S608 - fixed text

# One disc is followed within one model, the newest policy's reading of each film; the film before is the one before
# in time. Errors of two films are independent, so the change's variance is the sum of theirs (1.96² = 3.8416).
DISC_FOLLOW_UP = """
CREATE VIEW disc_follow_up AS
WITH followed AS (
    SELECT m.*, row_number() OVER (
        PARTITION BY m.sop_uid, m.disc, m.model_name, m.model_version ORDER BY m.reading_id DESC
    ) AS newest
    FROM disc_measures m
    WHERE m.patient_id <> '' AND m.study_date IS NOT NULL
), paired AS (
    SELECT f.*,
        lag(study_date) OVER film AS previous_date, lag(sop_uid) OVER film AS previous_sop_uid,
        lag(height_index) OVER film AS previous_index, lag(height_index_sd) OVER film AS previous_sd,
        lag(middle_mm) OVER film AS previous_mm, lag(spacing_basis) OVER film AS previous_basis,
        lag(stage) OVER film AS previous_stage
    FROM followed f
    WHERE newest = 1
    WINDOW film AS (
        PARTITION BY patient_id, disc, view_position, model_name, model_version
        ORDER BY study_date, reading_id
    )
)
SELECT patient_id, patient_sex, patient_age_years, disc, disc_order, view_position, study_date, study_uid, sop_uid,
    reading_id, is_current, model_name, model_version, policy_name, policy_version,
    height_index, height_index_sd, anterior_mm, middle_mm, posterior_mm, spacing_basis, magnification,
    height_loss, stage, stage_reason, slip_mm, slip_share,
    previous_date, previous_sop_uid,
    height_index - previous_index AS height_index_change,
    (height_index - previous_index) * (height_index - previous_index)
        > 3.8416 * (height_index_sd * height_index_sd + previous_sd * previous_sd) AS is_beyond_error,
    CASE WHEN spacing_basis = previous_basis THEN middle_mm - previous_mm END AS middle_mm_change,
    stage - previous_stage AS stage_change
FROM paired
"""


def _current(what: str, table: str, condition: str = "") -> str:
    """Count or the like over rows that belong to a study's current readings."""
    return f"""(
        SELECT {what} FROM {table} t JOIN readings r ON r.reading_id = t.reading_id
        WHERE r.study_uid = s.study_uid AND {_IS_CURRENT}{condition}
    )"""  # noqa: S608 - fixed text


def _images(condition: str) -> str:
    return f"(SELECT count(*) FROM arrivals a WHERE a.study_uid = s.study_uid AND {condition})"  # noqa: S608 - fixed text


def _sent(state: str) -> str:
    return f"(SELECT count(*) FROM outbox q WHERE q.study_uid = s.study_uid AND q.state = '{state}')"  # noqa: S608 - fixed text


_HAS_READING = """EXISTS (
        SELECT 1 FROM readings r WHERE r.arrival_id = a.arrival_id AND r.refusal_code = ''
    )"""

# Grades of different signs have different scales: the highest grade stays what it was, the stage of disc height.
STUDY_SUMMARY = f"""
CREATE VIEW study_summary AS
SELECT s.study_uid, s.state, s.reason_code, s.reason, s.patient_id, s.patient_sex, s.patient_age_years,
    s.study_date, s.accession_number, s.study_description, s.modality, s.body_part,
    {_images("a.state IN ('selected', 'refused')")} AS images,
    {_images("a.state = 'selected'")} AS images_selected,
    {_images(_HAS_READING)} AS images_read,
    {_current("count(*)", "vertebrae")} AS vertebrae,
    {_current("count(*)", "discs")} AS discs,
    {_current("max(t.published_grade)", "findings", " AND t.kind = 'disc_height_loss'")} AS highest_grade,
    {_sent("pending")} AS objects_pending,
    {_sent("sent")} AS objects_sent,
    {_sent("failed")} AS objects_failed,
    s.attempts, s.first_arrival_at, s.last_arrival_at, s.changed_at,
    {_current("max(t.published_degree)", "conclusions")} AS highest_degree
FROM studies s
"""  # noqa: S608 - fixed text

_VIEWS = (
    STUDY_SUMMARY, VERTEBRA_FINDINGS, DISC_FINDINGS, FILM_READINGS, STUDY_FINDINGS, STUDY_MEASURES, STUDY_CONCLUSIONS,
    DISC_MEASURES, DISC_FOLLOW_UP,
)  # fmt: skip


def upgrade() -> None:
    """Make the views."""
    for view in _VIEWS:
        op.execute(view)
