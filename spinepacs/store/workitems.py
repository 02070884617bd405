"""Workitems in the ledger: claimed under which Transaction UID, what they refer to, and what has become of their films.

What is fetched and read for them are items of the campaign of the worklist, one for each workitem (``what`` is its
UID). Each method is one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, exists, func, insert, select, update

from spinepacs.domain.campaign import Campaign, FilmState, ItemState, WantedFilm
from spinepacs.domain.findings import DOCUMENTS
from spinepacs.domain.worklist import (
    OPEN,
    WORKLIST,
    CodedTerm,
    Fate,
    Input,
    Outcome,
    Output,
    Scheduled,
    Workitem,
    WorkitemState,
)
from spinepacs.store.engine import Database
from spinepacs.store.insertion import insert_into
from spinepacs.store.records import OutboxState
from spinepacs.store.rows import under
from spinepacs.store.tables import (
    arrivals,
    campaign_films,
    campaign_items,
    campaigns,
    literally,
    objects,
    outbox,
    readings,
    workitems,
)

LEFT_OPEN = ("NOT_TAKEN", "DIED")
"""Reasons for which one is lost and may be in progress there for ever."""

_READ_FILMS = (FilmState.READ, FilmState.KNOWN)


@dataclass(frozen=True)
class Workitems:
    """The part of the ledger that is about a worklist."""

    database: Database

    def known(self, uids: Sequence[str]) -> set[str]:
        """Those of these workitems that we have dealt with, or do, and that are not to be claimed."""
        question = select(workitems.c.workitem_uid).where(workitems.c.workitem_uid.in_(uids))
        with self.database.read() as connection:
            return set(connection.execute(question).scalars())

    def claiming(self, found: Scheduled, transaction_uid: str) -> None:
        """Write down that we are about to claim a workitem, and as what, before it is asked for."""
        now = datetime.now(UTC)
        row = {
            "workitem_uid": found.uid, "transaction_uid": transaction_uid, "state": WorkitemState.CLAIMING,
            "code": found.code and list(found.code), "priority": found.priority, "found_at": now, "due_at": now,
        }  # fmt: skip
        self.database.write(lambda connection: connection.execute(insert(workitems).values(row)))

    def open(self) -> int:
        """How many are ours, or about to be."""
        question = select(func.count()).where(_is_open())
        with self.database.read() as connection:
            return connection.execute(question).scalar_one()

    def due(self, now: datetime) -> list[Workitem]:
        """Open ones that something may be done about now, the oldest first."""
        question = select(workitems).where(_is_open(), workitems.c.due_at <= now)
        with self.database.read() as connection:
            rows = connection.execute(question.order_by(workitems.c.found_at, workitems.c.workitem_uid))
            return [_workitem(row) for row in rows]

    def begin(self, workitem: Workitem) -> None:
        """Count an attempt to say something of it, before it is made."""
        self.database.write(_set, workitem.uid, {"attempts": workitem.attempts + 1})

    def put_back(self, workitem: Workitem, reason: str, due_at: datetime, *, counted: bool) -> None:
        """Let one wait; ``counted``: the attempt was its own fault."""
        values = {"attempts": workitem.attempts + counted, "reason": reason, "due_at": due_at}
        self.database.write(_set, workitem.uid, values)

    def claimed(self, campaign: Campaign, workitem: Workitem) -> None:
        """It is ours: what it refers to is to be fetched."""
        self.database.write(_claimed, campaign.campaign_id, workitem)

    def told(self, workitem: Workitem, progress: int) -> None:
        """The server knows how far it is."""
        self.database.write(_set, workitem.uid, {"progress": progress, "attempts": 0, "reason": ""})

    def end(self, workitem: Workitem, state: WorkitemState, code: str = "", reason: str = "") -> None:
        """It is done with; what of it nobody has begun to fetch is not fetched."""
        values = {"state": state, "reason_code": code, "reason": reason, "ended_at": datetime.now(UTC)}
        self.database.write(_end, workitem.uid, values)

    def inputs(self, uid: str) -> list[Input] | None:
        """What it refers to; None: nobody has asked yet."""
        question = select(workitems.c.inputs).where(workitems.c.workitem_uid == uid)
        with self.database.read() as connection:
            found = connection.execute(question).scalar_one()
        return None if found is None else [Input(*each) for each in found]

    def refers(self, uid: str, inputs: Sequence[Input]) -> None:
        """Write down what it refers to."""
        self.database.write(_set, uid, {"inputs": [list(each) for each in inputs]})

    def wants(self, campaign: Campaign, item_id: int, uid: str, films: Sequence[WantedFilm]) -> None:
        """Write down which films that are; what an earlier workitem wanted too is looked at anew."""
        sop_uids = [film.sop_uid for film in films]
        self.database.write(_wants, campaign.campaign_id, item_id, uid, sop_uids)

    def outcome(self, campaign: Campaign, workitem: Workitem) -> Outcome:
        """What has become of its films, and of what was made of them."""
        with self.database.read() as connection:
            return _outcome(connection, campaign, workitem)

    def counts(self) -> dict[str, int]:
        """How many there are in which state."""
        question = select(workitems.c.state, func.count()).group_by(workitems.c.state)
        with self.database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(question)}

    def lost_since(self, at: datetime) -> int:
        """How many were lost since then that nobody else has: a person may have to end them at the server."""
        lost = (workitems.c.state == WorkitemState.LOST, workitems.c.reason_code.in_(LEFT_OPEN))
        question = select(func.count()).where(*lost, workitems.c.ended_at >= at)
        with self.database.read() as connection:
            return connection.execute(question).scalar_one()

    def oldest_at(self) -> datetime | None:
        """Since when the oldest open one is known; None: there is none."""
        with self.database.read() as connection:
            return connection.execute(select(func.min(workitems.c.found_at)).where(_is_open())).scalar()

    def trouble(self) -> str:
        """What the campaign of the worklist waits for; empty: nothing."""
        question = select(campaigns.c.trouble).where(campaigns.c.name == WORKLIST)
        with self.database.read() as connection:
            return connection.execute(question).scalar() or ""

    def waiting(self, limit: int = 1000) -> list[dict[str, Any]]:
        """Open ones, the oldest first, without Transaction UID."""
        names = ("workitem_uid", "state", "attempts", "reason_code", "reason", "found_at")
        question = select(*(workitems.c[name] for name in names)).where(_is_open())
        with self.database.read() as connection:
            rows = connection.execute(question.order_by(workitems.c.found_at).limit(limit)).mappings()
            return [dict(row) for row in rows]


def _is_open() -> ColumnElement[bool]:
    return literally(workitems.c.state, *OPEN)


def _workitem(row: Row[Any]) -> Workitem:
    return Workitem(
        row.workitem_uid,
        row.transaction_uid,
        WorkitemState(row.state),
        row.attempts,
        row.progress,
        CodedTerm(*row.code) if row.code else None,
        tuple(row.films or ()),
        row.claimed_at,
    )


def _set(connection: Connection, uid: str, values: dict[str, Any]) -> None:
    connection.execute(update(workitems).where(workitems.c.workitem_uid == uid).values(values))


def _end(connection: Connection, uid: str, values: dict[str, Any]) -> None:
    _set(connection, uid, values)
    asked_for = exists().where(campaign_films.c.item_id == campaign_items.c.item_id)
    unasked = (campaign_items.c.what == uid, campaign_items.c.state == ItemState.LISTED, ~asked_for)
    why = {name: values[name] for name in ("reason_code", "reason")}
    closed = {"state": ItemState.REFUSED, "changed_at": values["ended_at"], **why}
    connection.execute(update(campaign_items).where(*unasked).values(closed))


def _claimed(connection: Connection, campaign_id: int, workitem: Workitem) -> None:
    now = datetime.now(UTC)
    claimed = {"state": WorkitemState.CLAIMED, "claimed_at": now, "attempts": 0, "reason": ""}
    _set(connection, workitem.uid, claimed)
    row = {"campaign_id": campaign_id, "what": workitem.uid, "state": ItemState.LISTED, "changed_at": now}
    connection.execute(insert_into(connection, campaign_items).values(row).on_conflict_do_nothing())


def _wants(connection: Connection, campaign_id: int, item_id: int, uid: str, sop_uids: list[str]) -> None:
    _set(connection, uid, {"films": sop_uids})
    these = (campaign_films.c.campaign_id == campaign_id, campaign_films.c.sop_uid.in_(sop_uids))
    anew = {"item_id": item_id, "state": FilmState.WANTED, "reason_code": "", "reason": ""}
    connection.execute(update(campaign_films).where(*these).values(anew))


def _outcome(connection: Connection, campaign: Campaign, workitem: Workitem) -> Outcome:
    of_it = (campaign_items.c.campaign_id == campaign.campaign_id, campaign_items.c.what == workitem.uid)
    item = connection.execute(select(campaign_items).where(*of_it)).first()
    if item is None or item.state in (ItemState.LISTED, ItemState.ASKED):
        return Outcome(Fate.WAITING)
    rows = connection.execute(
        select(campaign_films.c.state, campaign_films.c.reason_code, campaign_films.c.reason)
        .where(
            campaign_films.c.campaign_id == campaign.campaign_id,
            campaign_films.c.sop_uid.in_(workitem.films),
        )
        .order_by(campaign_films.c.film_id)
    ).all()
    if item.state == ItemState.ARRIVED or any(row.state == FilmState.WANTED for row in rows):
        return Outcome(Fate.WAITING, is_here=True)
    if any(row.state in _READ_FILMS for row in rows):
        return _made(connection, campaign, workitem)
    why = next(iter(rows), item)
    return Outcome(Fate.NOT_READ, reason_code=why.reason_code, reason=why.reason, is_here=True)


def _made(connection: Connection, campaign: Campaign, workitem: Workitem) -> Outcome:
    """What was made of its films by the campaign's model and policy, once all of it has been sent."""
    made = (
        select(
            readings.c.study_uid, objects.c.series_uid, objects.c.sop_class_uid, objects.c.sop_uid,
            func.coalesce(outbox.c.destination, "").label("destination"), outbox.c.state.label("sent"),
        )
        .join(readings, readings.c.reading_id == objects.c.reading_id)
        .join(arrivals, arrivals.c.arrival_id == readings.c.arrival_id)
        .outerjoin(outbox, outbox.c.sop_uid == objects.c.sop_uid)
        .where(
            arrivals.c.sop_uid.in_(workitem.films),
            under(campaign.versions),
            objects.c.kind.not_in(DOCUMENTS),
            objects.c.replaced_by.is_(None),
        )
        .order_by(objects.c.series_uid, objects.c.sop_uid, outbox.c.outbox_id)
    )  # fmt: skip
    rows = connection.execute(made).all()
    if any(row.sent in (OutboxState.PENDING, OutboxState.FAILED) for row in rows):
        return Outcome(Fate.WAITING, is_here=True)
    there: dict[str, Output] = {}
    for row in rows:
        where = row.destination if row.sent in (OutboxState.SENT, OutboxState.COMMITTED) else ""
        found = Output(row.study_uid, row.series_uid, row.sop_class_uid, row.sop_uid, where)
        if row.sop_uid not in there or (where and not there[row.sop_uid].destination):
            there[row.sop_uid] = found
    return Outcome(Fate.READ, tuple(there.values()), is_here=True)
