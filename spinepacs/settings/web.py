"""The table ``[web]`` of the settings file: the console."""

from __future__ import annotations

import re
from typing import Self

from pydantic import Field, field_validator, model_validator

from spinepacs.settings.oidc import OidcSettings
from spinepacs.settings.types import Network, Port, Section

PLACEHOLDERS = ("study_uid", "accession_number", "patient_id")
"""What a template of a viewer's link may name, in braces."""


class WebSettings(Section):
    """The console, pages for people; nothing of it is shown without a login."""

    enabled: bool = True
    bind: str = "127.0.0.1"
    """Loopback: a proxy with TLS goes before it, see docs/console.md."""
    port: Port = 11181
    """0 takes a free one, which the log names."""
    hosts: tuple[str, ...] = ()
    """Names by which browsers call it, as in the proxy's settings; loopback and ``bind`` always do. Others are refused,
    so that no foreign page can speak to it under a name of its own."""
    session_hours: float = Field(default=8.0, gt=0, le=168)
    """After a login (h): a working day."""
    show_identity: bool = True
    """Off: viewers see no patient ID, sex, age, accession number nor description; readers and administrators do."""
    maximum_upload_mb: int = Field(default=100, ge=1, le=2048)
    """Of a film that is dropped on the page "Rules" (MB): it is held in memory."""
    picture_memory_mb: int = Field(default=2048, ge=256)
    """Memory (MB) that the process may take which decodes one film."""
    picture_time_limit_s: float = Field(default=30.0, gt=0)
    """And time (s)."""
    proxies: tuple[Network, ...] = ()
    """Reverse proxies whose X-Forwarded-For and X-Forwarded-Proto are believed."""
    account_header: str = Field(default="", pattern=r"^([A-Za-z0-9-]+)?$")
    """Header in which these proxies name the account of a person whom they have let in; empty: accounts log in here."""
    oidc: OidcSettings | None = None
    """Logging in by OpenID Connect; not set: by accounts of this installation, or by a proxy's word."""
    viewers: dict[str, str] = Field(default_factory=dict)
    """Links that open a study elsewhere: name and URL, in which ``{study_uid}``, ``{accession_number}`` and
    ``{patient_id}`` are replaced."""

    @field_validator("viewers")
    @classmethod
    def _are_links(cls, value: dict[str, str]) -> dict[str, str]:
        for name, link in value.items():
            if not re.match(r"(https?|weasis)://", link):
                raise ValueError(f"the link of {name} begins with https://, http:// or weasis://")
            if unknown := set(re.findall(r"\{(.*?)\}", link)) - set(PLACEHOLDERS):
                raise ValueError(
                    f"the link of {name} names {unknown.pop()}; there are {', '.join(PLACEHOLDERS)}"
                )
        return value

    @model_validator(mode="after")
    def _header_needs_proxies(self) -> Self:
        if self.account_header and not self.proxies:
            raise ValueError("account_header needs proxies: anybody could send that header")
        return self
