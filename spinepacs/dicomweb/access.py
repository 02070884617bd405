"""Who may ask: from which networks, not in the clear, and as which account of the console.

Each request shows who makes it, by HTTP Basic (RFC 7617) or by a token (RFC 6750); the console's cookie counts for
nothing here, so no page in a browser can act in the name of somebody who is logged in there.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import secrets
import threading
import time

from starlette.exceptions import HTTPException
from starlette.requests import Request

from spinepacs.intake.gate import is_among
from spinepacs.settings.dicomweb import DicomwebSettings
from spinepacs.settings.types import is_loopback
from spinepacs.store.accounts import Account, AccountRole, Accounts, sha256_of
from spinepacs.web import passwords

_WINDOW_S = 300.0
_REMEMBERED_S = 300.0
_MOST_REMEMBERED = 1000
_CHALLENGE = 'Basic realm="spinepacs", charset="UTF-8", Bearer realm="spinepacs"'
_AT_A_TIME = threading.Semaphore(2)
"""Each takes 64 MiB and all of a core."""


class Access:
    """Lets requests in.

    Parameters
    ----------
    settings
        Networks.
    accounts
        Of the ledger.
    """

    def __init__(self, settings: DicomwebSettings, accounts: Accounts) -> None:
        self._networks = [ipaddress.ip_network(network) for network in settings.networks]
        self._accounts = accounts
        self._by_account_and_peer = passwords.Guesses(5, _WINDOW_S)
        self._by_peer = passwords.Guesses(30, _WINDOW_S)
        self._remembered: dict[bytes, float] = {}
        """Passwords that were right a while ago, under a key of this process, and until when that is known (monotonic):
        a program shows its password with every request, and argon2 takes a sixth of a second."""
        self._key = secrets.token_bytes(32)

    def admit(self, request: Request, needed: AccountRole) -> Account:
        """Say who asks.

        Raises
        ------
        HTTPException
            Unless an account that may do it asks, from a network of the settings and not in the clear.
        """
        peer = peer_of(request)
        if self._networks and not _is_in(peer, self._networks):
            raise HTTPException(403, "this address is in none of dicomweb.networks")
        if request.url.scheme != "https" and not is_loopback(peer):
            raise HTTPException(
                403, "passwords are not taken in the clear: use https (a proxy says so by X-Forwarded-Proto)"
            )
        if request.method == "POST" and request.headers.get("sec-fetch-site", "none") not in (
            "same-origin",
            "none",
        ):
            raise HTTPException(403, "another site has sent this")
        account = self._who(request.headers.get("authorization", ""), peer)
        if account is None:
            raise HTTPException(
                401, "an account and its password, or a token", {"WWW-Authenticate": _CHALLENGE}
            )
        if not account.role.includes(needed):
            raise HTTPException(403, f"your account is a {account.role}'s; this is for a {needed}")
        return account

    def _who(self, header: str, peer: str) -> Account | None:
        scheme, _, shown = header.partition(" ")
        if scheme.lower() == "bearer" and shown.strip():
            return self._accounts.of_token(sha256_of(shown.strip()))
        if scheme.lower() != "basic":
            return None
        try:
            name, colon, password = base64.b64decode(shown.strip(), validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            return None
        return self._proven(name, password, peer) if colon else None

    def _proven(self, name: str, password: str, peer: str) -> Account | None:
        account = self._accounts.find(name)
        able = account if account and account.disabled_at is None else None
        seen = self._seal(able, password) if able else b""
        if able and self._remembered.get(seen, 0.0) > time.monotonic():
            return able
        keys = ((self._by_account_and_peer, passwords.guess(name, peer)), (self._by_peer, peer))
        wait_s = max(guesses.wait_s(key) for guesses, key in keys)
        if wait_s > 0:
            raise HTTPException(429, "too many wrong passwords", {"Retry-After": str(int(wait_s) + 1)})
        for guesses, key in keys:
            guesses.add(key)
        with _AT_A_TIME:
            fits = passwords.fits(able.password_hash if able else None, password)
        if not (able and fits):
            # A name that is no account's is not written down: programs are given passwords in its place.
            self._accounts.note(
                "login-failed", account.name if account else "unknown", peer, detail="DICOMweb"
            )
            return None
        for guesses, key in keys:
            guesses.forget(key)
        self._remember(seen)
        return able

    def _seal(self, account: Account, password: str) -> bytes:
        """Another one as soon as the account has another password."""
        shown = f"{account.name}\0{account.password_hash}\0{password}".encode("utf-8", "replace")
        return hmac.new(self._key, shown, hashlib.sha256).digest()

    def _remember(self, seen: bytes) -> None:
        while len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered.pop(next(iter(self._remembered)), None)
        self._remembered[seen] = time.monotonic() + _REMEMBERED_S


def peer_of(request: Request) -> str:
    """Address that a request comes from, as the proxies of the settings say it."""
    return request.client.host if request.client else ""


def _is_in(peer: str, networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    try:
        return is_among(peer, networks)
    except ValueError:  # a proxy may have said anything
        return False
