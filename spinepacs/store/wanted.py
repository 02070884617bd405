"""What campaigns want: whose an arrival is, and which films of a study are to be read for one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, exists, select, update

from spinepacs.domain.campaign import (
    ON_ITS_WAY,
    Campaign,
    CampaignState,
    FilmState,
    ItemState,
    Kind,
    WantedFilm,
)
from spinepacs.domain.findings import Versions
from spinepacs.domain.study import Arrival, Source
from spinepacs.domain.worklist import Priority
from spinepacs.store.records import ArrivalState, NewArrival
from spinepacs.store.rows import answered, under
from spinepacs.store.tables import (
    arrivals,
    campaign_films,
    campaign_items,
    campaigns,
    readings,
    studies,
    workitems,
)

_WANTING = (
    select(campaigns.c.campaign_id, campaigns.c.kind, campaigns.c.place, campaign_items.c.asked_at)
    .join(campaign_items, campaign_items.c.campaign_id == campaigns.c.campaign_id)
    .join(campaign_films, campaign_films.c.item_id == campaign_items.c.item_id)
    .where(
        campaign_films.c.sop_uid == bindparam("of_sop_uid"),
        campaign_films.c.state == FilmState.WANTED,
        campaign_items.c.state.in_(bindparam("in_states", expanding=True)),
        campaigns.c.state != CampaignState.CANCELLED,
    )
    .order_by(campaigns.c.campaign_id)
)
"""Asked for every image: made once."""


def campaign_of(connection: Connection, arrival: Arrival | NewArrival) -> int | None:
    """Key of the campaign that has brought an arrival; None: it belongs to the day's work.

    What comes over the network is a campaign's where it has asked that very archive for that very film by C-MOVE: the
    move originator in the request would say so too, but senders may leave it out (PS3.7 9.1.1.1). What lay in the spool
    without a row is its, where it wants that film: its process has died in between.
    """
    if arrival.source not in (Source.CAMPAIGN, Source.NETWORK, Source.SPOOL):
        return None
    states = [*ON_ITS_WAY, *([ItemState.LISTED] if arrival.source is Source.SPOOL else [])]
    rows = connection.execute(_WANTING, {"of_sop_uid": arrival.sop_uid, "in_states": states}).all()
    return next((int(row.campaign_id) for row in rows if _is_asked_for(row, arrival)), None)


def _is_asked_for(row: Any, arrival: Arrival | NewArrival) -> bool:
    if arrival.source is not Source.NETWORK:
        return True
    return (
        row.kind == Kind.DICOM
        and row.place.partition("@")[0] == arrival.calling_ae
        and row.asked_at is not None
        and arrival.received_at >= row.asked_at
    )


def of_campaign(campaign_id: int) -> ColumnElement[bool]:
    """Arrivals that a campaign wants read."""
    return exists().where(
        campaign_films.c.campaign_id == campaign_id,
        campaign_films.c.sop_uid == arrivals.c.sop_uid,
        campaign_films.c.state == FilmState.WANTED,
    )


def is_urgent(item_id: int | ColumnElement[int]) -> ColumnElement[bool]:
    """Whether an item of a campaign is a workitem of high priority."""
    return exists().where(
        campaign_items.c.item_id == item_id,
        workitems.c.workitem_uid == campaign_items.c.what,
        workitems.c.priority == Priority.HIGH,
    )


def versions_of(row: Row[Any]) -> Versions:
    """Model and policy of a row of ``campaigns``."""
    return Versions(row.model_name, row.model_version, row.policy_name, row.policy_version)


def leave(connection: Connection, study_uid: str) -> None:
    """A study, which the caller has locked, is no campaign's any more."""
    connection.execute(update(studies).where(studies.c.study_uid == study_uid).values(campaign_id=None))


def fail_films(connection: Connection, campaign_id: int, study_uid: str, code: str, reason: str) -> None:
    """Write down that a campaign's films of a study could not be read."""
    connection.execute(
        update(campaign_films)
        .where(
            campaign_films.c.campaign_id == campaign_id,
            campaign_films.c.study_uid == study_uid,
            campaign_films.c.state == FilmState.WANTED,
        )
        .values(state=FilmState.FAILED, reason_code=code, reason=reason)
    )


def missing(connection: Connection, campaign: Campaign, films: Sequence[WantedFilm]) -> list[WantedFilm]:
    """Those of a campaign's films that must be fetched: the rest is read by its versions, or is here; marks the known.

    What could not be read is fetched once more: the archive's copy may be whole.
    """
    known = answered(campaign.versions, or_bare=True)
    by_us = exists().where(
        readings.c.arrival_id == arrivals.c.arrival_id,
        under(campaign.versions),
        readings.c.campaign_id == campaign.campaign_id,
    )
    is_here = arrivals.c.file_deleted_at.is_(None) & (arrivals.c.state != ArrivalState.UNREADABLE)
    to_fetch = []
    for film in films:
        rows = connection.execute(
            select(known.label("is_known"), by_us.label("by_us"), is_here.label("is_here")).where(
                arrivals.c.sop_uid == film.sop_uid
            )
        ).all()
        if any(row.by_us for row in rows):
            continue  # before its process died: that is told by conclude
        if any(row.is_known for row in rows):
            this = (
                campaign_films.c.campaign_id == campaign.campaign_id,
                campaign_films.c.sop_uid == film.sop_uid,
                campaign_films.c.state == FilmState.WANTED,
            )
            connection.execute(update(campaign_films).where(*this).values(state=FilmState.KNOWN))
        elif not any(row.is_here for row in rows):
            to_fetch.append(film)
    return to_fetch
