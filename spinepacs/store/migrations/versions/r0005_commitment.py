"""Storage commitment: what a destination has promised to keep, and what was asked of it.

Rows of r0004 stay as they are: nothing that was sent before is asked for.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Integer, MetaData, Table, text

from spinepacs.store.columns import SafeText, UtcTime

revision = "r0005"
down_revision = "r0004"

metadata = MetaData(naming_convention={"pk": "pk_%(table_name)s"})

COMMITMENTS = Table(
    "commitments",
    metadata,
    Column("transaction_uid", SafeText, primary_key=True),
    Column("destination", SafeText, nullable=False),
    Column("requested_at", UtcTime, nullable=False),
    Column("objects", Integer, nullable=False),
    Column("status", Integer),
    Column("answered_at", UtcTime),
    Column("answered_by", SafeText, nullable=False, server_default=""),
    Column("committed", Integer, nullable=False, server_default="0"),
    Column("refused", Integer, nullable=False, server_default="0"),
)

_NEW_IN_OUTBOX = (
    Column("commitment_due_at", UtcTime),
    Column("commitment_requests", Integer, nullable=False, server_default="0"),
    Column("commitment_failure", Integer),
    Column("committed_at", UtcTime),
    Column("losses", Integer, nullable=False, server_default="0"),
)

DELIVERIES = """
CREATE VIEW deliveries AS
SELECT q.study_uid, s.patient_id, s.accession_number, r.sop_uid AS source_sop_uid, o.kind, o.sop_uid,
    o.series_uid, q.destination, q.state, q.attempts, q.status, q.message, q.created_at, q.last_attempt_at,
    q.next_attempt_at, q.sent_at, o.sha256, o.size_bytes,
    r.model_name, r.model_version, r.policy_name, r.policy_version,
    q.commitment_due_at, q.commitment_requests, q.commitment_failure, q.committed_at, q.losses
FROM outbox q
JOIN objects o ON o.sop_uid = q.sop_uid
JOIN readings r ON r.reading_id = o.reading_id
JOIN studies s ON s.study_uid = q.study_uid
"""

# A newer model or policy reads an image again: its newest reading is the current one.
_IS_CURRENT = """NOT EXISTS (
        SELECT 1 FROM readings newer WHERE newer.arrival_id = r.arrival_id AND newer.reading_id > r.reading_id
    )"""


def _current(what: str, table: str, condition: str = "") -> str:
    """Count or the like over rows that belong to a study's current readings."""
    return f"""(
        SELECT {what} FROM {table} t JOIN readings r ON r.reading_id = t.reading_id
        WHERE r.study_uid = s.study_uid AND {_IS_CURRENT}{condition}
    )"""  # noqa: S608 - fixed text


def _images(condition: str) -> str:
    return f"(SELECT count(*) FROM arrivals a WHERE a.study_uid = s.study_uid AND {condition})"  # noqa: S608 - fixed text


def _objects(condition: str) -> str:
    return f"(SELECT count(*) FROM outbox q WHERE q.study_uid = s.study_uid AND {condition})"  # noqa: S608 - fixed text


_HAS_READING = """EXISTS (
        SELECT 1 FROM readings r WHERE r.arrival_id = a.arrival_id AND r.refusal_code = ''
    )"""

# What is committed was accepted too: objects_sent keeps its meaning.
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
    {_objects("q.state = 'pending'")} AS objects_pending,
    {_objects("q.state IN ('sent', 'committed')")} AS objects_sent,
    {_objects("q.state = 'failed'")} AS objects_failed,
    s.attempts, s.first_arrival_at, s.last_arrival_at, s.changed_at,
    {_current("max(t.published_degree)", "conclusions")} AS highest_degree,
    {_objects("q.state = 'committed'")} AS objects_committed,
    {_objects("q.commitment_due_at IS NOT NULL")} AS objects_uncommitted
FROM studies s
"""  # noqa: S608 - fixed text


def upgrade() -> None:
    """Add the table and the columns, and make the views over them anew."""
    for view in ("study_summary", "deliveries"):
        op.execute(f"DROP VIEW {view}")
    metadata.create_all(op.get_bind(), checkfirst=False)
    for column in _NEW_IN_OUTBOX:
        op.add_column("outbox", column)
    awaited = text("commitment_due_at IS NOT NULL")
    op.create_index(
        "ix_outbox_uncommitted",
        "outbox",
        ["destination", "commitment_due_at"],
        sqlite_where=awaited,
        postgresql_where=awaited,
    )
    for view in (DELIVERIES, STUDY_SUMMARY):
        op.execute(view)
