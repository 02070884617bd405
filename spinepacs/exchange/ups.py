"""A worklist by UPS-RS (PS3.18 Chapter 11): who may claim what, and what is said about it.

dicomweb-client has no UPS. Every answer is one of three: done, not taken (we do not own it, or it does not fit its
state), gone; what is no answer of a worklist raises ArchiveAway, as everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

import requests
from pydicom import Dataset

from spinepacs.domain.worklist import CodedTerm, Input, Priority, Scheduled
from spinepacs.exchange.archive import ArchiveAway, NotGiven, is_uid
from spinepacs.exchange.web import Session, TooLong

PAGE = 100
"""Workitems in one answer."""

_MOST_PAGES = 100
_LIMIT_BYTES = 64 * 1024 * 1024
_JSON = "application/dicom+json"
_NOT_TAKEN, _GONE = frozenset({400, 409}), frozenset({404, 410})
_SOP, _STUDY, _SERIES = "00080018", "0020000D", "0020000E"
_STATE, _READINESS, _LABEL, _PRIORITY = "00741000", "00404041", "00741202", "00741200"
_CODE, _STATION = "00404018", "00404025"
_VALUE, _SCHEME, _MEANING = "00080100", "00080102", "00080104"
_INPUT, _REFERENCED, _REFERENCED_SOP = "00404021", "00081199", "00081155"
Row = dict[str, Any]
"""A dataset in the DICOM JSON model."""


class Said(Enum):
    """What a server says to a change."""

    DONE = "done"
    NOT_TAKEN = "not-taken"
    GONE = "gone"


class Worklist:
    """See the module.

    Parameters
    ----------
    url
        Of the service, up to ``/workitems``.
    credentials
        File, see :class:`~spinepacs.exchange.web.Session`.

    Raises
    ------
    BadSettings
        If the credentials cannot be used.
    """

    def __init__(self, url: str, credentials: str = "") -> None:
        self._session = Session(url, credentials, _LIMIT_BYTES)
        self._url = f"{url}/workitems"

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def scheduled(
        self, code: CodedTerm | None, station: CodedTerm | None, label: str, priority: Priority | None = None
    ) -> Iterator[Scheduled]:
        """Workitems that wait, are ready and are meant, of one priority or of any; servers may answer more."""
        filters = {_STATE: "SCHEDULED", _READINESS: "READY"}
        if priority is not None:
            filters[_PRIORITY] = priority.value
        for sequence, term in ((_CODE, code), (_STATION, station)):
            if term is not None:
                filters |= {f"{sequence}.{_VALUE}": term.value, f"{sequence}.{_SCHEME}": term.scheme}
        if label:
            filters[_LABEL] = label
        for row in self._search(filters):
            codes, stated = _terms(row, _CODE), _priority(row)
            is_meant = (
                (code is None or code[:2] in [each[:2] for each in codes])
                and (station is None or station[:2] in [each[:2] for each in _terms(row, _STATION)])
                and label in ("", _text(row, _LABEL))
                and _text(row, _STATE) == "SCHEDULED"
                and _text(row, _READINESS) in ("", "READY")
                and priority in (None, stated)
            )
            if is_meant:
                yield Scheduled(_text(row, _SOP), code or next(iter(codes), None), stated)

    def _search(self, filters: Mapping[str, str]) -> Iterator[Row]:
        known: set[str] = set()
        include = ",".join((_SOP, _STATE, _READINESS, _LABEL, _PRIORITY, _CODE, _STATION))
        for _ in range(_MOST_PAGES):
            window = {"includefield": include, "limit": str(PAGE), "offset": str(len(known))}
            status, rows = self._read(self._url, dict(filters) | window)
            if status in _NOT_TAKEN | _GONE:
                raise ArchiveAway(f"the worklist answers HTTP {status} to a search")
            fresh = {uid: row for row in rows if is_uid(uid := _text(row, _SOP)) and uid not in known}
            if not fresh:
                return
            known.update(fresh)
            yield from fresh.values()

    def inputs(self, uid: str) -> list[Input]:
        """What a workitem refers to as its input (PS3.3 Table 10-3b); raises NotGiven if it is gone.

        Where it may be fetched is said there, too, and not believed: whoever writes workitems could send us anywhere.
        """
        status, rows = self._read(f"{self._url}/{uid}", {})
        if status in _NOT_TAKEN | _GONE or not rows:
            raise NotGiven(f"the worklist does not give the workitem (HTTP {status})")
        found: list[Input] = []
        for item in _items(rows[0], _INPUT):
            study_uid, series_uid = _text(item, _STUDY), _text(item, _SERIES)
            sop_uids = [_text(each, _REFERENCED_SOP) for each in _items(item, _REFERENCED)] or [""]
            found += [Input(study_uid, series_uid, sop_uid) for sop_uid in sop_uids]
        return [each for each in dict.fromkeys(found) if _is_input(each)]

    def state(self, uid: str) -> str | None:
        """Procedure Step State of a workitem, as the Standard spells it; None: it is gone."""
        status, rows = self._read(f"{self._url}/{uid}", {})
        return None if status in _NOT_TAKEN | _GONE or not rows else _text(rows[0], _STATE)

    def change(self, uid: str, transaction_uid: str, state: str) -> Said:
        """Ask for another state (11.7); to ask for one in which it is already is no mistake (Warning 299)."""
        content = Dataset()
        content.TransactionUID, content.ProcedureStepState = transaction_uid, state
        return self._write("PUT", f"{self._url}/{uid}/state", content)

    def update(self, uid: str, transaction_uid: str, content: Dataset) -> Said:
        """Change attributes (11.6) of a workitem that is ours.

        The Transaction UID is the whole query; it is in the dataset too (PS3.4 CC.2.6), where some servers look for it.
        """
        content.TransactionUID = transaction_uid
        return self._write("POST", f"{self._url}/{uid}?{transaction_uid}", content)

    def probe(self) -> str:
        """Ask for next to nothing, and say in words that it was answered."""
        status, _ = self._read(self._url, {_STATE: "SCHEDULED", "limit": "1"})
        if status in _NOT_TAKEN | _GONE:
            raise ArchiveAway(f"the worklist answers HTTP {status} to a search: is this the URL of UPS-RS?")
        return "UPS-RS answers"

    def _read(self, url: str, query: Mapping[str, str]) -> tuple[int, list[Row]]:
        response = self._send("GET", url, params=query, headers={"Accept": _JSON})
        with response:
            if response.status_code == 204 or not response.ok:
                return response.status_code, []
            try:
                rows = response.json()
            except json.JSONDecodeError:
                raise ArchiveAway("the worklist's answer is no JSON: is this the URL of UPS-RS?") from None
        rows = rows if isinstance(rows, list) else [rows]
        if not all(isinstance(row, dict) for row in rows):
            raise ArchiveAway("the worklist's answer is no list of datasets")
        return 200, rows

    def _write(self, method: str, url: str, content: Dataset) -> Said:
        headers = {"Content-Type": _JSON, "Accept": _JSON}
        body = json.dumps([content.to_json_dict()]).encode()
        with self._send(method, url, data=body, headers=headers) as response:
            if response.ok:
                return Said.DONE
            return Said.GONE if response.status_code in _GONE else Said.NOT_TAKEN

    def _send(self, method: str, url: str, **options: Any) -> requests.Response:
        """Ask; raises ArchiveAway for what is no answer to the question, in words without UIDs."""
        try:
            response = self._session.request(method, url, **options)
        except TooLong:
            raise ArchiveAway("the worklist's answer is too long") from None
        except requests.RequestException as error:
            raise ArchiveAway(f"the worklist does not answer ({type(error).__name__})") from None
        if response.ok or response.status_code in _NOT_TAKEN | _GONE:
            return response
        response.close()
        hint = ": are the credentials right?" if response.status_code in (401, 403) else ""
        raise ArchiveAway(f"the worklist answers HTTP {response.status_code}{hint}")


def _is_input(each: Input) -> bool:
    return is_uid(each.study_uid) and all(uid == "" or is_uid(uid) for uid in each[1:])


def _priority(row: Row) -> Priority:
    """What it states; MEDIUM where that is nothing, or nothing that the Standard knows."""
    stated = _text(row, _PRIORITY)
    return Priority(stated) if stated in list(Priority) else Priority.MEDIUM


def _terms(row: Row, tag: str) -> list[CodedTerm]:
    return [
        CodedTerm(_text(item, _VALUE), _text(item, _SCHEME), _text(item, _MEANING))
        for item in _items(row, tag)
    ]


def _items(row: Row, tag: str) -> list[Row]:
    values = (row.get(tag) or {}).get("Value") or []
    return [item for item in values if isinstance(item, dict)]


def _text(row: Row, tag: str) -> str:
    values = (row.get(tag) or {}).get("Value") or [""]
    return "" if values[0] is None else str(values[0]).strip()
