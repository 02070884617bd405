"""The states of studies, arrivals and outbox items: which may follow which, and the moves that several legs make.

docs/state-machines.md draws them; a test holds the drawing against :data:`STUDY_MOVES`, :data:`ARRIVAL_MOVES` and
:data:`OUTBOX_MOVES`, and these against what the ledger does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Connection, bindparam, exists, select, update

from spinepacs.domain.study import StudyState
from spinepacs.errors import Permanent
from spinepacs.store.records import ArrivalState, Claim, CorrectionState, OutboxState
from spinepacs.store.tables import arrivals, attempts, outbox, readings, studies

STUDY_MOVES: Mapping[StudyState | None, frozenset[StudyState]] = {
    None: frozenset({StudyState.ARRIVING}),
    StudyState.ARRIVING: frozenset({StudyState.READY, StudyState.REFUSED}),
    StudyState.READY: frozenset(
        {StudyState.WORKING, StudyState.RECORDED, StudyState.DELIVERED, StudyState.REFUSED, StudyState.FAILED}
    ),
    StudyState.WORKING: frozenset(
        {
            StudyState.READY,
            StudyState.ARRIVING,
            StudyState.RECORDED,
            StudyState.DELIVERED,
            StudyState.REFUSED,
            StudyState.FAILED,
        }
    ),
    StudyState.RECORDED: frozenset({StudyState.DELIVERED, StudyState.ARRIVING, StudyState.READY}),
    StudyState.DELIVERED: frozenset({StudyState.ARRIVING, StudyState.READY}),
    StudyState.REFUSED: frozenset({StudyState.ARRIVING, StudyState.READY}),
    StudyState.FAILED: frozenset({StudyState.READY, StudyState.ARRIVING, StudyState.REFUSED}),
}
"""States that may follow each state of a study; None: it is new."""

ARRIVAL_MOVES: Mapping[ArrivalState | None, frozenset[ArrivalState]] = {
    None: frozenset({ArrivalState.RECEIVED, ArrivalState.CONFLICT}),
    ArrivalState.RECEIVED: frozenset({ArrivalState.SELECTED, ArrivalState.REFUSED, ArrivalState.UNREADABLE}),
    ArrivalState.CONFLICT: frozenset({ArrivalState.RECEIVED}),
    ArrivalState.UNREADABLE: frozenset({ArrivalState.RECEIVED}),
    ArrivalState.REFUSED: frozenset({ArrivalState.RECEIVED}),
    ArrivalState.SELECTED: frozenset(),
}

OUTBOX_MOVES: Mapping[OutboxState | None, frozenset[OutboxState]] = {
    None: frozenset({OutboxState.PENDING}),
    OutboxState.PENDING: frozenset({OutboxState.SENT, OutboxState.FAILED, OutboxState.WITHDRAWN}),
    OutboxState.SENT: frozenset({OutboxState.COMMITTED, OutboxState.PENDING, OutboxState.FAILED}),
    OutboxState.FAILED: frozenset({OutboxState.PENDING, OutboxState.WITHDRAWN}),
    OutboxState.COMMITTED: frozenset(),
    OutboxState.WITHDRAWN: frozenset(),
}

CORRECTION_MOVES: Mapping[CorrectionState | None, frozenset[CorrectionState]] = {
    None: frozenset({CorrectionState.PENDING}),
    CorrectionState.PENDING: frozenset({CorrectionState.DONE, CorrectionState.REFUSED}),
    CorrectionState.DONE: frozenset({CorrectionState.SUPERSEDED}),
    CorrectionState.REFUSED: frozenset(),
    CorrectionState.SUPERSEDED: frozenset(),
}

SETTLED = (StudyState.RECORDED, StudyState.DELIVERED, StudyState.REFUSED, StudyState.FAILED)
"""States in which nothing is going to happen to a study by itself, except deliveries."""

ANEW: Mapping[str, object] = {
    "state": ArrivalState.RECEIVED, "reason_code": "", "reason": "", "registrations": 0,
}  # fmt: skip
"""What the row of a file says whose header is to be read as if it had just come."""

# Made once: to put such a statement together costs more than to run it.
_THIS = studies.c.study_uid == bindparam("of_study")
_STATE = select(studies.c.state).where(_THIS).with_for_update()
_CHANGE = update(studies).where(_THIS)
_MOVES = {
    state: _CHANGE.where(
        studies.c.state.in_([state, *(one for one, after in STUDY_MOVES.items() if one and state in after)])
    )
    for state in StudyState
}
_SENDING = (
    select(outbox.c.state, outbox.c.commitment_due_at.is_not(None))
    .where(outbox.c.study_uid == bindparam("of_study"))
    .distinct()
)
_IS_READ = select(
    exists().where(readings.c.study_uid == bindparam("of_study"), readings.c.refusal_code == "")
)
_ENDED = select(attempts.c.ended_at).where(attempts.c.attempt_id == bindparam("of_attempt"))
_END = update(attempts).where(attempts.c.attempt_id == bindparam("of_attempt"))


def lock(connection: Connection, study_uid: str) -> StudyState:
    """State of a study, locked against other transactions until the commit (on SQLite all are)."""
    return StudyState(connection.execute(_STATE, {"of_study": study_uid}).scalar_one())


def move(connection: Connection, study_uid: str, state: StudyState, **values: object) -> None:
    """Put a study, which the caller has locked, into a state that may follow its own, or leave it there."""
    changes = {"state": state, "changed_at": datetime.now(UTC), **values}
    computed = {name: value for name, value in changes.items() if isinstance(value, ColumnElement)}
    plain = {name: value for name, value in changes.items() if name not in computed}
    statement = _MOVES[state].values(computed) if computed else _MOVES[state]
    moved = connection.execute(statement, {"of_study": study_uid, **plain})
    if not moved.rowcount:
        raise Permanent(f"a study cannot become {state.value} from where it is: a defect of the ledger")


def settle(connection: Connection, study_uid: str) -> None:
    """Put a study that has nothing left to read where its readings and its outbox say."""
    this = {"of_study": study_uid}
    rows = connection.execute(_SENDING, this)
    sending = {(OutboxState(state), bool(is_awaited)) for state, is_awaited in rows}
    if any(state in (OutboxState.PENDING, OutboxState.FAILED) or awaits for state, awaits in sending):
        move(connection, study_uid, StudyState.RECORDED, reason_code="", reason="")
    elif sending or connection.execute(_IS_READ, this).scalar():
        move(connection, study_uid, StudyState.DELIVERED, reason_code="", reason="")
    else:
        code, reason = _first_refusal(connection, study_uid)
        move(connection, study_uid, StudyState.REFUSED, reason_code=code, reason=reason)
    # A campaign has it only as long as something of it waits to be read.
    connection.execute(_CHANGE, {**this, "campaign_id": None})


def _first_refusal(connection: Connection, study_uid: str) -> tuple[str, str]:
    """Why a study was refused: what its first reading says, else its first arrival."""
    by_reading = (
        select(readings.c.refusal_code, readings.c.refusal_reason)
        .where(readings.c.study_uid == study_uid)
        .order_by(readings.c.reading_id)
    )
    by_arrival = (
        select(arrivals.c.reason_code, arrivals.c.reason)
        .where(arrivals.c.study_uid == study_uid, arrivals.c.state == ArrivalState.REFUSED)
        .order_by(arrivals.c.arrival_id)
    )
    for question in (by_reading, by_arrival):
        if row := connection.execute(question.limit(1)).first():
            return str(row[0]), str(row[1])
    return "", ""


def is_open(connection: Connection, claim: Claim) -> bool:
    """Whether a claim is still good; the study stays locked until the commit."""
    lock(connection, claim.study_uid)
    return connection.execute(_ENDED, {"of_attempt": claim.attempt_id}).scalar_one() is None


def end_attempt(connection: Connection, claim: Claim, outcome: str, code: str = "", reason: str = "") -> None:
    """Close the row of an attempt."""
    how = {"ended_at": datetime.now(UTC), "outcome": outcome, "reason_code": code, "reason": reason}
    connection.execute(_END, {"of_attempt": claim.attempt_id, **how})


def settle_all(connection: Connection, study_uids: Collection[str]) -> None:
    """Move on those of the studies that wait for their deliveries only."""
    for study_uid in sorted(set(study_uids)):  # in one order, so that two of us cannot lock each other out
        if lock(connection, study_uid) is StudyState.RECORDED:
            settle(connection, study_uid)


def waive(connection: Connection, destination: str) -> int:
    """No longer wait for the commitment of what this destination has accepted; how many objects."""
    awaited = (outbox.c.destination == destination, outbox.c.commitment_due_at.is_not(None))
    waived = update(outbox).where(*awaited).values(commitment_due_at=None).returning(outbox.c.study_uid)
    study_uids = list(connection.execute(waived).scalars())
    settle_all(connection, study_uids)
    return len(study_uids)
