"""What is answered to a request that stores (PS3.18 10.5.3): datasets in the DICOM JSON model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from spinepacs.dicomweb.storing import OUT_OF_RESOURCES, TOO_LARGE, Outcome

DICOM_JSON = "application/dicom+json"
RETRY_AFTER_S = 30
Json = dict[str, Any]


def stored(outcomes: Sequence[Outcome], broken: str = "") -> Response:
    """Say what became of each object.

    Parameters
    ----------
    broken
        Why the body was no such body, or ended too early; empty: it was whole. What came whole before is named too.
    """
    status = 400 if broken or not outcomes else _status(outcomes)
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else {}
    if status == 400:
        # A quoted-string as RFC 9110 5.5 has it: the words are ours and hold neither quotes nor foreign letters.
        headers["Warning"] = f'299 - "{broken or "there is no object in it"}"'
    return Response(json.dumps(_listed(outcomes)), status, headers, DICOM_JSON)


def _status(outcomes: Sequence[Outcome]) -> int:
    failures = [outcome.failure for outcome in outcomes if outcome.failure is not None]
    if not failures:
        return 200
    if len(failures) < len(outcomes):
        return 202
    if OUT_OF_RESOURCES in failures:
        return 503
    return 413 if set(failures) == {TOO_LARGE} else 409


def _listed(outcomes: Sequence[Outcome]) -> Json:
    """ReferencedSOPSequence: what is durable; FailedSOPSequence and OtherFailuresSequence: what is not."""
    good = [_item(outcome) for outcome in outcomes if outcome.failure is None]
    bad = [_item(outcome) for outcome in outcomes if outcome.failure is not None and outcome.sop_uid]
    nameless = [_item(outcome) for outcome in outcomes if outcome.failure is not None and not outcome.sop_uid]
    sequences = {"00081198": bad, "00081199": good, "0008119A": nameless}
    listed: Json = {tag: {"vr": "SQ", "Value": items} for tag, items in sequences.items() if items}
    return {"00081190": {"vr": "UR"}, **listed}


def _item(outcome: Outcome) -> Json:
    uids = {"00081150": outcome.sop_class_uid, "00081155": outcome.sop_uid}
    item: Json = {tag: {"vr": "UI", "Value": [uid]} for tag, uid in uids.items() if uid}
    if outcome.failure is not None:
        item["00081197"] = {"vr": "US", "Value": [outcome.failure]}
    return item
