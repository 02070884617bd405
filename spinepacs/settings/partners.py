"""What everything has that we connect to: a name, how long it may take, how it proves who it is, and our secret."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field

from spinepacs.errors import BadSettings
from spinepacs.settings.types import Seconds, Section

_LONGEST_SECRET_BYTES = 1 << 16


class Partner(Section):
    """Somebody whom we connect to, and who may be down."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")
    """Short name for the database and the logs: lower case, digits, ``_`` and ``-``."""
    kind: str
    """How it is spoken with."""
    timeout_s: Seconds = 60.0
    retry_first_s: Seconds = 10.0
    """Wait after the first failure (s); doubled after each one up to ``retry_longest_s``."""
    retry_longest_s: Seconds = 3600.0
    tls_ca: Path | None = None
    """Certificates of the authorities that vouch for it, PEM; not set: those of this machine."""
    tls_certificate: Path | None = None
    """Our certificate, PEM, where it asks for one; read anew for each connection."""
    tls_key: Path | None = None
    """Its key, PEM without passphrase; not set: in the same file."""

    def wait_s(self, attempts: int) -> float:
        """Seconds until the next attempt after ``attempts`` failed ones: doubled each time, up to the longest."""
        return float(min(self.retry_first_s * 2.0 ** min(attempts - 1, 60), self.retry_longest_s))


def address_of(url: str) -> tuple[str, int]:
    """Host and port of a URL that has been checked."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def check_one_secret(file: Path | None, variable: str) -> None:
    """Raise ValueError where a secret is to come from two places."""
    if file and variable:
        raise ValueError("give secret_file or secret_variable, not both")


def read_secret(file: Path | None, variable: str) -> str:
    """Password or token as it is now, from an environment variable or a file; empty: neither is given.

    Raises
    ------
    BadSettings
        If the file cannot be read, or the variable is not set; the message names it and never what it holds.
    """
    if variable:
        found = os.environ.get(variable, "")
        where = f"the environment variable {variable}"
    elif file:
        where = str(file)
        try:
            with file.open("rb") as stream:
                found = stream.read(_LONGEST_SECRET_BYTES).decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise BadSettings(f"{where}: cannot be read ({type(error).__name__})") from None
    else:
        return ""
    if not found or not found.isprintable():
        raise BadSettings(f"{where} holds no password or token")
    return found
