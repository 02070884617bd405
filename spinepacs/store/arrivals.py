"""The first leg: files come in, their headers are read, they find their study."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from spinepacs.domain.findings import Refusal
from spinepacs.domain.study import Arrival, Source, StudyHeader, StudyState
from spinepacs.store import events
from spinepacs.store.records import ArrivalOutcome, ArrivalState, EventKind, NewArrival
from spinepacs.store.rows import as_arrivals, columns
from spinepacs.store.states import SETTLED, lock
from spinepacs.store.tables import arrivals, studies
from spinepacs.store.turns import make_urgent

_OUT_OF_USE = (ArrivalState.CONFLICT, ArrivalState.UNREADABLE)

FILE_MISSING = "FILE_MISSING"
"""Reason of files that are no longer in the spool: the same image is welcome again."""


def add(connection: Connection, new: NewArrival) -> ArrivalOutcome:
    """See Ledger.add_arrival."""
    # Locked, so that mark_unreadable of the first file does not miss a conflict that is being added.
    known = connection.execute(
        select(arrivals.c.arrival_id, arrivals.c.sha256, arrivals.c.state, arrivals.c.reason_code,
               arrivals.c.source, arrivals.c.study_uid)
        .where(arrivals.c.sop_uid == new.sop_uid)
        .with_for_update()
    ).all()  # fmt: skip
    study_uid = next((row.study_uid for row in known if row.study_uid), "")
    same = next((row for row in known if row.sha256 == new.sha256), None)
    if same is not None:
        others = (row.state for row in known if row is not same)
        _come_again(connection, same, new, may_be_read=all(state in _OUT_OF_USE for state in others))
        events.add(
            connection, EventKind.DUPLICATE, study_uid, new.sop_uid, f"from {new.calling_ae or new.source}"
        )
        events.add_duplicate(connection, new, study_uid)
        return ArrivalOutcome.DUPLICATE
    in_use = any(row.state not in _OUT_OF_USE for row in known)
    row = {**vars(new), "source": new.source.value}
    if not in_use:
        connection.execute(insert(arrivals).values(state=ArrivalState.RECEIVED, **row))
        return ArrivalOutcome.NEW
    reason = "another file of this SOP UID came earlier; this one is kept beside it and not read"
    connection.execute(
        insert(arrivals).values(state=ArrivalState.CONFLICT, reason_code="CONFLICT", reason=reason, **row)
    )
    events.add(connection, EventKind.CONFLICT, study_uid, new.sop_uid, f"kept as {new.sha256}")
    return ArrivalOutcome.CONFLICT


def _come_again(connection: Connection, row: Any, new: NewArrival, *, may_be_read: bool) -> None:
    """The same file once more: it is there again, and what could not be done without it, or its sender, is done now."""
    changes: dict[str, Any] = {"file_deleted_at": None}
    nobody_knew_from_whom = row.source == Source.SPOOL and row.state == ArrivalState.REFUSED
    if may_be_read and (row.reason_code == FILE_MISSING or nobody_knew_from_whom):
        sender = {
            name: getattr(new, name) for name in ("calling_ae", "called_ae", "peer", "source", "file_name")
        }
        changes |= {
            "state": ArrivalState.RECEIVED,
            "reason_code": "",
            "reason": "",
            "registrations": 0,
            **sender,
        }
    connection.execute(update(arrivals).where(arrivals.c.arrival_id == row.arrival_id).values(changes))


def unregistered(connection: Connection, limit: int, urgent_aes: Collection[str]) -> list[Arrival]:
    """See Ledger.unregistered."""
    waiting = columns().where(arrivals.c.state == ArrivalState.RECEIVED).order_by(arrivals.c.arrival_id)
    urgent = waiting.where(arrivals.c.calling_ae.in_(urgent_aes)).limit(limit // 2)
    rows = [*connection.execute(urgent)] if urgent_aes else []
    rows += connection.execute(waiting.limit(limit))
    return as_arrivals({row.arrival_id: row for row in rows}.values())[:limit]


def begin_registration(connection: Connection, arrival_id: int) -> int:
    """See Ledger.begin_registration."""
    counted = (
        update(arrivals)
        .where(arrivals.c.arrival_id == arrival_id)
        .values(registrations=arrivals.c.registrations + 1)
        .returning(arrivals.c.registrations)
    )
    return int(connection.execute(counted).scalar_one())


def mark_unreadable(connection: Connection, arrival_id: int, refusal: Refusal) -> None:
    """See Ledger.mark_unreadable."""
    marked = connection.execute(
        update(arrivals)
        .where(arrivals.c.arrival_id == arrival_id, arrivals.c.state == ArrivalState.RECEIVED)
        .values(state=ArrivalState.UNREADABLE, reason_code=refusal.code, reason=refusal.reason)
        .returning(arrivals.c.sop_uid)
    ).scalar()
    if marked is None:
        return
    events.add(connection, EventKind.UNREADABLE, "", marked, refusal.code)
    kept = select(func.min(arrivals.c.arrival_id)).where(
        arrivals.c.sop_uid == marked, arrivals.c.state == ArrivalState.CONFLICT
    )
    released = connection.execute(
        update(arrivals)
        .where(arrivals.c.arrival_id == kept.scalar_subquery())
        .values(state=ArrivalState.RECEIVED, reason_code="", reason="")
    )
    if released.rowcount:
        events.add(connection, EventKind.CONFLICT_RELEASED, "", marked)


def register(
    connection: Connection, arrival_id: int, header: StudyHeader, refusal: Refusal | None, urgent: bool
) -> None:
    """See Ledger.register."""
    found = as_arrivals(connection.execute(columns().where(arrivals.c.arrival_id == arrival_id)))
    arrival = found[0] if found else None
    if arrival is None:
        raise LookupError(f"no arrival {arrival_id}")
    if header.sop_uid != arrival.sop_uid:
        reason = "the header holds another SOP Instance UID than the sender stated; send the image again"
        mark_unreadable(connection, arrival_id, Refusal("SOP_UID_MISMATCH", reason))
        return
    state = _study_state(connection, header, arrival.received_at)
    attached = connection.execute(
        update(arrivals)
        .where(arrivals.c.arrival_id == arrival_id, arrivals.c.state == ArrivalState.RECEIVED)
        .values(
            state=ArrivalState.REFUSED if refusal else ArrivalState.SELECTED,
            reason_code=refusal.code if refusal else "",
            reason=refusal.reason if refusal else "",
            study_uid=header.study_uid,
            series_uid=header.series_uid,
            modality=header.modality,
            body_part=header.body_part,
        )
    )
    if attached.rowcount and (refusal is None or state is StudyState.ARRIVING):
        _follow(connection, header, arrival.received_at, state, selected=refusal is None)
        if urgent:
            make_urgent(connection, header.study_uid)


def _study_state(connection: Connection, header: StudyHeader, received_at: datetime) -> StudyState:
    """State of the header's study, which is made if it is new; its row is locked until the commit."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    connection.execute(
        dialect.insert(studies)
        .values(
            study_uid=header.study_uid,
            state=StudyState.ARRIVING,
            due_at=received_at,
            turn_at=received_at,
            first_arrival_at=received_at,
            last_arrival_at=received_at,
            changed_at=datetime.now(UTC),
            **_about(header),
        )
        .on_conflict_do_nothing()
    )
    return lock(connection, header.study_uid)


