"""Logging in and out."""

from __future__ import annotations

import hmac
import re
import secrets
import threading
from datetime import UTC, datetime, timedelta

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from spinepacs.language import _, n_
from spinepacs.store.accounts import Account, sha256_of
from spinepacs.web import passwords
from spinepacs.web.guard import COOKIE, LOGIN_COOKIE
from spinepacs.web.site import Visit

_WINDOW_S = 300.0
_BY_ACCOUNT_AND_PEER = passwords.Guesses(5, _WINDOW_S)
_BY_PEER = passwords.Guesses(30, _WINDOW_S)
_AT_A_TIME = threading.Semaphore(2)
"""Each takes 64 MiB and all of a core."""
_LOCAL = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*")


def local(path: str) -> str:
    """A path of this site; what leads anywhere else leads to the beginning."""
    return path if _LOCAL.fullmatch(path) else "/"


def show(visit: Visit) -> Response:
    """The form."""
    return form(visit, local(visit.request.query_params.get("next", "/")))


def log_in(visit: Visit) -> Response:
    """Begin a session, or say why not; the answer does not tell whether there is such an account."""
    name, onward = visit.form.get("name", "").strip(), local(visit.form.get("next", "/"))
    oidc = visit.site.settings.web.oidc
    if oidc is not None and not oidc.local_accounts:
        raise HTTPException(
            403,
            _(
                "accounts of this installation do not log in here: {setting}",
                setting="web.oidc.local_accounts",
            ),
        )
    token = visit.request.cookies.get(LOGIN_COOKIE, "")
    if not token or not hmac.compare_digest(token.encode(), visit.form.get("csrf", "").encode()):
        return form(visit, onward, 403, _("This form was too old. Please try again."))
    keys = ((_BY_ACCOUNT_AND_PEER, passwords.guess(name, visit.peer)), (_BY_PEER, visit.peer))
    wait_s = max(guesses.wait_s(key) for guesses, key in keys)
    if wait_s > 0:
        said = n_(
            "Too many attempts. Wait {count} minute.",
            "Too many attempts. Wait {count} minutes.",
            int(wait_s / 60) + 1,
        )
        answer = form(visit, onward, 429, said)
        answer.headers["Retry-After"] = str(int(wait_s) + 1)
        return answer
    for guesses, key in keys:
        guesses.add(key)
    account = _proven(visit, name, visit.form.get("password", ""))
    if account is None:
        return form(visit, onward, 403, _("Name or password is wrong."))
    for guesses, key in keys:
        guesses.forget(key)
    return begun(visit, account, onward)


def log_out(visit: Visit) -> Response:
    """End the session."""
    if token := visit.request.cookies.get(COOKIE):
        visit.site.ledger.accounts.log_out(sha256_of(token), visit.peer)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE)
    return answer


def _proven(visit: Visit, name: str, password: str) -> Account | None:
    accounts = visit.site.ledger.accounts
    account = accounts.find(name)
    able = account if account and account.may_log_in else None
    with _AT_A_TIME:
        fits = passwords.fits(able.password_hash if able else None, password)
    if able and fits:
        if passwords.is_outdated(able.password_hash):
            accounts.rehash(able.name, passwords.hashed(password))
        return able
    # A name that is no account's is not written down: people type passwords there.
    accounts.note("login-failed", account.name if account else "unknown", visit.peer)
    return None


def begun(visit: Visit, account: Account, onward: str) -> Response:
    """Begin a session of somebody who has proven to be this account."""
    token = secrets.token_urlsafe(32)
    lasts = timedelta(hours=visit.site.settings.web.session_hours)
    visit.site.ledger.accounts.log_in(sha256_of(token), account.name, visit.peer, datetime.now(UTC) + lasts)
    answer = RedirectResponse(onward, 303)
    visit.set_cookie(answer, COOKIE, token, int(lasts.total_seconds()))
    answer.delete_cookie(LOGIN_COOKIE)
    return answer


def form(visit: Visit, onward: str, status: int = 200, said: str = "") -> Response:
    """The page of the login, with what is said of the last attempt."""
    oidc = visit.site.settings.web.oidc
    token = visit.request.cookies.get(LOGIN_COOKIE) or secrets.token_urlsafe(32)
    answer = visit.page("login.html", status, onward=onward, said=said, login_csrf=token, sign_on=oidc)
    visit.set_cookie(answer, LOGIN_COOKIE, token, 3600)
    return answer
