"""The pages of the console, in one list, and what stands before all of them."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from spinepacs.language import _
from spinepacs.settings.web import WebSettings
from spinepacs.store.accounts import AccountRole
from spinepacs.web import (
    actions,
    destinations,
    login,
    machines,
    queue,
    review,
    rules,
    single_sign_on,
    speech,
    studies,
    study,
)
from spinepacs.web.guard import Page, guarded
from spinepacs.web.headers import ProxyMark, SecureHeaders
from spinepacs.web.site import Site, Visit

_FILM = "/studies/{study_uid}/films/{sop_uid}"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def _beginning(visit: Visit) -> Response:
    return RedirectResponse("/queue", 303)


def _nothing(visit: Visit) -> Response:
    raise HTTPException(404, _("there is no such page"))


PAGES: Sequence[Page] = (
    Page("/login", login.show, role=None),
    Page("/login", login.log_in, role=None, changes=True),
    Page(single_sign_on.BEGIN, single_sign_on.begin, role=None),
    Page(single_sign_on.BACK, single_sign_on.back, role=None),
    Page("/logout", login.log_out, changes=True),
    Page("/language", speech.choose, role=None, changes=True),
    Page("/", _beginning),
    Page("/queue", queue.show),
    Page("/queue/now", queue.now),
    Page("/queue/action", actions.ask, role=AccountRole.READER),
    Page("/queue/action", actions.do, role=AccountRole.READER, changes=True),
    Page("/studies", studies.show),
    Page("/studies.csv", studies.csv),
    Page("/studies/{study_uid}", study.show),
    Page(f"{_FILM}/picture", study.picture),
    Page(f"{_FILM}/page", study.page),
    Page(f"{_FILM}/review", review.show),
    Page(f"{_FILM}/review/state", review.state),
    Page(f"{_FILM}/review/changes/{{correction_id:int}}", review.difference),
    Page(f"{_FILM}/review/draft", review.begin, role=AccountRole.READER),
    Page(f"{_FILM}/review/draft", review.draft, role=AccountRole.READER, changes=True),
    Page(f"{_FILM}/review/publish", review.publish, role=AccountRole.READER, changes=True),
    Page("/rules", rules.show),
    Page("/rules", rules.explain, changes=True, takes_files=True),
    Page("/destinations", destinations.show),
    Page("/destinations/now", destinations.now),
    Page("/destinations/echo", destinations.echo, role=AccountRole.READER, changes=True),
    Page("/machines", machines.show),
    Page("/{path:path}", _nothing),
)
"""All of them; what is not for everybody needs a login, and a test asks each of them without one."""


def make_app(site: Site) -> Starlette:
    """Put the application together."""
    web = site.settings.web
    routes: list[BaseRoute] = [Mount("/static", _Static(packages=[("spinepacs.web", "static")]))]
    routes += [Route(page.path, guarded(site, page), methods=[page.method]) for page in PAGES]
    before = [
        Middleware(ProxyMark, proxies=web.proxies),
        Middleware(ProxyHeadersMiddleware, trusted_hosts=list(web.proxies)),
        Middleware(SecureHeaders),
        Middleware(speech.Spoken),
        Middleware(TrustedHostMiddleware, allowed_hosts=hosts(web), www_redirect=False),
    ]
    return Starlette(routes=routes, middleware=before)


def hosts(web: WebSettings) -> list[str]:
    """Names by which browsers may call us."""
    own = [] if web.bind in ("0.0.0.0", "::") else [web.bind]  # noqa: S104 - what the settings may say
    return [*_LOOPBACK, *(f"[{name}]" for name in (*_LOOPBACK, *own) if ":" in name), *own, *web.hosts]


class _Static(StaticFiles):
    """The files that come with us: kept by browsers, and asked for anew by each version (``?v=``)."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_with(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start" and message["status"] in (200, 304):
                headers = message["headers"]
                if isinstance(headers, list):
                    headers.append((b"cache-control", b"public, max-age=86400"))
            await send(message)

        await super().__call__(scope, receive, send_with)  # type: ignore[arg-type]  # a Message is such a dict
