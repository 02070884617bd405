"""What a person should look at though nothing is left to do: films that the reading refused, studies of two patients.

It is shown until somebody says that it has been seen to, the film's file is given up, or it has been read after all.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Select, exists, func, or_, select, update

from spinepacs.domain.study import NO_FILM, Source
from spinepacs.store import events
from spinepacs.store.records import ArrivalState, EventKind
from spinepacs.store.tables import arrivals, readings, studies


def films() -> Select[Any]:
    """Films whose newest reading has refused them, one row each."""
    newer = readings.alias()
    replaced = exists().where(
        newer.c.arrival_id == readings.c.arrival_id,
        or_(newer.c.reading_id > readings.c.reading_id, newer.c.author != ""),
    )
    return (
        select(
            readings.c.sop_uid, readings.c.study_uid, readings.c.refusal_code.label("reason_code"),
            readings.c.refusal_reason.label("reason"), readings.c.read_at, arrivals.c.calling_ae,
        )
        .join(arrivals, arrivals.c.arrival_id == readings.c.arrival_id)
        .join(studies, studies.c.study_uid == readings.c.study_uid)
        .where(
            readings.c.refusal_code != "",
            readings.c.author == "",  # a person who rejects a reading has seen it
            readings.c.campaign_id.is_(None),  # a campaign's are in its report
            ~replaced,
            arrivals.c.file_deleted_at.is_(None),
            or_(studies.c.seen_at.is_(None), studies.c.seen_at < readings.c.read_at),
        )
    )  # fmt: skip


def mixed() -> Select[Any]:
    """Studies whose films name several patients, one row each."""
    # Asked for each study that is marked, so that the marks are where it begins, be there ever so many films.
    named = select(func.count(arrivals.c.patient_id.distinct())).where(
        arrivals.c.study_uid == studies.c.study_uid,
        arrivals.c.state == ArrivalState.SELECTED,
        arrivals.c.patient_id != "",
    )
    return select(
        studies.c.study_uid,
        studies.c.state,
        studies.c.patients_differ_at,
        named.scalar_subquery().label("patients"),
    ).where(
        studies.c.patients_differ_at.is_not(None),
        or_(studies.c.seen_at.is_(None), studies.c.seen_at < studies.c.patients_differ_at),
    )


def turned_down() -> Select[Any]:
    """Images that the rules have refused and whose files are kept: how many for each reason; not what is no film."""
    return (
        select(
            arrivals.c.reason_code,
            arrivals.c.reason,
            func.count().label("images"),
            func.max(arrivals.c.received_at).label("newest_at"),
        )
        .where(
            arrivals.c.state == ArrivalState.REFUSED,
            arrivals.c.reason_code.not_in(NO_FILM),
            arrivals.c.source != Source.CAMPAIGN.value,
            arrivals.c.file_deleted_at.is_(None),
        )
        .group_by(arrivals.c.reason_code, arrivals.c.reason)
    )


def count(connection: Connection) -> dict[str, int]:
    """How many films, and how many studies, nobody has seen to."""
    return {
        what: connection.execute(select(func.count()).select_from(question.subquery())).scalar_one()
        for what, question in (("films", films()), ("studies", mixed()))
    }


def see(connection: Connection, study_uid: str | None) -> int:
    """See Ledger.see."""
    questions = [films(), mixed()]
    if study_uid is not None:
        of_it = (readings.c.study_uid == study_uid, studies.c.study_uid == study_uid)
        questions = [question.where(its) for question, its in zip(questions, of_it, strict=True)]
    shown = {row.study_uid for question in questions for row in connection.execute(question)}
    now = datetime.now(UTC)
    for uid in sorted(shown):
        connection.execute(update(studies).where(studies.c.study_uid == uid).values(seen_at=now))
        events.add(connection, EventKind.SEEN, uid)
    return len(shown)
