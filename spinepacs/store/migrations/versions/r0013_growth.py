"""What is looked for over and over has an index of its own, which holds only what is open: it stays small for ever."""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "r0013"
down_revision = "r0012"

_PARTIAL = {
    "ix_arrivals_received": ("arrivals", ["state", "arrival_id"], "state = 'received'"),
    "ix_arrivals_kept": ("arrivals", ["study_uid", "size_bytes"], "file_deleted_at IS NULL"),
    "ix_objects_kept": ("objects", ["reading_id", "size_bytes"], "file_deleted_at IS NULL"),
    "ix_attempts_open": ("attempts", ["study_uid"], "ended_at IS NULL"),
    "ix_outbox_open": ("outbox", ["destination", "state", "created_at"], "state IN ('pending', 'failed')"),
    "ix_studies_mixed": ("studies", ["study_uid"], "patients_differ_at IS NOT NULL"),
}


def upgrade() -> None:
    """Make the indexes; those of arrivals by state and by study hold what else is asked for with them."""
    for name, (table, columns, where) in _PARTIAL.items():
        op.create_index(name, table, columns, sqlite_where=text(where), postgresql_where=text(where))
    op.create_index("ix_studies_state_changed_at", "studies", ["state", "changed_at"])
    op.create_index("ix_arrivals_state_reason_code", "arrivals", ["state", "reason_code"])
    op.drop_index("ix_arrivals_state", "arrivals")
    op.create_index("ix_arrivals_study_uid_state", "arrivals", ["study_uid", "state"])
    op.drop_index("ix_arrivals_study_uid", "arrivals")
