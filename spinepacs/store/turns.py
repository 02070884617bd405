"""Whose turn it is: studies in the order in which they became due, urgent ones with a head start, senders in turns."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, case, literal, select, update

from spinepacs.domain.study import StudyState
from spinepacs.store.columns import UtcTime
from spinepacs.store.insertion import insert_into
from spinepacs.store.tables import arrivals, senders, studies

HEAD_START = timedelta(hours=1)
"""An urgent study goes before those that became due less than this before it, and after those that have waited longer:
so nobody starves, however many are urgent."""

REREAD_WAIT = timedelta(days=1)
"""A study that is read again goes after all that becomes due within this time: a campaign over an archive does not hold
up the films of the day, and is not held up by them for ever."""


SPACING = timedelta(minutes=1)
"""The studies of one sender count as if they had become due at least so far apart: who sends a thousand at once does
not hold up those who send one. It is longer than a study takes to read; among one sender's own it changes nothing."""

LONGEST_WAIT = timedelta(hours=12)
"""No study is put off by its sender's others for longer, and none of the day behind what is read again."""

# Made once: to put such a statement together costs more than to run it.
_KIND = select(studies.c.urgent, studies.c.rereading).where(studies.c.study_uid == bindparam("of_study"))
_SENDER = (
    select(arrivals.c.calling_ae)
    .where(arrivals.c.study_uid == bindparam("of_study"))
    .order_by(arrivals.c.arrival_id)
    .limit(1)
)
_LAST = select(senders.c.turn_at).where(senders.c.sender == bindparam("of_sender")).with_for_update()
_NEXT = update(senders).where(senders.c.sender == bindparam("of_sender"))


def due(at: datetime) -> dict[str, object]:
    """What a study's row says when it is to be worked on from a time on."""
    turn_at = case(
        (studies.c.rereading, literal(at + REREAD_WAIT, UtcTime)),
        (studies.c.urgent, literal(at - HEAD_START, UtcTime)),
        else_=literal(at, UtcTime),
    )
    return {"due_at": at, "turn_at": turn_at}


def fair(connection: Connection, study_uid: str, at: datetime) -> dict[str, object]:
    """What the row of a study, which the caller has locked, says when it becomes ready, in its sender's turn."""
    study = connection.execute(_KIND, {"of_study": study_uid}).one()
    if study.urgent or study.rereading:
        return due(at)
    sender = connection.execute(_SENDER, {"of_study": study_uid}).scalar() or ""
    row = {"sender": sender, "turn_at": at - SPACING}
    connection.execute(insert_into(connection, senders).on_conflict_do_nothing(), row)
    last = connection.execute(_LAST, {"of_sender": sender}).scalar_one()
    turn_at = min(max(at, last + SPACING), at + LONGEST_WAIT)
    connection.execute(_NEXT, {"of_sender": sender, "turn_at": turn_at})
    return {"due_at": at, "turn_at": turn_at}


def announce(connection: Connection, *study_uids: str) -> None:
    """Say that studies have become ready, to whom the database was told to say it (see Database)."""
    told = connection.get_execution_options().get("spinepacs_announce")
    if told is not None and study_uids:
        told(connection, study_uids)


def make_urgent(connection: Connection, study_uid: str) -> None:
    """Make a study, which the caller has locked, urgent; one that waits already gets its head start at once."""
    this = studies.c.study_uid == study_uid
    row = connection.execute(select(studies.c.state, studies.c.urgent, studies.c.due_at).where(this)).one()
    if not row.urgent:
        ahead = {"turn_at": row.due_at - HEAD_START} if row.state == StudyState.READY else {}
        connection.execute(update(studies).where(this).values(urgent=True, **ahead))
