"""The tables ``[[notifications]]`` of the settings file: who is told of what, by mail or by a webhook."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from spinepacs.settings.partners import Partner, address_of, check_one_secret, read_secret
from spinepacs.settings.types import AETitle, Seconds, check_url, is_loopback, may_carry_secret

Occasion = Literal[
    "study-failed", "destination-down", "sign", "machine-missing", "storage-down", "database-down", "certificate-ends"
]  # fmt: skip
"""What may be told."""
GradedSign = Literal[
    "disc_height_loss", "spondylolisthesis", "osteophytes", "subchondral_sclerosis", "vertebral_deformity",
    "disc_degeneration",
]  # fmt: skip
"""Signs that have grades; a test holds them against :class:`spinepacs.domain.signs.Sign`."""
_WHAT_BREAKS: tuple[Occasion, ...] = (
    "study-failed", "destination-down", "machine-missing", "storage-down", "database-down", "certificate-ends",
)  # fmt: skip
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
"""An address as HTML's forms take it: nothing in it can end a header or begin another recipient."""


class Notification(Partner):
    """What both kinds have: of what, about whom, how often."""

    on: tuple[Occasion, ...] = Field(default=_WHAT_BREAKS, min_length=1)
    """Occasions; all but ``sign`` where it is not given."""
    down_minutes: float = Field(default=60, gt=0)
    """A destination, the storage or the database must be away for so long (min) before anybody is told."""
    certificate_days: int = Field(default=30, ge=1)
    """A certificate of the settings that ends within so many days is told of."""
    grades: dict[GradedSign, Annotated[int, Field(ge=1, le=5)]] = Field(default_factory=dict)
    """For ``sign``: from which published grade on which sign is told of."""
    senders: tuple[AETitle, ...] = ()
    """For ``sign``: films of these senders only; empty = of any."""
    body_parts: tuple[str, ...] = ()
    """For ``sign``: films with these BodyPartExamined only; empty = with any."""
    with_identity: bool = False
    """Tell whose study it is: patient ID, accession number and date. Off: its Study Instance UID only."""
    console_url: str = ""
    """Where the console is for whoever is told, e.g. ``https://spine.example.org``: links go there; empty: none."""
    interval_s: float = Field(default=3600.0, ge=0)
    """Time between two messages (s): what happens meanwhile is told of in one."""
    gather_s: float = Field(default=30.0, ge=0)
    """And before the first one (s): what breaks seldom breaks alone."""
    timeout_s: Seconds = 30.0

    @field_validator("console_url")
    @classmethod
    def _is_link(cls, value: str) -> str:
        return check_url(value) if value else ""

    @model_validator(mode="after")
    def _signs_have_grades(self) -> Self:
        if ("sign" in self.on) != bool(self.grades):
            raise ValueError('"sign" in on and grades go together: grades = { vertebral_deformity = 2 }')
        return self


class MailNotification(Notification):
    """By mail (RFC 5321)."""

    kind: Literal["mail"]
    host: str = Field(min_length=1)
    """A mail server that takes mail from this machine."""
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    """``tls``: from the first byte on (port 465). ``none``: in the clear, for a server that can do no better."""
    from_address: str
    to: tuple[str, ...] = Field(min_length=1, max_length=50)
    user: str = ""
    """Name to log in with; empty: without."""
    secret_file: Path | None = None
    """File that holds its password and nothing else."""
    secret_variable: str = ""
    """Environment variable that holds it, instead."""

    @field_validator("from_address", "to")
    @classmethod
    def _are_addresses(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for address in (value,) if isinstance(value, str) else value:
            if not _ADDRESS.fullmatch(address):
                raise ValueError(f"{address!r} is no plain address like pacs@example.org")
        return value

    @model_validator(mode="after")
    def _keeps_its_secret(self) -> Self:
        check_one_secret(self.secret_file, self.secret_variable)
        if bool(self.user) != bool(self.secret_file or self.secret_variable):
            raise ValueError("user and its password (secret_file or secret_variable) go together")
        if self.security == "none" and not is_loopback(self.host):
            if self.user:
                raise ValueError('a password needs security = "starttls" or "tls": anybody could read it')
            if self.with_identity:
                raise ValueError('with_identity needs security = "starttls" or "tls": anybody could read it')
        return self

    def secret(self) -> str:
        """Password as it is now; raises as :func:`read_secret`."""
        return read_secret(self.secret_file, self.secret_variable)


class WebhookNotification(Notification):
    """By a POST of JSON (docs/notifications.md), signed with a secret that both sides know."""

    kind: Literal["webhook"]
    url: str
    """``https://…``; ``http://`` to this machine, or with ``allow_plain_http``."""
    allow_plain_http: bool = False
    """Take ``http://`` to other machines too: who listens on the way reads what is told."""
    secret_file: Path | None = None
    """File that holds the secret for the signature (HMAC-SHA256) and nothing else."""
    secret_variable: str = ""
    """Environment variable that holds it, instead; without either there is no signature."""

    @field_validator("url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        return check_url(value, may_ask=True)

    @model_validator(mode="after")
    def _is_not_overheard(self) -> Self:
        check_one_secret(self.secret_file, self.secret_variable)
        if not may_carry_secret(self.url):
            if not self.allow_plain_http:
                raise ValueError(
                    "give https://, or set allow_plain_http = true: anybody on the way could read it"
                )
            if self.with_identity:
                raise ValueError("with_identity needs https://: anybody on the way could read it")
        return self

    @property
    def is_encrypted(self) -> bool:
        """Whether TLS is spoken."""
        return urlsplit(self.url).scheme == "https"

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the URL."""
        return address_of(self.url)

    @property
    def path(self) -> str:
        """Path of the URL, with what stands behind ``?``."""
        parts = urlsplit(self.url)
        return parts.path + (f"?{parts.query}" if parts.query else "")

    def authorization(self) -> str:
        """None: the signature says who we are."""
        return ""

    def secret(self) -> str:
        """Secret of the signature as it is now; raises as :func:`read_secret`."""
        return read_secret(self.secret_file, self.secret_variable)


Channel: TypeAlias = MailNotification | WebhookNotification
"""One table of ``[[notifications]]``, of either kind."""


def _kind_of(values: Any) -> str:
    kind = values.get("kind", "") if isinstance(values, dict) else values.kind
    return kind if isinstance(kind, str) else ""


AnyNotification = Annotated[
    Annotated[MailNotification, Tag("mail")] | Annotated[WebhookNotification, Tag("webhook")],
    Discriminator(
        _kind_of, custom_error_type="notification_kind", custom_error_message='kind is "mail" or "webhook"'
    ),
]
"""The same for the settings file."""
KINDS: dict[str, type[Notification]] = {"mail": MailNotification, "webhook": WebhookNotification}
