"""An OpenID provider: where its pages are, who it says somebody is, and whether that is to be believed.

The authorisation code flow with PKCE (RFC 6749, RFC 7636), state, and nonce (OpenID Connect Core 3.1); the ID token is
checked as 3.1.3.7 asks: issuer, audience, signature by the provider's keys, time, nonce. Authlib and joserfc (extra
``oidc``) are imported where they are needed.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spinepacs.errors import BadSettings, Permanent, Transient
from spinepacs.settings.oidc import OidcSettings

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures that are believed: with a key that only the provider has. Neither ``none`` nor our own secret's."""
_KNOWN_S = 3600.0
"""So long (s) the provider's pages and keys are remembered."""
_LEAST_S = 30.0
"""A key that is not known has them asked for anew, but no more often than this (s)."""
_LEEWAY_S = 60
_LONGEST = 1 << 20


class NotProven(Permanent):
    """What came does not prove who somebody is; the message holds nothing of it."""


@dataclass(frozen=True)
class Started:
    """A login that has begun: where the browser is to go, and what must come back with it."""

    url: str
    state: str
    nonce: str
    verifier: str


@dataclass(frozen=True)
class Person:
    """Whom the provider has named: the identity, which stays, the name, and the values of the claim of roles."""

    identity: str
    name: str
    values: tuple[str, ...]


