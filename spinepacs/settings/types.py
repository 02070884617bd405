"""What values of settings may be, beyond plain numbers and texts."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _ae_title(value: str) -> str:
    """Check an AE title (PS3.5 6.2, VR AE): 1 to 16 printable ASCII characters, no backslash, trimmed."""
    if not re.fullmatch(r"(?! )[\x20-\x5b\x5d-\x7e]{1,16}(?<! )", value):
        raise ValueError(
            "an AE title has 1 to 16 printable ASCII characters, no backslash, no space at its ends"
        )
    return value


def _regex(value: str) -> str:
    """Check that a description rule compiles."""
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return value


def _network(value: str) -> str:
    """Check an IP network: an address, or one with its prefix (CIDR, RFC 4632)."""
    try:
        return str(ipaddress.ip_network(value))
    except ValueError as error:
        raise ValueError(f"not an IP address or network like 10.1.0.0/16: {error}") from error


def _hours(value: str) -> str:
    """Check hours of the day."""
    time_of_day = r"([01]\d|2[0-3]):[0-5]\d"
    begin, _, end = value.partition("-")
    if not re.fullmatch(f"{time_of_day}-{time_of_day}", value) or begin == end:
        raise ValueError('give hours of the day like "22:00-06:00"')
    return value


def check_url(value: str, may_ask: bool = False) -> str:
    """Check a URL that we call, and give it without a slash at its end; ``may_ask``: it may have a part behind ``?``.

    Raises
    ------
    ValueError
        With the remedy.
    """
    try:
        parts = urlsplit(value)
        has_host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        has_host = False
    is_more = "#" in value or ("?" in value and not may_ask)
    if not has_host or is_more or parts.scheme not in ("http", "https"):
        raise ValueError(f"give http:// or https://, host and path, without {'#' if may_ask else '? and #'}")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("a URL has printable ASCII characters only, and no space")
    if parts.username is not None or parts.password is not None:
        raise ValueError("no user or password here: there are keys of their own for them")
    return value if parts.query else value.rstrip("/")


def _service_url(value: str) -> str:
    """Check the URL of a service."""
    return check_url(value)


def parse_peer(place: str) -> tuple[str, str, int]:
    """AE title, host and port of ``AE@host:port``; raises ValueError if it is written in another way."""
    found = re.fullmatch(
        r"((?! )[\x20-\x3f\x41-\x5b\x5d-\x7e]{1,16})@([^@:\s]+|\[[0-9a-fA-F:]+\]):(\d{1,5})", place
    )
    if not found or not 0 < int(found[3]) < 1 << 16:
        raise ValueError(f"{place!r} is no DICOM peer: give AE@host:port, for instance ORTHANC@10.0.0.5:4242")
    return found[1], found[2].strip("[]"), int(found[3])


def _peer(value: str) -> str:
    """Check a DICOM peer."""
    parse_peer(value)
    return value


AETitle = Annotated[str, AfterValidator(_ae_title)]
Regex = Annotated[str, AfterValidator(_regex)]
Network = Annotated[str, AfterValidator(_network)]
BucketUrl = Annotated[str, Field(pattern=r"^s3://[a-z0-9][a-z0-9.-]*(/[^/]+)*/?$")]
Hours = Annotated[str, AfterValidator(_hours)]
ServiceUrl = Annotated[str, AfterValidator(_service_url)]
PeerAddress = Annotated[str, AfterValidator(_peer)]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]


def is_loopback(bind: str) -> bool:
    """Whether an address, or a host's name, is one that only this machine reaches."""
    try:
        return ipaddress.ip_address(bind.partition("%")[0]).is_loopback
    except ValueError:
        return bind == "localhost"


IN_THE_CLEAR = "a secret goes over https:// only: anybody on the way could read it"
"""Said wherever :func:`may_carry_secret` forbids."""


def may_carry_secret(url: str) -> bool:
    """Whether a password or a token may be sent to a URL: over TLS, or without leaving this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or is_loopback(parts.hostname or "")


class Section(BaseModel):
    """Common rules: a wrong key is refused, nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, defer_build=True)
