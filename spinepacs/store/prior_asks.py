"""Rows of the table ``prior_asks``: written where a film comes, and looked at where one is fetched."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select, update

from spinepacs.domain.findings import Refusal
from spinepacs.domain.priors import PATTERN, Ask, AskState
from spinepacs.domain.study import StudyHeader
from spinepacs.store.columns import safe
from spinepacs.store.insertion import insert_into
from spinepacs.store.tables import campaign_films, campaign_items, prior_asks

_STRANGER = Refusal(
    "OTHER_PATIENT", "the archive gave it as an earlier film of a patient whose ID or issuer it does not name"
)
_IS_PATTERN = {
    "state": AskState.FAILED,
    "reason_code": "PATIENT_ID_IS_PATTERN",
    "reason": "the patient ID has a character with which an archive would give studies of others",
}


def ask_for(
    connection: Connection,
    header: StudyHeader,
    study_date: date | None,
    again_after: timedelta,
    *,
    is_new_study: bool,
) -> None:
    """Have a film's patient asked for: if nobody has, for a new study, or once ``again_after`` has passed.

    While it waits, the latest study counts: its priors are those of the others, too. If the archive is being asked at
    that moment it is asked once more.
    """
    patient = {"patient_id": safe(header.patient_id), "issuer": safe(header.issuer_of_patient_id)}
    if not patient["patient_id"].strip():
        return
    now = datetime.now(UTC)
    asked = {
        "study_uid": header.study_uid, "study_date": study_date, "state": AskState.WAITING, "attempts": 0,
        "reason_code": "", "reason": "", "due_at": now, "wanted_at": now,
    }  # fmt: skip
    if not PATTERN.isdisjoint(patient["patient_id"]):
        asked |= _IS_PATTERN
    made = insert_into(connection, prior_asks).values(patient | asked).on_conflict_do_nothing()
    if connection.execute(made.returning(prior_asks.c.ask_id)).first():
        return
    this = tuple(prior_asks.c[name] == value for name, value in patient.items())
    row = connection.execute(select(prior_asks).where(*this).with_for_update()).one()
    if _is_to_be_asked(row, header.study_uid, now - again_after, is_new_study):
        if row.state in (AskState.WAITING, AskState.ASKING):
            asked["wanted_at"] = row.wanted_at
            if row.study_date and study_date and row.study_date > study_date:
                asked |= {"study_uid": row.study_uid, "study_date": row.study_date}
        connection.execute(update(prior_asks).where(*this).values(asked))


def _is_to_be_asked(row: Row[Any], study_uid: str, before: datetime, is_new_study: bool) -> bool:
    if row.state in (AskState.WAITING, AskState.ASKING):
        return is_new_study and study_uid != row.study_uid
    return is_new_study or (row.asked_at or row.wanted_at) < before


def ask_of(row: Row[Any]) -> Ask:
    """A row as it is handed on."""
    return Ask(row.ask_id, row.patient_id, row.issuer, row.study_uid, row.study_date, row.attempts)


def stranger(connection: Connection, campaign_id: int, header: StudyHeader) -> Refusal | None:
    """Why a film that a campaign has brought is none of the patient's whose priors were asked for; None: it is.

    What an archive answers about a study need not be true of each of its films.
    """
    asked = (
        select(prior_asks)
        .join(campaign_items, campaign_items.c.ask_id == prior_asks.c.ask_id)
        .join(campaign_films, campaign_films.c.item_id == campaign_items.c.item_id)
        .where(campaign_films.c.campaign_id == campaign_id, campaign_films.c.sop_uid == header.sop_uid)
    )
    row = connection.execute(asked).first()
    if row is None or ask_of(row).is_of(safe(header.patient_id), safe(header.issuer_of_patient_id)):
        return None
    return _STRANGER
