"""The third leg: a study's result goes into the tables, and its objects into the outbox, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Select, Table, bindparam, insert, select, update

from spinepacs.domain.findings import EncodedObject, ImageResult, Reading, Refusal, StudyResult, Versions
from spinepacs.domain.study import Arrival, StudyState
from spinepacs.errors import Permanent
from spinepacs.settings.destinations import Destination
from spinepacs.store import replacing
from spinepacs.store.reading_rows import PARTS, Row, reading_row
from spinepacs.store.records import Claim, CorrectionJob, OutboxState
from spinepacs.store.rows import answered, under, unread
from spinepacs.store.states import end_attempt, is_open, move, settle
from spinepacs.store.tables import arrivals, objects, outbox, readings, studies
from spinepacs.store.turns import announce, due
from spinepacs.store.wanted import of_campaign

_Rows = dict[Table, list[Row]]

# Made once: to put such a statement together costs more than to run it.
_NEW_READING = insert(readings).returning(readings.c.reading_id)
_NEW_ROWS = {table: insert(table) for table in (*PARTS, objects, outbox)}
_OF_CAMPAIGN = select(studies.c.campaign_id).where(studies.c.study_uid == bindparam("of_study"))


def record(
    connection: Connection,
    claim: Claim,
    result: StudyResult,
    stored: Mapping[str, str],
    destinations: Sequence[Destination],
) -> bool:
    """See Ledger.record."""
    images = _images_by_arrival(claim, result)
    if not is_open(connection, claim):
        return False
    is_wanted = claim.campaign is None or claim.campaign.delivers
    rows: _Rows = {table: [] for table in _NEW_ROWS}
    for arrival_id, image in images.items():
        # What a model reads of a film that a person has corrected is kept, and contradicts nobody in the archive.
        is_sent = is_wanted and not replacing.by_person(connection, arrival_id)
        letters = _letters(claim.study_uid, image.objects, destinations) if is_sent else []
        if (known := _bare(connection, claim, arrival_id, image)) is not None:
            connection.execute(update(readings).where(readings.c.reading_id == known).values(bare=False))
            rows[objects] += [_object_row(known, item, stored) for item in image.objects]
            rows[outbox] += letters
        elif not _is_read(connection, arrival_id, image.reading, claim):
            whose = {"campaign_id": claim.campaign and claim.campaign.campaign_id, "bare": not is_wanted}
            _add(connection, rows, arrival_id, image, stored, letters, whose)
    _insert(connection, rows)
    for job, outcome in zip(claim.corrections, result.corrections, strict=True):
        _correct(connection, job, outcome, stored, destinations)
    end_attempt(connection, claim, "recorded")
    if _is_more_to_read(connection, claim):  # a late image came meanwhile
        move(connection, claim.study_uid, StudyState.ARRIVING, attempts=0, reason_code="", reason="")
    elif replacing.pending(connection, claim.study_uid):  # so did a person
        move(connection, claim.study_uid, StudyState.READY, attempts=0, **due(datetime.now(UTC)))
        announce(connection, claim.study_uid)
    else:
        settle(connection, claim.study_uid)
    return True


def _add(
    connection: Connection,
    rows: _Rows,
    arrival_id: int,
    image: ImageResult,
    stored: Mapping[str, str],
    letters: list[Row],
    whose: Row,
) -> None:
    """Insert one reading, and put what belongs to it among the rows; ``whose`` says what it was made for."""
    row = {"arrival_id": arrival_id, "read_at": datetime.now(UTC), **reading_row(image.reading), **whose}
    reading_id = connection.execute(_NEW_READING, row).scalar_one()
    for table, row_of in PARTS.items():
        rows[table] += [{"reading_id": reading_id, **row} for row in row_of(image.reading)]
    rows[objects] += [_object_row(reading_id, item, stored) for item in image.objects]
    rows[outbox] += letters


def _insert(connection: Connection, rows: _Rows) -> None:
    for table, of_table in rows.items():
        if of_table:
            connection.execute(_NEW_ROWS[table], of_table)


def _correct(
    connection: Connection,
    job: CorrectionJob,
    outcome: ImageResult | Refusal,
    stored: Mapping[str, str],
    destinations: Sequence[Destination],
) -> None:
    """Make a person's correction the film's reading, in place of the earlier ones; or write down why it cannot be."""
    if isinstance(outcome, Refusal):
        replacing.refuse(connection, job, outcome)
        return
    rows: _Rows = {table: [] for table in _NEW_ROWS}
    addressed = replacing.addressees(connection, job, outcome.objects, destinations)
    letters = [_letter(job.arrival.study_uid or "", item.sop_uid, name) for item, name in addressed]
    replacing.replace_earlier(connection, job)
    arrival_id = job.arrival.arrival_id
    _add(connection, rows, arrival_id, outcome, stored, letters, {"correction_id": job.correction_id})
    _insert(connection, rows)
    replacing.finish(connection, job)


def _images_by_arrival(claim: Claim, result: StudyResult) -> dict[int, ImageResult]:
    """Find each arrival's result: they are in the order of the claim."""
    if len(result.images) != len(claim.arrivals):
        raise Permanent(f"the result holds {len(result.images)} images, {len(claim.arrivals)} were claimed")
    return {
        arrival.arrival_id: replace(image, reading=_reading_of(claim, arrival, image.reading))
        for arrival, image in zip(claim.arrivals, result.images, strict=True)
    }


