"""What persons change about readings: asked for here, worked out with its study, and then the film's current reading.

The current reading of a film is the newest that a person has made, else the newest: one definition, here and in the
views (migration r0015).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Row, exists, insert, select, update

from spinepacs.domain.corrections import OPERATIONS, Accept, Draft, Grade, Reject
from spinepacs.domain.findings import Reading, Refusal
from spinepacs.domain.study import StudyState
from spinepacs.store import events
from spinepacs.store.engine import Database
from spinepacs.store.rebuilding import reading_of
from spinepacs.store.records import ArrivalState, CorrectionState, EventKind
from spinepacs.store.replacing import kinds
from spinepacs.store.states import SETTLED, lock, move
from spinepacs.store.tables import arrivals, corrections, readings, studies
from spinepacs.store.turns import announce, due

FILM_GONE = Refusal("FILM_GONE", "the film's file is no longer in the spool: send it again")
PRECEDENCE = (readings.c.author != "", readings.c.reading_id)
"""Of the readings of a film the last one in this order is the current one."""
_LONGEST_NAME = 64
"""Characters of a name in DICOM (VR PN and LO)."""


@dataclass(frozen=True)
class Asked:
    """A correction that has been taken up."""

    correction_id: int
    uid: str


@dataclass(frozen=True)
class Forestalled:
    """Why it was not: the film has another reading by now, or another person's correction is on its way.

    Parameters
    ----------
    author
        Whose it is; empty: the model has read the film again.
    at
        When.
    is_pending
        Whether it is still on its way.
    """

    author: str
    at: datetime
    is_pending: bool


@dataclass(frozen=True)
class CurrentReading:
    """A film with its current reading.

    Parameters
    ----------
    reading
        As published; that of a film whose reading a person has rejected is refused.
    base
        What a correction begins with: the same, or what was rejected.
    author
        Whose it is; empty: the model's.
    sha256
        Of the film's file.
    """

    reading_id: int
    reading: Reading
    base: Reading
    author: str
    sha256: str


@dataclass(frozen=True)
class Corrections:
    """The part of the ledger that persons correct by; each method is one transaction, as the ledger's."""

    database: Database

    def current(self, sop_uid: str) -> CurrentReading | Refusal:
        """The current reading of a film, ready to be corrected; refused where there is none, or no file any more."""
        with self.database.read() as connection:
            return _current(connection, sop_uid)

    def ask(self, sop_uid: str, base_reading_id: int, draft: Draft) -> Asked | Forestalled | Refusal:
        """Ask for a correction of a film's current reading; it is worked out as soon as a worker is free.

        Parameters
        ----------
        base_reading_id
            The reading that the person has seen: if it is not the current one any more, nothing is done.
        """
        return self.database.write(_ask, sop_uid, base_reading_id, draft)

    def base_of(self, correction_id: int) -> Reading:
        """The reading that a correction begins with; raises LookupError where there is no such correction."""
        base = select(corrections.c.base_reading_id).where(corrections.c.correction_id == correction_id)
        with self.database.read() as connection:
            reading_id = connection.execute(base).scalar()
            if reading_id is None:
                raise LookupError(f"no correction {correction_id}")
            return _to_correct(connection, reading_id)

    def reading(self, reading_id: int) -> Reading:
        """One reading, as it was published; raises LookupError where there is none of this key."""
        with self.database.read() as connection:
            return reading_of(connection, reading_id)

    def history(self, sop_uid: str | None = None, limit: int = 1000) -> list[dict[str, Any]]:
        """Corrections of a film (None: of all), newest first, with the readings before and after (None: none yet)."""
        asked = (
            select(
                corrections, arrivals.c.sop_uid, readings.c.reading_id, readings.c.read_at,
            )
            .join(arrivals, arrivals.c.arrival_id == corrections.c.arrival_id)
            .outerjoin(readings, readings.c.correction_id == corrections.c.correction_id)
            .order_by(corrections.c.correction_id.desc())
            .limit(limit)
        )  # fmt: skip
        if sop_uid is not None:
            asked = asked.where(arrivals.c.sop_uid == sop_uid)
        with self.database.read() as connection:
            return [dict(row._mapping) for row in connection.execute(asked)]

    def corrected_films(self) -> list[tuple[str, str, str]]:
        """Films whose current reading is a person's and no rejection, and whose files are there, oldest first.

        Returns
        -------
        Of each its SOP Instance UID, its patient ID, and the ``uid`` of the correction.
        """
        later = readings.alias()
        is_newest = ~exists().where(
            later.c.arrival_id == readings.c.arrival_id,
            later.c.author != "",
            later.c.reading_id > readings.c.reading_id,
        )
        found = (
            select(arrivals.c.sop_uid, arrivals.c.patient_id, corrections.c.uid)
            .join(readings, readings.c.arrival_id == arrivals.c.arrival_id)
            .join(corrections, corrections.c.correction_id == readings.c.correction_id)
            .where(readings.c.refusal_code == "", is_newest, arrivals.c.file_deleted_at.is_(None))
            .order_by(arrivals.c.arrival_id)
        )
        with self.database.read() as connection:
            return [(row[0], row[1], row[2]) for row in connection.execute(found)]


def _film(connection: Connection, sop_uid: str) -> Row[*tuple[Any, ...]] | None:
    """The arrival of a film that is read."""
    columns = (arrivals.c.arrival_id, arrivals.c.study_uid, arrivals.c.sha256, arrivals.c.file_deleted_at)
    # Not asked by its state too: SQLite without statistics would go through all films that are read.
    rows = connection.execute(select(*columns, arrivals.c.state).where(arrivals.c.sop_uid == sop_uid))
    return next((row for row in rows if row.state == ArrivalState.SELECTED), None)


