"""Asking for priors: the campaign that never ends, whose turn it is, and what an archive has answered.

What is found are studies of that campaign, and all that follows is what campaigns do. Each method is one transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, select, update

from spinepacs.domain.campaign import Campaign, FilmState, ItemState
from spinepacs.domain.priors import PRIORS, UNDONE, Ask, AskState, Chosen
from spinepacs.store import events
from spinepacs.store.engine import Database
from spinepacs.store.insertion import insert_into
from spinepacs.store.prior_asks import ask_of
from spinepacs.store.tables import campaign_films, campaign_items, campaigns, literally, prior_asks

Row = dict[str, Any]


@dataclass(frozen=True)
class Priors:
    """The part of the ledger that is about priors; what films ask for is written by ``Ledger.register``."""

    database: Database

    def trouble(self) -> str:
        """What the campaign of priors waits for; empty: nothing."""
        question = select(campaigns.c.trouble).where(campaigns.c.name == PRIORS)
        with self.database.read() as connection:
            return connection.execute(question).scalar() or ""

    def next(self, now: datetime) -> Ask | None:
        """Whose turn it is: who has waited longest of those whose time has come."""
        waiting = select(prior_asks).where(
            _is_undone(),
            prior_asks.c.state == AskState.WAITING,
            prior_asks.c.due_at <= now,
        )
        with self.database.read() as connection:
            row = connection.execute(
                waiting.order_by(prior_asks.c.due_at, prior_asks.c.ask_id).limit(1)
            ).first()
        return ask_of(row) if row else None

    def begin(self, ask: Ask) -> None:
        """Count an attempt before it is made."""
        self.database.write(_begin, ask)

    def take_back(self, maximum_attempts: int) -> None:
        """Put back what was being asked when its process ended; what has ended it too often has failed."""
        self.database.write(_take_back, maximum_attempts)

    def put_back(
        self, ask: Ask, code: str, reason: str, due_at: datetime | None, *, counted: bool = True
    ) -> None:
        """Let one wait; ``due_at`` None: no longer than before; ``counted``: the attempt was the question's fault."""
        self.database.write(_put_back, ask, code, reason, due_at, counted)

    def give_up(self, ask: Ask, code: str, reason: str) -> None:
        """Ask no more for a patient before another study of it comes."""
        self.database.write(_end, ask, {"state": AskState.FAILED, "reason_code": code, "reason": reason})

    def answer(self, campaign: Campaign, ask: Ask, chosen: Chosen, archive: str) -> int:
        """Write down what an archive has answered, and in the audit trail that it was asked; studies to be fetched.

        A study that could not be fetched before is fetched once more.
        """
        return self.database.write(_answer, campaign.campaign_id, ask, chosen, archive)

    def waiting(self, limit: int = 1000) -> list[Row]:
        """Those that wait to be asked or have failed, the oldest first, and no patient."""
        names = ("study_uid", "state", "attempts", "reason_code", "reason", "wanted_at")
        is_open = select(*(prior_asks.c[name] for name in names)).where(_is_undone())
        with self.database.read() as connection:
            rows = connection.execute(is_open.order_by(prior_asks.c.wanted_at).limit(limit)).mappings()
            return [dict(row) for row in rows]

    def oldest_at(self) -> datetime | None:
        """Since when somebody has waited longest to be asked for; None: nobody waits."""
        waiting = prior_asks.c.state.in_((AskState.WAITING, AskState.ASKING))
        question = select(func.min(prior_asks.c.wanted_at)).where(_is_undone(), waiting)
        with self.database.read() as connection:
            return connection.execute(question).scalar()

    def counts(self) -> dict[str, int]:
        """How many wait to be asked, are being asked, have failed."""
        question = (
            select(prior_asks.c.state, func.count().label("number"))
            .where(_is_undone())
            .group_by(prior_asks.c.state)
        )
        with self.database.read() as connection:
            return {row.state: row.number for row in connection.execute(question)}


def _is_undone() -> ColumnElement[bool]:
    return literally(prior_asks.c.state, *UNDONE)


def _begin(connection: Connection, ask: Ask) -> None:
    values = {"state": AskState.ASKING, "attempts": ask.attempts + 1}
    connection.execute(_this(ask).values(values))


def _this(ask: Ask) -> Any:
    return update(prior_asks).where(prior_asks.c.ask_id == ask.ask_id)


def _end(connection: Connection, ask: Ask, values: Row) -> None:
    """Write down how asking has ended, unless the patient is to be asked for once more by now."""
    connection.execute(_this(ask).where(prior_asks.c.state == AskState.ASKING).values(values))


def _put_back(
    connection: Connection, ask: Ask, code: str, reason: str, due_at: datetime | None, counted: bool
) -> None:
    values: Row = {"state": AskState.WAITING, "reason_code": code, "reason": reason}
    values["attempts"] = ask.attempts + counted
    _end(connection, ask, values | ({} if due_at is None else {"due_at": due_at}))


def _take_back(connection: Connection, maximum_attempts: int) -> None:
    asking = and_(_is_undone(), prior_asks.c.state == AskState.ASKING)
    why = {"reason_code": "ASK_DIED", "reason": "the process that asked for it ended each time"}
    too_often = prior_asks.c.attempts >= maximum_attempts
    connection.execute(update(prior_asks).where(asking, too_often).values(state=AskState.FAILED, **why))
    connection.execute(update(prior_asks).where(asking).values(state=AskState.WAITING))


def _answer(connection: Connection, campaign_id: int, ask: Ask, chosen: Chosen, archive: str) -> int:
    added = sum(_add(connection, campaign_id, ask, uid) for uid in chosen.study_uids)
    said = f"{len(chosen.study_uids)} earlier studies, {added} to be fetched"
    why = {"reason_code": "", "reason": ""}
    if chosen.strangers:
        said += f"; {chosen.strangers} of another patient, not fetched"
        why = {
            "reason_code": "OTHER_PATIENT",
            "reason": f"the archive answered with {chosen.strangers} studies of another patient; none was fetched",
        }
    answered = {"found": len(chosen.study_uids), "strangers": chosen.strangers, **why}
    _end(connection, ask, {"state": AskState.ASKED, "asked_at": datetime.now(UTC), "attempts": 0, **answered})
    events.add_query(connection, ask.study_uid, archive, said)
    return added


def _add(connection: Connection, campaign_id: int, ask: Ask, study_uid: str) -> bool:
    """Put a study on the list of the campaign; whether it is to be fetched now."""
    now = datetime.now(UTC)
    row = {"campaign_id": campaign_id, "what": study_uid, "state": ItemState.LISTED, "ask_id": ask.ask_id}
    insertion = insert_into(connection, campaign_items).values(changed_at=now, **row).on_conflict_do_nothing()
    if connection.execute(insertion.returning(campaign_items.c.item_id)).first():
        return True
    failed = (
        campaign_items.c.campaign_id == campaign_id,
        campaign_items.c.what == study_uid,
        campaign_items.c.state == ItemState.FAILED,
    )
    anew = {"state": ItemState.LISTED, "attempts": 0, "reason_code": "", "reason": "", "due_at": None}
    opened = update(campaign_items).where(*failed).values(anew | {"changed_at": now, "ask_id": ask.ask_id})
    item_id = connection.execute(opened.returning(campaign_items.c.item_id)).scalar()
    if item_id is not None:
        films = (campaign_films.c.item_id == item_id, campaign_films.c.state == FilmState.FAILED)
        wanted = {"state": FilmState.WANTED, "reason_code": "", "reason": ""}
        connection.execute(update(campaign_films).where(*films).values(wanted))
    return item_id is not None
