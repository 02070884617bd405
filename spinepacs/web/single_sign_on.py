"""Logging in by OpenID Connect: to the provider, back from it, and in.

What must come back is kept by the browser, sealed, in a cookie of its own. The provider's page is another site, and
from there no browser brings our session's cookie along (SameSite=Strict): so the way in leads over a page of ours that
goes on by itself.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from dataclasses import asdict, dataclass

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from spinepacs.errors import SpinepacsError, Transient
from spinepacs.language import _
from spinepacs.openid import NotProven, Person, Provider
from spinepacs.settings.oidc import OidcSettings
from spinepacs.store.accounts import Account, AccountRole
from spinepacs.web.login import begun, form, local
from spinepacs.web.site import Visit

BEGIN, BACK = "/login/oidc", "/login/oidc/back"
_COOKIE = "spinepacs_oidc"
_LASTS_S = 600
_ORDER = (AccountRole.ADMINISTRATOR, AccountRole.READER, AccountRole.VIEWER)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_PREFIX = "oidc:"
"""Of its accounts' names: no account that is made here has one, so neither takes the other's."""


@dataclass(frozen=True)
class _Begun:
    """What the browser keeps until it comes back."""

    state: str
    nonce: str
    verifier: str
    onward: str
    until_s: int


def begin(visit: Visit) -> Response:
    """Send the browser to the provider."""
    provider = _provider(visit)[1]
    try:
        started = provider.begin(_back_url(visit))
    except Transient as error:
        return form(visit, "/", 503, str(error))
    onward = local(visit.request.query_params.get("next", "/"))
    kept = _Begun(started.state, started.nonce, started.verifier, onward, int(time.time()) + _LASTS_S)
    answer = RedirectResponse(started.url, 303)
    text = base64.urlsafe_b64encode(json.dumps(asdict(kept)).encode()).decode()
    value = f"{text}.{_seal(visit, text)}"
    secure = visit.request.url.scheme == "https"
    # Lax: the provider sends the browser back here, and this cookie is to come along.
    answer.set_cookie(_COOKIE, value, _LASTS_S, BEGIN, secure=secure, httponly=True, samesite="lax")
    return answer


def back(visit: Visit) -> Response:
    """Let in whom the provider has named, if all of it is right and this person has a role here."""
    settings, provider = _provider(visit)
    answer = _answer(visit, settings, provider)
    answer.delete_cookie(_COOKIE, BEGIN)  # good for one time, whatever came of it
    return answer


def _answer(visit: Visit, settings: OidcSettings, provider: Provider) -> Response:
    kept, came = _kept(visit), visit.request.query_params
    if kept is None or not hmac.compare_digest(kept.state.encode(), came.get("state", "").encode()):
        return _refused(
            visit, "state", _("This login was not begun here, or too long ago. Please try again.")
        )
    if "error" in came or not came.get("code") or came.get("iss", settings.issuer) != settings.issuer:
        return _refused(visit, "error", _("The provider has not let you in."))
    try:
        person = provider.person(_back_url(visit), came["code"], kept.nonce, kept.verifier)
    except NotProven as error:
        return _refused(visit, str(error), _("What the provider said of you is not good. Please try again."))
    except Transient as error:
        return form(visit, kept.onward, 503, str(error))
    account = _account(visit, settings, person)
    if account is None:
        said = _("You are known there, and have no role here: ask an administrator.")
        return _refused(visit, "no role, disabled, or another person's name", said, _name(person))
    answer = begun(visit, account, kept.onward)
    onward = visit.page("onward.html", onward=kept.onward)
    for key, value in answer.raw_headers:
        if key == b"set-cookie":
            onward.raw_headers.append((key, value))
    return onward


def _account(visit: Visit, settings: OidcSettings, person: Person) -> Account | None:
    roles = {AccountRole(settings.roles[value]) for value in person.values if value in settings.roles}
    role = next((each for each in _ORDER if each in roles), None)
    if role is None:
        return None
    accounts = visit.site.ledger.accounts
    return accounts.from_provider(_name(person), role, person.identity, visit.peer)


def _name(person: Person) -> str:
    """Name of the account: the person's own, where it can be one."""
    fits = _NAME.fullmatch(person.name)
    return _PREFIX + (person.name if fits else person.identity.removeprefix("oidc:")[:16])


def _refused(visit: Visit, why: str, said: str, name: str = "unknown") -> Response:
    visit.site.ledger.accounts.note("login-failed", name, visit.peer, detail=f"single sign-on: {why}")
    return form(visit, "/", 403, said)


def _provider(visit: Visit) -> tuple[OidcSettings, Provider]:
    settings, provider = visit.site.settings.web.oidc, visit.site.provider
    if settings is None or provider is None:
        raise HTTPException(404, _("there is no such page"))
    return settings, provider


def _back_url(visit: Visit) -> str:
    """This page as the browser calls it; its host is one of ``web.hosts``."""
    return f"{visit.request.url.scheme}://{visit.request.url.netloc}{BACK}"


def _kept(visit: Visit) -> _Begun | None:
    text, _, seal = visit.request.cookies.get(_COOKIE, "").partition(".")
    if not text or not hmac.compare_digest(seal.encode("utf-8", "replace"), _seal(visit, text).encode()):
        return None
    kept = _Begun(**json.loads(base64.urlsafe_b64decode(text)))
    return kept if kept.until_s >= time.time() else None


def _seal(visit: Visit, text: str) -> str:
    """With the client's secret, which all machines know; a public client's logins are this process's own."""
    settings = visit.site.settings.web.oidc
    try:
        secret = settings.secret().encode() if settings else b""
    except SpinepacsError:
        secret = b""
    key = hashlib.sha256(b"spinepacs login " + (secret or visit.site.secret)).digest()
    return hmac.new(key, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()
