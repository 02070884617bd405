"""Retention: when a file was deleted from the spool; its row stays. Files are looked up by their digest."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column

from spinepacs.store.columns import UtcTime
from spinepacs.store.migrations.versions.r0006_audit import Watch, watch

revision = "r0007"
down_revision = "r0006"

_GONE = "OLD.file_deleted_at IS NULL AND NEW.file_deleted_at IS NOT NULL"
_FILE = {
    "action": "'file-deleted'",
    "sop_uid": "NEW.sop_uid",
    "sop_class_uid": "NEW.sop_class_uid",
    "sha256": "NEW.sha256",
}
_OF_READING = "(SELECT study_uid FROM readings WHERE reading_id = NEW.reading_id)"
WATCHES = (
    Watch("original_deleted", "UPDATE OF file_deleted_at ON arrivals", _GONE, {
        **_FILE, "study_uid": "COALESCE(NEW.study_uid, '')", "detail": "'original'"}),
    Watch("result_deleted", "UPDATE OF file_deleted_at ON objects", _GONE, {
        **_FILE, "study_uid": _OF_READING, "detail": "NEW.kind"}),
)  # fmt: skip


def upgrade() -> None:
    """Add the column and the index to both tables of files, and audit what sets it; nothing has been deleted so far."""
    for table in ("arrivals", "objects"):
        op.add_column(table, Column("file_deleted_at", UtcTime))
        op.create_index(f"ix_{table}_sha256", table, ["sha256"])
    watch(WATCHES)
