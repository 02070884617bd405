"""QIDO-RS (PS3.18 10.6): studies by their keys, their series, their instances."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from itertools import groupby

from pydicom.datadict import keyword_for_tag
from starlette.exceptions import HTTPException
from starlette.responses import Response

from spinepacs.dicomweb.answers import DICOM_JSON
from spinepacs.dicomweb.calls import Call
from spinepacs.dicomweb.headers import Json, element
from spinepacs.errors import Permanent
from spinepacs.store.holdings import Holding, StudyKeys, holdings, studies_held

MOST = 1000
USUAL = 100
"""Rows of an answer: at most, and where nobody says how many."""

_OF_STUDY = tuple(
    map(
        element,
        (
            "SpecificCharacterSet", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName",
            "StudyDescription", "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID",
            "StudyID",
        ),
    )
)  # fmt: skip
_OF_SERIES = tuple(
    map(
        element,
        (
            "SpecificCharacterSet", "Modality", "SeriesDescription", "SeriesDate", "SeriesTime", "BodyPartExamined",
            "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber",
        ),
    )
)  # fmt: skip
_OF_INSTANCE = tuple(
    map(
        element,
        (
            "SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID",
            "AvailableTransferSyntaxUID", "Modality", "InstanceNumber", "Rows", "Columns", "BitsAllocated",
            "NumberOfFrames",
        ),
    )
)  # fmt: skip
_IGNORED = frozenset({"includefield", "fuzzymatching", "limit", "offset"})
Pick = Callable[[list[Holding]], Json]


def studies(call: Call) -> Response:
    """Studies of which the spool holds something, newest first."""
    limit, offset = _window(call)
    asked = _asked(call)
    keys = _keys(asked)
    found = studies_held(call.server.ledger, keys, limit + 1, offset)
    names = ", ".join(sorted(asked)) or "all"  # ours: what clients call a key may be anything
    call.server.ledger.accounts.note("searched", call.account.name, call.peer, detail=f"DICOMweb: {names}")
    rows = []
    for each in found[:limit]:
        if held := holdings(call.server.ledger, str(each["study_uid"])):
            rows.append(_study(call, held))
    return _answer(rows, more=len(found) > limit)


def series(call: Call) -> Response:
    """Series of a study."""
    wanted = _asked(call)
    groups = _grouped(_held(call), lambda each: each.series_uid)
    return _chosen(call, [_series(call, group) for group in groups], wanted)


def instances(call: Call) -> Response:
    """Instances of a study, or of one of its series."""
    wanted = _asked(call)
    return _chosen(call, [_instance(call, each) for each in _held(call)], wanted)


def _held(call: Call) -> list[Holding]:
    study_uid = call.uid("study")
    return holdings(call.server.ledger, study_uid, call.uid("series"))


def _chosen(call: Call, rows: list[Json], wanted: Mapping[str, str]) -> Response:
    """Those rows that have the values which are asked for, from ``offset`` on, ``limit`` of them."""
    limit, offset = _window(call)
    for keyword, value in wanted.items():
        tag = element(keyword)
        values = set(value.replace("\\", ",").split(","))
        rows = [row for row in rows if values & {str(each) for each in row.get(tag, {}).get("Value", ())}]
    return _answer(rows[offset : offset + limit], more=len(rows) > offset + limit)


def _study(call: Call, held: list[Holding]) -> Json:
    row = _picked(call, held[0], _OF_STUDY)
    groups = list(_grouped(held, lambda each: each.series_uid))
    modality = element("Modality")
    modalities = {
        str(value) for group in groups for value in _header(call, group[0]).get(modality, {}).get("Value", ())
    }
    row[element("ModalitiesInStudy")] = {"vr": "CS", "Value": sorted(modalities)}
    row[element("NumberOfStudyRelatedSeries")] = {"vr": "IS", "Value": [len(groups)]}
    row[element("NumberOfStudyRelatedInstances")] = {"vr": "IS", "Value": [len(held)]}
    return _with_place(call, row, f"/studies/{held[0].study_uid}")


def _series(call: Call, group: list[Holding]) -> Json:
    row = _picked(call, group[0], _OF_SERIES)
    row[element("NumberOfSeriesRelatedInstances")] = {"vr": "IS", "Value": [len(group)]}
    return _with_place(call, row, f"/studies/{group[0].study_uid}/series/{group[0].series_uid}")


def _instance(call: Call, each: Holding) -> Json:
    row = _picked(call, each, _OF_INSTANCE)
    path = f"/studies/{each.study_uid}/series/{each.series_uid}/instances/{each.sop_uid}"
    return _with_place(call, row, path)


def _with_place(call: Call, row: Json, path: str) -> Json:
    row[element("InstanceAvailability")] = {"vr": "CS", "Value": ["ONLINE"]}
    base = str(call.request.base_url).rstrip("/")
    row[element("RetrieveURL")] = {"vr": "UR", "Value": [f"{base}/dicom-web{path}"]}
    return row


def _picked(call: Call, each: Holding, tags: Iterable[str]) -> Json:
    header = _header(call, each)
    uids = {
        "StudyInstanceUID": each.study_uid,
        "SeriesInstanceUID": each.series_uid,
        "SOPInstanceUID": each.sop_uid,
    }
    known = {element(keyword): {"vr": "UI", "Value": [uid]} for keyword, uid in uids.items()}
    return {tag: header.get(tag, known.get(tag)) for tag in tags if tag in header or tag in known}


def _header(call: Call, each: Holding) -> Json:
    try:
        return call.server.headers.of(each.sha256)
    except Permanent:  # its file has gone since the question, or JSON cannot say its header
        return {}


def _grouped(held: Sequence[Holding], key: Callable[[Holding], str]) -> Iterable[list[Holding]]:
    return [list(group) for _, group in groupby(sorted(held, key=key), key)]


def _answer(rows: list[Json], *, more: bool) -> Response:
    headers = {"Warning": '299 - "there are more: ask with offset"'} if more else {}
    return Response(json.dumps(rows), 200, headers, DICOM_JSON)


def _window(call: Call) -> tuple[int, int]:
    asked: list[int] = []
    for name, usual in (("limit", USUAL), ("offset", 0)):
        value = call.request.query_params.get(name, str(usual))
        if not (value.isascii() and value.isdigit() and len(value) < 9):
            raise HTTPException(400, f"{name} is a number from 0 on")
        asked.append(int(value))
    return min(asked[0], MOST), asked[1]


def _asked(call: Call) -> dict[str, str]:
    """Keys and their values, each key by its keyword, whether it came as that or as a tag; empty ones are left out."""
    found: dict[str, str] = {}
    for name, value in call.request.query_params.multi_items():
        if name.lower() in _IGNORED or not value:
            continue
        keyword = _keyword(name)
        if keyword not in _KEYS:
            raise HTTPException(400, f"there is no such key; there are {', '.join(sorted(_KEYS))}")
        found[keyword] = f"{found[keyword]},{value}" if keyword in found else value
    return found


def _keyword(name: str) -> str:
    is_tag = len(name) == 8 and all(letter in "0123456789abcdefABCDEF" for letter in name)
    return keyword_for_tag(int(name, 16)) if is_tag else name


_KEYS = frozenset(
    {
        "StudyInstanceUID", "PatientID", "AccessionNumber", "StudyDate", "ModalitiesInStudy", "Modality",
        "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID",
    }
)  # fmt: skip
_OF_STUDIES = frozenset(
    {"StudyInstanceUID", "PatientID", "AccessionNumber", "StudyDate", "ModalitiesInStudy", "Modality"}
)


def _keys(asked: Mapping[str, str]) -> StudyKeys:
    if foreign := set(asked) - _OF_STUDIES:
        raise HTTPException(400, f"studies are not searched by {', '.join(sorted(foreign))}")
    modalities = asked.get("ModalitiesInStudy") or asked.get("Modality", "")
    begin, end = _dates(asked.get("StudyDate", ""))
    return StudyKeys(
        study_uids=_several(asked.get("StudyInstanceUID", "")),
        patient_id=asked.get("PatientID", ""),
        accession_number=asked.get("AccessionNumber", ""),
        modalities=_several(modalities),
        date_from=begin,
        date_to=end,
    )


def _several(value: str) -> tuple[str, ...]:
    return tuple(part for part in value.replace("\\", ",").split(",") if part)[:MOST]


def _dates(value: str) -> tuple[date | None, date | None]:
    """A date, or a range of which one end may be open (PS3.4 C.2.2.2.5)."""
    begin, dash, end = value.partition("-")
    first = _date(begin)
    return first, _date(end) if dash else first


def _date(value: str) -> date | None:
    if not value:
        return None
    try:
        if not (len(value) == 8 and value.isascii() and value.isdigit()):
            raise ValueError
        return datetime.strptime(value, "%Y%m%d").date()
    except ValueError:
        raise HTTPException(400, "StudyDate is 20260131, or a range 20260101-20260131") from None
