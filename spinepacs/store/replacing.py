"""A person's correction on its way: claimed with its study, recorded in place of what the film had before."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, bindparam, exists, or_, select, update

from spinepacs.domain.corrections import OPERATIONS, Correction, Draft
from spinepacs.domain.findings import DOCUMENTS, REPLACED, EarlierObject, EncodedObject, ObjectKind, Refusal
from spinepacs.settings.destinations import Destination
from spinepacs.store import events
from spinepacs.store.records import CorrectionJob, CorrectionState, EventKind, OutboxState
from spinepacs.store.rows import as_arrivals, columns
from spinepacs.store.tables import arrivals, corrections, objects, outbox, readings

# Made once: they are asked for each study, and to put them together costs more than to run them.
_BY_PERSON = select(exists().where(readings.c.arrival_id == bindparam("of_arrival"), readings.c.author != ""))
_PENDING = (
    select(corrections)
    .where(corrections.c.study_uid == bindparam("of_study"), corrections.c.state == CorrectionState.PENDING)
    .order_by(corrections.c.correction_id)
)


def by_person(connection: Connection, arrival_id: int) -> bool:
    """Whether a person has made a reading of a film."""
    return bool(connection.execute(_BY_PERSON, {"of_arrival": arrival_id}).scalar())


def pending(connection: Connection, study_uid: str) -> tuple[CorrectionJob, ...]:
    """Corrections of a study that wait, oldest first."""
    waiting = connection.execute(_PENDING, {"of_study": study_uid})
    return tuple(_job(connection, row) for row in waiting.all())


def refuse(connection: Connection, job: CorrectionJob, refusal: Refusal) -> None:
    """Write down why a correction cannot be made."""
    why = {"refusal_code": refusal.code, "refusal_reason": refusal.reason}
    _end(connection, job, CorrectionState.REFUSED, **why)
    _say(connection, EventKind.CORRECTION_REFUSED, job, refusal.code)


def addressees(
    connection: Connection,
    job: CorrectionJob,
    items: Sequence[EncodedObject],
    destinations: Sequence[Destination],
) -> list[tuple[EncodedObject, str]]:
    """Who gets what: whoever has, or was to get, results of the film; of documents, of any film of its study.

    The key object goes to who may hold what it rejects.
    """
    of_film = _of_film(job.arrival.arrival_id)
    of_study = outbox.c.study_uid == job.arrival.study_uid
    known = select(outbox.c.destination).join(objects, objects.c.sop_uid == outbox.c.sop_uid)
    # What a person has withdrawn from a destination is not sent there after all; what a correction has, was replaced.
    addressed = known.where(or_(outbox.c.state != OutboxState.WITHDRAWN, objects.c.replaced_by.is_not(None)))
    holding = known.where(
        of_film,
        objects.c.replaced_by.is_(None),
        objects.c.kind.in_(REPLACED),
        or_(outbox.c.attempts > 0, outbox.c.state.in_((OutboxState.SENT, OutboxState.COMMITTED))),
    )
    questions = (addressed.where(of_film), addressed.where(of_study), holding)
    of_its, of_any, had = (set(connection.execute(question).scalars()) for question in questions)
    return [
        (item, destination.name)
        for item in items
        for destination in destinations
        if (
            destination.name in had
            if item.kind is ObjectKind.REJECTION
            else destination.name in (of_any if item.kind in DOCUMENTS else of_its)
            and item.kind.value in destination.send
        )
    ]


def replace_earlier(connection: Connection, job: CorrectionJob) -> None:
    """Mark the film's earlier objects as replaced, and no longer send those that were still to be sent.

    So are documents that hold the film, or others of its owner: there is a new one of all of them.
    """
    replaced = (ObjectKind.SR,) if job.correction.draft.is_acceptance else REPLACED
    arrival_id = job.arrival.arrival_id
    old = (
        update(objects)
        .where(
            objects.c.replaced_by.is_(None),
            _of_study(arrival_id),  # said once more, since no database looks an "or" up in an index
            or_(
                and_(_of_film(arrival_id), objects.c.kind.in_(replaced)),
                and_(_of_owner(arrival_id), objects.c.kind.in_(DOCUMENTS)),
            ),
        )
        .values(replaced_by=job.correction_id)
        .returning(objects.c.sop_uid)
    )
    sop_uids = list(connection.execute(old).scalars())
    connection.execute(
        update(outbox)
        .where(
            outbox.c.sop_uid.in_(sop_uids),
            outbox.c.state.in_((OutboxState.PENDING, OutboxState.FAILED)),
        )
        .values(state=OutboxState.WITHDRAWN, message="replaced by what a person has corrected")
    )


def finish(connection: Connection, job: CorrectionJob) -> None:
    """Say that a correction is the film's reading, and earlier ones no longer."""
    connection.execute(
        update(corrections)
        .where(
            corrections.c.arrival_id == job.arrival.arrival_id,
            corrections.c.state == CorrectionState.DONE,
        )
        .values(state=CorrectionState.SUPERSEDED)
    )
    _end(connection, job, CorrectionState.DONE)
    _say(connection, EventKind.CORRECTED, job)


