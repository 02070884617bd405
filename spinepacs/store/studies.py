"""The second leg: studies become ready, are claimed by workers, and end somewhere."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, exists, func, insert, or_, select, update

from spinepacs.domain.campaign import CampaignState
from spinepacs.domain.findings import Refusal, Versions
from spinepacs.domain.study import StudyState
from spinepacs.store import events, replacing
from spinepacs.store.columns import UtcTime
from spinepacs.store.records import ArrivalState, Claim, EventKind, ForCampaign, OutboxState, StudyClock
from spinepacs.store.rows import unread
from spinepacs.store.states import end_attempt, is_open, lock, move, settle
from spinepacs.store.tables import arrivals, attempts, campaigns, literally, machines, outbox, studies
from spinepacs.store.turns import announce, due, fair
from spinepacs.store.wanted import fail_films, of_campaign, versions_of

ATTEMPTS_USED_UP = "ATTEMPTS_USED_UP"
"""Reason of studies whose workers died as often as is allowed."""


_ANY_WORK = select(
    or_(
        exists().where(literally(arrivals.c.state, ArrivalState.RECEIVED)),
        exists().where(studies.c.state.in_((StudyState.ARRIVING, StudyState.READY))),
    )
)
"""Asked every second for years where nothing comes: built once."""

# So are these, since to put such a statement together costs more than to run it.
_ARRIVING = select(
    studies.c.study_uid,
    select(func.count()).where(arrivals.c.study_uid == studies.c.study_uid).scalar_subquery(),
).where(studies.c.state == StudyState.ARRIVING)
_IS_SELECTED = select(
    exists().where(arrivals.c.study_uid == bindparam("of_study"), arrivals.c.state == ArrivalState.SELECTED)
)
_NOW = bindparam("now", type_=UtcTime)
_READY = (
    select(studies.c.study_uid, studies.c.attempts, studies.c.reason, studies.c.campaign_id)
    .where(studies.c.state == StudyState.READY, or_(studies.c.due_at <= _NOW, studies.c.changed_at > _NOW))
    .order_by(studies.c.turn_at, studies.c.study_uid)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_RUNNING = select(campaigns.c.campaign_id).where(campaigns.c.state == CampaignState.RUNNING)
_IN_TURN = (
    _READY.where(or_(studies.c.campaign_id.is_(None), studies.c.urgent)),  # a person waits for a correction
    _READY.where(studies.c.campaign_id.in_(_RUNNING)),
)
_BEGIN = insert(attempts).returning(attempts.c.attempt_id)


def has_work(connection: Connection) -> bool:
    """See Ledger.has_work."""
    return bool(connection.execute(_ANY_WORK).scalar())


def arriving(connection: Connection) -> list[StudyClock]:
    """See Ledger.arriving."""
    return [StudyClock(*row) for row in connection.execute(_ARRIVING)]


def mark_ready(connection: Connection, study_uid: str) -> None:
    """See Ledger.mark_ready."""
    if lock(connection, study_uid) is not StudyState.ARRIVING:
        return
    if connection.execute(_IS_SELECTED, {"of_study": study_uid}).scalar():
        move(connection, study_uid, StudyState.READY, **fair(connection, study_uid, datetime.now(UTC)))
        announce(connection, study_uid)
    else:
        settle(connection, study_uid)


def claim(
    connection: Connection,
    versions: Versions,
    maximum_attempts: int,
    now: datetime | None,
    machine_id: str,
) -> Claim | None:
    """See Ledger.claim."""
    if machine_id and not _is_living(connection, machine_id):
        return None
    while (study := _next_due(connection, now or datetime.now(UTC))) is not None:
        campaign, with_versions, condition = None, versions, None
        if study.campaign is not None:
            campaign, with_versions = study.campaign
            condition = of_campaign(campaign.campaign_id)
        unread_arrivals = unread(connection, study.study_uid, with_versions, condition)
        asked = replacing.pending(connection, study.study_uid)
        if not unread_arrivals and not asked:
            settle(connection, study.study_uid)
        elif study.attempts >= maximum_attempts:
            reason = f"{study.attempts} attempts ended without result; the last: {study.reason or 'its worker died'}"
            _give_up(connection, study.study_uid, ATTEMPTS_USED_UP, reason, bool(unread_arrivals), campaign)
        else:
            number = study.attempts + 1
            attempt_id = _begin(connection, study.study_uid, number, machine_id)
            return Claim(
                study.study_uid,
                attempt_id,
                number,
                maximum_attempts,
                with_versions,
                tuple(unread_arrivals),
                asked,
                campaign,
            )
    return None


def _is_living(connection: Connection, machine_id: str) -> bool:
    """Whether nobody has taken this machine for dead; nobody can do so until the commit."""
    alive = select(machines.c.machine_id).where(
        machines.c.machine_id == machine_id, machines.c.ended_at.is_(None)
    )
    return connection.execute(alive.with_for_update(read=True)).first() is not None


class _Due(NamedTuple):
    study_uid: str
    attempts: int
    reason: str
    campaign: tuple[ForCampaign, Versions] | None


def _next_due(connection: Connection, now: datetime) -> _Due | None:
    """Lock and give the ready study whose turn it is and that no other claimer looks at; a campaign's come last of all.

    One that was changed in the future tells that the clock was set back since: nobody knows how long it has waited.
    """
    for question in _IN_TURN:
        if row := connection.execute(question, {"now": now}).first():
            return _Due(row.study_uid, row.attempts, row.reason, _campaign(connection, row.campaign_id))
    return None


def _campaign(connection: Connection, campaign_id: int | None) -> tuple[ForCampaign, Versions] | None:
    """Whose study it is, and what it is to be read with."""
    if campaign_id is None:
        return None
    row = connection.execute(select(campaigns).where(campaigns.c.campaign_id == campaign_id)).one()
    return (
        ForCampaign(campaign_id, row.model_folder, row.policy_file, row.delivers),
        versions_of(row),
    )


def _begin(connection: Connection, study_uid: str, number: int, machine_id: str) -> int:
    """Count the attempt and open its row, before any work."""
    move(connection, study_uid, StudyState.WORKING, attempts=number)
    row = {
        "study_uid": study_uid,
        "number": number,
        "started_at": datetime.now(UTC),
        "machine_id": machine_id,
    }
    return int(connection.execute(_BEGIN, row).scalar_one())


def fail(
    connection: Connection,
    claim: Claim,
    code: str,
    reason: str,
    *,
    transient: bool,
    counted: bool,
    retry_at: datetime | None,
) -> bool:
    """See Ledger.fail."""
    if not is_open(connection, claim):
        return False
    end_attempt(connection, claim, "failed", code, reason)
    if (
        claim.campaign is not None and not counted
    ):  # its model cannot be used, or the spool is away: said there too
        this = campaigns.c.campaign_id == claim.campaign.campaign_id
        connection.execute(update(campaigns).where(this).values(trouble=reason))
    attempts_made = claim.attempt_number - (not counted)
    if transient and attempts_made < claim.maximum_attempts:
        again = {**due(retry_at or datetime.now(UTC)), "attempts": attempts_made}
        move(connection, claim.study_uid, StudyState.READY, **again, reason_code=code, reason=reason)
        if retry_at is None:  # else nobody need look before it is due
            announce(connection, claim.study_uid)
    else:
        _give_up(connection, claim.study_uid, code, reason, bool(claim.arrivals), claim.campaign)
    return True


def _give_up(
    connection: Connection,
    study_uid: str,
    code: str,
    reason: str,
    has_films: bool,
    campaign: ForCampaign | None = None,
) -> None:
    """A study whose films cannot be read has failed; one whose films are read stays, without what a person asked.

    Of a campaign only its films have failed: the study goes back to where its own readings put it.
    """
    if not has_films:
        for job in replacing.pending(connection, study_uid):
            replacing.refuse(connection, job, Refusal(code, reason))
        settle(connection, study_uid)
        return
    if campaign is not None:
        fail_films(connection, campaign.campaign_id, study_uid, code, reason)
        settle(connection, study_uid)
        return
    move(connection, study_uid, StudyState.FAILED, reason_code=code, reason=reason)
    events.add(connection, EventKind.FAILED, study_uid, "", code)


def return_orphans(connection: Connection, in_hand: Collection[str], machine_id: str) -> int:
    """See Ledger.return_orphans."""
    now = datetime.now(UTC)
    living = select(machines.c.machine_id).where(
        machines.c.ended_at.is_(None), machines.c.machine_id != machine_id
    )
    connection.execute(
        update(attempts)
        .where(
            attempts.c.ended_at.is_(None),
            attempts.c.study_uid.not_in(in_hand),
            attempts.c.machine_id.not_in(living),
        )
        .values(ended_at=now, outcome="orphaned")
    )
    in_work = exists().where(attempts.c.study_uid == studies.c.study_uid, attempts.c.ended_at.is_(None))
    returned = connection.execute(
        update(studies)
        .where(studies.c.state == StudyState.WORKING, studies.c.study_uid.not_in(in_hand), ~in_work)
        .values(state=StudyState.READY, changed_at=now, **due(now))
        .returning(studies.c.study_uid)
    ).scalars()
    orphans = list(returned)
    for study_uid in orphans:
        events.add(connection, EventKind.ORPHANED, study_uid)
    announce(connection, *orphans)
    return len(orphans)


def retry(connection: Connection, study_uid: str | None, destination: str | None) -> int:
    """See Ledger.retry."""
    now = datetime.now(UTC)
    again = (
        update(studies)
        .where(studies.c.state == StudyState.FAILED)
        .values(state=StudyState.READY, attempts=0, changed_at=now, reason_code="", reason="", **due(now))
        .returning(studies.c.study_uid)
    )
    resend = (
        update(outbox)
        .where(outbox.c.state == OutboxState.FAILED)
        .values(state=OutboxState.PENDING, attempts=0, losses=0, next_attempt_at=now)
        .returning(outbox.c.study_uid)
    )
    if study_uid is not None:
        again = again.where(studies.c.study_uid == study_uid)
        resend = resend.where(outbox.c.study_uid == study_uid)
    if destination is not None:
        resend = resend.where(outbox.c.destination == destination)
    retried = list(connection.execute(resend).scalars())
    if destination is None:
        read_again = list(connection.execute(again).scalars())
        announce(connection, *read_again)
        retried += read_again
    for uid in sorted(set(retried)):
        events.add(connection, EventKind.RETRIED, uid)
    return len(retried)
