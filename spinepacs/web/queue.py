"""The queue: what is on its way, waits, has failed or was refused, with reasons, by age."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from starlette.responses import Response

from spinepacs.domain.study import StudyState
from spinepacs.language import N_, _
from spinepacs.store.records import OpenCounts, age_s
from spinepacs.web.site import Visit
from spinepacs.web.snapshot import MOST_ROWS

Row = dict[str, Any]

_SECTIONS: Mapping[str, str] = {
    "arriving": N_("Arriving: images are still coming in"),
    "ready": N_("Ready to be read"),
    "working": N_("In work"),
    "recorded": N_("Read, results on their way"),
    "failed": N_("Failed: waits for a person"),
    "refused": N_("Refused: not seen to yet"),
    "files": N_("Files that belong to no study"),
    "objects": N_("Results that wait for a destination"),
    "workitems": N_("Workitems of the worklist that are ours"),
    "priors": N_("Studies whose patients an archive is yet to be asked for: priors"),
}
_STEPS = (StudyState.ARRIVING, StudyState.READY, StudyState.WORKING, StudyState.RECORDED, StudyState.FAILED)


def show(visit: Visit) -> Response:
    """The page; what it holds is asked for again every few seconds."""
    return visit.page("queue.html", **_now(visit))


def now(visit: Visit) -> Response:
    """What changes of the page."""
    return visit.page("queue_now.html", **_now(visit))


def _now(visit: Visit) -> Row:
    snapshot = visit.site.queue()
    names = [destination.name for destination in visit.site.settings.destinations]
    rows = [_aged(row, snapshot.at, visit.shows_identity) for row in snapshot.rows]
    counts = snapshot.counts
    sections = [
        {"key": key, "title": _(title), "rows": found}
        for key, title in _SECTIONS.items()
        if (found := [row for row in rows if _section(row) == key])
    ]
    return {
        "steps": [(state.value, counts.studies.get(state.value, 0)) for state in _STEPS],
        "destinations": towards(counts, names),
        "sections": sections,
        "at": f"{snapshot.at:%H:%M:%S} UTC",
        "most": MOST_ROWS,
    }


def towards(counts: OpenCounts, names: Sequence[str]) -> list[Row]:
    """A row for each destination that something waits for, those that the settings do not know any more too."""
    waiting = sorted({name for name, _ in counts.towards})
    states = ("pending", "failed", "uncommitted")
    return [
        {"name": name, "known": name in names}
        | {state: counts.towards.get((name, state), 0) for state in states}
        for name in waiting
    ]


def _section(row: Row) -> str:
    if row["what"] == "object":
        return "objects"
    if row["what"] in ("file", "folder"):
        return "files"
    if row["what"] in ("priors", "workitem"):
        return "priors" if row["what"] == "priors" else "workitems"
    # A study whose films name two patients may be in any state: it is looked at with what was refused.
    return "refused" if row["what"] in ("film", "images") else str(row["state"])


def _aged(row: Row, at: datetime, with_identity: bool) -> Row:
    since = row["since"] and datetime.fromisoformat(str(row["since"]))
    accession = row["accession_number"] if with_identity else ""
    return row | {"age": span(age_s(since, at)) if since else "", "accession_number": accession}


def span(seconds: float) -> str:
    """A time in words that are short enough for a column."""
    for unit, length in ((N_("{number} d"), 86400), (N_("{number} h"), 3600), (N_("{number} min"), 60)):
        if seconds >= 2 * length:
            return _(unit, number=f"{seconds / length:.0f}")
    return _("{number} s", number=f"{seconds:.0f}")