def _newest(connection: Connection, arrival_id: int) -> Row[*tuple[Any, ...]] | None:
    """The current reading: a person's before any other, the newest of them."""
    return connection.execute(
        select(readings.c.reading_id, readings.c.author, readings.c.read_at)
        .where(readings.c.arrival_id == arrival_id)
        .order_by(*(one.desc() for one in PRECEDENCE))
        .limit(1)
    ).first()


def _current(connection: Connection, sop_uid: str) -> CurrentReading | Refusal:
    film = _film(connection, sop_uid)
    newest = _newest(connection, film.arrival_id) if film else None
    if film is None or newest is None:
        return Refusal("NO_READING", "no film of this SOP Instance UID has been read")
    if film.file_deleted_at is not None:
        return FILM_GONE
    reading = reading_of(connection, newest.reading_id)
    base = reading if reading.spine is not None else _to_correct(connection, newest.reading_id)
    return CurrentReading(newest.reading_id, reading, base, newest.author, film.sha256)


def _to_correct(connection: Connection, reading_id: int) -> Reading:
    """A reading; of one that rejects, what was rejected."""
    reading = reading_of(connection, reading_id)
    before = (
        select(corrections.c.base_reading_id)
        .join(readings, readings.c.correction_id == corrections.c.correction_id)
        .where(readings.c.reading_id == reading_id)
    )
    if reading.spine is None and (base := connection.execute(before).scalar()) is not None:
        return _to_correct(connection, base)
    return reading


def _ask(
    connection: Connection, sop_uid: str, base_reading_id: int, draft: Draft
) -> Asked | Forestalled | Refusal:
    if (refusal := _not_askable(draft)) is not None:
        return refusal
    film = _film(connection, sop_uid)
    if film is None:
        return Refusal("NO_READING", "no film of this SOP Instance UID has been read")
    state = lock(connection, film.study_uid)
    if film.file_deleted_at is not None:
        return FILM_GONE
    if (other := _forestalled(connection, film.arrival_id, base_reading_id)) is not None:
        return other
    uid, now = uuid4().hex, datetime.now(UTC)
    row = {
        "uid": uid, "arrival_id": film.arrival_id, "study_uid": film.study_uid, "base_reading_id": base_reading_id,
        "author": draft.author, "organisation": draft.organisation, "reason": draft.reason, "made_at": now,
        "operations": OPERATIONS.dump_python(draft.operations, mode="json"),
        "drawn_by": _drawn_by(connection, base_reading_id, draft, uid), "state": CorrectionState.PENDING,
    }  # fmt: skip
    made = insert(corrections).values(row).returning(corrections.c.correction_id)
    correction_id = int(connection.execute(made).scalar_one())
    _hurry(connection, film.study_uid, state, now)
    detail = f"{kinds(draft)}, by {draft.author}"
    events.add(connection, EventKind.CORRECTION_ASKED, film.study_uid, sop_uid, detail)
    return Asked(correction_id, uid)


def _not_askable(draft: Draft) -> Refusal | None:
    names = (draft.author, draft.organisation)
    if not draft.author.strip() or any(len(name) > _LONGEST_NAME or not name.isprintable() for name in names):
        return Refusal(
            "NO_AUTHOR", "a correction needs its author, in at most 64 letters, as the organisation has"
        )
    if any("\\" in name for name in names):
        return Refusal("NO_AUTHOR", "the names of author and organisation hold no backslash")
    if not draft.operations:
        return Refusal("NO_CHANGE", "nothing is to be changed")
    return None


def _forestalled(connection: Connection, arrival_id: int, base_reading_id: int) -> Forestalled | None:
    waiting = select(corrections.c.author, corrections.c.made_at).where(
        corrections.c.arrival_id == arrival_id, corrections.c.state == CorrectionState.PENDING
    )
    if (row := connection.execute(waiting).first()) is not None:
        return Forestalled(row.author, row.made_at, True)
    newest = _newest(connection, arrival_id)
    if newest is not None and newest.reading_id != base_reading_id:
        return Forestalled(newest.author, newest.read_at, False)
    return None


def _drawn_by(connection: Connection, base_reading_id: int, draft: Draft, uid: str) -> str:
    """Which correction names and outlines come from: this one, unless it leaves them as they are."""
    if any(not isinstance(one, Grade | Accept | Reject) for one in draft.operations):
        return uid
    before = (
        select(corrections.c.drawn_by)
        .join(readings, readings.c.correction_id == corrections.c.correction_id)
        .where(readings.c.reading_id == base_reading_id)
    )
    return connection.execute(before).scalar() or ""


def _hurry(connection: Connection, study_uid: str, state: StudyState, now: datetime) -> None:
    """A person waits: the study is urgent from now on, and taken up if it is at rest."""
    this = studies.c.study_uid == study_uid
    # Written first: its turn depends on it.
    connection.execute(update(studies).where(this).values(urgent=True, rereading=False))
    if state in SETTLED:
        opened = {"attempts": 0, "reason_code": "", "reason": "", **due(now)}
        move(connection, study_uid, StudyState.READY, **opened)
        announce(connection, study_uid)
    elif state is StudyState.READY:
        connection.execute(update(studies).where(this).values(due(now)))
