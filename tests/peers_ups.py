"""A UPS-RS server for tests, since none is to be had here: it keeps to the letter of the Standard where we may fail.

States by PS3.4 Table CC.1.1-2, final states by the column of Table CC.2.5-3, answers and Warnings by PS3.18 11.5 to
11.7. It is a script of :func:`tests.web_liars.web`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pydicom import Dataset

from tests.web_liars import Request, answer

STATE, TRANSACTION = "00741000", "00081195"
SCHEDULED, IN_PROGRESS, COMPLETED, CANCELED = "SCHEDULED", "IN PROGRESS", "COMPLETED", "CANCELED"
PROGRESS, PERFORMED, OUTPUT = "00741002", "00741216", "00404033"
_STEP_OF_COMPLETED = ("00404028", "00404050", "00404019", "00404051")
"""P in Table CC.2.5-3: station, start, workitem code, end; the output may be empty, but must be there."""
_STEP_OF_CANCELED = ("00404052", "0074100E")
"""X: when, and why."""
_NOT_BY_UPDATE = (STATE, "00100010", "00100020", "00100030", "00100040", "0040A370", "00080016", "00080018")
MISSING = "The Transaction UID is missing."
INCORRECT = "The Transaction UID is incorrect."
INCONSISTENT = "The submitted request is inconsistent with the state of the UPS Instance."
UNCLAIMED = "The target URI did not reference a claimed Workitem."
Row = dict[str, Any]


@dataclass
class Ups:
    """Workitems by UID, as DICOM JSON; what was asked, and what was answered, in order."""

    workitems: dict[str, Row] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    """Transaction UIDs, which are never given out."""
    said: list[tuple[str, str, int]] = field(default_factory=list)
    """Method, path without query, status."""
    deaf: list[str] = field(default_factory=list)
    """Methods whose next request is done, and not answered."""
    stolen: list[str] = field(default_factory=list)
    """Workitems that somebody else claims as soon as they have been found."""

    def schedule(self, uid: str, *inputs: Dataset, code: str = "A1", **elements: Any) -> None:
        """Put a workitem on the list."""
        made, term = Dataset(), Dataset()
        term.CodeValue, term.CodingSchemeDesignator, term.CodeMeaning = code, "99X", "to be read"
        made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.34.6.1", uid
        made.ProcedureStepState, made.InputReadinessState = SCHEDULED, "READY"
        made.ScheduledProcedureStepPriority, made.WorklistLabel = "MEDIUM", "SPINES"
        made.ScheduledProcedureStepStartDateTime = "20261123120000"
        made.ScheduledWorkitemCodeSequence = [term]
        made.InputInformationSequence = list(inputs)
        made.ProcedureStepProgressInformationSequence = []
        made.UnifiedProcedureStepPerformedProcedureSequence = []
        for keyword, value in elements.items():
            setattr(made, keyword, value)
        self.workitems[uid] = made.to_json_dict()

    def state(self, uid: str) -> str:
        return str(self.workitems[uid][STATE]["Value"][0])

    def step(self, uid: str, sequence: str) -> Row:
        """The one item of a sequence of a workitem."""
        (found,) = self.workitems[uid][sequence]["Value"]
        step: Row = found
        return step

    def __call__(self, request: Request) -> bytes | None:
        method, target, _ = request.line.split(" ", 2)
        path, query = urlsplit(target).path.partition("/workitems")[2], urlsplit(target).query
        done = self._answer(method, path.strip("/"), query, request)
        self.said.append((method, path, int(done.split(b" ", 2)[1])))
        if method in self.deaf:
            self.deaf.remove(method)
            return None
        return done

    def _answer(self, method: str, path: str, query: str, request: Request) -> bytes:
        uid, _, action = path.partition("/")
        if method == "GET" and not path:
            return self._search(dict(parse_qsl(query)))
        if uid not in self.workitems:
            return answer("404 Not Found")
        if method == "GET":
            return answer("200 OK", [self.workitems[uid]])
        if request.headers.get("content-type") != "application/dicom+json":
            return answer("415 Unsupported Media Type")
        (content,) = json.loads(request.body)
        if (method, action) not in (("PUT", "state"), ("POST", "")):
            return answer("405 Method Not Allowed")
        return self._change(uid, content) if action else self._update(uid, query, content)

    def _search(self, query: dict[str, str]) -> bytes:
        limit, offset = int(query.pop("limit", "100")), int(query.pop("offset", "0"))
        query.pop("includefield", None)
        found = [
            row for row in self.workitems.values() if all(_matches(row, *each) for each in query.items())
        ]
        page = found[offset : offset + limit]
        for uid in [row["00080018"]["Value"][0] for row in page]:
            if uid in self.stolen:
                self.workitems[uid] = self.workitems[uid] | {STATE: {"vr": "CS", "Value": [IN_PROGRESS]}}
                self.owners[uid] = "2.25.1"
        return answer("200 OK", page) if page else answer("204 No Content")

    def _update(self, uid: str, transaction: str, content: Row) -> bytes:
        state = self.state(uid)
        if state in (COMPLETED, CANCELED):
            return _refused("400 Bad Request", INCONSISTENT)
        if state == SCHEDULED:
            return _refused("409 Conflict", UNCLAIMED)
        if transaction != self.owners[uid]:
            return _refused("400 Bad Request", INCORRECT if transaction else MISSING)
        if any(tag in content for tag in _NOT_BY_UPDATE):
            return _refused("400 Bad Request", INCONSISTENT)
        self.workitems[uid] |= {tag: value for tag, value in content.items() if tag != TRANSACTION}
        return answer("200 OK")

    def _change(self, uid: str, content: Row) -> bytes:
        wanted, now = str(content[STATE]["Value"][0]), self.state(uid)
        transaction = str((content.get(TRANSACTION) or {}).get("Value", [""])[0])
        if not transaction or wanted not in (IN_PROGRESS, COMPLETED, CANCELED):
            return _refused("400 Bad Request", MISSING)
        if now == SCHEDULED:
            if wanted != IN_PROGRESS:
                return _refused("409 Conflict", INCONSISTENT)  # C310
            self.owners[uid] = transaction
        elif transaction != self.owners[uid]:
            return _refused("400 Bad Request", INCORRECT)  # C301
        elif now == wanted and now != IN_PROGRESS:
            warning = f"299 test: The UPS is already in the requested state of {now}."
            return answer("200 OK", Warning=warning)  # B304, B306
        elif now != IN_PROGRESS or wanted == IN_PROGRESS or not self._is_final(uid, wanted):
            return _refused("409 Conflict", INCONSISTENT)  # C300, C302, C304
        self.workitems[uid][STATE]["Value"] = [wanted]
        return answer("200 OK")

    def _is_final(self, uid: str, wanted: str) -> bool:
        sequence, asked = (
            (PERFORMED, _STEP_OF_COMPLETED) if wanted == COMPLETED else (PROGRESS, _STEP_OF_CANCELED)
        )
        steps = self.workitems[uid].get(sequence, {}).get("Value", [])
        if not steps or not all(step.get(tag, {}).get("Value") for step in steps for tag in asked):
            return False
        return wanted == CANCELED or all(OUTPUT in step for step in steps)


def _refused(status: str, why: str) -> bytes:
    return answer(status, Warning=f"299 test: {why}")


def _matches(row: Row, path: str, value: str) -> bool:
    tag, _, rest = path.partition(".")
    values = row.get(tag, {}).get("Value", [])
    if rest:
        return any(_matches(item, rest, value) for item in values)
    return value in map(str, values)


def refers(film: Dataset, *, is_whole: bool = True) -> Dataset:
    """An item of the Input Information Sequence; not ``is_whole``: of its study, and of nothing in it."""
    item = Dataset()
    item.TypeOfInstances, item.StudyInstanceUID = "DICOM", film.StudyInstanceUID
    if is_whole:
        referenced = Dataset()
        referenced.ReferencedSOPClassUID = film.SOPClassUID
        referenced.ReferencedSOPInstanceUID = film.SOPInstanceUID
        item.SeriesInstanceUID, item.ReferencedSOPSequence = film.SeriesInstanceUID, [referenced]
    return item
