"""Events: an append-only record of what happened beside the plain path."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, insert

from spinepacs.store.tables import events


def add(connection: Connection, kind: str, study_uid: str = "", sop_uid: str = "", detail: str = "") -> None:
    """Append one event, now."""
    row = {"kind": kind, "study_uid": study_uid, "sop_uid": sop_uid, "detail": detail}
    connection.execute(insert(events).values(happened_at=datetime.now(UTC), **row))
