"""What every page is given: the site with its ledger and settings, and the visit with the person who makes it."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from spinepacs import __version__
from spinepacs.domain import words
from spinepacs.domain.refusals import refusal_words
from spinepacs.language import OWN_NAMES, _, n_, spoken
from spinepacs.openid import Provider
from spinepacs.seldom import Seldom
from spinepacs.settings.settings import Settings
from spinepacs.store.accounts import Account, AccountRole
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from spinepacs.web import wording
from spinepacs.web.darkroom import Darkroom
from spinepacs.web.drafting import said
from spinepacs.web.plots import view
from spinepacs.web.reviewing import Reviewing
from spinepacs.web.snapshot import SHARE, Snapshot, look

IDENTITY = frozenset(
    {"patient_id", "patient_sex", "patient_age_years", "accession_number", "study_description"}
)
"""Columns that ``web.show_identity`` speaks of."""


@dataclass(frozen=True)
class Site:
    """The parts of the console's process.

    Parameters
    ----------
    settings
        All of them.
    ledger, spool
        Opened by this process.
    darkroom
        Where films are decoded.
    reviewing
        Where drafts of corrections are tried.
    secret
        Of this process: for the forms of people whom a proxy has let in.
    """

    settings: Settings
    ledger: Ledger
    spool: Spool
    darkroom: Darkroom
    reviewing: Reviewing
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    @cached_property
    def provider(self) -> Provider | None:
        """Who else says who somebody is; None: nobody does."""
        oidc = self.settings.web.oidc
        return Provider(oidc) if oidc else None

    @cached_property
    def queue(self) -> Seldom[Snapshot]:
        """What waits, asked for no oftener than can be afforded."""
        names = [destination.name for destination in self.settings.destinations]
        return Seldom(lambda: look(self.ledger, names), share=SHARE)

    def shows_identity(self, account: Account) -> bool:
        """Whether an account sees whose films these are."""
        return self.settings.web.show_identity or account.role.includes(AccountRole.READER)


@dataclass(frozen=True)
class Visit:
    """One request of a person who may make it.

    Parameters
    ----------
    account
        None on pages that need no login.
    csrf
        What a form of this person has to send along.
    form
        Fields of a POST that are text.
    files
        And those that are files.
    """

    request: Request
    site: Site
    account: Account | None
    csrf: str
    form: Mapping[str, str]
    files: Mapping[str, UploadFile]

    @property
    def person(self) -> Account:
        """Who makes it; there is one on every page that needs a login."""
        if self.account is None:
            raise LookupError("this page is shown to everybody")
        return self.account

    @property
    def peer(self) -> str:
        """Address of the browser."""
        return self.request.client.host if self.request.client else ""

    @property
    def _back(self) -> str:
        """Where this page is found again; the answer to a form is nowhere."""
        url = self.request.url
        if self.request.method != "GET":
            return "/"
        return f"{url.path}?{url.query}" if url.query else url.path

    @property
    def shows_identity(self) -> bool:
        """Whether this person sees whose films these are."""
        return self.site.shows_identity(self.person)

    def note(self, action: str, study_uid: str = "", detail: str = "") -> None:
        """Write into the audit trail what this person does."""
        self.site.ledger.accounts.note(action, self.person.name, self.peer, study_uid, detail)

    def page(self, template: str, status: int = 200, **values: Any) -> Response:
        """Fill a template in."""
        return HTMLResponse(self.text(template, **values), status)

    def set_cookie(self, answer: Response, name: str, value: str, age_s: int) -> None:
        """Let the browser keep something that no script and no other site gets."""
        secure = self.request.url.scheme == "https"
        answer.set_cookie(name, value, age_s, secure=secure, httponly=True, samesite="strict")

    def text(self, template: str, **values: Any) -> str:
        """The same as text."""
        common = {
            "account": self.account,
            "csrf": self.csrf,
            "here": self.request.url.path,
            "back": self._back,
            "may_decide": bool(self.account and self.account.role.includes(AccountRole.READER)),
            "version": __version__,
            "language": spoken(),
            "languages": OWN_NAMES,
        }
        return templates().get_template(template).render(common | values)


def csrf_of(secret: bytes | str) -> str:
    """What a form sends along, made of the session's token, which no other page can read."""
    key = secret.encode() if isinstance(secret, str) else secret
    return hmac.new(key, b"form", hashlib.sha256).hexdigest()


@cache
def templates() -> Environment:
    """The templates; all that is filled in is escaped, and a name that is missing is an error."""
    environment = Environment(
        loader=PackageLoader("spinepacs.web"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    filters: dict[str, Callable[..., Any]] = {
        "said": said,
        "moment": lambda value: str(value)[:19],
        "head": wording.column,
        "state": lambda value: wording.known(wording.STATES, value),
        "what": lambda value: wording.known(wording.WHAT, value),
        "happened": lambda value: wording.known(wording.MOMENTS, value),
        "role": lambda value: wording.known(wording.ROLES, value),
        "step": lambda value: wording.known(wording.STEPS, value),
        "why": lambda value: wording.reason(str(value)),
        "why_of": lambda reason, code: refusal_words(code, reason),
        "view": view,
        "years": words.years,
        "short": lambda value: f"…{str(value)[-12:]}",
        "zip_self": lambda values: [(value, value) for value in values],
        "notes": lambda value: words.notes_of(str(value or "").split()),
    }
    environment.filters.update(filters)
    environment.globals.update({"_": _, "n_": n_})
    return environment
