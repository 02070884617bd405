"""One patient's course is found by the patient: the view went through every disc of the archive first.

Neither SQLite nor PostgreSQL looks for a patient before a window that is not divided by patients.
"""

from __future__ import annotations

from alembic import op

from spinepacs.store.migrations.versions import r0015_corrections as r0015

revision = "r0018"
down_revision = "r0017"

DISC_FOLLOW_UP = r0015.VIEWS["disc_follow_up"].replace(
    "PARTITION BY m.sop_uid, m.disc", "PARTITION BY m.patient_id, m.sop_uid, m.disc"
)


def upgrade() -> None:
    """Make the view anew."""
    op.execute("DROP VIEW disc_follow_up")
    op.execute(DISC_FOLLOW_UP)
