"""What became of a campaign's films, by what the ledger says of them; and those that wait to be read for it are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, select, update

from spinepacs.domain.campaign import Campaign, FilmState, ItemState
from spinepacs.domain.study import StudyState
from spinepacs.store.records import ArrivalState
from spinepacs.store.rows import answered, under
from spinepacs.store.states import SETTLED, lock, move
from spinepacs.store.tables import arrivals, campaign_films, campaign_items, readings, studies
from spinepacs.store.turns import announce, due, make_urgent
from spinepacs.store.wanted import fail_films, is_urgent

BATCH = 50
"""Items that are looked at in one transaction: senders wait for it on SQLite."""


class _Fate(NamedTuple):
    """What became of a film; None: it waits to be read, for its header or in its study (``study_uid``)."""

    state: FilmState | None
    code: str = ""
    reason: str = ""
    study_uid: str = ""


def conclude(connection: Connection, campaign: Campaign) -> int:
    """See Campaigns.conclude."""
    arrived = (
        select(campaign_items.c.item_id)
        .where(
            campaign_items.c.campaign_id == campaign.campaign_id,
            campaign_items.c.state == ItemState.ARRIVED,
        )
        .order_by(campaign_items.c.changed_at, campaign_items.c.item_id)
        .limit(BATCH)
    )
    keys = list(connection.execute(arrived).scalars())
    return sum(_conclude(connection, campaign, item_id) for item_id in keys)


def _conclude(connection: Connection, campaign: Campaign, item_id: int) -> bool:
    """Look at one item; whether it is done."""
    films = select(campaign_films).where(campaign_films.c.item_id == item_id)
    waiting = set()
    for film in connection.execute(films.where(campaign_films.c.state == FilmState.WANTED)).all():
        fate = _fate(connection, campaign, film.sop_uid)
        if fate.state is None:
            waiting.add(fate.study_uid)
        else:
            values = {"state": fate.state, "reason_code": fate.code, "reason": fate.reason}
            connection.execute(
                update(campaign_films).where(campaign_films.c.film_id == film.film_id).values(values)
            )
    urgent = bool(waiting) and bool(connection.execute(select(is_urgent(item_id))).scalar())
    for study_uid in sorted(waiting - {""}) if "" not in waiting else ():
        if not _open(connection, campaign, study_uid, urgent):
            waiting.discard(study_uid)
    if not waiting:
        _close(connection, item_id, connection.execute(films.order_by(campaign_films.c.film_id)).all())
    return not waiting


def _fate(connection: Connection, campaign: Campaign, sop_uid: str) -> _Fate:
    is_read = answered(campaign.versions, or_bare=True).label("is_read")
    rows = connection.execute(select(arrivals, is_read).where(arrivals.c.sop_uid == sop_uid)).all()
    in_use = [row for row in rows if row.state not in (ArrivalState.CONFLICT, ArrivalState.UNREADABLE)]
    row = next(iter(in_use or rows), None)
    if row is None:
        return _Fate(FilmState.FAILED, "NOT_SENT", "the archive says that it has it, and did not give it")
    if row.state == ArrivalState.RECEIVED:
        return _Fate(None)
    if row.state != ArrivalState.SELECTED:
        return _Fate(FilmState.REFUSED, row.reason_code, row.reason)
    if row.is_read:
        return _reading(connection, campaign, row.arrival_id)
    if row.file_deleted_at is not None:
        return _Fate(FilmState.FAILED, "GONE", "its file has left the spool, by retention or discard")
    return _Fate(None, study_uid=row.study_uid)


def _reading(connection: Connection, campaign: Campaign, arrival_id: int) -> _Fate:
    """What its last reading says, a published one first."""
    of_it = select(readings.c.refusal_code, readings.c.refusal_reason).where(
        readings.c.arrival_id == arrival_id, under(campaign.versions)
    )
    newest = of_it.order_by(readings.c.refusal_code != "", readings.c.reading_id.desc()).limit(1)
    code, reason = connection.execute(newest).one()
    return _Fate(FilmState.REFUSED if code else FilmState.READ, code, reason)


def _open(connection: Connection, campaign: Campaign, study_uid: str, urgent: bool) -> bool:
    """Have a study read for the campaign, unless something else is done with it at the moment; False: never.

    One that the day's work has failed at stays so, for a person to decide.
    """
    state = lock(connection, study_uid)
    if state is StudyState.FAILED:
        why = "the day's work on its study has failed: see `spinepacs queue`"
        fail_films(connection, campaign.campaign_id, study_uid, "STUDY_FAILED", why)
        return False
    if urgent:
        make_urgent(connection, study_uid)
    whose = select(studies.c.campaign_id).where(studies.c.study_uid == study_uid)
    # All of it that the campaign wants is here: nothing is gained by waiting for a quiet period.
    is_complete = (
        state is StudyState.ARRIVING and connection.execute(whose).scalar_one() == campaign.campaign_id
    )
    if state not in SETTLED and not is_complete:
        return True
    # Written first: its turn depends on it.
    of_it = {"rereading": not urgent, "campaign_id": campaign.campaign_id}
    connection.execute(update(studies).where(studies.c.study_uid == study_uid).values(of_it))
    opened = {"attempts": 0, "reason_code": "", "reason": "", **due(datetime.now(UTC))}
    move(connection, study_uid, StudyState.READY, **opened)
    announce(connection, study_uid)
    return True


def _close(connection: Connection, item_id: int, films: Sequence[Row[Any]]) -> None:
    """End an item as its worst film has; one that was read counts more than one that could not be."""
    by_state = {FilmState(film.state): film for film in reversed(films)}
    order = (FilmState.FAILED, FilmState.READ, FilmState.REFUSED, FilmState.KNOWN)
    state = next((state for state in order if state in by_state), FilmState.KNOWN)
    film = by_state.get(state)
    connection.execute(
        update(campaign_items)
        .where(campaign_items.c.item_id == item_id)
        .values(
            state=ItemState(state.value),
            reason_code=film.reason_code if film else "",
            reason=film.reason if film else "",
            changed_at=datetime.now(UTC),
        )
    )
