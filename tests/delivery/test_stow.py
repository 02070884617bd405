"""STOW-RS: to a real Orthanc, and to servers that lie; only what names the instance as stored counts as sent."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from spinepacs.delivery.stow import judge_answer
from spinepacs.delivery.verdicts import Outcome
from spinepacs.delivery.web import Answer
from spinepacs.domain.findings import ObjectKind
from spinepacs.settings.destinations import DicomwebDestination
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from tests import peers
from tests.certificates import authority
from tests.outboxes import courier_to, deliver_until_settled, deliveries, delivering, fill_outbox, outbox
from tests.web_liars import FAILED, STORED, Request, answer, listed, stores, web

TIMEOUT_S = 0.6
UID = "1.2.3.4"


def target(name: str, url: str, **changes: Any) -> DicomwebDestination:
    values = {"timeout_s": 10, "retry_first_s": 0.05, "retry_longest_s": 0.2, "kind": "dicomweb"}
    return DicomwebDestination(name=name, url=url, **{**values, **changes})


# ---- what an answer means ----------------------------------------------------------------------------------


def said(status: int, content: bytes | dict[str, Any], media_type: str = "application/dicom+json") -> Answer:
    whole = answer("200", content).partition(b"\r\n\r\n")[2]
    return Answer(status, media_type, whole)


@pytest.mark.parametrize("status", [200, 202, 409])
def test_an_instance_that_is_named_as_stored_is_sent_whatever_the_status(status: int) -> None:
    told = listed(STORED, "1.2.3", UID) | listed(FAILED, "9.9")
    assert judge_answer(said(status, told), UID).outcome is Outcome.SENT


@pytest.mark.parametrize("status", [200, 202, 409])
@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        (0xA700, Outcome.TRANSIENT), (0x0110, Outcome.TRANSIENT), (None, Outcome.TRANSIENT), (0, Outcome.TRANSIENT),
        (0xB000, Outcome.TRANSIENT), (0xA900, Outcome.PERMANENT), (0xC000, Outcome.PERMANENT),
        (0xC122, Outcome.PERMANENT), (0x0122, Outcome.PERMANENT), (0x0124, Outcome.PERMANENT),
    ],
)  # fmt: skip
def test_an_instance_among_the_failures_is_judged_by_its_reason(
    status: int, reason: int | None, outcome: Outcome
) -> None:
    verdict = judge_answer(said(status, listed(FAILED, UID, reason=reason)), UID)
    assert verdict.outcome is outcome
    assert verdict.status == reason


def test_what_is_said_to_be_stored_and_failed_is_not_sent() -> None:
    told = listed(STORED, UID) | listed(FAILED, UID, reason=0xA700)
    assert judge_answer(said(200, told), UID).outcome is not Outcome.SENT


def test_a_warning_is_kept() -> None:
    told = listed(STORED, UID)
    told[STORED]["Value"][0]["00081196"] = {"vr": "US", "Value": [0xB006]}
    verdict = judge_answer(said(200, told), UID)
    assert verdict.outcome is Outcome.SENT
    assert "0xB006" in verdict.message


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{}", b"[]", b"null", b"3", b"not json", b"[" * 100_000, b"\xff\xfe", b'{"00081199": null}',
        b'{"00081199": {"vr": "SQ"}}', b'{"00081199": {"Value": [null, 3, {"00081155": 5}]}}',
        b'{"00081199": {"Value": {"00081155": "1.2.3.4"}}}', b'"1.2.3.4"',
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", [200, 201, 202, 204, 206])
def test_success_that_does_not_name_the_instance_is_none(status: int, content: bytes) -> None:
    verdict = judge_answer(said(status, content), UID)
    assert verdict.outcome is Outcome.TRANSIENT
    assert verdict.status is None


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(400, Outcome.PERMANENT), (409, Outcome.PERMANENT), (413, Outcome.PERMANENT), (415, Outcome.PERMANENT),
     (500, Outcome.TRANSIENT), (408, Outcome.TRANSIENT), (418, Outcome.TRANSIENT)],
)  # fmt: skip
def test_an_error_without_a_word_on_the_instance(status: int, outcome: Outcome) -> None:
    assert judge_answer(said(status, b"{}"), UID).outcome is outcome


def test_orthanc_says_400_for_one_good_and_one_bad_and_lists_the_good_one() -> None:
    verdict = judge_answer(said(400, listed(STORED, UID)), UID)
    assert verdict.outcome is not Outcome.SENT  # we send one at a time: a 400 is about this one


# ---- a real Orthanc ----------------------------------------------------------------------------------------


@pytest.mark.peer
def test_everything_reaches_orthanc_byte_for_byte(spool, ledger, tmp_path: Path) -> None:
    with peers.orthanc(tmp_path, dicomweb=True) as orthanc:
        to = target("web", f"{orthanc.url}/dicom-web")
        made = fill_outbox(ledger, spool, to, images=3)
        deliver_until_settled(courier_to(to, spool, ledger), ledger, "web")
        assert orthanc.sop_uids() == {item.sop_uid for item in made}
        for item in made:
            (found,) = orthanc.post("/tools/lookup", item.sop_uid.encode())
            assert orthanc.download(f"/instances/{found['ID']}/file") == item.part10
        assert outbox(ledger) == {("web", "sent"): 9}
        assert {row["attempts"] for row in deliveries(ledger)} == {1}


@pytest.mark.peer
def test_what_orthanc_has_already_is_sent_and_what_it_cannot_read_fails(
    spool, ledger, tmp_path: Path
) -> None:
    with peers.orthanc(tmp_path, dicomweb=True) as orthanc:
        to = target("web", f"{orthanc.url}/dicom-web", maximum_attempts=2)
        (good, *_) = made = fill_outbox(ledger, spool, to)
        orthanc.post("/instances", bytes(good.part10))
        deliver_until_settled(courier_to(to, spool, ledger), ledger, "web")
        assert orthanc.sop_uids() == {item.sop_uid for item in made}


@pytest.mark.peer
def test_a_server_that_is_away_uses_up_no_attempt_and_gets_everything_when_it_is_back(
    spool, ledger, tmp_path: Path
) -> None:
    port = peers.free_port()
    to = target("web", f"http://127.0.0.1:{port}/dicom-web")
    made = fill_outbox(ledger, spool, to)
    with delivering(to, spool=spool, ledger=ledger):
        peers.wait_until(lambda: "refused" in deliveries(ledger)[0]["message"], 20, "a message")
        assert {row["attempts"] for row in deliveries(ledger)} == {0}
        with peers.orthanc(tmp_path, dicomweb=True, http_port=port) as orthanc:
            peers.wait_until(lambda: outbox(ledger) == {("web", "sent"): len(made)}, 40, "everything there")
            assert orthanc.sop_uids() == {item.sop_uid for item in made}


SENDER = """
import sys, threading
from pathlib import Path
from spinepacs.delivery.courier import Courier
from spinepacs.settings.destinations import DicomwebDestination
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
to = DicomwebDestination(kind="dicomweb", name="web", url=sys.argv[1], retry_first_s=0.1, retry_longest_s=0.2)
with Ledger.open(sys.argv[2], migrate=False) as ledger:
    Courier(to, "SPINEPACS", Spool(Path(sys.argv[3])), ledger).run(threading.Event(), 0.05)
