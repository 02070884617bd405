"""What is only ever appended: events beside the plain path, and rows of the audit trail that no trigger writes."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, insert

from spinepacs.store.records import NewArrival
from spinepacs.store.tables import audit_events, events


def add(connection: Connection, kind: str, study_uid: str = "", sop_uid: str = "", detail: str = "") -> None:
    """Append one event, now."""
    row = {"kind": kind, "study_uid": study_uid, "sop_uid": sop_uid, "detail": detail}
    connection.execute(insert(events).values(happened_at=datetime.now(UTC), **row))


def add_access(
    connection: Connection, action: str, account: str, peer: str, study_uid: str = "", detail: str = ""
) -> None:
    """Write what a person did in the console: which account, from which address, and about which study."""
    row = {"action": action, "account": account, "peer": peer, "study_uid": study_uid, "detail": detail}
    connection.execute(insert(audit_events).values(happened_at=datetime.now(UTC), **row))


def add_query(connection: Connection, study_uid: str, archive: str, detail: str) -> None:
    """Write that an archive was asked for studies of a patient, that of ``study_uid``, and what it answered."""
    row = {"action": "queried", "study_uid": study_uid, "destination": archive, "detail": detail}
    connection.execute(insert(audit_events).values(happened_at=datetime.now(UTC), **row))


def add_duplicate(connection: Connection, new: NewArrival, study_uid: str) -> None:
    """Write that a file came once more, from whom."""
    row = {
        "action": "duplicate",
        "study_uid": study_uid,
        "sop_uid": new.sop_uid,
        "sop_class_uid": new.sop_class_uid,
        "sha256": new.sha256,
        "calling_ae": new.calling_ae,
        "called_ae": new.called_ae,
        "peer": new.peer,
        "detail": new.source.value,
    }
    connection.execute(insert(audit_events).values(happened_at=datetime.now(UTC), **row))
