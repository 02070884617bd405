"""What the spool holds of each study: films, and the current results on them, for those who ask by DICOMweb."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, Select, exists, or_, select

from spinepacs.domain.findings import ObjectKind
from spinepacs.store.ledger import Ledger
from spinepacs.store.queries import Row
from spinepacs.store.records import ArrivalState
from spinepacs.store.tables import arrivals, objects, readings, studies

_NO_DICOM = (ObjectKind.FHIR.value, ObjectKind.HL7.value)
_ESCAPE = "\\"


@dataclass(frozen=True)
class StudyKeys:
    """What is looked for; what is empty asks for nothing. ``*`` and ``?`` in texts are wildcards (PS3.4 C.2.2.2.4)."""

    study_uids: tuple[str, ...] = ()
    patient_id: str = ""
    accession_number: str = ""
    modalities: tuple[str, ...] = ()
    """Of its films: any of these."""
    date_from: date | None = None
    date_to: date | None = None


@dataclass(frozen=True)
class Holding:
    """One DICOM object that lies in the spool; ``kind`` is empty for a film."""

    study_uid: str
    series_uid: str
    sop_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    sha256: str
    size_bytes: int
    kind: str


def studies_held(ledger: Ledger, keys: StudyKeys, limit: int, offset: int) -> list[Row]:
    """Find studies of which the spool holds something: ``study_uid``, ``study_date`` and whose it is, newest first."""
    newest_first = (studies.c.last_arrival_at.desc(), studies.c.study_uid.desc())
    columns = (studies.c.study_uid, studies.c.last_arrival_at)
    chosen = select(*columns).where(_is_held(), *_conditions(ledger, keys)).order_by(*newest_first)
    return ledger.rows(chosen.limit(limit).offset(offset))


def holdings(
    ledger: Ledger, study_uid: str, series_uid: str = "", sop_uid: str = "", results: bool = True
) -> list[Holding]:
    """Objects of a study, films first; of one series or the one object where that is named.

    What a correction has replaced is given only where it is named by its own UID.
    """
    rows = ledger.rows(
        _narrowed(_films(study_uid), arrivals, series_uid, sop_uid).order_by(arrivals.c.arrival_id)
    )
    found = [Holding(**row, kind="") for row in rows]
    if results:
        made = _narrowed(_results(study_uid), objects, series_uid, sop_uid)
        if not sop_uid:
            made = made.where(objects.c.replaced_by.is_(None), objects.c.kind != ObjectKind.REJECTION.value)
        found += [
            Holding(**row) for row in ledger.rows(made.order_by(objects.c.reading_id, objects.c.sop_uid))
        ]
    return found


def _narrowed(chosen: Select[Any], table: Any, series_uid: str, sop_uid: str) -> Select[Any]:
    if series_uid:
        chosen = chosen.where(table.c.series_uid == series_uid)
    return chosen.where(table.c.sop_uid == sop_uid) if sop_uid else chosen


_FILM_STATES = (ArrivalState.SELECTED.value, ArrivalState.REFUSED.value)
"""What has a header that was read, and is the one file of its UID."""


def _films(study_uid: str) -> Select[Any]:
    names = (*_names(arrivals), arrivals.c.study_uid)
    held = (arrivals.c.file_deleted_at.is_(None), arrivals.c.state.in_(_FILM_STATES))
    return select(*names).where(arrivals.c.study_uid == study_uid, *held)


def _results(study_uid: str) -> Select[Any]:
    names = (*_names(objects), objects.c.kind, readings.c.study_uid)
    held = (objects.c.file_deleted_at.is_(None), objects.c.kind.not_in(_NO_DICOM))
    joined = select(*names).join(readings, readings.c.reading_id == objects.c.reading_id)
    return joined.where(readings.c.study_uid == study_uid, *held)


def _names(table: Any) -> Sequence[Any]:
    names = ("series_uid", "sop_uid", "sop_class_uid", "transfer_syntax_uid", "sha256", "size_bytes")
    return [table.c[name] for name in names]


def _is_held() -> ColumnElement[bool]:
    its = arrivals.c.study_uid == studies.c.study_uid
    film = exists().where(its, arrivals.c.file_deleted_at.is_(None), arrivals.c.state.in_(_FILM_STATES))
    read = readings.c.study_uid == studies.c.study_uid
    kept = (objects.c.file_deleted_at.is_(None), objects.c.kind.not_in(_NO_DICOM))
    result = exists().where(read, objects.c.reading_id == readings.c.reading_id, *kept)
    return or_(film, result)


def _conditions(ledger: Ledger, keys: StudyKeys) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = []
    if keys.study_uids:
        wanted.append(studies.c.study_uid.in_(keys.study_uids))
    for name, value in (("patient_id", keys.patient_id), ("accession_number", keys.accession_number)):
        if value:
            its = select(arrivals.c.study_uid).where(_matches(ledger, arrivals.c[name], value))
            wanted.append(studies.c.study_uid.in_(its))
    if keys.modalities:
        film = arrivals.c.study_uid == studies.c.study_uid
        wanted.append(exists().where(film, arrivals.c.modality.in_(keys.modalities)))
    if keys.date_from:
        wanted.append(studies.c.study_date >= keys.date_from)
    if keys.date_to:
        wanted.append(studies.c.study_date <= keys.date_to)
    return wanted


def _matches(ledger: Ledger, column: Any, value: str) -> ColumnElement[bool]:
    if "*" not in value and "?" not in value:
        return column == value  # type: ignore[no-any-return]
    if ledger.url.startswith("sqlite"):  # whose LIKE takes "a" for "A", as no identifier may be taken
        return column.op("GLOB", is_comparison=True)(value.replace("[", "[[]"))  # type: ignore[no-any-return]
    for special in (_ESCAPE, "%", "_"):
        value = value.replace(special, _ESCAPE + special)
    return column.like(value.replace("*", "%").replace("?", "_"), escape=_ESCAPE)  # type: ignore[no-any-return]
