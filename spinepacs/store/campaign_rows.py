"""Rows of the table ``campaigns``: written at the start, read, and changed by a person."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from spinepacs.domain.campaign import Campaign, CampaignState, Kind, NewCampaign, Query
from spinepacs.domain.priors import PRIORS
from spinepacs.domain.study import StudyState
from spinepacs.domain.worklist import WORKLIST
from spinepacs.errors import Permanent
from spinepacs.store.tables import campaigns, studies
from spinepacs.store.wanted import versions_of

STANDING = (PRIORS, WORKLIST)
"""Campaigns that follow the settings."""

_MOVES = {
    CampaignState.PAUSED: (CampaignState.RUNNING,),
    CampaignState.RUNNING: (CampaignState.PAUSED,),
    CampaignState.CANCELLED: (CampaignState.RUNNING, CampaignState.PAUSED),
}


def start(connection: Connection, new: NewCampaign) -> int:
    """See Campaigns.start."""
    if connection.execute(select(campaigns.c.name).where(campaigns.c.name == new.name)).first():
        raise Permanent(f"there is a campaign {new.name!r}: choose another name")
    now = datetime.now(UTC)
    row = {
        **values_of(new),
        "name": new.name,
        "state": CampaignState.RUNNING,
        "created_at": now,
        "changed_at": now,
    }
    return int(
        connection.execute(insert(campaigns).values(row).returning(campaigns.c.campaign_id)).scalar_one()
    )


def stand(connection: Connection, new: NewCampaign) -> None:
    """See Campaigns.stand."""
    if not found(connection, campaigns.c.name == new.name):
        start(connection, new)
        return
    connection.execute(update(campaigns).where(campaigns.c.name == new.name).values(values_of(new)))


def values_of(new: NewCampaign) -> dict[str, Any]:
    """What a row says of what is asked for, and nothing of how far it is."""
    query = {
        "date_from": new.query.date_from and new.query.date_from.isoformat(),
        "date_to": new.query.date_to and new.query.date_to.isoformat(),
        "modalities": list(new.query.modalities),
        "body_parts": list(new.query.body_parts),
    }
    wanted = {"studies": list(new.studies), "accessions": list(new.accessions)}
    return {
        **{name: getattr(new, name) for name in _PLAIN}, **vars(new.versions), "kind": new.kind.value, "query": query,
        "wanted": wanted if any(wanted.values()) else None, "hours": list(new.hours),
    }  # fmt: skip


_PLAIN = ("name", "place", "move_to", "credentials", "model_folder", "policy_file", "delivers", "per_hour")
_STATE = ("campaign_id", "position", "listed_at", "trouble", "created_at")


def found(connection: Connection, *conditions: Any) -> list[Campaign]:
    """Campaigns, oldest first."""
    names = [column for column in campaigns.c if column.name != "wanted"]  # it may be long
    rows = connection.execute(select(*names).where(*conditions).order_by(campaigns.c.campaign_id))
    return [_campaign(row) for row in rows]


def _campaign(row: Row[Any]) -> Campaign:
    days = {
        name: datetime.fromisoformat(row.query[name]).date() if row.query[name] else None
        for name in ("date_from", "date_to")
    }
    return Campaign(
        **{name: getattr(row, name) for name in (*_PLAIN, *_STATE)},
        kind=Kind(row.kind),
        state=CampaignState(row.state),
        query=Query(
            days["date_from"],
            days["date_to"],
            tuple(row.query["modalities"]),
            tuple(row.query["body_parts"]),
        ),
        versions=versions_of(row),
        hours=tuple(row.hours),
    )


def named(connection: Connection, name: str) -> Campaign:
    """See Campaigns.named."""
    these = found(connection, campaigns.c.name == name)
    if not these:
        raise Permanent(f"there is no campaign {name!r}: see `spinepacs campaign list`")
    return these[0]


def change(connection: Connection, name: str, state: CampaignState) -> Campaign:
    """See Campaigns.change."""
    campaign = named(connection, name)
    if name in STANDING and state is CampaignState.CANCELLED:
        raise Permanent(
            f"set enabled = false in [{name.removeprefix('_')}] instead, or pause it: it belongs to the settings"
        )
    changed = connection.execute(
        update(campaigns)
        .where(campaigns.c.name == name, campaigns.c.state.in_(_MOVES[state]))
        .values(state=state, changed_at=datetime.now(UTC))
    )
    if not changed.rowcount:
        raise Permanent(f"the campaign {name!r} is {campaign.state.value}")
    if state is CampaignState.CANCELLED:
        # They go on as the day's work, which has nothing to read of them, and settle.
        of_it = (studies.c.campaign_id == campaign.campaign_id, studies.c.state != StudyState.WORKING)
        connection.execute(update(studies).where(*of_it).values(campaign_id=None))
    return campaign
