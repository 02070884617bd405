"""How far a campaign is, and the pairs of readings that its report compares; for the command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, func, not_, select

from spinepacs.domain.campaign import OPEN, Campaign
from spinepacs.store.ledger import Ledger
from spinepacs.store.rows import under
from spinepacs.store.tables import arrivals, campaign_films, campaign_items, findings, readings, vertebrae

Row = dict[str, Any]

_PAGE = 200


@dataclass(frozen=True)
class Progress:
    """How far a campaign is.

    Parameters
    ----------
    items, films
        How many by state.
    reasons
        How many films, or studies without any, by state, reason code and reason; the most frequent first.
    per_hour
        Studies (files of a folder) that were done in the last hour, or since the first was asked for if that is less.
    """

    items: dict[str, int]
    films: dict[str, int]
    reasons: list[tuple[str, str, str, int]]
    per_hour: float

    @property
    def total(self) -> int:
        """Items that are listed by now."""
        return sum(self.items.values())

    @property
    def left(self) -> int:
        """Items that are not done."""
        return sum(self.items.get(state, 0) for state in OPEN)


def progress_of(ledger: Ledger, campaign: Campaign, now: datetime | None = None) -> Progress:
    """Count."""
    now = now or datetime.now(UTC)
    of_it = campaign_items.c.campaign_id == campaign.campaign_id
    first = select(func.min(campaign_items.c.asked_at).label("at")).where(of_it)
    began_at = ledger.rows(first)[0]["at"]
    since = max(began_at or now, now - timedelta(hours=1))
    lately = select(func.count().label("number")).where(
        of_it,
        campaign_items.c.state.not_in(OPEN),
        campaign_items.c.changed_at >= since,
        campaign_items.c.asked_at.is_not(None),
    )
    done, hours = ledger.rows(lately)[0]["number"], (now - since).total_seconds() / 3600
    return Progress(
        _by_state(ledger, campaign_items, campaign),
        _by_state(ledger, campaign_films, campaign),
        _reasons(ledger, campaign),
        done / hours if hours > 0 else 0.0,
    )


def _by_state(ledger: Ledger, table: Any, campaign: Campaign) -> dict[str, int]:
    counts = select(table.c.state, func.count().label("number")).where(
        table.c.campaign_id == campaign.campaign_id
    )
    return {row["state"]: row["number"] for row in ledger.rows(counts.group_by(table.c.state))}


def _reasons(ledger: Ledger, campaign: Campaign) -> list[tuple[str, str, str, int]]:
    without = not_(
        select(campaign_films.c.film_id).where(campaign_films.c.item_id == campaign_items.c.item_id).exists()
    )
    found = []
    for table, condition in ((campaign_films, None), (campaign_items, without)):
        names = (table.c.state, table.c.reason_code, table.c.reason)
        conditions: list[ColumnElement[bool]] = [
            table.c.campaign_id == campaign.campaign_id,
            table.c.reason_code != "",
        ]
        if condition is not None:
            conditions.append(condition)
        rows = ledger.rows(select(*names, func.count().label("number")).where(*conditions).group_by(*names))
        found += [(row["state"], row["reason_code"], row["reason"], row["number"]) for row in rows]
    return sorted(found, key=lambda each: (-each[3], each))


ITEM_COLUMNS = ("what", "state", "attempts", "reason_code", "reason", "asked_at", "changed_at")


def items_of(ledger: Ledger, campaign: Campaign) -> Iterator[list[Row]]:
    """Every study (file of a folder) of a campaign and what became of it, page by page, in the order of the list."""
    of_it = campaign_items.c.campaign_id == campaign.campaign_id
    question = select(*(campaign_items.c[name] for name in ITEM_COLUMNS)).where(of_it)
    yield from ledger.pages(question.order_by(campaign_items.c.item_id), _PAGE)


@dataclass(frozen=True)
class Sight:
    """One reading of a film: its refusal (empty: none), vertebrae and findings, as rows of their tables."""

    versions: str
    refusal_code: str
    vertebrae: list[Row]
    findings: list[Row]


@dataclass(frozen=True)
class Pair:
    """Two readings of one film: the last one by another model or policy, and the campaign's."""

    study_uid: str
    sop_uid: str
    before: Sight
    after: Sight


def pairs(ledger: Ledger, campaign: Campaign) -> Iterator[Pair]:
    """Films of a campaign that its model and policy, and others, have read, page by page."""
    after = 0
    while True:
        rows = ledger.rows(_films(campaign, after))
        yield from _pairs(ledger, campaign, rows)
        if len(rows) < _PAGE:
            return
        after = rows[-1]["film_id"]


def _films(campaign: Campaign, after: int) -> Any:
    """A page of films with the keys of both readings, of which either may be missing."""
    ours = under(campaign.versions)

    def newest(condition: ColumnElement[bool]) -> Any:
        of_film = and_(readings.c.arrival_id == arrivals.c.arrival_id, condition)
        # A reading that was published says more than a later refusal.
        order = (readings.c.refusal_code != "", readings.c.reading_id.desc())
        return select(readings.c.reading_id).where(of_film).order_by(*order).limit(1).scalar_subquery()

    return (
        select(
            campaign_films.c.film_id,
            campaign_films.c.study_uid,
            campaign_films.c.sop_uid,
            newest(not_(ours)).label("before_id"),
            newest(ours).label("after_id"),
        )
        .join(arrivals, arrivals.c.sop_uid == campaign_films.c.sop_uid)
        .where(
            campaign_films.c.campaign_id == campaign.campaign_id,
            campaign_films.c.film_id > after,
            arrivals.c.state == "selected",
        )
        .order_by(campaign_films.c.film_id)
        .limit(_PAGE)
    )


def _pairs(ledger: Ledger, campaign: Campaign, rows: Sequence[Row]) -> Iterator[Pair]:
    both = [row for row in rows if row["before_id"] is not None and row["after_id"] is not None]
    keys = [row[name] for row in both for name in ("before_id", "after_id")]
    sights = _sights(ledger, keys)
    for row in both:
        yield Pair(row["study_uid"], row["sop_uid"], sights[row["before_id"]], sights[row["after_id"]])


def _sights(ledger: Ledger, keys: Sequence[int]) -> dict[int, Sight]:
    if not keys:
        return {}
    parts: dict[Any, dict[int, list[Row]]] = {}
    columns = {
        vertebrae: ("level", "centre_x_px", "centre_y_px", "area_px"),
        findings: ("kind", "place", "side", "published_grade"),
    }
    for table, names in columns.items():
        parts[table] = {key: [] for key in keys}
        wanted = select(table.c.reading_id, *(table.c[name] for name in names))
        for row in ledger.rows(wanted.where(table.c.reading_id.in_(keys))):
            parts[table][row["reading_id"]].append(row)
    heads = ledger.rows(select(readings).where(readings.c.reading_id.in_(keys)))
    return {
        row["reading_id"]: Sight(
            " ".join(row[name] for name in ("model_name", "model_version", "policy_name", "policy_version")),
            row["refusal_code"],
            parts[vertebrae][row["reading_id"]],
            parts[findings][row["reading_id"]],
        )
        for row in heads
    }
