"""One Bundle to a FHIR server: the transaction (FHIR R5 3.2.0.13), and what its answer means."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spinepacs.delivery.spooled import content_of
from spinepacs.delivery.verdicts import Link, Outcome, Verdict
from spinepacs.delivery.web import Answer, Http, connected
from spinepacs.settings.destinations import FhirDestination
from spinepacs.store.records import OutboxItem

_JSON = "application/fhir+json"
_ACCEPTED = (_JSON, "application/json")
_PERMANENT = frozenset({400, 406, 410, 411, 412, 413, 414, 415, 422, 431})


@contextmanager
def opened(destination: FhirDestination) -> Iterator[Link | Verdict]:
    """Connect for one batch; see :func:`spinepacs.delivery.kinds.opened`."""
    with connected(destination) as line:
        yield line if isinstance(line, Verdict) else _Transactions(line)


class _Transactions:
    """See the module."""

    def __init__(self, line: Http) -> None:
        self._line = line

    @property
    def is_over(self) -> bool:
        return self._line.is_over

    def send(self, item: OutboxItem, path: Path) -> Verdict:
        """POST one Bundle as it lies in the spool."""
        content = content_of(path, item)
        if isinstance(content, Verdict):
            return content
        headers = {"Content-Type": _JSON, "Accept": _JSON, "Prefer": "return=minimal"}
        answer = self._line.ask("POST", "", headers, (content,), len(content))
        return answer if isinstance(answer, Verdict) else judge_answer(answer, content)


def judge_answer(answer: Answer, bundle: bytes) -> Verdict:
    """Turn an answer into what to do next: success says of every entry that it was done."""
    if answer.status in _PERMANENT:
        return Verdict(Outcome.PERMANENT, None, f"refused, HTTP {answer.status}{_issues(answer)}")
    if answer.status != 200:
        return Verdict(Outcome.TRANSIENT, None, f"not accepted now, HTTP {answer.status}{_issues(answer)}")
    told = _parsed(answer)
    entries = told.get("entry")
    done = [_status(entry) for entry in entries] if isinstance(entries, list) else []
    is_response = told.get("resourceType") == "Bundle" and told.get("type") == "transaction-response"
    if is_response and len(done) == len(json.loads(bundle)["entry"]) and all(done):
        return Verdict(Outcome.SENT, 0x0000, "")
    return Verdict(Outcome.TRANSIENT, None, "the answer does not say that every entry was done, HTTP 200")


def _status(entry: Any) -> bool:
    """Whether an entry of the answer says 2xx."""
    response = entry.get("response") if isinstance(entry, dict) else None
    return isinstance(response, dict) and str(response.get("status", "")).startswith("2")


def _parsed(answer: Answer) -> dict[str, Any]:
    if answer.media_type not in _ACCEPTED:
        return {}
    try:
        told = json.loads(answer.content)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _issues(answer: Answer) -> str:
    """Codes of an OperationOutcome; its texts may name anybody, and are left out."""
    issues = _parsed(answer).get("issue")
    found = (
        [each.get("code") for each in issues if isinstance(each, dict)] if isinstance(issues, list) else []
    )
    codes = [
        code for code in found if isinstance(code, str) and code.isascii() and code.replace("-", "").isalpha()
    ]
    return f" ({', '.join(dict.fromkeys(codes[:5]))})" if codes else ""


def probe(destination: FhirDestination) -> str:
    """Ask what it can do (CapabilityStatement); why it cannot be spoken with, empty: it can."""
    with connected(destination) as line:
        if isinstance(line, Verdict):
            return line.message
        answer = line.ask("GET", "/metadata?_summary=true", {"Accept": _JSON})
    if isinstance(answer, Verdict):
        return answer.message
    is_server = answer.status == 200 and _parsed(answer).get("resourceType") == "CapabilityStatement"
    return "" if is_server else f"answers no CapabilityStatement (HTTP {answer.status}): is it the url?"
