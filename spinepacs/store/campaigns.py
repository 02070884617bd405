"""Campaigns over an archive: what is listed, asked for, and what became of it; each method is one transaction.

Who fetches is :mod:`spinepacs.serve.campaign`; what came is read as all else is, see ``studies`` and ``wanted``.
A campaign learns from the ledger what became of its films (:meth:`Campaigns.conclude`): it is told nothing, so nothing
that dies can leave it in doubt.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from spinepacs.domain.campaign import (
    ON_ITS_WAY,
    OPEN,
    Campaign,
    CampaignState,
    FilmState,
    Item,
    ItemState,
    NewCampaign,
    WantedFilm,
)
from spinepacs.domain.worklist import WORKLIST
from spinepacs.store import campaign_rows
from spinepacs.store.conclusion import conclude
from spinepacs.store.engine import Database
from spinepacs.store.insertion import insert_into
from spinepacs.store.tables import campaign_films, campaign_items, campaigns
from spinepacs.store.wanted import is_urgent, missing


@dataclass(frozen=True)
class Campaigns:
    """The part of the ledger that is about campaigns."""

    database: Database

    # -- for people ----------------------------------------------------------------------------------------

    def start(self, new: NewCampaign) -> int:
        """Write a campaign down; the daemon begins with it at its next look.

        Raises
        ------
        Permanent
            If there is one of this name.
        """
        return self.database.write(campaign_rows.start, new)

    def all(self) -> list[Campaign]:
        """Every campaign, oldest first."""
        with self.database.read() as connection:
            return campaign_rows.found(connection)

    def named(self, name: str) -> Campaign:
        """Give the one of a name.

        Raises
        ------
        Permanent
            If there is none.
        """
        with self.database.read() as connection:
            return campaign_rows.named(connection, name)

    def change(self, name: str, state: CampaignState) -> Campaign:
        """Pause, resume or cancel one; what is in work is finished, what waits to be read is given up by cancel.

        Raises
        ------
        Permanent
            If it is in no state for that.
        """
        return self.database.write(campaign_rows.change, name, state)

    def stand(self, new: NewCampaign) -> None:
        """Make one that follows the settings what these say; it is made where there is none."""
        self.database.write(campaign_rows.stand, new)

    # -- for the daemon ------------------------------------------------------------------------------------

    def running(self) -> list[Campaign]:
        """Those that something is to be done for."""
        with self.database.read() as connection:
            return [each for each in campaign_rows.found(connection) if each.state is CampaignState.RUNNING]

    def wanted(self, campaign: Campaign) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Study Instance UIDs and accession numbers that were given."""
        question = select(campaigns.c.wanted).where(campaigns.c.campaign_id == campaign.campaign_id)
        with self.database.read() as connection:
            given = connection.execute(question).scalar_one() or {}
        return tuple(given.get("studies", ())), tuple(given.get("accessions", ()))

    def add(
        self,
        campaign: Campaign,
        found: Iterable[str],
        position: str,
        *,
        is_last: bool,
        not_found: Iterable[str] = (),
    ) -> int:
        """Write down a page of the list, and how far it goes; the number of items that are new.

        ``not_found``: accession numbers of which there is no study.
        """
        return self.database.write(
            _add, campaign.campaign_id, list(found), list(not_found), position, is_last
        )

    def take_back(self, campaign: Campaign, maximum_attempts: int) -> None:
        """Put back what was being fetched when its process ended; what has ended it too often has failed."""
        self.database.write(_take_back, campaign.campaign_id, maximum_attempts)

    def next_item(self, campaign: Campaign, now: datetime) -> Item | None:
        """Give the first of the list whose time has come; workitems of high priority go before others."""
        waiting = select(campaign_items).where(
            campaign_items.c.campaign_id == campaign.campaign_id,
            campaign_items.c.state == ItemState.LISTED,
            (campaign_items.c.due_at.is_(None)) | (campaign_items.c.due_at <= now),
        )
        with self.database.read() as connection:
            first = [is_urgent(campaign_items.c.item_id).desc()] if campaign.name == WORKLIST else []
            row = connection.execute(waiting.order_by(*first, campaign_items.c.item_id).limit(1)).first()
        return _item(row) if row else None

    def on_its_way(self, campaign: Campaign) -> int:
        """How many items have been asked for and are not done."""
        return self._number(campaign, ON_ITS_WAY)

    def listed(self, campaign: Campaign) -> int:
        """How many items wait to be asked for."""
        return self._number(campaign, (ItemState.LISTED,))

    def _number(self, campaign: Campaign, states: Sequence[ItemState]) -> int:
        of_it = _open_ones(campaign.campaign_id, states)
        with self.database.read() as connection:
            return connection.execute(select(func.count()).select_from(of_it.subquery())).scalar_one()

    def has_films(self, item: Item) -> bool:
        """Whether it is known which films an item has."""
        films = select(campaign_films.c.film_id).where(campaign_films.c.item_id == item.item_id)
        with self.database.read() as connection:
            return connection.execute(films.limit(1)).first() is not None

    def last_asked_at(self, campaign: Campaign) -> datetime | None:
        """When an item was last asked for."""
        of_it = select(campaign_items.c.asked_at).where(
            campaign_items.c.campaign_id == campaign.campaign_id, campaign_items.c.asked_at.is_not(None)
        )
        with self.database.read() as connection:
            return connection.execute(of_it.order_by(campaign_items.c.asked_at.desc()).limit(1)).scalar()

    def begin(self, item: Item) -> None:
        """Count an attempt to fetch an item, before it is made."""
        now = datetime.now(UTC)
        self.database.write(
            _set, item.item_id, ItemState.ASKED, attempts=item.attempts + 1, asked_at=now, due_at=None
        )

    def want(self, campaign: Campaign, item: Item, films: Sequence[WantedFilm]) -> list[WantedFilm]:
        """Write down an item's films; those of them that must be fetched: neither read by its versions, nor here."""
        return self.database.write(_want, campaign, item, films)

    def end_film(
        self, campaign: Campaign, film: WantedFilm, state: FilmState, code: str, reason: str
    ) -> None:
        """Say what became of a film that cannot come in."""
        self.database.write(_end_film, campaign.campaign_id, film.sop_uid, state, code, reason)

    def arrived(self, item: Item) -> None:
        """All of an item is here that will come."""
        self.database.write(_set, item.item_id, ItemState.ARRIVED)

    def put_back(
        self, item: Item, code: str, reason: str, due_at: datetime | None, *, counted: bool = True
    ) -> None:
        """Let an item wait; ``counted``: the attempt was its own fault."""
        attempts = item.attempts + counted
        self.database.write(
            _set, item.item_id, ItemState.LISTED, code, reason, attempts=attempts, due_at=due_at
        )

    def close(self, item: Item, state: ItemState, code: str, reason: str) -> None:
        """End an item of which no film is to be read: ``refused`` or ``failed``."""
        self.database.write(_set, item.item_id, state, code, reason)

    def conclude(self, campaign: Campaign) -> int:
        """See what the ledger says of the films of items that have arrived, have those read that wait; items done."""
        return self.database.write(conclude, campaign)

    def say(self, campaign: Campaign, trouble: str) -> None:
        """Write down what a campaign waits for; empty: nothing."""
        if trouble != campaign.trouble:
            self.database.write(_say, campaign.campaign_id, trouble)

    def finish(self, campaign: Campaign) -> bool:
        """Call it done if nothing of it is left to do."""
        return self.database.write(_finish, campaign.campaign_id)


