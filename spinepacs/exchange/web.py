"""HTTP to an archive: with limits, with credentials that stand in no database, and never to another host."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from spinepacs.domain.campaign import AWAY_TIMEOUT_S
from spinepacs.errors import BadSettings
from spinepacs.exchange.archive import ArchiveAway
from spinepacs.settings import types
from spinepacs.settings.types import IN_THE_CLEAR, may_carry_secret
from spinepacs.toml import read_toml

USER, PASSWORD, TOKEN = "SPINEPACS_DICOMWEB_USER", "SPINEPACS_DICOMWEB_PASSWORD", "SPINEPACS_DICOMWEB_TOKEN"
"""Environment variables of the daemon, where a campaign names no file."""

CONNECT_S = 10.0
_TAIL_BYTES = 256


class Session(requests.Session):
    """A session for one archive: it follows no redirect to another host, and an answer has a greatest size.

    Parameters
    ----------
    url
        Of the DICOMweb service.
    credentials
        TOML file with ``user`` and ``password``, or ``token``; empty: the environment's, or none.
    limit_bytes
        Longest answer.

    Raises
    ------
    BadSettings
        If the file cannot be used, or what it or the environment holds would go over the network in the clear.
    """

    def __init__(self, url: str, credentials: str = "", limit_bytes: int = 1 << 40) -> None:
        super().__init__()
        self._origin = _origin(url)
        self._limit_bytes = limit_bytes
        user, password, token = _credentials(credentials)
        if user or token:
            check_secret(url)
        if token:
            self.headers["Authorization"] = f"Bearer {token}"
        elif user:
            self.auth = (user, password)

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Where a redirect leads.

        Raises
        ------
        ArchiveAway
            If that is another host: films and credentials are nobody else's.
        """
        target = super().get_redirect_target(resp)
        if target is not None and urlsplit(target).netloc and _origin(target) != self._origin:
            resp.close()
            raise ArchiveAway(
                "the archive redirects to another host, which is not followed: give the URL to which it leads"
            )
        return target

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send one request; what is no answer of an archive becomes ArchiveAway."""
        options.setdefault("timeout", (CONNECT_S, AWAY_TIMEOUT_S))
        response = super().send(request, **options)
        is_page = response.headers.get("Content-Type", "").lower().startswith("text/html")
        if response.ok and is_page:
            response.close()
            raise ArchiveAway("the archive answers with a page for people: log in with credentials")
        if int(response.headers.get("Content-Length") or 0) > self._limit_bytes:
            response.close()
            raise TooLong
        return response


class TooLong(Exception):  # noqa: N818 - caught where the film is known
    """An answer is longer than an object may be."""


class WholeBody:
    """The pieces of a multipart answer: counted, and whole only if its last boundary came (RFC 2046 5.1).

    Neither requests nor dicomweb-client notice the end of a line that closes too early without a Content-Length: the
    film would be taken for whole.
    """

    def __init__(self, response: requests.Response, limit_bytes: int) -> None:
        self._pieces: Callable[[int], Iterator[bytes]] = response.iter_content
        self._limit_bytes = limit_bytes
        self._tail = b""
        response.iter_content = self.iter_content  # type: ignore[method-assign,assignment]  # the decoder calls it

    def iter_content(self, chunk_size: int) -> Iterator[bytes]:
        """See requests; remembers the end."""
        length = 0
        for piece in self._pieces(chunk_size):
            length += len(piece)
            if length > self._limit_bytes:
                raise TooLong
            self._tail = (self._tail + piece[-_TAIL_BYTES:])[-_TAIL_BYTES:]
            yield piece

    @property
    def is_whole(self) -> bool:
        """Whether the last boundary has come, behind the last piece that was asked for."""
        return self._tail.rstrip().endswith(b"--")


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)


def _credentials(path: str) -> tuple[str, str, str]:
    """User, password, token; each may be empty."""
    if not path:
        return os.environ.get(USER, ""), os.environ.get(PASSWORD, ""), os.environ.get(TOKEN, "")
    data: Mapping[str, Any] = read_toml(Path(path), BadSettings, "is the file of credentials right?")
    if os.stat(path).st_mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise BadSettings(f"{path}: others may read it, and it holds a password: chmod 640")
    if not set(data) <= {"user", "password", "token"} or not all(
        isinstance(each, str) for each in data.values()
    ):
        raise BadSettings(f'{path}: give user = "…" and password = "…", or token = "…", and nothing else')
    return data.get("user", ""), data.get("password", ""), data.get("token", "")


def check_secret(url: str) -> None:
    """Raise BadSettings where a password or a token would go over the network in the clear."""
    if not may_carry_secret(url):
        raise BadSettings(f"{IN_THE_CLEAR}: give an https:// URL to --dicomweb, or no credentials")


def check_url(url: str) -> str:
    """Give a URL, which will stand in the database, without a slash at its end.

    Raises
    ------
    BadSettings
        If it is none, or holds a password or a query.
    """
    try:
        return types.check_url(url)
    except ValueError as error:
        raise BadSettings(
            f"--dicomweb: {error}; a password is for --credentials FILE, or for {USER} and {PASSWORD} (or {TOKEN}) in "
            "the daemon's environment"
        ) from None
