"""Webhooks on real HTTP servers: what is posted, how it is signed, and what counts as told."""

from __future__ import annotations

import hashlib
import hmac
import json
import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from spinepacs.notify import webhook
from spinepacs.notify.digest import digest
from spinepacs.settings.notifications import WebhookNotification
from spinepacs.store.notices import Batch
from tests.certificates import authority
from tests.notify.test_mail import AT, FAILED, PATIENTS
from tests.web_liars import Request, answer, web


def channel(url: str, **changes: Any) -> WebhookNotification:
    values = {"name": "ops", "kind": "webhook", "url": url, "timeout_s": 2}
    return WebhookNotification.model_validate(values | changes)


def told(to: WebhookNotification, **changes: Any) -> Any:
    batch = Batch("ba7c4", 1, AT, {"study-failed": 2}, [FAILED])
    return webhook.send(to, digest(batch, to, "spine-1", **changes))


def takes(_: Request) -> bytes:
    return answer("204 No Content")


def test_what_is_posted_is_as_documented_and_signed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("known to both\n")
    with web(takes) as hook:
        signed = channel(f"{hook.url}?key=1", secret_file=tmp_path / "secret", with_identity=True)
        assert told(signed, patients=PATIENTS).is_told
        assert told(channel(hook.url)).is_told
    first, second = hook.requests
    assert first.line == "POST /dicom-web?key=1 HTTP/1.1"
    stamp, _, signature = first.headers["x-spinepacs-signature"].partition(",v1=")
    at = stamp.removeprefix("t=")
    assert abs(int(at) - time.time()) < 60
    assert (
        signature == hmac.new(b"known to both", at.encode() + b"." + first.body, hashlib.sha256).hexdigest()
    )
    said = json.loads(first.body)
    assert first.headers["x-spinepacs-id"] == said["id"] == "ba7c4"
    item = said["items"][0]
    assert (said["schema"], said["counts"], said["left_out"]) == (
        "spinepacs-notification/1",
        {"study-failed": 2},
        1,
    )
    assert (item["kind"], item["study_uid"], item["detail"]) == (
        "study-failed",
        "1.2.3",
        {"reason_code": "TIMEOUT"},
    )
    assert item["patient"]["patient_id"] == "PAT-0001"
    assert "x-spinepacs-signature" not in second.headers
    assert b"PAT-0001" not in second.body


@pytest.mark.parametrize(
    ("status", "headers", "said"),
    [
        ("302 Found", {"Location": "http://127.0.0.1:1/"}, "redirects elsewhere"),
        ("500 Broken", {}, "it answers HTTP 500"),
        ("401 Unauthorized", {}, "log in"),
        ("503 Away", {}, "not available now"),
    ],
)
def test_nothing_but_success_counts_and_nothing_is_followed(
    status: str, headers: dict[str, str], said: str
) -> None:
    with web(lambda _: answer(status, **headers)) as hook:
        answered = told(channel(hook.url))
        assert not answered.is_told
        assert said in answered.message
        assert len(hook.requests) == 1


@pytest.mark.peer
def test_https_asks_for_a_good_certificate(tmp_path: Path) -> None:
    ours = authority(tmp_path)
    server = ours.issue(tmp_path, "server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.certificate, server.key)
    with web(takes, tls=context) as hook:
        url = hook.url.replace("http:", "https:")
        assert "certificate verify failed" in told(channel(url)).message
        assert told(channel(url, tls_ca=ours.certificate)).is_told
        assert webhook.probe(channel(url, tls_ca=ours.certificate)) == ""
        assert "certificate verify failed" in webhook.probe(channel(url))