_NOT_FOUND = {
    "state": ItemState.FAILED, "reason_code": "NOT_FOUND", "reason": "there is no study of this accession number",
}  # fmt: skip


def _add(
    connection: Connection,
    campaign_id: int,
    found: list[str],
    not_found: list[str],
    position: str,
    is_last: bool,
) -> int:
    now, added = datetime.now(UTC), 0
    rows: list[dict[str, Any]] = [{"what": what, "state": ItemState.LISTED} for what in found]
    for row in [*rows, *({"what": number, **_NOT_FOUND} for number in not_found)]:
        row |= {"campaign_id": campaign_id, "changed_at": now}
        insertion = insert_into(connection, campaign_items).values(row).on_conflict_do_nothing()
        is_new = connection.execute(insertion.returning(campaign_items.c.item_id)).first()
        added += is_new is not None
    changes = {"position": position, **({"listed_at": now} if is_last else {})}
    connection.execute(update(campaigns).where(campaigns.c.campaign_id == campaign_id).values(changes))
    return added


def _take_back(connection: Connection, campaign_id: int, maximum_attempts: int) -> None:
    asked = (campaign_items.c.campaign_id == campaign_id, campaign_items.c.state == ItemState.ASKED)
    too_often = campaign_items.c.attempts >= maximum_attempts
    why = {"reason_code": "FETCH_DIED", "reason": "the process that fetched it ended each time"}
    now = datetime.now(UTC)
    for items, values in (
        ((*asked, too_often), {"state": ItemState.FAILED, **why}),
        (asked, {"state": ItemState.LISTED}),
    ):
        connection.execute(update(campaign_items).where(*items).values(**values, changed_at=now))


def _item(row: Row[Any]) -> Item:
    return Item(row.item_id, row.what, ItemState(row.state), row.attempts)


def _open_ones(campaign_id: int, states: Sequence[ItemState]) -> Any:
    return select(campaign_items.c.item_id).where(
        campaign_items.c.campaign_id == campaign_id, campaign_items.c.state.in_(states)
    )


def _set(
    connection: Connection, /, item_id: int, state: ItemState, code: str = "", reason: str = "", **more: Any
) -> None:
    values = {"state": state, "reason_code": code, "reason": reason, "changed_at": datetime.now(UTC), **more}
    connection.execute(update(campaign_items).where(campaign_items.c.item_id == item_id).values(values))


def _want(
    connection: Connection, campaign: Campaign, item: Item, films: Sequence[WantedFilm]
) -> list[WantedFilm]:
    for film in films:
        row = {"item_id": item.item_id, "campaign_id": campaign.campaign_id, "state": FilmState.WANTED}
        row |= {"sop_uid": film.sop_uid, "study_uid": film.study_uid}
        connection.execute(insert_into(connection, campaign_films).values(row).on_conflict_do_nothing())
    return missing(connection, campaign, films)


def _end_film(
    connection: Connection, campaign_id: int, sop_uid: str, state: FilmState, code: str, reason: str
) -> None:
    this = (campaign_films.c.campaign_id == campaign_id, campaign_films.c.sop_uid == sop_uid)
    values = {"state": state, "reason_code": code, "reason": reason}
    connection.execute(update(campaign_films).where(*this).values(values))


def _say(connection: Connection, campaign_id: int, trouble: str) -> None:
    connection.execute(
        update(campaigns).where(campaigns.c.campaign_id == campaign_id).values(trouble=trouble)
    )


def _finish(connection: Connection, campaign_id: int) -> bool:
    if connection.execute(_open_ones(campaign_id, OPEN).limit(1)).first():
        return False
    done = (
        campaigns.c.campaign_id == campaign_id,
        campaigns.c.state == CampaignState.RUNNING,
        campaigns.c.listed_at.is_not(None),
    )
    values = {"state": CampaignState.DONE, "changed_at": datetime.now(UTC), "trouble": ""}
    return bool(connection.execute(update(campaigns).where(*done).values(values)).rowcount)
