"""What has become of the corrections of a film, and all readings that there are of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

from spinepacs.domain import words
from spinepacs.domain.corrections import OPERATIONS
from spinepacs.domain.study import StudyState
from spinepacs.language import N_, _
from spinepacs.store import story
from spinepacs.store.records import CorrectionState, OutboxState
from spinepacs.web.drafting import said as in_words
from spinepacs.web.site import Visit
from spinepacs.web.wording import STATES, known

Row = dict[str, Any]
_MOST = 50
_FRESH = timedelta(minutes=10)
_KINDS = words.Words({"OVERLAY": N_("picture"), "KO": N_("key object")})
_ON_ITS_WAY = {
    StudyState.READY.value: ("queued", N_("A worker takes it up as soon as one is free.")),
    StudyState.WORKING.value: ("in work", N_("A worker measures, grades and encodes it anew.")),
}


def standing_of(visit: Visit, study_uid: str, row: Row) -> Row:
    """Where a correction stands: ``state`` in a word, ``said`` in a sentence, ``sent`` by destination.

    ``is_open``: it will go on by itself, so it is to be asked again. ``row`` is of ``Ledger.corrections.history``.
    """
    state, sent = CorrectionState(row["state"]), []
    common = {"author": row["author"], "at": row["made_at"], "reading_id": row["reading_id"]}
    if state is CorrectionState.REFUSED:
        why = f"{row['refusal_code']}: {row['refusal_reason']}"
        return common | {"state": "refused", "said": why, "sent": [], "is_open": False}
    if state is CorrectionState.PENDING:
        study = (story.summary(visit.site.ledger, study_uid) or {}).get("state", "")
        word, sentence = _ON_ITS_WAY.get(study, ("waits", ""))
        said = _(sentence) if sentence else _("The study is {state}.", state=known(STATES, study))
        return common | {"state": word, "said": said, "sent": [], "is_open": True}
    rows = story.deliveries_of(visit.site.ledger, row["reading_id"])
    for destination, each in groupby(rows, key=lambda one: str(one["destination"])):
        sent.append((destination, ", ".join(map(_delivery, each))))
    waits = any(one["state"] == OutboxState.PENDING for one in rows)
    has_failed = any(one["state"] == OutboxState.FAILED for one in rows)
    word = "being sent" if waits else "not all sent" if has_failed else "delivered" if rows else "recorded"
    told = _("It is the film’s current reading.") + ("" if rows else " " + _("It is sent nowhere."))
    return common | {"state": word, "said": told, "sent": sent, "is_open": waits}


def is_said(row: Mapping[str, Any]) -> bool:
    """Whether something that is over is still told above the film, or only in its history."""
    ended = row["ended_at"]
    return bool(ended) and datetime.now(UTC) - ended < _FRESH


def entries(visit: Visit, sop_uid: str, corrections: Sequence[Row]) -> list[Row]:
    """Readings of a film and what was asked for besides, newest first."""
    made = [_by_person(row, visit.shows_identity) for row in corrections[:_MOST]]
    read = [_by_model(row) for row in story.readings_of(visit.site.ledger, sop_uid) if not row["author"]]
    return sorted(made + read, key=lambda one: one["at"], reverse=True)


def _by_person(row: Row, with_reasons: bool) -> Row:
    return {
        "at": row["made_at"],
        "who": row["author"],
        "for": row["organisation"],
        "state": row["state"],
        "steps": [in_words(one, with_reasons) for one in OPERATIONS.validate_python(row["operations"])],
        "reason": row["reason"] if with_reasons else "",
        "refusal": f"{row['refusal_code']}: {row['refusal_reason']}" if row["refusal_code"] else "",
        "correction_id": row["correction_id"] if row["reading_id"] is not None else None,
    }


def _by_model(row: Row) -> Row:
    model, policy = (f"{row[f'{what}_name']} {row[f'{what}_version']}" for what in ("model", "policy"))
    nothing: Row = {"for": "", "state": "", "steps": [], "reason": "", "correction_id": None}
    return {
        "at": row["read_at"],
        "who": _("{model}, policy {policy}", model=model, policy=policy),
        "refusal": row["refusal_code"],
        **nothing,
    }


def _delivery(row: Row) -> str:
    message = f" ({row['message']})" if row["message"] and row["state"] == OutboxState.FAILED else ""
    state = "waits" if row["state"] == OutboxState.PENDING else row["state"]
    return f"{known(_KINDS, row['kind'])} {known(STATES, state)}{message}"
