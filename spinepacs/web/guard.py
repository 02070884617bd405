"""Who is let in: a login for every page, a role for some, and for every change the token of one's own forms."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from spinepacs.errors import BadSettings, Permanent, Transient, failed
from spinepacs.language import _
from spinepacs.store.accounts import Account, AccountRole, sha256_of
from spinepacs.web.headers import came_through_proxy
from spinepacs.web.site import Site, Visit, csrf_of
from spinepacs.web.wording import ROLES, known

COOKIE, LOGIN_COOKIE = "spinepacs_session", "spinepacs_login"
"""The session's token; and, before there is one, the token of the login's form."""
_PLAIN_FORM_BYTES = 64 * 1024
_MOST_FIELDS = 30
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
            visit = await _let_in(site, page, request)
        except _Told as told:
            return told.answer
        except Exception as error:
            return _plain(*_what_to_say(error))
        try:
            return await run_in_threadpool(page.handler, visit)
        except Exception as error:
            return _page(visit, *_what_to_say(error))
        finally:
            for file in visit.files.values():
                await file.close()

    return endpoint


class _Told(Exception):  # noqa: N818 - not an error: who is not logged in is told where
    """An answer that takes the place of the page."""

    def __init__(self, answer: Response) -> None:
        super().__init__()
        self.answer = answer


async def _let_in(site: Site, page: Page, request: Request) -> Visit:
    """Take a request for a visit, if the person may make it."""
    account, secret = await run_in_threadpool(_who, site, request)
    csrf = csrf_of(secret)
    if page.role is not None:
        if account is None:
            raise _Told(_to_login(request))
        if not account.role.includes(page.role):
            said = _(
                "your account is a {role}'s; this is for a {needed}",
                role=_role(account.role),
                needed=_role(page.role),
            )
            raise HTTPException(403, said)
    if not page.changes:
        return Visit(request, site, account, csrf, {}, {})
    _check_origin(request)
    _check_size(site, page, request)
    sent = await request.form(max_files=1 if page.takes_files else 0, max_fields=_MOST_FIELDS)
    form = {name: value for name, value in sent.multi_items() if isinstance(value, str)}
    files = {name: value for name, value in sent.multi_items() if isinstance(value, UploadFile)}
    if page.role is not None and not hmac.compare_digest(form.get("csrf", "").encode(), csrf.encode()):
        await sent.close()
        raise HTTPException(403, _("this form is not yours, or too old: load its page again"))
    return Visit(request, site, account, csrf, form, files)


def _what_to_say(error: Exception) -> tuple[int, str]:
    """Status and sentence for a person; of a defect only its place, since its words may quote a patient."""
    if isinstance(error, HTTPException):
        return error.status_code, error.detail
    if isinstance(error, BadSettings):
        return 400, str(error)
    if isinstance(error, (Transient, Permanent)):
        _log.warning("a page was not shown: %s", error)
        return 503, str(error)
    return 500, _("a defect, see the log: {reason}", reason=failed(error).reason)


def _page(visit: Visit, status: int, said: str) -> Response:
    if "hx-request" in visit.request.headers or visit.account is None:
        return _plain(status, said)
    return visit.page("error.html", status, said=said, code=status)


def _plain(status: int, said: str) -> Response:
    return PlainTextResponse(f"{status}: {said}\n", status)


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


def _role(role: AccountRole) -> str:
    return known(ROLES, role.value)


def _check_origin(request: Request) -> None:
    """Refuse what a foreign page sends: every browser of today says so (Fetch Metadata)."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise HTTPException(403, _("another site has sent this"))


def _check_size(site: Site, page: Page, request: Request) -> None:
    limit = _PLAIN_FORM_BYTES
    if page.takes_files:
        limit = site.settings.web.maximum_upload_mb * _MB + _UPLOAD_MARGIN_BYTES
    stated = request.headers.get("content-length", "")
    # Where a request has both, its chunks count and not what it states (RFC 9112 6.3): they may be without end.
    if "transfer-encoding" in request.headers or not (stated.isascii() and stated.isdigit()):
        raise HTTPException(411, _("say how long it is"))
    if int(stated) > limit:
        said = _("more than {number} bytes are not taken (web.maximum_upload_mb)", number=limit)
        raise HTTPException(413, said)
