"""The routes of the DICOMweb server, in one list, and what stands before all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Route
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from spinepacs.dicomweb import receiving, retrieving, searching
from spinepacs.dicomweb.calls import Call, Endpoint, Handler, Server
from spinepacs.store.accounts import AccountRole
from spinepacs.web.headers import SecureHeaders

ROOT = "/dicom-web"
"""What the services' paths begin with."""
_ALL = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
_STUDY = "/studies/{study}"
_SERIES = _STUDY + "/series/{series}"
_INSTANCE = _SERIES + "/instances/{instance}"


class Service(NamedTuple):
    """One of them: method, path, who may use it, what answers."""

    method: str
    path: str
    role: AccountRole
    handler: Handler


def _nothing(call: Call) -> Response:
    raise HTTPException(404, "there is no such service: docs/dicomweb.md")


SERVICES: Sequence[Service] = (
    Service("POST", "/studies", AccountRole.SENDER, receiving.store),
    Service("POST", _STUDY, AccountRole.SENDER, receiving.store),
    Service("GET", "/studies", AccountRole.VIEWER, searching.studies),
    Service("GET", _STUDY + "/series", AccountRole.VIEWER, searching.series),
    Service("GET", _STUDY + "/instances", AccountRole.VIEWER, searching.instances),
    Service("GET", _SERIES + "/instances", AccountRole.VIEWER, searching.instances),
    Service("GET", _STUDY, AccountRole.VIEWER, retrieving.objects),
    Service("GET", _SERIES, AccountRole.VIEWER, retrieving.objects),
    Service("GET", _INSTANCE, AccountRole.VIEWER, retrieving.objects),
    Service("GET", _STUDY + "/metadata", AccountRole.VIEWER, retrieving.metadata),
    Service("GET", _SERIES + "/metadata", AccountRole.VIEWER, retrieving.metadata),
    Service("GET", _INSTANCE + "/metadata", AccountRole.VIEWER, retrieving.metadata),
    Service("GET", _INSTANCE + "/frames/{frames}", AccountRole.VIEWER, retrieving.frames),
    Service("GET", _INSTANCE + "/rendered", AccountRole.VIEWER, retrieving.rendered),
    Service("GET", _INSTANCE + "/frames/{frames}/rendered", AccountRole.VIEWER, retrieving.rendered),
)
"""All of them; none answers without an account, and a test asks each of them without one."""


def make_app(server: Server) -> Starlette:
    """Put the application together."""
    routes = [
        Route(ROOT + each.path, Endpoint(server, _role(server, each), each.handler), methods=[each.method])
        for each in SERVICES
    ]
    routes.append(Route("/{path:path}", Endpoint(server, AccountRole.VIEWER, _nothing), methods=list(_ALL)))
    before = [
        Middleware(ProxyHeadersMiddleware, trusted_hosts=list(server.settings.dicomweb.proxies)),
        Middleware(SecureHeaders),
    ]
    return Starlette(routes=routes, middleware=before)


def _role(server: Server, service: Service) -> AccountRole:
    """Headers and films say whose they are: where viewers are not to see that, they see none of it."""
    hides = service.role is AccountRole.VIEWER and not server.settings.web.show_identity
    return AccountRole.READER if hides else service.role
