"""Bundles to FHIR servers: success is what says of each entry that it was done."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from spinepacs.delivery.fhir import judge_answer
from spinepacs.delivery.verdicts import Outcome
from spinepacs.delivery.web import Answer
from spinepacs.domain.findings import EncodedObject, ObjectKind, StudyResult
from spinepacs.settings.destinations import FhirDestination
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from tests.outboxes import courier_to, deliver_until_settled, deliveries, outbox
from tests.store import makers
from tests.web_liars import Request, answer, web

JSON = "application/fhir+json"
BUNDLE = json.dumps({"resourceType": "Bundle", "entry": [{}, {}]}).encode()


def target(url: str, **changes: Any) -> FhirDestination:
    values = {"timeout_s": 5, "retry_first_s": 0.05, "retry_longest_s": 0.2}
    return FhirDestination(kind="fhir", name="ehr", url=url, **{**values, **changes})


def response(*statuses: str) -> dict[str, Any]:
    entries = [{"response": {"status": status}} for status in statuses]
    return {"resourceType": "Bundle", "type": "transaction-response", "entry": entries}


def judged(status: int, told: Any, media_type: str = JSON) -> Outcome:
    content = told if isinstance(told, bytes) else json.dumps(told).encode()
    return judge_answer(Answer(status, media_type, content), BUNDLE).outcome


def test_every_entry_must_be_said_to_be_done() -> None:
    assert judged(200, response("201 Created", "200 OK")) is Outcome.SENT
    assert judged(200, response("201", "200"), "application/json") is Outcome.SENT
    assert judged(200, response("201 Created")) is Outcome.TRANSIENT
    assert judged(200, response("201 Created", "422 Unprocessable")) is Outcome.TRANSIENT
    assert judged(201, response("201", "201")) is Outcome.TRANSIENT


@pytest.mark.parametrize(
    "told", [b"", b"{}", b"[]", b"null", b"no json", b"[" * 100_000, {"resourceType": "Bundle"}, {"entry": 3},
             {"resourceType": "Bundle", "type": "transaction-response", "entry": [3, {"response": 7}]},
             {"resourceType": "OperationOutcome", "issue": []}],
)  # fmt: skip
def test_success_without_words_is_none(told: Any) -> None:
    assert judged(200, told) is Outcome.TRANSIENT


def test_an_operation_outcome_is_told_by_its_codes_only() -> None:
    outcome = {"issue": [{"code": "multiple-matches", "diagnostics": "Patient Geheim"}, {"code": 3}, "x"]}
    verdict = judge_answer(Answer(412, JSON, json.dumps(outcome).encode()), BUNDLE)
    assert verdict.outcome is Outcome.PERMANENT
    assert "multiple-matches" in verdict.message
    assert "Geheim" not in verdict.message
    assert judged(409, {}) is Outcome.TRANSIENT
    assert judged(500, {}) is Outcome.TRANSIENT


def fill(ledger: Ledger, spool: Spool, *targets: Any) -> EncodedObject:
    claim = makers.claimed(ledger)
    item = EncodedObject(ObjectKind.FHIR, makers.SOP, "2.25.1", "", "", "", BUNDLE)
    image = makers.image(makers.SOP)
    stored = {"2.25.1": spool.add((BUNDLE,)).sha256}
    images = (type(image)(image.reading, (item,)),)
    assert ledger.record(claim, StudyResult(claim.study_uid, images), stored, targets)
    return item


def test_a_bundle_is_posted_and_a_retry_is_the_same_bundle(spool: Spool, ledger: Ledger) -> None:
    def does(_: Request) -> bytes:
        return answer("200 OK", response("201 Created", "201 Created"), JSON)

    with web(lambda _: None, lambda _: answer("503 Away", {}, JSON), does) as server:
        to = target(server.url)
        fill(ledger, spool, to)
        deliver_until_settled(courier_to(to, spool, ledger), ledger, "ehr")
        assert outbox(ledger) == {("ehr", "sent"): 1}
        assert {request.body for request in server.requests} == {BUNDLE}
        assert {request.headers["content-type"] for request in server.requests} == {JSON}
        assert len(server.requests) == 3


def test_what_is_redirected_to_another_kind_fails_at_once(spool: Spool, ledger: Ledger) -> None:
    from tests.outboxes import destination, fill_outbox

    pacs = destination("pacs", 104)
    fill_outbox(ledger, spool, pacs, kinds=[ObjectKind.SR])
    assert ledger.redirect("pacs", "ehr") == 1
    with web(lambda _: answer("200 OK", {}, JSON)) as server:
        to = target(server.url)
        assert courier_to(to, spool, ledger).deliver_due(threading.Event())
        (row,) = deliveries(ledger)
        assert (row["state"], row["message"]) == ("failed", "a destination of kind fhir takes no SR")
        assert not server.requests
