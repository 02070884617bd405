"""The audit trail: written by triggers (see migration r0006), and by :func:`add` where no row would fire one."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from spinepacs.store.records import NewArrival
from spinepacs.store.tables import audit_events, audit_exports, studies

if TYPE_CHECKING:
    from spinepacs.store.ledger import Ledger

PAGE_ROWS = 1000
"""So many rows are held in memory at a time."""


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


def operator() -> str:
    """Who runs this command: the user of the process, and who became that user by sudo."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container knows no names
        user = f"uid {os.getuid()}"
    before = os.environ.get("SUDO_USER", "")
    return f"{user} (sudo: {before})" if before else user


def exported(connection: Connection, target: str) -> int:
    """See Ledger.audit_exported."""
    reached = select(audit_exports.c.audit_id).where(audit_exports.c.target == target)
    return int(connection.execute(reached).scalar() or 0)


def mark_exported(connection: Connection, target: str, audit_id: int) -> None:
    """See Ledger.mark_audit_exported."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    row = dialect.insert(audit_exports).values(target=target, audit_id=audit_id)
    connection.execute(
        row.on_conflict_do_update(index_elements=["target"], set_={"audit_id": row.excluded.audit_id})
    )


def pages(
    ledger: Ledger, after: int = 0, since: datetime | None = None, until: datetime | None = None
) -> Iterator[list[dict[str, Any]]]:
    """Give the trail in the order in which it was written, page by page.

    Parameters
    ----------
    after
        Only rows whose ``audit_id`` is greater.
    since, until
        Zone-aware times: from ``since`` on, and before ``until``.

    Returns
    -------
    Pages of rows: the columns of ``audit_events``, and the study's ``patient_id`` and ``accession_number`` (empty
    where there is no study), which the trail itself does not hold.
    """
    patient = [func.coalesce(studies.c[name], "").label(name) for name in ("patient_id", "accession_number")]
    question = (
        select(audit_events, *patient)
        .outerjoin(studies, studies.c.study_uid == audit_events.c.study_uid)
        .order_by(audit_events.c.audit_id)
        .limit(PAGE_ROWS)
    )
    if since is not None:
        question = question.where(audit_events.c.happened_at >= since)
    if until is not None:
        question = question.where(audit_events.c.happened_at < until)
    while page := ledger.rows(question.where(audit_events.c.audit_id > after)):
        yield page
        after = page[-1]["audit_id"]
