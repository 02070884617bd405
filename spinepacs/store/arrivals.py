"""The first leg: files come in, their headers are read, they find their study."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, func, insert, not_, select, update

from spinepacs.domain.findings import Refusal
from spinepacs.domain.study import Arrival, Source, StudyHeader, StudyState
from spinepacs.store import events, patients, prior_asks, wanted
from spinepacs.store.insertion import insert_into
from spinepacs.store.records import ArrivalOutcome, ArrivalState, EventKind, NewArrival, Registration
from spinepacs.store.rows import as_arrivals, columns
from spinepacs.store.states import ANEW, SETTLED, lock, move
from spinepacs.store.tables import arrivals, literally, studies
from spinepacs.store.turns import make_urgent

_OUT_OF_USE = (ArrivalState.CONFLICT, ArrivalState.UNREADABLE)

# Made once: to put such a statement together costs more than to run it.
_KNOWN = (
    select(arrivals.c.arrival_id, arrivals.c.sha256, arrivals.c.state, arrivals.c.reason_code,
           arrivals.c.study_uid, arrivals.c.file_deleted_at, arrivals.c.source)
    .where(arrivals.c.sop_uid == bindparam("of_sop_uid"))
    .with_for_update()
)  # fmt: skip
_INSERT = insert(arrivals)
_ATTACH = update(arrivals).where(
    arrivals.c.arrival_id == bindparam("of_arrival"), arrivals.c.state == ArrivalState.RECEIVED
)
_STUDY = select(studies).where(studies.c.study_uid == bindparam("of_study")).with_for_update()
_WAITING = (
    columns()
    .where(literally(arrivals.c.state, ArrivalState.RECEIVED))
    .order_by(arrivals.c.arrival_id)
    .limit(bindparam("most"))
)
# What has a study already is to be selected anew, and nobody waits for it, or for what a campaign brings, as for what
# has just come.
_IS_NEW = and_(arrivals.c.study_uid.is_(None), arrivals.c.source != Source.CAMPAIGN.value)
_NEW, _OLD = _WAITING.where(_IS_NEW), _WAITING.where(not_(_IS_NEW))
_CHANGE_STUDY = update(studies).where(studies.c.study_uid == bindparam("of_study"))

FILE_MISSING = "FILE_MISSING"
"""Reason of files that are no longer in the spool: the same image is welcome again."""


def add(connection: Connection, new: NewArrival) -> ArrivalOutcome:
    """See Ledger.add_arrival."""
    # Locked, so that mark_unreadable of the first file does not miss a conflict that is being added.
    known = connection.execute(_KNOWN, {"of_sop_uid": new.sop_uid}).all()
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
        connection.execute(_INSERT, {"state": ArrivalState.RECEIVED, **row})
        return ArrivalOutcome.NEW
    reason = "another file of this SOP UID came earlier; this one is kept beside it and not read"
    connection.execute(
        insert(arrivals).values(state=ArrivalState.CONFLICT, reason_code="CONFLICT", reason=reason, **row)
    )
    events.add(connection, EventKind.CONFLICT, study_uid, new.sop_uid, f"kept as {new.sha256}")
    return ArrivalOutcome.CONFLICT


def _come_again(connection: Connection, row: Any, new: NewArrival, *, may_be_read: bool) -> None:
    """The same file once more: it is there again, and what could not be done without it, or its sender, is done now.

    One that was refused is selected anew, by today's rules; one that a person had given up is wanted again.
    """
    changes: dict[str, Any] = {"file_deleted_at": None}
    was_given_up = row.file_deleted_at is not None
    is_anew = (
        row.reason_code == FILE_MISSING
        or row.state == ArrivalState.REFUSED
        or (row.state == ArrivalState.UNREADABLE and was_given_up)
    )
    if may_be_read and is_anew:
        sender = {
            name: getattr(new, name) for name in ("calling_ae", "called_ae", "peer", "source", "file_name")
        }
        changes |= {**ANEW, "study_uid": None, **sender}
    elif row.state == ArrivalState.SELECTED and was_given_up:
        _take_up(connection, row.study_uid, new)
    if (
        row.source == Source.CAMPAIGN
        and new.source is not Source.CAMPAIGN
        and wanted.campaign_of(connection, new) is None
    ):
        changes["source"] = new.source.value
        _become_work(connection, row, new)
    connection.execute(update(arrivals).where(arrivals.c.arrival_id == row.arrival_id).values(changes))


def _become_work(connection: Connection, row: Any, new: NewArrival) -> None:
    """What a campaign had brought comes by itself: from now on it is part of the day's work, and delivered."""
    if row.state != ArrivalState.SELECTED:
        return
    state, changes = lock(connection, row.study_uid), {"campaign_id": None, "rereading": False}
    if state in SETTLED:
        opened = {"attempts": 0, "reason_code": "", "reason": "", "last_arrival_at": new.received_at}
        move(connection, row.study_uid, StudyState.ARRIVING, **changes, **opened)
        events.add(connection, EventKind.REOPENED, row.study_uid, new.sop_uid, "a campaign had brought it")
    else:
        move(connection, row.study_uid, state, **changes, turn_at=new.received_at)


