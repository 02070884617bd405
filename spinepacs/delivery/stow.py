"""One object to a DICOMweb server: the STOW-RS request (PS3.18 10.5), and what its answer means.

One object a request, on a kept connection: then attempts are counted, refusals judged and rates kept as with C-STORE,
and a bad object costs nothing but itself. dicomweb-client is not used here: its store reads and encodes each file anew,
tries five times by itself, and gives an empty dataset for a login page.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spinepacs.delivery.sending import judge
from spinepacs.delivery.spooled import checked, unsendable
from spinepacs.delivery.verdicts import Link, Outcome, Verdict
from spinepacs.delivery.web import Answer, Http, connected
from spinepacs.errors import BadInput
from spinepacs.settings.destinations import DicomwebDestination
from spinepacs.store.records import OutboxItem

_PIECE_BYTES = 1 << 16
_JSON = ("application/dicom+json", "application/json")
_FAILED, _REFERENCED, _SOP_UID = "00081198", "00081199", "00081155"
_FAILURE_REASON, _WARNING_REASON = "00081197", "00081196"
_PERMANENT = frozenset({400, 406, 409, 411, 413, 414, 415, 422, 431})


@contextmanager
def opened(destination: DicomwebDestination) -> Iterator[Link | Verdict]:
    """Connect for one batch; see :func:`spinepacs.delivery.kinds.opened`."""
    with connected(destination) as line:
        yield line if isinstance(line, Verdict) else _Stow(line)


class _Stow:
    """See the module."""

    def __init__(self, line: Http) -> None:
        self._line = line

    @property
    def is_over(self) -> bool:
        return self._line.is_over

    def send(self, item: OutboxItem, path: Path) -> Verdict:
        """Offer one file, byte for byte."""
        try:
            checked(path, item)
        except (FileNotFoundError, BadInput) as error:
            return unsendable(error)
        boundary = uuid.uuid4().hex
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Accept": "application/dicom+json",
        }
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        size_bytes = len(head) + path.stat().st_size + len(tail)
        answer = self._line.ask("POST", "/studies", headers, _pieces(head, path, tail), size_bytes)
        return answer if isinstance(answer, Verdict) else judge_answer(answer, item.sop_uid)


def _pieces(head: bytes, path: Path, tail: bytes) -> Iterator[bytes]:
    yield head
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece
    yield tail


def judge_answer(answer: Answer, sop_uid: str) -> Verdict:
    """Turn an answer to one instance into what to do next (PS3.18 10.5.3, Table I.2-1).

    Only an answer that names the instance among those that were stored is success, whatever its status: 202 may hold
    failures, 409 successes, and 200 a page that was not meant for us.
    """
    stored, failed = _listed(answer)
    if sop_uid in failed:
        return _refused(failed[sop_uid])
    if sop_uid in stored and answer.status in (200, 202, 409):
        warning = stored[sop_uid]
        return Verdict(Outcome.SENT, 0x0000, f"accepted with a warning, 0x{warning:04X}" if warning else "")
    if answer.status in _PERMANENT:
        return Verdict(Outcome.PERMANENT, None, f"refused, HTTP {answer.status}")
    why = "not accepted now" if answer.status >= 400 else "the answer does not say that it is stored"
    return Verdict(Outcome.TRANSIENT, None, f"{why}, HTTP {answer.status}")


def _refused(reason: int | None) -> Verdict:
    """What a failure reason means: those of C-STORE (PS3.18 Table I.2-2); among the failures none is a warning."""
    verdict = judge(reason)
    if reason is None or verdict.outcome is Outcome.SENT:
        return Verdict(Outcome.TRANSIENT, reason, "not stored, and no reason given that is one")
    return verdict


_Listed = dict[str, int | None]


def _listed(answer: Answer) -> tuple[_Listed, _Listed]:
    """SOP Instance UIDs that were stored, with their warning, and those that were not, with their reason."""
    if answer.media_type not in _JSON:
        return {}, {}
    try:
        told = json.loads(answer.content)
    except (ValueError, RecursionError):
        return {}, {}
    if isinstance(told, list) and len(told) == 1:
        (told,) = told
    return _items(told, _REFERENCED, _WARNING_REASON), _items(told, _FAILED, _FAILURE_REASON)


def _items(told: Any, sequence: str, reason: str) -> _Listed:
    """UIDs and reasons of a sequence in the DICOM JSON model (PS3.18 F); what is shaped otherwise is not there."""
    found: _Listed = {}
    for item in _values(told, sequence):
        for uid in _values(item, _SOP_UID):
            if isinstance(uid, str):
                codes = [code for code in _values(item, reason) if isinstance(code, int)]
                found[uid] = codes[0] if codes else None
    return found


def _values(dataset: Any, tag: str) -> list[Any]:
    element = dataset.get(tag) if isinstance(dataset, dict) else None
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []


def probe(destination: DicomwebDestination) -> str:
    """Ask for one study at most (QIDO-RS); why it cannot be spoken with, empty: it can.

    Nothing is stored. A server that stores only need not search: what it answers to that is good enough.
    """
    with connected(destination) as line:
        if isinstance(line, Verdict):
            return line.message
        answer = line.ask("GET", "/studies?limit=1", {"Accept": "application/dicom+json"})
        if isinstance(answer, Verdict):
            return answer.message
        if answer.status in (200, 204, 400, 406):
            return ""
        return f"answers HTTP {answer.status} to a search"
