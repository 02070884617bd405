"""In which language a person is spoken to: the one chosen here, else the first of the browser's that we have."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from spinepacs.language import LANGUAGES, Language, _, speaking
from spinepacs.web.login import local
from spinepacs.web.site import Visit

COOKIE = "spinepacs_language"
_YEAR_S = 365 * 24 * 3600
_LONGEST = 500
"""Of the header: browsers send a tenth of it."""


class Spoken:
    """Speaks the language of each request while it is answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = HTTPConnection(scope)
        chosen = request.cookies.get(COOKIE, "")
        with speaking(_known(chosen) or preferred(request.headers.get("accept-language", ""))):
            await self._app(scope, receive, send)


def choose(visit: Visit) -> Response:
    """Remember a language for a year, and lead back to where it was chosen."""
    language = _known(visit.form.get("language", ""))
    if language is None:
        raise HTTPException(400, _("there is no such language"))
    answer = RedirectResponse(local(visit.form.get("next", "/")), 303)
    visit.set_cookie(answer, COOKIE, language, _YEAR_S)
    return answer


def preferred(header: str) -> Language:
    """The best of our languages by a browser's Accept-Language (RFC 9110, 12.5.4); English where it has none."""
    found: list[tuple[float, int, Language]] = []
    for order, part in enumerate(header[:_LONGEST].split(",")):
        tag, _semicolon, weight = part.partition(";")
        known = _known(tag.strip().lower().partition("-")[0])
        if known and (share := _weight(weight)) > 0:
            found.append((-share, order, known))
    return min(found)[2] if found else LANGUAGES[0]


def _known(code: str) -> Language | None:
    return next((each for each in LANGUAGES if each == code), None)


def _weight(text: str) -> float:
    """The weight ``q=0.8``; 1 where there is none, 0 where it is none."""
    name, _equals, value = text.strip().partition("=")
    if not name:
        return 1.0
    try:
        return float(value) if name.strip() == "q" else 0.0
    except ValueError:
        return 0.0
