"""A study as it stands in the database: whose its films are, and what documents about it are made of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Row, Select, select

from spinepacs.domain.findings import ObjectKind, Reading
from spinepacs.domain.study import FilmOwner
from spinepacs.domain.told import SoFar
from spinepacs.store.corrections import PRECEDENCE
from spinepacs.store.ledger import Ledger
from spinepacs.store.rebuilding import reading_of
from spinepacs.store.replacing import correction_of
from spinepacs.store.tables import arrivals, corrections, objects, readings

_OWNER = (arrivals.c.patient_id, arrivals.c.accession_number, arrivals.c.study_date)


def owners_of(ledger: Ledger, study_uid: str) -> dict[str, FilmOwner]:
    """Whose each film of a study is, by SOP Instance UID."""
    films = select(arrivals.c.sop_uid, *_OWNER).where(arrivals.c.study_uid == study_uid)
    return {row["sop_uid"]: _owner(row) for row in ledger.rows(films.order_by(arrivals.c.arrival_id))}


def so_far(ledger: Ledger, study_uid: str, *, or_bare: bool = False) -> SoFar:
    """What is known of a study, and what documents have said of it.

    Parameters
    ----------
    or_bare
        Also what a campaign has read for the database only.
    """
    with ledger.corrections.database.read() as connection:
        films = groupby(connection.execute(_readings(study_uid, or_bare)), lambda row: int(row.arrival_id))
        chosen = [_current_and_told(list(rows)) for _, rows in films]
        current = [
            (_reading(connection, now), told) for now, told in chosen if now.author or not now.refusal_code
        ]
        told = {now.sop_uid: tuple(_reading(connection, row) for row in before) for now, before in current}
        reports = _reports(connection, study_uid)
    return SoFar(tuple(now for now, _ in current), {uid: each for uid, each in told.items() if each}, reports)


def _readings(study_uid: str, or_bare: bool) -> Select[Any]:
    """Readings of a study, by film, the current one of each last."""
    chosen = (
        select(readings.c.reading_id, readings.c.arrival_id, readings.c.author, readings.c.refusal_code)
        .add_columns(readings.c.correction_id)
        .where(readings.c.study_uid == study_uid)
        .order_by(readings.c.arrival_id, *PRECEDENCE)
    )
    return chosen if or_bare else chosen.where(~readings.c.bare)


def _current_and_told(rows: Sequence[Row[Any]]) -> tuple[Row[Any], list[Row[Any]]]:
    """The current reading of a film, and those before it that documents have spoken of.

    What a model reads after a person has is in none.
    """
    *others, current = rows
    first = min((row.reading_id for row in rows if row.author), default=current.reading_id)
    return current, [row for row in others if row.author or (row.reading_id < first and not row.refusal_code)]


def _reading(connection: Connection, row: Row[Any]) -> Reading:
    """A reading with the correction that it comes from."""
    found = reading_of(connection, row.reading_id)
    if row.correction_id is None:
        return found
    asked = select(corrections).where(corrections.c.correction_id == row.correction_id)
    return replace(found, correction=correction_of(connection.execute(asked).one()))


def _reports(connection: Connection, study_uid: str) -> dict[FilmOwner, tuple[str, ...]]:
    """Of each owner the FHIR reports that were made, oldest first; see :class:`~spinepacs.domain.told.Told`."""
    made = (
        select(objects.c.sop_uid, readings.c.author, *_OWNER)
        .join(readings, readings.c.reading_id == objects.c.reading_id)
        .join(arrivals, arrivals.c.arrival_id == readings.c.arrival_id)
        .where(readings.c.study_uid == study_uid, objects.c.kind == ObjectKind.FHIR.value)
        .order_by(objects.c.reading_id)
    )
    found: dict[FilmOwner, list[str]] = defaultdict(list)
    for row in connection.execute(made):
        found[_owner(row._mapping)].append("" if row.author else row.sop_uid)
    return {owner: (uids[0], *(uid for uid in uids[1:] if uid)) for owner, uids in found.items()}


def _owner(row: Mapping[Any, Any]) -> FilmOwner:
    day: date | None = row["study_date"]
    return FilmOwner(row["patient_id"], row["accession_number"], f"{day:%Y%m%d}" if day else "")
