"""Who is let in: a login for every page, a role for some, and for every change the token of one's own forms."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from spinepacs.errors import BadSettings, Permanent, Transient, failed
from spinepacs.store.accounts import Account, AccountRole
from spinepacs.web.headers import came_through_proxy
from spinepacs.web.site import Site, Visit, csrf_of, sha256_of

COOKIE, LOGIN_COOKIE = "spinepacs_session", "spinepacs_login"
"""The session's token; and, before there is one, the token of the login's form."""
_PLAIN_FORM_BYTES = 64 * 1024
_UPLOAD_MARGIN_BYTES = 64 * 1024
_MB = 1_000_000
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Page:
    """One page.

    Parameters
    ----------
    path
        As Starlette writes routes.
    handler
        Called in a thread; it may ask the ledger.
    role
        Who may see it; None: everybody, also without a login.
    changes
        Whether it is asked for by POST, with the token of one's forms.
    takes_files
        Whether files are sent to it.
    """

    path: str
    handler: Callable[[Visit], Response]
    role: AccountRole | None = AccountRole.VIEWER
    changes: bool = False
    takes_files: bool = False

    @property
    def method(self) -> str:
        """By which it is asked for."""
        return "POST" if self.changes else "GET"


def guarded(site: Site, page: Page) -> Callable[[Request], Awaitable[Response]]:
    """Make the endpoint of a page."""

    async def endpoint(request: Request) -> Response:
        try:
            return await _answer(site, page, request)
        except HTTPException as error:
            return PlainTextResponse(
                f"{error.status_code}: {error.detail}\n", error.status_code, error.headers
            )
        except BadSettings as error:
            return PlainTextResponse(f"400: {error}\n", 400)
        except (Transient, Permanent) as error:
            _log.warning("a page was not shown: %s", error)
            return PlainTextResponse(f"503: {error}\n", 503, {"Retry-After": "5"})
        except Exception as error:  # its words may quote a patient: only its place is told
            return PlainTextResponse(f"500: a defect, see the log: {failed(error).reason}\n", 500)

    return endpoint


async def _answer(site: Site, page: Page, request: Request) -> Response:
    account, secret = await run_in_threadpool(_who, site, request)
    csrf = csrf_of(secret)
    if page.role is not None:
        if account is None:
            return _to_login(request)
        if not account.role.includes(page.role):
            raise HTTPException(403, f"your account is a {account.role}'s; this is for a {page.role}")
    form: Mapping[str, str] = {}
    files: Mapping[str, UploadFile] = {}
    if page.changes:
        _check_origin(request)
        _check_size(site, page, request)
        async with request.form(max_files=1 if page.takes_files else 0, max_fields=30) as sent:
            form = {name: value for name, value in sent.multi_items() if isinstance(value, str)}
            files = {name: value for name, value in sent.multi_items() if isinstance(value, UploadFile)}
            if page.role is not None and not hmac.compare_digest(
                form.get("csrf", "").encode(), csrf.encode()
            ):
                raise HTTPException(403, "this form is not yours, or too old: load its page again")
            visit = Visit(request, site, account, csrf, form, files)
            return await run_in_threadpool(page.handler, visit)
    return await run_in_threadpool(page.handler, Visit(request, site, account, csrf, form, files))


def _who(site: Site, request: Request) -> tuple[Account | None, str | bytes]:
    """Who asks, and the secret of this person's forms."""
    header = site.settings.web.account_header
    if header and came_through_proxy(request.scope) and (name := request.headers.get(header)):
        account = site.ledger.accounts.find(name)
        return (account if account and account.disabled_at is None else None), site.secret + name.encode()
    token = request.cookies.get(COOKIE, "")
    if not token:
        return None, site.secret
    return site.ledger.accounts.of_session(sha256_of(token)), token


def _to_login(request: Request) -> Response:
    """To the login, and back here after it; what is no page of its own is only refused."""
    if request.method != "GET" or "hx-request" in request.headers:
        # htmx obeys this header and shows the login instead of putting it into a corner of the page.
        return PlainTextResponse("401: log in first\n", 401, {"HX-Redirect": "/login"})
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse("/login" if here == "/" else f"/login?next={quote(here, safe='')}", 303)


def _check_origin(request: Request) -> None:
    """Refuse what a foreign page sends: every browser of today says so (Fetch Metadata)."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise HTTPException(403, "another site has sent this")


def _check_size(site: Site, page: Page, request: Request) -> None:
    limit = _PLAIN_FORM_BYTES
    if page.takes_files:
        limit = site.settings.web.maximum_upload_mb * _MB + _UPLOAD_MARGIN_BYTES
    stated = request.headers.get("content-length", "")
    if not (stated.isascii() and stated.isdigit()):
        raise HTTPException(411, "say how long it is")
    if int(stated) > limit:
        raise HTTPException(413, f"more than {limit} bytes are not taken (web.maximum_upload_mb)")