def _end(connection: Connection, job: CorrectionJob, state: CorrectionState, **values: str) -> None:
    this = (corrections.c.correction_id == job.correction_id, corrections.c.state == CorrectionState.PENDING)
    changes = {"state": state, "ended_at": datetime.now(UTC), **values}
    connection.execute(update(corrections).where(*this).values(changes))


def _say(connection: Connection, kind: EventKind, job: CorrectionJob, code: str = "") -> None:
    detail = f"{kinds(job.correction.draft)}, by {job.correction.draft.author}"
    detail += f": {code}" if code else ""
    events.add(connection, kind, job.arrival.study_uid or "", job.arrival.sop_uid, detail)


def kinds(draft: Draft) -> str:
    """What was done, in words of the operations: reasons stay in the table."""
    return " ".join(dict.fromkeys(one.kind for one in draft.operations))


def _of_film(arrival_id: int) -> ColumnElement[bool]:
    """Objects of any reading of a film."""
    of_film = select(readings.c.reading_id).where(readings.c.arrival_id == arrival_id)
    return objects.c.reading_id.in_(of_film)


def _of_owner(arrival_id: int) -> ColumnElement[bool]:
    """Objects of films that documents have together with a film: of its study, of the same patient and request."""
    this = arrivals.alias()
    of_owner = (
        select(readings.c.reading_id)
        .join(arrivals, arrivals.c.arrival_id == readings.c.arrival_id)
        .join(this, arrivals.c.study_uid == this.c.study_uid)
        .where(
            this.c.arrival_id == arrival_id,
            arrivals.c.patient_id == this.c.patient_id,
            arrivals.c.accession_number == this.c.accession_number,
            arrivals.c.study_date.is_not_distinct_from(this.c.study_date),
        )
    )
    return objects.c.reading_id.in_(of_owner)


def _of_study(arrival_id: int) -> ColumnElement[bool]:
    """Objects of any film of a film's study."""
    this = select(arrivals.c.study_uid).where(arrivals.c.arrival_id == arrival_id).scalar_subquery()
    return objects.c.reading_id.in_(select(readings.c.reading_id).where(readings.c.study_uid == this))


def correction_of(row: Row[Any]) -> Correction:
    """A row of ``corrections`` as what a person has asked for."""
    draft = Draft(OPERATIONS.validate_python(row.operations), row.author, row.organisation, row.reason)
    return Correction(row.uid, draft, row.made_at, row.drawn_by)


def _job(connection: Connection, row: Row[Any]) -> CorrectionJob:
    of_film = columns().where(arrivals.c.arrival_id == row.arrival_id)
    (arrival,) = as_arrivals(connection.execute(of_film))
    earlier = _earlier(connection, row.arrival_id)
    return CorrectionJob(row.correction_id, arrival, correction_of(row), earlier)


def _earlier(connection: Connection, arrival_id: int) -> tuple[EarlierObject, ...]:
    """Results of the film's readings that are, or were to be, in archives; the newest of a kind last."""
    sent = exists().where(outbox.c.sop_uid == objects.c.sop_uid, outbox.c.state != OutboxState.WITHDRAWN)
    there = select(objects.c.kind, objects.c.sop_uid, objects.c.sop_class_uid, objects.c.series_uid).where(
        _of_film(arrival_id),
        objects.c.replaced_by.is_(None),
        objects.c.kind.in_([kind.value for kind in REPLACED]),
        sent,
    )
    rows = connection.execute(there.order_by(objects.c.reading_id, objects.c.kind))
    return tuple(EarlierObject(ObjectKind(row.kind), *row[1:]) for row in rows)
