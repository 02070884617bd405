"""Mails to a real SMTP server: what they say, how they get there, and what is said where they do not."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from spinepacs.notify import mail
from spinepacs.notify.digest import digest
from spinepacs.settings.notifications import MailNotification
from spinepacs.store.notices import Batch, Notice
from tests.certificates import authority
from tests.notify.servers import mail_server
from tests.peers import free_port

AT = datetime(2026, 11, 30, 8, 0, tzinfo=UTC)
FAILED = Notice(7, "study-failed", "7", "1.2.3", {"reason_code": "TIMEOUT"}, AT, None)
PATIENTS = {"1.2.3": {"patient_id": "PAT-0001", "accession_number": "ACC-1", "study_date": "2026-11-20"}}


def channel(port: int, **changes: Any) -> MailNotification:
    values: dict[str, Any] = {
        "name": "admins", "kind": "mail", "host": "127.0.0.1", "port": port, "security": "none", "timeout_s": 5,
        "from_address": "spinepacs@example.org", "to": ["a@example.org", "b@example.org"],
    }  # fmt: skip
    return MailNotification.model_validate(values | changes)


def told(to: MailNotification, host: str = "spine-1", **changes: Any) -> Any:
    batch = Batch("ba7c4", 1, AT, {"study-failed": 500}, [FAILED])
    return mail.send(to, digest(batch, to, host, **changes))


def test_a_mail_says_what_happened_and_whose_study_only_where_it_may() -> None:
    with mail_server() as post:
        plain = channel(post.port, console_url="https://spine.example.org/")
        assert told(plain, "spine-1\r\nBcc: all@example.org").is_told
        assert told(channel(post.port, with_identity=True), patients=PATIENTS).is_told
        first, second = post.mails
        assert post.envelopes[0].rcpt_tos == ["a@example.org", "b@example.org"]
    assert first["Subject"] == "spinepacs on spine-1Bcc: all@example.org: 500 studies failed"
    assert first["Bcc"] is None
    assert first["Message-ID"] == "<ba7c4.admins@example.org>"
    assert first["Auto-Submitted"] == "auto-generated"
    text = first.get_content()
    assert "a study failed: TIMEOUT" in text
    assert "https://spine.example.org/studies/1.2.3" in text
    assert "… and 499 more" in text
    assert "PAT-0001" not in text
    assert "ACC-1" not in text
    assert "patient id PAT-0001, accession number ACC-1" in second.get_content()


@pytest.mark.peer
@pytest.mark.filterwarnings(
    "ignore:Requiring AUTH while not requiring TLS:UserWarning"
)  # aiosmtpd counts STARTTLS only
@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_password_goes_over_tls_to_a_server_that_proves_who_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, security: str
) -> None:
    ours = authority(tmp_path)
    server = ours.issue(tmp_path, "server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.certificate, server.key)
    way = {"tls" if security == "tls" else "starttls": context}
    monkeypatch.setenv("MAIL_SECRET", "right")
    with mail_server(**way, password="right") as post:  # noqa: S106 - of nobody
        login = {"security": security, "user": "spinepacs", "secret_variable": "MAIL_SECRET"}
        good = channel(post.port, tls_ca=ours.certificate, **login)
        assert told(good).is_told
        assert mail.probe(good) == ""
        assert "certificate verify failed" in told(channel(post.port, **login)).message
        monkeypatch.setenv("MAIL_SECRET", "wrong")
        assert "does not take user and password (SMTP 535)" in told(good).message
        assert "does not take user and password" in mail.probe(good)
        monkeypatch.delenv("MAIL_SECRET")
        assert "MAIL_SECRET holds no password" in told(good).message
        assert len(post.mails) == 1


def test_what_a_server_says_against_it_is_told_without_its_words() -> None:
    with mail_server() as post:
        post.answers = ["451 patient PAT-0001 is too much"]
        assert told(channel(post.port)).message == "the mail server does not take the mail (SMTP 451)"
        post.refused = {"a@example.org"}
        some = told(channel(post.port))
        assert (some.is_told, some.message) == (True, "1 of 2 recipients were refused")
        post.refused.add("b@example.org")
        assert told(channel(post.port)).message == "the mail server refuses all recipients (SMTP 550)"
        assert "offers no STARTTLS" in told(channel(post.port, security="starttls")).message
        assert len(post.mails) == 1
    assert "connection refused" in told(channel(free_port())).message


def test_a_server_that_trickles_is_broken_off() -> None:
    """Each byte comes in time, and the first line never ends."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def trickle() -> None:
            line, _ = server.accept()
            with line, suppress(OSError):
                while True:
                    line.sendall(b"2")
                    time.sleep(0.05)

        thread = threading.Thread(target=trickle)
        thread.start()
        answered = told(channel(server.getsockname()[1], timeout_s=0.3))
        thread.join(30)
    assert not thread.is_alive()
    assert not answered.is_told
