"""One study as the console shows it: its films with all that is drawn on them, and what happened to it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Select, and_, case, column, exists, or_, select, text

from spinepacs.domain.measures import Quantity
from spinepacs.language import _, n_
from spinepacs.store.ledger import Ledger
from spinepacs.store.queries import Row, plain
from spinepacs.store.tables import (
    arrivals,
    attempts,
    audit_events,
    discs,
    events,
    findings,
    measures,
    objects,
    outbox,
    readings,
    vertebrae,
)

_LONGEST = 500
"""Rows of each kind that a time line takes: a study that was sent a thousand times has said all it can by then."""


_MODEL = ("model_name", "model_version")


class Moment(NamedTuple):
    """Something that happened to a study: when, what, more about it, and who did it (a sender, a model, an account)."""

    at: datetime
    what: str
    detail: str = ""
    who: str = ""
    seconds: dict[str, float] = {}  # noqa: RUF012 - never changed
    """Of each step, where something was read."""


def summary(ledger: Ledger, study_uid: str) -> Row | None:
    """Its row of the view ``study_summary``; None: it is not known."""
    row = select(text("*")).select_from(text("study_summary")).where(column("study_uid") == study_uid)
    return next(iter(plain(ledger.rows(row))), None)


def images(ledger: Ledger, study_uid: str) -> list[Row]:
    """All images that came for it, in the order in which they came."""
    names = ("arrival_id", "sop_uid", "modality", "body_part", "state", "reason_code", "reason", "received_at",
             "calling_ae", "sha256", "file_deleted_at", "size_bytes")  # fmt: skip
    its = select(*(arrivals.c[name] for name in names)).where(arrivals.c.study_uid == study_uid)
    return plain(ledger.rows(its.order_by(arrivals.c.arrival_id).limit(_LONGEST)))


def shapes(ledger: Ledger, reading_id: int) -> dict[str, list[Row]]:
    """What can be drawn on a film: ``vertebrae``, ``discs``, ``measures``, ``findings``, with coordinates in px."""
    wanted: dict[str, Select[Any]] = {
        "vertebrae": select(vertebrae).order_by(vertebrae.c.level_order),
        "discs": select(discs).order_by(discs.c.disc_order),
        "measures": select(measures).order_by(measures.c.measure_id),
        "findings": select(findings).order_by(findings.c.finding_id),
    }
    tables = {"vertebrae": vertebrae, "discs": discs, "measures": measures, "findings": findings}
    return {
        name: plain(ledger.rows(rows.where(tables[name].c.reading_id == reading_id)))
        for name, rows in wanted.items()
    }


def film_file(ledger: Ledger, sop_uid: str) -> str | None:
    """SHA-256 of the file that is read for an image; None: it is not known, or its file is gone."""
    its = select(arrivals.c.sha256).where(
        arrivals.c.sop_uid == sop_uid,
        arrivals.c.state.not_in(("conflict", "unreadable")),
        arrivals.c.file_deleted_at.is_(None),
    )
    return next((str(row["sha256"]) for row in ledger.rows(its)), None)


def overlay_file(ledger: Ledger, reading_id: int) -> str | None:
    """SHA-256 of the picture that was made of a reading; None: there is none, or its file is gone."""
    its = select(objects.c.sha256).where(
        objects.c.reading_id == reading_id, objects.c.kind == "OVERLAY", objects.c.file_deleted_at.is_(None)
    )
    return next((str(row["sha256"]) for row in ledger.rows(its)), None)


def study_of(ledger: Ledger, sop_uid: str) -> str | None:
    """Study Instance UID of an image that came; None: unknown."""
    its = select(arrivals.c.study_uid).where(arrivals.c.sop_uid == sop_uid, arrivals.c.study_uid.is_not(None))
    return next((str(row["study_uid"]) for row in ledger.rows(its)), None)


def readings_of(ledger: Ledger, sop_uid: str) -> list[Row]:
    """Readings of an image, newest first: ``reading_id``, ``read_at``, ``author`` (empty: the model's), versions."""
    names = ("reading_id", "read_at", "author", *_MODEL, "policy_name", "policy_version", "refusal_code")
    its = select(*(readings.c[name] for name in names)).where(readings.c.sop_uid == sop_uid)
    return ledger.rows(its.order_by(readings.c.reading_id.desc()).limit(_LONGEST))


def deliveries_of(ledger: Ledger, reading_id: int) -> list[Row]:
    """Where the objects of a reading go: ``destination``, ``kind``, ``state``, ``message``; by destination."""
    its = (
        select(outbox.c.destination, objects.c.kind, outbox.c.state, outbox.c.message)
        .join(objects, objects.c.sop_uid == outbox.c.sop_uid)
        .where(objects.c.reading_id == reading_id)
        .order_by(outbox.c.destination, outbox.c.outbox_id)
    )
    return plain(ledger.rows(its))


def course(ledger: Ledger, patient_id: str) -> list[Row]:
    """Each disc's height index from film to film of a patient, by disc and then by date, by their current readings.

    As in the view ``disc_follow_up`` films that different models have read are not compared: those count that the model
    of the newest reading has read. (The view itself goes through all patients.)
    """
    if not patient_id:
        return []
    other = readings.alias()
    by_person, is_newer = readings.c.author != "", other.c.reading_id > readings.c.reading_id
    goes_before = case((other.c.author != "", or_(~by_person, is_newer)), else_=and_(~by_person, is_newer))
    is_current = ~exists().where(other.c.arrival_id == readings.c.arrival_id, goes_before)
    is_index = and_(
        measures.c.reading_id == discs.c.reading_id,
        measures.c.place == discs.c.disc,
        measures.c.quantity.in_((Quantity.DISC_HEIGHT_INDEX.value, Quantity.AP_DISC_HEIGHT_INDEX.value)),
    )
    its = (
        select(
            discs.c.disc, discs.c.disc_order, readings.c.view_position, arrivals.c.study_date, readings.c.study_uid,
            discs.c.height_index, measures.c.uncertainty.label("height_index_sd"), readings.c.reading_id,
            readings.c.model_name, readings.c.model_version,
        )
        .join(readings, readings.c.reading_id == discs.c.reading_id)
        .join(arrivals, arrivals.c.arrival_id == readings.c.arrival_id)
        .outerjoin(measures, is_index)
        .where(arrivals.c.patient_id == patient_id, is_current)
        .order_by(discs.c.disc_order, arrivals.c.study_date, readings.c.reading_id)
    )  # fmt: skip
    rows = plain(ledger.rows(its))
    newest = max(rows, key=lambda row: int(row["reading_id"]), default=None)
    return [row for row in rows if newest and all(row[name] == newest[name] for name in _MODEL)]


def timeline(ledger: Ledger, study_uid: str) -> list[Moment]:
    """What happened to a study, oldest first."""
    found = [
        *_arrivals(ledger, study_uid),
        *_attempts(ledger, study_uid),
        *_readings(ledger, study_uid),
        *_deliveries(ledger, study_uid),
        *_events(ledger, study_uid),
        *_people(ledger, study_uid),
    ]
    return sorted(found, key=lambda moment: moment.at)


def _arrivals(ledger: Ledger, study_uid: str) -> Iterator[Moment]:
    """Images that came from one sender within a second are one moment."""
    names = ("received_at", "calling_ae", "peer", "source", "state")
    its = select(*(arrivals.c[name] for name in names)).where(arrivals.c.study_uid == study_uid)
    together: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in ledger.rows(its.order_by(arrivals.c.arrival_id).limit(_LONGEST)):
        together[row["received_at"].replace(microsecond=0), row["calling_ae"], row["peer"]].append(row)
    for (_second, calling_ae, peer), rows in together.items():
        who = f"{calling_ae} ({peer})" if calling_ae else rows[0]["source"]
        number = n_("{count} image", "{count} images", len(rows))
        yield Moment(rows[0]["received_at"], "arrived", number, who)


def _attempts(ledger: Ledger, study_uid: str) -> Iterator[Moment]:
    its = select(attempts).where(attempts.c.study_uid == study_uid).order_by(attempts.c.attempt_id.desc())
    for row in ledger.rows(its.limit(_LONGEST)):
        yield Moment(row["started_at"], "reading began", _("attempt {number}", number=row["number"]))
        if row["ended_at"] and row["outcome"] != "recorded":
            why = ": ".join(filter(None, (row["reason_code"], row["reason"])))
            yield Moment(row["ended_at"], f"attempt {row['outcome']}", why)


def _readings(ledger: Ledger, study_uid: str) -> Iterator[Moment]:
    its = select(readings).where(readings.c.study_uid == study_uid).order_by(readings.c.reading_id.desc())
    for row in ledger.rows(its.limit(_LONGEST)):
        model, policy = (f"{row[f'{what}_name']} {row[f'{what}_version']}" for what in ("model", "policy"))
        by = _("{model}, policy {policy}", model=model, policy=policy)
        what, why = "film read", _("film …{uid}", uid=row["sop_uid"][-12:])
        if row["refusal_code"]:
            what, why = "film refused", f"{why}: {row['refusal_code']}: {row['refusal_reason']}"
        yield Moment(row["read_at"], what, why, by, row["seconds"])


def _deliveries(ledger: Ledger, study_uid: str) -> Iterator[Moment]:
    """Objects of one kind of outcome at one destination within a second are one moment."""
    its = (
        select(outbox, objects.c.kind)
        .join(objects, objects.c.sop_uid == outbox.c.sop_uid)
        .where(outbox.c.study_uid == study_uid)
        .order_by(outbox.c.outbox_id.desc())
        .limit(_LONGEST)
    )
    together: dict[tuple[datetime, str, str, str], list[tuple[datetime, str]]] = defaultdict(list)
    for row in ledger.rows(its):
        ends = [(row["sent_at"], "sent", ""), (row["committed_at"], "committed", "")]
        if row["state"] == "failed":
            ends.append((row["last_attempt_at"], "not sent", row["message"]))
        for at, what, message in ends:
            if at:
                key = (at.replace(microsecond=0), what, row["destination"], message)
                together[key].append((at, row["kind"]))
    for (_second, what, destination, message), each in together.items():
        kinds = [kind for _at, kind in each]
        counted = ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds)))
        yield Moment(min(each)[0], what, f"{counted}{f': {message}' if message else ''}", destination)


def _events(ledger: Ledger, study_uid: str) -> Iterator[Moment]:
    its = select(events).where(events.c.study_uid == study_uid).order_by(events.c.event_id.desc())
    for row in ledger.rows(its.limit(_LONGEST)):
        yield Moment(row["happened_at"], row["kind"].replace("-", " "), row["detail"])


def _people(ledger: Ledger, study_uid: str) -> Iterator[Moment]:
    """What people did with it in the console, views left out: the audit trail has them."""
    its = select(audit_events).where(
        audit_events.c.study_uid == study_uid,
        audit_events.c.account != "",
        audit_events.c.action == "command",
    )
    for row in ledger.rows(its.order_by(audit_events.c.audit_id.desc()).limit(_LONGEST)):
        yield Moment(row["happened_at"], row["detail"], "", row["account"])
