"""What there is to tell is noticed, told by a herald, and lost by no failure; and the daemon does all of it."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from spinepacs.check import partners
from spinepacs.errors import DatabaseAway
from spinepacs.notify import herald
from spinepacs.notify.herald import Herald
from spinepacs.notify.watch import Watch
from spinepacs.settings.settings import Settings
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from tests import daemons, peers
from tests.certificates import authority
from tests.notify.servers import mail_server
from tests.store import makers
from tests.web_liars import Request, answer, web

PACS = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}


def takes(_: Request) -> bytes:
    return answer("204 No Content")


def hook(url: str, **changes: Any) -> dict[str, Any]:
    quick = {"interval_s": 0, "gather_s": 0, "down_minutes": 1 / 60, "timeout_s": 2, "retry_first_s": 0.1}
    return {"name": "ops", "kind": "webhook", "url": url, **quick, **changes}


def settings(channel: dict[str, Any], **sections: Any) -> Settings:
    return Settings.model_validate({"notifications": [channel], "destinations": [PACS], **sections})


def said(request: Request) -> list[str]:
    return [item["text"] for item in json.loads(request.body)["items"]]


def test_an_outage_of_a_destination_is_told_when_it_has_lasted_and_when_it_is_over(
    ledger: Ledger, spool: Spool
) -> None:
    claim = makers.claimed(ledger)
    result = makers.result_of(claim)
    assert ledger.record(claim, result, makers.stored(result), (makers.PACS,))
    now_s = [0.0]
    with web(takes) as there:
        ours = settings(hook(there.url), storage={"reserve_mb": 0})
        watch = Watch(ours, spool, ledger, clock=lambda: now_s[0])
        tells = Herald(ours.notifications[0], ledger)
        watch.look()
        assert not tells.tell(), "it has not waited for long"
        ledger.postpone_delivery([item.outbox_id for item in ledger.due("pacs")], makers.NOW, "nobody there")
        peers.wait_until(lambda: ledger.occasions.stuck("pacs", herald.datetime.now(herald.UTC)), 10, "age")
        threading.Event().wait(1.1)
        watch.look()
        assert not tells.tell(), "it must be seen for a while too"
        now_s[0] = 2.0
        for _ in range(3):
            watch.look()
            tells.tell()
        assert ledger.withdraw("pacs") == 3
        watch.look()
        tells.tell()
        assert not tells.tell()
    first, second = (said(request) for request in there.requests)
    assert "destination pacs takes nothing: 3 objects wait" in first[0]
    assert "nobody there" in first[0]
    assert "no longer stuck" in second[0]


@pytest.mark.peer
def test_certificates_and_storage_are_looked_at(ledger: Ledger, spool: Spool, tmp_path: Path) -> None:
    ours = authority(tmp_path).issue(tmp_path, "ours")
    with web(takes) as there:
        pacs = {**PACS, "tls": True, "tls_certificate": str(ours.certificate), "tls_key": str(ours.key)}
        wanted = settings(hook(there.url), destinations=[pacs], storage={"reserve_mb": 10**12})
        now_s = [0.0]
        watch = Watch(wanted, spool, ledger, clock=lambda: now_s[0])
        watch.look()
        now_s[0] = 2.0
        watch.look()
        Herald(wanted.notifications[0], ledger).tell()
    storage, certificate = sorted(said(there.requests[0]), reverse=True)
    assert "below the reserve" in storage
    assert "destination pacs, tls_certificate: the certificate ours.pem ends in 1 days" in certificate
    assert str(tmp_path) not in there.requests[0].body.decode()


def test_that_the_database_is_away_is_told_once_directly(
    ledger: Ledger, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [0.0]
    with web(lambda _: answer("500 Broken"), takes) as there:
        ours = settings(hook(there.url, retry_first_s=10))
        watch = Watch(ours, spool, ledger, clock=lambda: now_s[0])
        for at_s in (0.0, 0.5, 2.0, 3.0, 13.0, 500.0):
            now_s[0] = at_s
            watch.tell_away(str(DatabaseAway("it does not answer")))
        assert len(there.requests) == 2, "once without success, then with"
        assert "the database does not answer" in said(there.requests[1])[0]


def test_a_message_whose_answer_was_lost_is_sent_again_as_the_same(ledger: Ledger) -> None:
    from spinepacs.store.notices import NewNotice

    ledger.notices.add("ops", [NewNotice("study-failed", "1", {"reason_code": "X"}, "1.2.3")])
    with web(lambda _: None, takes) as there:
        tells = Herald(settings(hook(there.url)).notifications[0], ledger)
        assert tells.tell()
        ledger.notices.add("ops", [NewNotice("study-failed", "2", {"reason_code": "Y"}, "1.2.4")])
        peers.wait_until(tells.tell, 10, "the next attempt")
        peers.wait_until(tells.tell, 10, "the next message")
        assert not tells.tell()
    bodies = [json.loads(request.body) for request in there.requests]
    assert [len(body["items"]) for body in bodies] == [1, 1, 1]
    assert bodies[0] == bodies[1]
    assert bodies[2]["id"] != bodies[0]["id"]


@pytest.mark.peer
def test_the_daemon_tells_of_a_failed_study_by_mail_and_webhook_though_the_mail_server_was_down(
    tmp_path: Path,
) -> None:
    port = peers.free_port()
    with web(takes) as there:
        mail = {
            "name": "admins", "kind": "mail", "host": "127.0.0.1", "port": port, "security": "none", "gather_s": 0.0,
            "from_address": "spinepacs@example.org", "to": ["a@example.org"], "retry_first_s": 0.2,
            "retry_longest_s": 0.5, "interval_s": 0.0,
        }  # fmt: skip
        with daemons.daemon(
            tmp_path, notifications=[mail, hook(there.url, on=["study-failed"])], work={"maximum_attempts": 1}
        ) as daemon:
            daemon.start()
            daemon.wait_ready()
            with daemon.ledger() as ledger:
                peers.wait_until(lambda: ledger.rows(_marks()), 30, "a first look")
                makers.take_in(ledger, "9.1", "9")  # a file that the spool does not hold
                ledger.mark_ready("9")
                peers.wait_until(lambda: ledger.counts().studies.get("failed"), 60, "a failed study")
                peers.wait_until(lambda: there.requests, 60, "the webhook")
                assert ledger.notices.standing(["admins"])["admins"].waiting == 1
                failing = 'spinepacs_notification_failing{notification="admins"} 1.0'
                peers.wait_until(lambda: failing in daemon.http("/metrics")[1], 30, "that it says so")
                assert (
                    'spinepacs_notifications{notification="admins",state="pending"} 1.0'
                    in daemon.http("/metrics")[1]
                )
            with mail_server(port=port) as post:
                peers.wait_until(lambda: post.mails, 60, "the mail")
            assert "a study failed" in post.mails[0].get_content()
            assert daemon.terminate() == 0
    assert len(there.requests) == 1


def test_check_connects_and_sends_only_what_it_is_told_to() -> None:
    with web(takes) as there:
        ours = settings(hook(there.url))
        (silent,) = partners.notifications(ours, sends=False)
        assert silent.ok
        assert there.requests == []
        (loud,) = partners.notifications(ours, sends=True)
        assert loud.ok
        assert said(there.requests[0]) == ["this is a test: notifications arrive"]
    (dead,) = partners.notifications(ours, sends=True)
    assert not dead.ok
    assert "connection refused" in dead.detail


def _marks() -> Any:
    from sqlalchemy import select

    from spinepacs.store.tables import notice_marks

    return select(notice_marks)
