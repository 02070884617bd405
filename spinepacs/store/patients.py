"""Whose film it is: each keeps its own patient, the study's row that of the first, and two in one study are told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Update, bindparam, func, select, update

from spinepacs.domain.study import StudyHeader
from spinepacs.store import events
from spinepacs.store.columns import safe
from spinepacs.store.records import ArrivalState, EventKind
from spinepacs.store.tables import arrivals

_OF_FILM = ("patient_id", "patient_sex", "patient_age_years", "study_date", "accession_number")
"""What a film says for itself, and takes from its study where it says nothing."""

_SELECTED = select(func.count()).where(
    arrivals.c.study_uid == bindparam("of_study"), arrivals.c.state == ArrivalState.SELECTED
)


def of_film(header: StudyHeader) -> dict[str, Any]:
    """What the row of a film says about its patient; no name."""
    return {name: value for name, value in of_study(header).items() if name in _OF_FILM}


def of_study(header: StudyHeader) -> dict[str, Any]:
    """What the row of a study says about its patient and images; no name."""
    return {
        "patient_id": safe(header.patient_id),
        "patient_sex": header.patient_sex,
        "patient_age_years": header.patient_age_years,
        "study_date": day_of(header),
        "accession_number": header.accession_number,
        "study_description": header.study_description,
        "modality": header.modality,
        "body_part": header.body_part,
    }


def attach(connection: Connection, header: StudyHeader, study: Mapping[str, Any]) -> dict[str, Any]:
    """Let study and films tell each other what one of them does not say, once the header's film has been selected.

    The study, whose row the caller has locked, keeps what its first selected film says. Where another one names another
    patient the study says so, and from then on nobody tells anybody anything. Returns what the study's row is to say.
    """
    known = dict(study)
    stated = {name: value for name, value in of_study(header).items() if value}
    # Before the first selected film its row says what an image says that is not read.
    is_first = is_first_film(connection, header.study_uid)
    news = {name: value for name, value in stated.items() if is_first or not known[name]}
    if stated.get("patient_id", "") not in ("", {**known, **news}["patient_id"]):
        news["patients_differ_at"] = datetime.now(UTC)
        detail = "a film names another patient than the first of its study"
        events.add(connection, EventKind.PATIENTS_DIFFER, header.study_uid, header.sop_uid, detail)
    known |= news
    if not known["patients_differ_at"]:
        _share(connection, known, [name for name in _OF_FILM if name in news or name not in stated])
    return news


def is_first_film(connection: Connection, study_uid: str) -> bool:
    """Whether a study has one selected film and no more."""
    return bool(connection.execute(_SELECTED, {"of_study": study_uid}).scalar_one() == 1)


def _share(connection: Connection, study: dict[str, Any], names: Iterable[str]) -> None:
    """Give a study's films what they do not say themselves."""
    for name in names:
        if value := study[name]:
            silent = _silent(name, isinstance(value, str))
            connection.execute(silent, {"of_study": study["study_uid"], name: value})


@cache
def _silent(name: str, is_text: bool) -> Update:
    """A change of those films of a study that do not say something; made once."""
    column = arrivals.c[name]
    of_study = arrivals.c.study_uid == bindparam("of_study")
    return update(arrivals).where(of_study, column == "" if is_text else column.is_(None))


def day_of(header: StudyHeader) -> date | None:
    """Study date; None where it is none."""
    try:
        return datetime.strptime(header.study_date, "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None
