"""Why a measure is not published, as with grades; empty in older rows. What is withheld is not followed up."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column

from spinepacs.store.columns import SafeText
from spinepacs.store.migrations.versions import r0010_own_patient as r0010

revision = "r0012"
down_revision = "r0011"

_REASON = """,
    (SELECT max(m.reason) FROM measures m WHERE m.reading_id = d.reading_id AND m.place = d.disc) AS measure_reason
FROM discs d"""
_VIEWS = (
    r0010.VIEWS["study_measures"].replace("m.convex_left", "m.convex_left, m.reason"),
    r0010.VIEWS["disc_measures"].replace("\nFROM discs d", _REASON),
    r0010.VIEWS["disc_follow_up"].replace(
        "WHERE m.patient_id", "WHERE coalesce(m.measure_reason, '') = '' AND m.patient_id"
    ),
)


def upgrade() -> None:
    """Add the column, and make the views that show it anew; one of them stands on another."""
    for view in ("disc_follow_up", "disc_measures", "study_measures"):
        op.execute(f"DROP VIEW {view}")
    op.add_column("measures", Column("reason", SafeText, nullable=False, server_default=""))
    for sql in _VIEWS:
        op.execute(sql)
