"""Who gets the results: one table for each destination, of one of several kinds (docs/destinations.md)."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Discriminator, Field, Tag, model_validator

from spinepacs.settings.partners import Partner, address_of, check_one_secret, read_secret
from spinepacs.settings.types import IN_THE_CLEAR, AETitle, Hours, Seconds, ServiceUrl, may_carry_secret


class Destination(Partner):
    """What all kinds have: when, how fast and how often, and how it proves who it is."""

    send: tuple[str, ...]
    """Kinds of objects that go there."""
    maximum_attempts: int = Field(default=50, ge=1)
    """After so many failed attempts an object is ``failed`` and waits for ``spinepacs retry``. A destination that is
    down or rejects the connection uses up none: it is looked for every 5 minutes at least, as long as it takes."""
    objects_per_minute: float = Field(default=0, ge=0)
    """No more than so many, on all machines together; 0 = no limit."""
    hours: tuple[Hours, ...] = ()
    """Only at these hours of the day, by this machine's clock: ``["22:00-06:00"]`` = at night. Empty = always."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it listens on."""
        raise NotImplementedError

    @property
    def title(self) -> str:
        """Its AE title; empty where it has none."""
        return ""

    @property
    def commits(self) -> bool:
        """Whether it is asked for storage commitment."""
        return False


class DicomDestination(Destination):
    """A PACS that takes results by C-STORE."""

    kind: Literal["dicom"] = "dicom"
    ae_title: AETitle
    host: str = Field(min_length=1)
    port: Annotated[int, Field(ge=1, le=65535)]
    calling_ae_title: AETitle | None = None
    """Our AE title towards it; the listener's where not set."""
    send: tuple[Literal["SEG", "SR", "OVERLAY", "GSPS", "PDF"], ...] = ("SEG", "SR", "OVERLAY")
    tls: bool = False
    """Encrypt (PS3.15 B.12, BCP 195); the destination must prove who it is."""
    tls_server_name: str = ""
    """Name that its certificate must hold; empty: ``host``."""
    commitment: bool = False
    """Ask whether it keeps what it has accepted (storage commitment, PS3.4 Annex J), and send again what it does not.
    Off: not every PACS offers it, and one that does must know where our listener is."""
    commitment_delay_s: float = Field(default=5.0, ge=0)
    """Wait between sending and asking (s): archives may file what they have taken a moment later."""
    commitment_wait_s: Seconds = 3600.0
    """Without a report for so long (s) it is asked again; after three requests the objects are sent again. Archives
    that write to tape first take their time."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of its DICOM server."""
        return self.host, self.port

    @property
    def title(self) -> str:
        """Its AE title."""
        return self.ae_title

    @property
    def commits(self) -> bool:
        """Whether it is asked for storage commitment."""
        return self.commitment


class WebDestination(Destination):
    """What is spoken with over HTTP: where, and how we prove who we are."""

    url: ServiceUrl
    """``https://host/path``; ``http://`` too, but no secret goes there unless it is this machine."""
    user: str = ""
    """Name for HTTP Basic authentication (RFC 7617), with the password below; empty: the secret is a bearer token."""
    secret_file: Path | None = None
    """File that holds the password or the token (RFC 6750) and nothing else; read anew for each connection."""
    secret_variable: str = ""
    """Environment variable that holds it, instead."""

    @model_validator(mode="before")
    @classmethod
    def _promises_nothing(cls, values: Any) -> Any:
        if isinstance(values, dict) and any(str(key).startswith("commitment") for key in values):
            raise ValueError('storage commitment goes with kind = "dicom": remove commitment…')
        return values

    @model_validator(mode="after")
    def _keeps_its_secret(self) -> Self:
        check_one_secret(self.secret_file, self.secret_variable)
        has_secret = bool(self.secret_file or self.secret_variable)
        if self.user and not has_secret:
            raise ValueError("user needs its password: secret_file or secret_variable")
        if has_secret and not may_carry_secret(self.url):
            raise ValueError(IN_THE_CLEAR)
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
        """Path of the URL, without a slash at its end."""
        return urlsplit(self.url).path

    def secret(self) -> str:
        """Password or token as it is now; empty: none; raises as :func:`read_secret`."""
        return read_secret(self.secret_file, self.secret_variable)

    def authorization(self) -> str:
        """The header of that name, with the secret as it is now; empty: none; raises as :func:`read_secret`."""
        secret = self.secret()
        if not secret or not self.user:
            return f"Bearer {secret}" if secret else ""
        return "Basic " + base64.b64encode(f"{self.user}:{secret}".encode()).decode("ascii")


class DicomwebDestination(WebDestination):
    """A PACS that takes results by STOW-RS (PS3.18 10.5)."""

    kind: Literal["dicomweb"]
    send: tuple[Literal["SEG", "SR", "OVERLAY", "GSPS", "PDF"], ...] = ("SEG", "SR", "OVERLAY")


class FhirDestination(WebDestination):
    """A FHIR server that takes transaction Bundles; the URL is its base."""

    kind: Literal["fhir"]
    send: tuple[Literal["FHIR"], ...] = ("FHIR",)


class Hl7Destination(Destination):
    """An HL7 v2 receiver (an interface engine, a RIS) that takes ORU^R01 over MLLP."""

    kind: Literal["hl7"]
    host: str = Field(min_length=1)
    port: Annotated[int, Field(ge=1, le=65535)]
    """2575 is the registered one."""
    send: tuple[Literal["HL7"], ...] = ("HL7",)
    tls: bool = False
    """Encrypt; the receiver must prove who it is."""
    tls_server_name: str = ""
    """Name that its certificate must hold; empty: ``host``."""
    sending_application: str = "SPINEPACS"
    """MSH-3."""
    sending_facility: str = ""
    """MSH-4."""
    receiving_application: str = ""
    """MSH-5."""
    receiving_facility: str = ""
    """MSH-6."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of its MLLP listener."""
        return self.host, self.port


def _kind_of(values: Any) -> str:
    kind = values.get("kind", "dicom") if isinstance(values, dict) else values.kind
    return kind if isinstance(kind, str) else ""


AnyDestination = Annotated[
    Annotated[DicomDestination, Tag("dicom")]
    | Annotated[DicomwebDestination, Tag("dicomweb")]
    | Annotated[FhirDestination, Tag("fhir")]
    | Annotated[Hl7Destination, Tag("hl7")],
    Discriminator(
        _kind_of,
        custom_error_type="destination_kind",
        custom_error_message='kind is "dicom", "dicomweb", "fhir" or "hl7"',
    ),
]
"""One table of ``[[destinations]]``; without ``kind`` a PACS that takes C-STORE."""
KINDS: dict[str, type[Destination]] = {
    "dicom": DicomDestination,
    "dicomweb": DicomwebDestination,
    "fhir": FhirDestination,
    "hl7": Hl7Destination,
}
