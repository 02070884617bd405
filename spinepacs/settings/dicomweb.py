"""The table ``[dicomweb]`` of the settings file: images in, and films and results out, by DICOMweb (PS3.18)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from spinepacs.settings.types import Network, Port, Section, is_loopback


class DicomwebSettings(Section):
    """The DICOMweb server; nobody uses it without an account. How large an object may be, how long it may take and
    which classes are taken is said in ``[listener]``: it is the same by either way."""

    enabled: bool = False
    bind: str = "127.0.0.1"
    """Any other address needs ``tls`` or ``proxies``: passwords and films are not sent in the clear."""
    port: Port = 11182
    """A port of its own, apart from the console's; 0 takes a free one, which the log names."""
    networks: tuple[Network, ...] = ()
    """IP addresses and networks (CIDR) that may ask; empty = any."""
    proxies: tuple[Network, ...] = ()
    """Reverse proxies with TLS, whose X-Forwarded-For and X-Forwarded-Proto are believed."""
    maximum_requests: int = Field(default=16, ge=1, le=256)
    """That are answered at a time; more get 503 and are to come again."""
    maximum_request_mb: int = Field(default=8192, ge=1)
    """Of one request that stores (MB): a study; each object in it may have ``listener.maximum_object_mb``."""
    tls: bool = False
    """Encrypt (BCP 195: TLS 1.2 or 1.3); nothing else is taken on this port then."""
    tls_certificate: Path | None = None
    """Our certificate with its chain, PEM; loaded again when it changes."""
    tls_key: Path | None = None
    """Its key, PEM without passphrase; not set: in the same file."""
    tls_ca: Path | None = None
    """Certificates of authorities, PEM: set, and only who shows a certificate of theirs may connect."""

    @property
    def tls_client(self) -> Literal["required", "none"]:
        """Whether peers must show a certificate, beside their account."""
        return "required" if self.tls_ca is not None else "none"

    @model_validator(mode="after")
    def _nothing_is_in_the_clear(self) -> Self:
        if self.tls and self.tls_certificate is None:
            raise ValueError("tls needs tls_certificate (and tls_key): name the PEM files")
        if self.enabled and not (self.tls or self.proxies or is_loopback(self.bind)):
            raise ValueError(
                f"{self.bind} is open to the network: set tls = true with a certificate, or name the proxies "
                "that speak TLS before it"
            )
        return self
