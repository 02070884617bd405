"""Under which name a person signs corrections: asked for once, and remembered for the session.

Kept by the browser, sealed with the token of the session's forms: another session, and so another account, does not
inherit it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import asdict, dataclass

from starlette.responses import Response

from spinepacs.web.site import Visit

_COOKIE = "spinepacs_signature"
_LONGEST = 64
"""Characters of a name in DICOM (VR PN and LO)."""


@dataclass(frozen=True)
class Signature:
    """Author as DICOM writes a name, and organisation."""

    author: str
    organisation: str = ""


def of_form(visit: Visit) -> Signature:
    """What a form says."""
    return Signature(*(visit.form.get(name, "").strip() for name in ("author", "organisation")))


def remembered(visit: Visit) -> Signature:
    """What this session has signed with before, else the account's name."""
    text, _, seal = visit.request.cookies.get(_COOKIE, "").partition(".")
    if text and hmac.compare_digest(seal.encode("utf-8", "replace"), _seal(visit, text).encode()):
        return Signature(**json.loads(base64.urlsafe_b64decode(text)))
    return Signature(visit.person.name)


def remember(visit: Visit, answer: Response, signature: Signature) -> None:
    """Have the browser keep it, where it may be one."""
    if max(len(signature.author), len(signature.organisation)) > _LONGEST:
        return
    text = base64.urlsafe_b64encode(json.dumps(asdict(signature)).encode()).decode()
    age_s = int(visit.site.settings.web.session_hours * 3600)
    visit.set_cookie(answer, _COOKIE, f"{text}.{_seal(visit, text)}", age_s)


def _seal(visit: Visit, text: str) -> str:
    return hmac.new(visit.csrf.encode(), text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()