def _take_up(connection: Connection, study_uid: str, new: NewArrival) -> None:
    """Open a study again that was refused, or discarded, and of which a film is there again."""
    if lock(connection, study_uid) is StudyState.REFUSED:
        opened = {"attempts": 0, "reason_code": "", "reason": "", "rereading": False}
        move(connection, study_uid, StudyState.ARRIVING, **opened, last_arrival_at=new.received_at)
        events.add(connection, EventKind.REOPENED, study_uid, new.sop_uid, "was refused")


def unregistered(connection: Connection, limit: int, urgent_aes: Collection[str]) -> list[Arrival]:
    """See Ledger.unregistered."""
    most = {"most": limit}
    rows: list[Row[Any]] = []
    if urgent_aes:
        urgent = _NEW.where(arrivals.c.calling_ae.in_(urgent_aes))
        rows += connection.execute(urgent, {"most": limit // 2})
    rows += connection.execute(_NEW, most)
    if len(rows) < limit:
        rows += connection.execute(_OLD, most)
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


def begin_first_registrations(connection: Connection, arrival_ids: Collection[int]) -> set[int]:
    """See Ledger.begin_first_registrations."""
    counted = (
        update(arrivals)
        .where(arrivals.c.arrival_id.in_(arrival_ids), arrivals.c.registrations == 0)
        .values(registrations=1)
        .returning(arrivals.c.arrival_id)
    )
    return set(connection.execute(counted).scalars())


def register(connection: Connection, found: Sequence[Registration]) -> None:
    """See Ledger.register."""
    ids = [each.arrival_id for each in found]
    known = as_arrivals(connection.execute(columns().where(arrivals.c.arrival_id.in_(ids))))
    by_id = {arrival.arrival_id: arrival for arrival in known}
    for each in found:
        arrival = by_id.get(each.arrival_id)
        if arrival is None:
            raise LookupError(f"no arrival {each.arrival_id}")
        _register(connection, arrival, each)


def _register(connection: Connection, arrival: Arrival, found: Registration) -> None:
    header, refusal, drop = found.header, found.refusal, found.drop
    if header.sop_uid != arrival.sop_uid:
        reason = "the header holds another SOP Instance UID than the sender stated; send the image again"
        mark_unreadable(connection, arrival.arrival_id, Refusal("SOP_UID_MISMATCH", reason))
        return
    campaign_id = wanted.campaign_of(connection, arrival) if arrival.study_uid is None else None
    if campaign_id is not None and (other := prior_asks.stranger(connection, campaign_id, header)):
        refusal, drop = other, True
    study = _study(connection, header, arrival.received_at, campaign_id)
    attached = connection.execute(
        _ATTACH,
        {
            "of_arrival": arrival.arrival_id,
            "state": ArrivalState.REFUSED if refusal else ArrivalState.SELECTED,
            "reason_code": refusal.code if refusal else "",
            "reason": refusal.reason if refusal else "",
            "study_uid": header.study_uid,
            "series_uid": header.series_uid,
            "modality": header.modality,
            "body_part": header.body_part,
            **patients.of_film(header),
            **({"source": Source.CAMPAIGN.value} if campaign_id is not None else {}),
            **({"file_deleted_at": datetime.now(UTC)} if drop else {}),
        },
    )
    if attached.rowcount and (refusal is None or study["state"] == StudyState.ARRIVING):
        is_work = campaign_id is None and arrival.source is not Source.CAMPAIGN
        _follow(connection, header, arrival, study, campaign_id, selected=refusal is None, is_work=is_work)
        if found.urgent and is_work:
            make_urgent(connection, header.study_uid)
        if found.ask_again_after is not None and is_work and refusal is None and arrival.study_uid is None:
            is_new, day = patients.is_first_film(connection, header.study_uid), patients.day_of(header)
            prior_asks.ask_for(connection, header, day, found.ask_again_after, is_new_study=is_new)
    elif attached.rowcount and refusal:  # its study may have been refused while it waited to be selected anew
        silent = (studies.c.state == StudyState.REFUSED, studies.c.reason_code == "")
        why = {"reason_code": refusal.code, "reason": refusal.reason}
        connection.execute(
            update(studies).where(studies.c.study_uid == header.study_uid, *silent).values(why)
        )


def _study(
    connection: Connection, header: StudyHeader, received_at: datetime, campaign_id: int | None
) -> dict[str, Any]:
    """Row of the header's study, which is made if it is new; it is locked until the commit (on SQLite all are)."""
    this = {"of_study": header.study_uid}
    known = connection.execute(_STUDY, this).mappings().first()
    if known is None:
        row = {
            "study_uid": header.study_uid,
            "state": StudyState.ARRIVING,
            "due_at": received_at,
            "turn_at": received_at,
            "first_arrival_at": received_at,
            "last_arrival_at": received_at,
            "changed_at": datetime.now(UTC),
            "campaign_id": campaign_id,
            "rereading": campaign_id is not None,
            **patients.of_study(header),
        }
        connection.execute(insert_into(connection, studies).on_conflict_do_nothing(), row)
        known = connection.execute(_STUDY, this).mappings().one()
    return dict(known)


def _follow(
    connection: Connection,
    header: StudyHeader,
    arrival: Arrival,
    study: dict[str, Any],
    campaign_id: int | None,
    *,
    selected: bool,
    is_work: bool,
) -> None:
    """Let the study, whose locked row this is, follow an image that has been attached."""
    state = StudyState(study["state"])
    changes: dict[str, Any] = {"last_arrival_at": max(study["last_arrival_at"], arrival.received_at)}
    if selected:
        changes |= patients.attach(connection, header, study)
        # Only what has just come gives a study a turn of its own; see turns.REREAD_WAIT.
        if arrival.study_uid is None and is_work:
            changes |= {"rereading": False, "campaign_id": None}
            if state is StudyState.READY and study["campaign_id"] is not None:
                changes["turn_at"] = arrival.received_at
        elif state in SETTLED:
            changes |= {"rereading": True, "campaign_id": campaign_id}
    if selected and state in SETTLED:
        changes |= {"state": StudyState.ARRIVING, "attempts": 0, "reason_code": "", "reason": ""}
        changes["changed_at"] = datetime.now(UTC)
        events.add(connection, EventKind.REOPENED, header.study_uid, header.sop_uid, f"was {state.value}")
    connection.execute(_CHANGE_STUDY, {"of_study": header.study_uid, **changes})