def _about(header: StudyHeader) -> dict[str, Any]:
    """What a study's row says about its patient and images; no name."""
    return {
        "patient_id": header.patient_id,
        "patient_sex": header.patient_sex,
        "patient_age_years": header.patient_age_years,
        "study_date": _date(header.study_date),
        "accession_number": header.accession_number,
        "study_description": header.study_description,
        "modality": header.modality,
        "body_part": header.body_part,
    }


def _date(text: str) -> date | None:
    """YYYYMMDD as a date; None where it is none."""
    try:
        return datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None


def _follow(
    connection: Connection, header: StudyHeader, received_at: datetime, state: StudyState, *, selected: bool
) -> None:
    """Let the study follow an image that has been attached; the newest selected one is right about the patient."""
    row = connection.execute(
        select(studies.c.last_arrival_at).where(studies.c.study_uid == header.study_uid)
    ).one()
    changes: dict[str, Any] = {"last_arrival_at": max(row.last_arrival_at, received_at)}
    if selected:
        changes |= _about(header)
    if selected and state in SETTLED:
        changes |= {"state": StudyState.ARRIVING, "attempts": 0, "reason_code": "", "reason": ""}
        changes["changed_at"] = datetime.now(UTC)
        events.add(connection, EventKind.REOPENED, header.study_uid, header.sop_uid, f"was {state.value}")
    connection.execute(update(studies).where(studies.c.study_uid == header.study_uid).values(**changes))