def _reading_of(claim: Claim, arrival: Arrival, reading: Reading) -> Reading:
    """Check that a reading is that of the arrival; one whose header could not be read again gets the UIDs from it."""
    if reading.versions != claim.versions:
        raise Permanent("the result was made with another model or policy than was claimed")
    if reading.sop_uid not in ("", arrival.sop_uid):
        raise Permanent("the result is not in the order of the images that were claimed")
    return replace(
        reading, study_uid=claim.study_uid, series_uid=arrival.series_uid or "", sop_uid=arrival.sop_uid
    )


def _is_more_to_read(connection: Connection, claim: Claim) -> bool:
    if claim.campaign is None:
        return bool(unread(connection, claim.study_uid, claim.versions))
    whose = connection.execute(_OF_CAMPAIGN, {"of_study": claim.study_uid}).scalar_one()
    if whose is None:  # a film of the day came, or the campaign was cancelled
        return True
    wanted = of_campaign(claim.campaign.campaign_id)
    return bool(unread(connection, claim.study_uid, claim.versions, wanted))


def _bare(connection: Connection, claim: Claim, arrival_id: int, image: ImageResult) -> int | None:
    """Key of a campaign's published reading without objects, which the day's work wants objects of."""
    if claim.campaign is not None or image.reading.refusal:
        return None
    this = {"of_arrival": arrival_id}
    return connection.execute(_bare_readings(image.reading.versions), this).scalar()


@lru_cache(maxsize=8)
def _bare_readings(versions: Versions) -> Select[Any]:
    return select(readings.c.reading_id).where(
        readings.c.arrival_id == bindparam("of_arrival"),
        readings.c.bare,
        readings.c.refusal_code == "",
        under(versions),
    )


def _is_read(connection: Connection, arrival_id: int, reading: Reading, claim: Claim) -> bool:
    question = _read(reading.versions, claim.campaign is not None)
    return connection.execute(question, {"of_arrival": arrival_id}).first() is not None


@lru_cache(maxsize=8)
def _read(versions: Versions, or_bare: bool) -> Select[Any]:
    this = arrivals.c.arrival_id == bindparam("of_arrival")
    return select(arrivals.c.arrival_id).where(this, answered(versions, or_bare=or_bare))


def _object_row(reading_id: int, item: EncodedObject, stored: Mapping[str, str]) -> Row:
    if item.sop_uid not in stored:
        raise Permanent(f"object {item.sop_uid} is not in the spool; it must be stored before it is recorded")
    return {
        "sop_uid": item.sop_uid,
        "reading_id": reading_id,
        "kind": item.kind.value,
        "sop_class_uid": item.sop_class_uid,
        "series_uid": item.series_uid,
        "transfer_syntax_uid": item.transfer_syntax_uid,
        "sha256": stored[item.sop_uid],
        "size_bytes": len(item.part10),
    }


def _letters(
    study_uid: str, items: Sequence[EncodedObject], destinations: Sequence[Destination]
) -> list[Row]:
    """Rows of the way of objects to each destination that wants their kind."""
    return [
        _letter(study_uid, item.sop_uid, destination.name)
        for item in items
        for destination in destinations
        if item.kind.value in destination.send
    ]


def _letter(study_uid: str, sop_uid: str, destination: str) -> Row:
    now = datetime.now(UTC)
    whose = {"study_uid": study_uid, "sop_uid": sop_uid, "destination": destination}
    return {**whose, "state": OutboxState.PENDING, "next_attempt_at": now, "created_at": now}
