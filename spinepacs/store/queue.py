"""What is not done, for the command line: studies, objects and files that wait, have failed or were refused."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, column, func, or_, select, union

from spinepacs.domain.study import Source
from spinepacs.store import unseen
from spinepacs.store.counts import OUTSIDE, QUEUED
from spinepacs.store.ledger import Ledger
from spinepacs.store.queries import Row, find_studies, plain, rows_of_view
from spinepacs.store.records import ArrivalState, OutboxState
from spinepacs.store.tables import arrivals, failed_files, literally, outbox, readings

_SINCE = (
    "patients_differ_at",
    "changed_at",
    "created_at",
    "received_at",
    "read_at",
    "newest_at",
    "failed_at",
    "wanted_at",
    "found_at",
)


_MIXED = {
    "reason_code": "PATIENTS_DIFFER",
    "reason": "its films name several patients: correct it where it came from, then `spinepacs seen` it",
}


def queue(ledger: Ledger, destinations: Collection[str] | None = None, limit: int = 1000) -> list[Row]:
    """All that is not done or was refused, in one list, at most ``limit`` of each kind.

    Every row has ``what`` (study, object, file, priors, workitem, film, images, folder), ``uid``, ``accession_number``,
    ``state``, ``where`` (destinations, or the sender of a file), ``images`` and ``objects`` (of a study: how many, and
    how many of them are not there yet), ``attempts``, ``since`` and ``reason``, and no patient. With ``destinations``,
    those of the settings, the reason names objects that wait for another.
    """
    found = queued_studies(ledger, limit)
    towards = _destinations_of(ledger, [row["study_uid"] for row in found])
    open_studies = [_queued_study(row, towards.get(row["study_uid"], "")) for row in found]
    objects = [_queued("object", row["sop_uid"], row) for row in queued_objects(ledger, limit)]
    files = [_queued("file", row["sop_uid"], row) for row in kept_arrivals(ledger, limit)]
    files += failed_in_folder(ledger)
    for row in objects:
        if destinations is not None and row["where"] not in destinations:
            row["reason"] = "there is no destination of this name in the settings any more"
        elif row["state"] == OutboxState.SENT.value:
            row["reason"] = row["reason"] or "its commitment is awaited"
    asked = asks(ledger, limit) + claimed(ledger, limit)
    return open_studies + objects + files + asked + refused(ledger, limit)


def claimed(ledger: Ledger, limit: int = 1000) -> list[Row]:
    """Workitems of a worklist that are ours and not done."""
    return [_queued("workitem", row["workitem_uid"], row) for row in plain(ledger.workitems.waiting(limit))]


def asks(ledger: Ledger, limit: int = 1000) -> list[Row]:
    """Studies whose patients an archive is yet to be asked for, or does not answer for."""
    rows = plain(ledger.priors.waiting(limit))
    trouble = ledger.priors.trouble() if rows else ""
    return [_queued("priors", row["study_uid"], row | {"reason": row["reason"] or trouble}) for row in rows]


def refused(ledger: Ledger, limit: int = 1000) -> list[Row]:
    """What nobody has seen to: studies of several patients, films that the reading refused; and images by rule."""
    films = plain(ledger.rows(unseen.films().order_by(readings.c.reading_id.desc()).limit(limit)))
    return [
        *(
            _queued("study", row["study_uid"], row | _MIXED)
            for row in plain(ledger.rows(unseen.mixed().limit(limit)))
        ),
        *(_queued("film", row["sop_uid"], row | {"state": ArrivalState.REFUSED.value}) for row in films),
        *(_queued("images", "", row | _by_rule(row)) for row in plain(ledger.rows(unseen.turned_down()))),
    ]


def _by_rule(row: Row) -> Row:
    return {"state": ArrivalState.REFUSED.value, "reason": f"{row['images']} images, {row['reason']}"}


def queue_counts(ledger: Ledger) -> str:
    """How much :func:`queue` has to show, in lines for a person: it lists no more than its limit of each."""
    counts = ledger.open_counts()
    by_destination: dict[str, list[str]] = defaultdict(list)
    for (destination, state), number in sorted(counts.outbox.items()):
        if state in (OutboxState.PENDING, OutboxState.FAILED):
            by_destination[destination].append(f"{number} {state}")
    for destination, number in counts.uncommitted.items():
        by_destination[destination].append(f"{number} not committed yet")
    lines = {
        "studies": ", ".join(
            f"{counts.studies[state]} {state}" for state in QUEUED if state in counts.studies
        ),
        "files": ", ".join(
            f"{counts.arrivals[state]} {state}" for state in OUTSIDE if state in counts.arrivals
        ),
        **{
            f"to {destination}": ", ".join(numbers) for destination, numbers in sorted(by_destination.items())
        },
    }
    return "\n".join(f"{what}: {numbers}" for what, numbers in lines.items() if numbers)


def _queued_study(row: Row, destinations: str) -> Row:
    to_come = sum(row[f"objects_{kind}"] for kind in ("pending", "failed", "uncommitted"))
    more = {"reason": row["reason"] or _undelivered(row), "objects": to_come, "destination": destinations}
    return _queued("study", row["study_uid"], row | more)


def _destinations_of(ledger: Ledger, study_uids: Sequence[str]) -> dict[str, str]:
    """Destinations that have not got everything of a study yet."""
    waiting = outbox.c.state.in_((OutboxState.PENDING, OutboxState.FAILED))
    unfinished = or_(waiting, outbox.c.commitment_due_at.is_not(None))
    towards = select(outbox.c.study_uid, outbox.c.destination).distinct()
    names: dict[str, list[str]] = defaultdict(list)
    for row in ledger.rows(towards.where(outbox.c.study_uid.in_(study_uids), unfinished)):
        names[row["study_uid"]].append(row["destination"])
    return {study_uid: ", ".join(sorted(each)) for study_uid, each in names.items()}


def _undelivered(row: Row) -> str:
    """What is still to come of a study that was read."""
    kinds = {"to be sent": "pending", "failed": "failed", "not committed yet": "uncommitted"}
    numbers = {words: row[f"objects_{kind}"] for words, kind in kinds.items()}
    return ", ".join(f"{number} objects {words}" for words, number in numbers.items() if number)


def _queued(what: str, uid: str, row: Row) -> Row:
    """One form for all kinds of rows, each with its own names."""
    code, words = row.get("reason_code"), row.get("reason", row.get("message"))
    return {
        "what": what,
        "uid": uid,
        "accession_number": row.get("accession_number", ""),
        "state": row["state"],
        "where": row.get("destination", row.get("calling_ae", "")),
        "images": row.get("images"),
        "objects": row.get("objects"),
        "attempts": row.get("attempts", row.get("registrations")),
        "since": next((row[name] for name in _SINCE if name in row), None),
        "reason": f"{code}: {words}" if code else words,
    }


def failed_in_folder(ledger: Ledger) -> list[Row]:
    """What lies in ``failed/`` of the watched folder, a row of :func:`queue` for each reason.

    Names of files stay in the table ``failed_files``: they may be those of patients.
    """
    kept = select(
        failed_files.c.reason_code,
        func.count().label("files"),
        func.min(failed_files.c.failed_at).label("since"),
    ).where(failed_files.c.gone_at.is_(None))
    by_code = plain(
        ledger.rows(kept.group_by(failed_files.c.reason_code).order_by(failed_files.c.reason_code))
    )
    return [
        _queued(
            "folder",
            "",
            {
                "state": "failed",
                "destination": "failed/",
                "failed_at": row["since"],
                "reason": f"{row['reason_code'] or 'no reason'}: {row['files']} files, the reason beside each",
            },
        )
        for row in by_code
    ]


def queued_studies(ledger: Ledger, limit: int = 1000) -> list[Row]:
    """Studies for which something is still to be done, failed ones included."""
    return find_studies(ledger, QUEUED, limit)


def queued_objects(ledger: Ledger, limit: int = 1000) -> list[Row]:
    """Rows of the view ``deliveries`` that are pending, failed or not yet committed, oldest first."""
    unsent = literally(outbox.c.state, OutboxState.PENDING, OutboxState.FAILED)
    # Found by the indexes of what is open; the view alone would be gone through from end to end.
    found = union(
        *(
            select(outbox.c.sop_uid).where(condition)
            for condition in (unsent, outbox.c.commitment_due_at.is_not(None))
        )
    )
    waiting = column("state").in_([OutboxState.PENDING.value, OutboxState.FAILED.value])
    unfinished: ColumnElement[bool] = waiting | column("commitment_due_at").is_not(None)
    conditions = [column("sop_uid").in_(found), unfinished]
    return rows_of_view(ledger, "deliveries", conditions, ("created_at", "sop_uid", "destination"), limit)


def kept_arrivals(ledger: Ledger, limit: int = 1000) -> list[Row]:
    """Files that belong to no study: not registered yet, unreadable, or in conflict; with their reasons.

    Those that only a campaign has brought are in its report.
    """
    names = (
        "arrival_id", "sop_uid", "state", "reason_code", "reason", "source", "calling_ae", "peer", "received_at",
        "registrations", "size_bytes", "sha256",
    )  # fmt: skip
    kept = select(*(arrivals.c[name] for name in names))
    kept = kept.where(
        arrivals.c.state.in_(OUTSIDE),
        arrivals.c.file_deleted_at.is_(None),
        arrivals.c.source != Source.CAMPAIGN.value,
    )
    return plain(ledger.rows(kept.order_by(arrivals.c.arrival_id).limit(limit)))
