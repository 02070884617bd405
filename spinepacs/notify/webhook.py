"""A digest as a POST of JSON, signed with HMAC-SHA256; nothing is followed (docs/notifications.md)."""

from __future__ import annotations

import hashlib
import hmac
import json
import time

from spinepacs.delivery.verdicts import Unreachable, Verdict
from spinepacs.delivery.web import connected
from spinepacs.errors import BadSettings
from spinepacs.notify.digest import Digest, Told
from spinepacs.settings.notifications import WebhookNotification

SIGNATURE, IDENTITY = "X-Spinepacs-Signature", "X-Spinepacs-Id"


def send(channel: WebhookNotification, digest: Digest) -> Told:
    """POST it; any answer of 2xx says that it came."""
    body = json.dumps(digest.payload, ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json; charset=utf-8", "Accept": "*/*", IDENTITY: digest.uid}
    try:
        if secret := channel.secret():
            headers[SIGNATURE] = signature(secret, body, int(time.time()))
        with connected(channel) as link:
            answer = link if isinstance(link, Verdict) else link.ask("POST", "", headers, [body], len(body))
    except (Unreachable, BadSettings) as error:
        return Told(False, str(error))
    if isinstance(answer, Verdict):
        return Told(False, answer.message)
    is_told = 200 <= answer.status < 300
    return Told(is_told, "" if is_told else f"it answers HTTP {answer.status}")


def probe(channel: WebhookNotification) -> str:
    """Connect, TLS included, and send nothing; why that does not work."""
    try:
        channel.secret()
        with connected(channel) as link:
            return link.message if isinstance(link, Verdict) else ""
    except (Unreachable, BadSettings) as error:
        return str(error)


def signature(secret: str, body: bytes, at_s: int) -> str:
    """``t=<Unix time>,v1=<HMAC-SHA256 of "time.body" in hex>``: whoever knows the secret sees who and when."""
    signed = hmac.new(secret.encode(), f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={signed}"