"""


@pytest.mark.peer
def test_couriers_that_are_killed_in_the_middle_lose_and_double_nothing(tmp_path: Path) -> None:
    """SIGKILL while a request is on its way, again and again; the last one lives."""
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    spool = Spool(tmp_path / "spool")
    with Ledger.open(url) as ledger, peers.orthanc(tmp_path, dicomweb=True) as orthanc:
        to = target("web", f"{orthanc.url}/dicom-web")
        made = fill_outbox(ledger, spool, to, images=8)

        def courier() -> subprocess.Popen[bytes]:
            return subprocess.Popen([sys.executable, "-c", SENDER, to.url, url, str(tmp_path / "spool")])

        for number in range(4):
            process, before = courier(), len(orthanc.sop_uids())
            peers.wait_until(
                lambda before=before: len(orthanc.sop_uids()) > before, 30, f"more of kill {number}"
            )
            os.kill(process.pid, signal.SIGKILL)
            process.wait(10)
        last = courier()
        try:
            peers.wait_until(lambda: outbox(ledger) == {("web", "sent"): len(made)}, 60, "everything sent")
        finally:
            last.kill()
            last.wait(10)
        assert orthanc.sop_uids() == {item.sop_uid for item in made}


# ---- servers that lie --------------------------------------------------------------------------------------

PAGE = b"<html><form action=/login>"


def login_page(_: Request) -> bytes:
    return answer("200 OK", PAGE, "text/html; charset=utf-8")


def redirect(_: Request) -> bytes:
    return answer("307 Temporary Redirect", b"", Location="http://127.0.0.1:9/elsewhere")


def says(status: str) -> Any:
    return lambda _: answer(status, {})


TURN_AWAY = {
    "login page": login_page,
    "redirect": redirect,
    "permanent redirect": lambda _: answer("301 Moved", b"", Location="https://login.example.org/"),
    **{
        status[:3]: says(status)
        for status in ("401 U", "403 F", "404 N", "405 M", "429 T", "502 B", "503 S", "504 G")
    },
}


@pytest.mark.parametrize("script", TURN_AWAY.values(), ids=TURN_AWAY)
def test_a_server_that_turns_us_away_uses_up_no_attempt(spool, ledger, script: Any) -> None:
    with web(script, script, script, stores) as liar:
        to = target("liar", liar.url, maximum_attempts=1)
        made = fill_outbox(ledger, spool, to, kinds=[ObjectKind.SR])
        courier = courier_to(to, spool, ledger)
        assert not courier.deliver_due(threading.Event())
        (row,) = deliveries(ledger)
        assert (row["state"], row["attempts"]) == ("pending", 0)
        assert "liar" in row["message"]
        deliver_until_settled(courier, ledger, "liar")
        assert outbox(ledger) == {("liar", "sent"): 1}
        assert [request.sop_uid for request in liar.requests] == [made[0].sop_uid] * 4


BAD = {
    "no content": says("204 No Content"),
    "nothing said": lambda _: answer("200 OK", b"", ""),
    "another instance": lambda _: answer("200 OK", listed(STORED, "1.2.3")),
    "accepted without a word": lambda _: answer("202 Accepted", {}),
    "hangs up": lambda _: None,
    "no HTTP": lambda _: b"220 mail.example.org ESMTP\r\n\r\n",
    "ends early": lambda request: stores(request)[:-5] + b"",
    "a header without end": lambda _: b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
    "headers without end": lambda _: b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 1000,
    "content without end": lambda _: b"HTTP/1.1 200 OK\r\n\r\n" + bytes(3_000_000),
    "an error": says("500 Internal Server Error"),
    "slower than its time": 0.05,
}


@pytest.mark.parametrize("script", BAD.values(), ids=BAD)
def test_nothing_bad_counts_as_sent_and_each_attempt_counts(spool, ledger, script: Any) -> None:
    with web(script, stores) as liar:
        to = target("liar", liar.url, timeout_s=TIMEOUT_S)
        fill_outbox(ledger, spool, to, kinds=[ObjectKind.SR])
        courier = courier_to(to, spool, ledger)
        assert not courier.deliver_due(threading.Event())
        (row,) = deliveries(ledger)
        assert (row["state"], row["attempts"]) == ("pending", 1), row["message"]
        deliver_until_settled(courier, ledger, "liar")
        assert outbox(ledger) == {("liar", "sent"): 1}


def test_a_bad_object_costs_nothing_but_itself(spool, ledger) -> None:
    def one_is_bad(request: Request) -> bytes:
        if request.sop_uid == bad:
            return answer("409 Conflict", listed(FAILED, bad, reason=0xC000))
        return stores(request)

    with web(one_is_bad) as liar:
        to = target("liar", liar.url)
        bad = fill_outbox(ledger, spool, to, images=2)[1].sop_uid
        deliver_until_settled(courier_to(to, spool, ledger), ledger, "liar")
        assert outbox(ledger) == {("liar", "sent"): 5, ("liar", "failed"): 1}
        (row,) = [row for row in deliveries(ledger) if row["state"] == "failed"]
        assert (row["sop_uid"], row["attempts"], row["status"]) == (bad, 3, 0xC000)


def test_a_connection_that_closes_after_each_answer_is_made_anew(spool, ledger) -> None:
    with web(lambda request: answer("200 OK", listed(STORED, request.sop_uid), Connection="close")) as liar:
        to = target("liar", liar.url)
        made = fill_outbox(ledger, spool, to)
        deliver_until_settled(courier_to(to, spool, ledger), ledger, "liar")
        assert {row["attempts"] for row in deliveries(ledger)} == {1}
        assert len(liar.requests) == len(made)


# ---- secrets -----------------------------------------------------------------------------------------------


def test_secrets_go_with_each_request_and_into_no_log(
    spool, ledger, tmp_path: Path, monkeypatch, caplog
) -> None:
    caplog.set_level("DEBUG")
    (tmp_path / "token").write_text("Tok3n-Geheim\n")
    monkeypatch.setenv("PACS_PASSWORD", "Pa55:wörd")
    with web(login_page, stores) as liar:
        bearer = target("bearer", liar.url, secret_file=tmp_path / "token")
        basic = target("basic", liar.url, user="me", secret_variable="PACS_PASSWORD")  # noqa: S106 - its name
        fill_outbox(ledger, spool, bearer, basic, kinds=[ObjectKind.SR])
        for to in (bearer, basic):
            deliver_until_settled(courier_to(to, spool, ledger), ledger, to.name)
        seen = {request.headers["authorization"] for request in liar.requests}
        assert seen == {"Bearer Tok3n-Geheim", "Basic bWU6UGE1NTp3w7ZyZA=="}
    told = caplog.text + repr(bearer) + repr(basic) + str(deliveries(ledger))
    assert "Geheim" not in told
    assert "Pa55" not in told


def test_a_secret_that_cannot_be_read_lets_things_wait(spool, ledger, tmp_path: Path) -> None:
    with web(stores) as liar:
        to = target("web", liar.url, secret_file=tmp_path / "token")
        fill_outbox(ledger, spool, to, kinds=[ObjectKind.SR])
        courier = courier_to(to, spool, ledger)
        assert not courier.deliver_due(threading.Event())
        (row,) = deliveries(ledger)
        assert (row["state"], row["attempts"]) == ("pending", 0)
        assert str(tmp_path / "token") in row["message"]
        (tmp_path / "token").write_text("secret")
        deliver_until_settled(courier, ledger, "web")


def test_tls_proves_who_it_is(spool, ledger, tmp_path: Path) -> None:
    ours, others = authority(tmp_path), authority(tmp_path, "other")
    certificate = ours.issue(tmp_path, "server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    with web(stores, tls=context) as liar:
        url = liar.url.replace("http:", "https:")
        trusting = target("trusting", url, tls_ca=ours.certificate)
        other = target("other", url, tls_ca=others.certificate)
        fill_outbox(ledger, spool, trusting, other, kinds=[ObjectKind.SR])
        deliver_until_settled(courier_to(trusting, spool, ledger), ledger, "trusting")
        assert not courier_to(other, spool, ledger).deliver_due(threading.Event())
        rows = {row["destination"]: row for row in deliveries(ledger)}
        assert rows["trusting"]["state"] == "sent"
        assert rows["other"]["state"] == "pending"
        assert "certificate verify failed" in rows["other"]["message"]
