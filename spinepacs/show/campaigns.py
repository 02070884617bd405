"""Campaigns in words: the list, how far one is, and its report."""

from __future__ import annotations

from datetime import datetime

from spinepacs.domain.campaign import Campaign, CampaignState, Kind
from spinepacs.show.comparison import Comparison, Row
from spinepacs.show.listing import as_text
from spinepacs.store.progress import Progress


def listed(campaign: Campaign, progress: Progress) -> Row:
    """One row of the list."""
    return {
        "name": campaign.name,
        "state": campaign.state.value,
        "from": from_where(campaign),
        "done": progress.total - progress.left,
        "of": progress.total,
        "failed": progress.items.get("failed"),
        "started": campaign.created_at and f"{campaign.created_at:%Y-%m-%d %H:%M}",
        "waits for": campaign.trouble,
    }


def from_where(campaign: Campaign) -> str:
    """Where its films come from."""
    return campaign.place if campaign.kind is not Kind.AGAIN else "what is here"


def figures(campaign: Campaign, progress: Progress, end: datetime | None) -> Row:
    """How far a campaign is, for programs."""
    return {
        "name": campaign.name,
        "state": campaign.state.value,
        "kind": campaign.kind.value,
        "from": from_where(campaign),
        **vars(campaign.versions),
        "delivers": campaign.delivers,
        "is_listed": campaign.listed_at is not None,
        "items": progress.items,
        "films": progress.films,
        "left": progress.left,
        "per_hour": round(progress.per_hour, 1),
        "expected_end": end and end.isoformat(timespec="minutes"),
        "waits_for": campaign.trouble,
        "reasons": [
            {"state": state, "reason_code": code, "reason": reason, "number": number}
            for state, code, reason, number in progress.reasons
        ],
    }


def status_text(campaign: Campaign, progress: Progress, end: datetime | None) -> str:
    """How far a campaign is, in lines for a person."""
    unit = "files" if campaign.kind is Kind.FOLDER else "studies"
    versions, done = campaign.versions, progress.total - progress.left
    listed_so_far = "" if campaign.listed_at else " (the list is still growing)"
    lines = [
        f"{campaign.name}: {campaign.state.value}, from {from_where(campaign)}",
        f"read with {versions.model_name} {versions.model_version}, policy {versions.policy_name} "
        f"{versions.policy_version}; "
        + ("results are delivered" if campaign.delivers else "results go into the database only"),
        f"{unit}: {done} of {progress.total} done{listed_so_far}" + _states(progress.items),
        "films:" + (_states(progress.films).removeprefix(";") or " none yet"),
    ]
    if campaign.state is CampaignState.RUNNING:
        at = f", done about {end.astimezone():%Y-%m-%d %H:%M}" if end and progress.left else ""
        lines.append(f"rate: {progress.per_hour:.0f} {unit} an hour{at}")
        if campaign.trouble:
            lines.append(f"waits: {campaign.trouble}")
    return "\n".join(lines)


def _states(numbers: dict[str, int]) -> str:
    named = ", ".join(f"{number} {state}" for state, number in sorted(numbers.items()))
    return f"; {named}" if named else ""


def reasons_text(progress: Progress) -> str:
    """What was refused and what has failed, by reason."""
    rows = [
        {"state": state, "number": number, "reason": f"{code}: {reason}"}
        for state, code, reason, number in progress.reasons
    ]
    return as_text(rows, "table") if rows else "nothing was refused, and nothing has failed"


def comparison_text(comparison: Comparison) -> str:
    """What the campaign's model and policy say otherwise than those before."""
    if not comparison.films:
        return "no film of it has been read by another model or policy: there is nothing to compare"
    head = f"{comparison.films} films were read before, by {', '.join(sorted(comparison.others))}"
    return f"{head}\n\n{as_text(comparison.table(), 'table')}"