class Provider:
    """See the module; for any thread.

    Parameters
    ----------
    settings
        Of the provider.

    Raises
    ------
    BadSettings
        If the extra is not installed.
    """

    def __init__(self, settings: OidcSettings) -> None:
        try:
            import authlib.integrations.requests_client  # noqa: F401 - said now and not at the first login
            import joserfc  # noqa: F401
        except ImportError as error:
            raise BadSettings("web.oidc needs Authlib: pip install 'spinepacs[oidc]'") from error
        self._settings = settings
        self._lock = threading.Lock()
        self._pages: Mapping[str, Any] = {}
        self._keys: Mapping[str, Any] = {}
        self._asked_s = float("-inf")

    def begin(self, back: str) -> Started:
        """Begin a login that comes back to the URL ``back``.

        Raises
        ------
        Transient
            If the provider does not answer.
        """
        verifier, nonce = secrets.token_urlsafe(48), secrets.token_urlsafe(32)
        page = self._known()["authorization_endpoint"]
        with self._session(back) as session:
            url, state = session.create_authorization_url(page, code_verifier=verifier, nonce=nonce)
        return Started(url, state, nonce, verifier)

    def person(self, back: str, code: str, nonce: str, verifier: str) -> Person:
        """Exchange the code for the provider's word, and check it.

        Raises
        ------
        NotProven
            If it is not to be believed.
        Transient
            If the provider does not answer.
        """
        from authlib.integrations.base_client import OAuthError

        pages = self._known()
        with self._session(back) as session:
            try:
                token = session.fetch_token(
                    pages["token_endpoint"], code=code, code_verifier=verifier, **self._how()
                )
                claims = self._checked(str(token.get("id_token", "")), nonce)
                values = _inner(claims, self._settings.role_claim)
                if values is None and "userinfo_endpoint" in pages:
                    more = _json(session.get(pages["userinfo_endpoint"], **self._how()))
                    if more.get("sub") != claims["sub"]:
                        raise NotProven("the provider speaks of two persons")
                    claims = {**more, **claims}
                    values = _inner(claims, self._settings.role_claim)
            except OAuthError:
                raise NotProven("the provider does not take the code") from None
            except (OSError, ValueError) as error:  # requests' errors are OSErrors
                raise _away(error) from None
        found = (values,) if isinstance(values, str) else values if isinstance(values, list) else ()
        return Person(self._identity(claims), self._name(claims), tuple(str(value) for value in found))

    def probe(self) -> str:
        """Ask for the provider's pages and keys, and say what it is; raises as :meth:`begin`."""
        self._known()
        return f"{self._settings.issuer} answers, with {len(self._keys.get('keys', ()))} keys"

    def _identity(self, claims: Mapping[str, Any]) -> str:
        who = f"{self._settings.issuer}\0{claims['sub']}"
        return f"oidc:{hashlib.sha256(who.encode()).hexdigest()}"

    def _name(self, claims: Mapping[str, Any]) -> str:
        return str(_inner(claims, self._settings.name_claim) or "")

    def _how(self) -> dict[str, Any]:
        verify = str(self._settings.tls_ca) if self._settings.tls_ca else True
        return {"timeout": self._settings.timeout_s, "allow_redirects": False, "verify": verify}

    def _session(self, back: str) -> Any:
        from authlib.integrations.requests_client import OAuth2Session

        settings = self._settings
        secret = settings.secret()
        takes = self._pages.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        # Authlib's Basic does not encode what RFC 6749 2.3.1 encodes, so the form is safer for secrets of any kind.
        method = "client_secret_post" if "client_secret_post" in takes else "client_secret_basic"
        session = OAuth2Session(
            settings.client_id,
            secret or None,
            method if secret else "none",
            scope=" ".join(settings.scopes),
            redirect_uri=back,
            code_challenge_method="S256",
            leeway=0,  # else Authlib takes an access token that lives for a minute for expired at once
        )
        session.trust_env = False
        return session

    def _known(self, is_stale: bool = False) -> Mapping[str, Any]:
        """The provider's pages, asked for where they, or its keys, are not known or no longer."""
        with self._lock:
            age_s = time.monotonic() - self._asked_s
            if (age_s < _KNOWN_S and not is_stale) or (is_stale and age_s < _LEAST_S):
                return self._pages
            try:
                pages, keys = self._ask()
            except (OSError, ValueError) as error:
                raise _away(error) from None
            self._pages, self._keys, self._asked_s = pages, keys, time.monotonic()
            return pages

    def _ask(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        import requests

        issuer = self._settings.issuer
        with requests.Session() as session:
            session.trust_env = False
            where = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
            pages = _json(session.get(where, **self._how()))
            if pages.get("issuer") != issuer:
                raise ValueError("it names itself otherwise: is web.oidc.issuer as the provider writes it?")
            needed = ("authorization_endpoint", "token_endpoint", "jwks_uri")
            if any(not isinstance(pages.get(name), str) for name in needed):
                raise ValueError("it does not say where its pages are")
            return pages, _json(session.get(pages["jwks_uri"], **self._how()))

    def _checked(self, token: str, nonce: str) -> dict[str, Any]:
        """Claims of an ID token, if all of it is right."""
        from joserfc.errors import JoseError

        try:
            try:
                claims = self._decoded(token)
            except (JoseError, ValueError):  # a key that is new since
                self._known(is_stale=True)
                claims = self._decoded(token)
            self._check_claims(claims, nonce)
        except (JoseError, ValueError) as error:
            raise NotProven(f"its ID token is not good: {type(error).__name__}") from None
        return claims

    def _decoded(self, token: str) -> dict[str, Any]:
        from joserfc import jwt
        from joserfc.jwk import KeySet

        keys = KeySet.import_key_set(dict(self._keys))  # type: ignore[arg-type]  # what the provider says
        return dict(jwt.decode(token, keys, algorithms=list(ALGORITHMS)).claims)

    def _check_claims(self, claims: Mapping[str, Any], nonce: str) -> None:
        from joserfc.jwt import JWTClaimsRegistry

        client_id = self._settings.client_id
        JWTClaimsRegistry(
            leeway=_LEEWAY_S,
            iss={"essential": True, "value": self._settings.issuer},
            aud={"essential": True, "value": client_id},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": nonce},
        ).validate(dict(claims))
        if claims.get("azp", client_id) != client_id or not isinstance(claims["sub"], str):
            raise ValueError("it is for somebody else")


def _json(answer: Any) -> dict[str, Any]:
    if answer.status_code != 200:
        raise ValueError(f"it answers HTTP {answer.status_code}")
    if len(answer.content) > _LONGEST:
        raise ValueError("its answer is too long")
    found = answer.json()
    if not isinstance(found, dict):
        raise ValueError("its answer is no JSON object")
    return found


def _inner(claims: Mapping[str, Any], path: str) -> Any:
    """Value of a claim, also one that lies within others; None: there is none."""
    if path in claims:
        return claims[path]  # names of claims may be URLs, with dots
    found: Any = claims
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _away(error: Exception) -> Transient:
    """Of our own sentences the words, of libraries' the type only."""
    said = str(error) if type(error) is ValueError else type(error).__name__
    return Transient(f"the provider of single sign-on does not answer as it should: {said}")
