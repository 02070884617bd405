"""The tables of the settings file: every field gives its unit, its default and the reason for it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from spinepacs.language import Language
from spinepacs.settings.shipped import shipped
from spinepacs.settings.types import AETitle, BucketUrl, Network, Port, Regex, Seconds, Section


class StorageSettings(Section):
    """Where files and facts are kept."""

    spool: BucketUrl | Path = Field(default=Path("/var/lib/spinepacs/spool"), union_mode="left_to_right")
    """Folder of received files and results; on one file system, since files are moved into place by rename. Or object
    storage: ``s3://bucket/prefix``; where and with which key the usual variables say (``AWS_ENDPOINT_URL`` …)."""
    scratch: Path = Path("/var/lib/spinepacs/scratch")
    """With object storage: folder of this machine for what is on its way there, or has been fetched."""
    database_url: str = "sqlite:////var/lib/spinepacs/ledger.sqlite"
    """SQLAlchemy URL, SQLite or PostgreSQL (``postgresql+psycopg://user:password@host/name``)."""
    reserve_mb: int = Field(default=1024, ge=0)
    """Free disk (MB) below which the listener answers 0xA700: results need room too."""

    @property
    def folder(self) -> Path:
        """This machine's own folder: the spool, or with object storage the scratch."""
        return self.scratch if isinstance(self.spool, str) else self.spool

    @property
    def bucket(self) -> str:
        """Object storage of the spool; empty: it is a folder."""
        return self.spool if isinstance(self.spool, str) else ""


class ClusterSettings(Section):
    """More than one machine on one PostgreSQL and one spool: see docs/scale.md."""

    enabled: bool = False
    """Off: one daemon, on one machine, with nothing to install beside it."""
    heartbeat_s: Seconds = 1.0
    """How often a machine says that it lives (s)."""
    dead_after_s: Seconds = 6.0
    """A machine that has not said so for so long (s) is taken for dead: others read what it had in hand. One that was
    only cut off finds that out and goes on; what it read meanwhile is not recorded twice."""
    engine: bool = True
    """Wake machines by Procrastinate as soon as a study is ready, the urgent ones first; off: they look every
    ``work.poll_s``."""

    @model_validator(mode="after")
    def _patience_is_longer(self) -> Self:
        if self.dead_after_s < 3 * self.heartbeat_s:
            raise ValueError("dead_after_s is at least three times heartbeat_s: one beat may be late")
        return self


class ListenerSettings(Section):
    """The C-STORE receiver."""

    enabled: bool = True
    ae_title: AETitle = "SPINEPACS"
    bind: str = "127.0.0.1"
    """Address to listen on: loopback until an administrator decides otherwise."""
    port: Port = 11112
    """11112 is the registered port that needs no privilege; 0 takes a free one."""
    check_called_ae: bool = True
    """Only associations that call us by ``ae_title``: a sender that means somebody else is told so at once."""
    calling_ae_titles: tuple[AETitle, ...] = ()
    """Only associations from these senders; empty = from any. An AE title is a name and no proof: see ``tls``."""
    storage_classes: Literal["all", "radiographs"] = "all"
    """``all``: every storage class, so that a study with reports, presentation states or documents comes whole; what
    is no film is refused afterwards, see ``selection.others``. ``radiographs``: only classes that may hold one."""
    networks: tuple[Network, ...] = ()
    """IP addresses and networks (CIDR) that may connect; empty = any. Others are cut off before any PDU."""
    proxies: tuple[Network, ...] = ()
    """Balancers, by address or network (CIDR): each of their connections begins with a PROXY header (version 1 or 2)
    and is that of the sender whose address it gives. Whoever connects from there may give any address."""
    maximum_associations: int = Field(default=64, ge=1, le=256)
    """Beyond it senders wait in line, in the kernel."""
    maximum_associations_per_peer: int = Field(default=32, ge=0)
    """From one IP address; beyond it rejected for now, so that no sender takes every place. 0 = no limit."""
    associations_per_minute: int = Field(default=600, ge=0, le=1000)
    """From one IP address; beyond it rejected for now. Ten a second are more than any modality needs. 0 = no limit."""
    maximum_object_mb: int = Field(default=512, ge=1)
    """A larger object is answered 0xC001 and not kept (MB): ten times a large radiograph."""
    maximum_pdu_bytes: int = Field(default=1 << 20, ge=0)
    """A PDU of anything but an image's dataset is held in memory whole. Small ones cost speed. 0 = no limit."""
    processes: int = Field(default=0, ge=0, le=32)
    """Processes that receive: one of them reads one stream at a time. 0 = as many as cores, at most 4."""
    acse_timeout_s: Seconds = 30.0
    """From the connection to the whole association request (s), the TLS handshake included."""
    dimse_timeout_s: Seconds = 60.0
    network_timeout_s: Seconds = 60.0
    """An association over which nothing has come for so long (s) is ended."""
    transfer_timeout_s: Seconds = 600.0
    """An object must be whole so long (s) after its first byte, however its bytes trickle in."""
    tls: bool = False
    """Encrypt (PS3.15 B.12, BCP 195: TLS 1.2 or 1.3); nothing else is taken on this port then."""
    tls_certificate: Path | None = None
    """Our certificate with its chain, PEM; loaded again when it changes."""
    tls_key: Path | None = None
    """Its key, PEM without passphrase; not set: in the same file."""
    tls_ca: Path | None = None
    """Certificates of the authorities that vouch for senders, PEM."""
    tls_client: Literal["required", "optional", "none"] = "required"
    """Whether senders must prove who they are with a certificate."""

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if self.tls and self.tls_certificate is None:
            raise ValueError("tls needs tls_certificate (and tls_key): name the PEM files")
        if self.tls and self.tls_client != "none" and self.tls_ca is None:
            raise ValueError('tls needs tls_ca to check senders; or set tls_client = "none" to let in any')
        return self


class WatchSettings(Section):
    """The watched folder; off while ``folder`` is not set."""

    folder: Path | None = None
    """Drop files, folders or zip archives here; ``done/`` and ``failed/`` are made inside it."""
    create: bool = False
    """Make the folder if it is missing. Off: then it is a share that is not mounted, and nobody would notice."""
    settle_s: Seconds = 5.0
    """A file is taken when its size and mtime have been still for this long (s)."""
    patience_s: Seconds = 300.0
    """What ends too early gets so long (s), and as long again as it has taken so far: a copy may pause."""
    table_required: bool = False
    """A picture is taken only with a line of a CSV table that says whose it is; off: also without one."""
    archive_maximum_mb: int = Field(default=8192, ge=1)
    """What a zip archive holds, unpacked (MB); a larger one is not opened."""
    scan_interval_s: Seconds = 10.0
    """Periodic scan (s): the truth; file-system events only make it sooner."""


class AssemblySettings(Section):
    """When a study is taken as complete."""

    quiet_period_s: Seconds = 30.0
    """No new image for this long (s): the study is ready. A late image reopens it."""


class SelectionSettings(Section):
    """Which images are read. An image must pass modality, SOP class and calling AE, and speak of the spine."""

    modalities: tuple[str, ...] = ("CR", "DX", "RF", "XA")
    sop_classes: tuple[str, ...] = ()
    """SOP Class UIDs; empty = those of the Standard that may hold a radiograph."""
    body_parts: tuple[str, ...] = (
        "SPINE", "CSPINE", "TSPINE", "LSPINE", "SSPINE", "CTSPINE", "TLSPINE", "LSSPINE", "WHOLESPINE",
        "CERVICALSPINE", "THORACICSPINE", "LUMBARSPINE", "DORSALSPINE", "LUMBOSACRALSPINE", "SCOLIOSIS",
    )  # fmt: skip
    """BodyPartExamined, compared in upper case without spaces, hyphens and underscores."""
    descriptions: tuple[Regex, ...] = (
        r"\b[ctls]{1,2}[\s_-]?spine\b",
        r"\bspin(e|al)\b",
        r"\b(cervical|thoracic|dorsal|lumbar|lumbo-?sacral)\b",
        r"\bscolio",
        r"\b(hws|bws|lws|wirbels)",
    )
    """Regular expressions, case ignored, tried on the study, series, protocol and acquisition descriptions."""
    calling_ae_titles: tuple[AETitle, ...] = ()
    """Only images from these senders; empty = from any."""
    others: Literal["drop", "keep"] = "drop"
    """Files of what is no radiograph (reports, presentation states, segmentations, documents, images of other classes,
    our own results): we can never read them, and they would fill the disk. ``drop`` deletes them after
    ``retention.grace_s``, ``keep`` leaves that to a person; their rows stay in both cases."""


class ReadingSettings(Section):
    """How headers are read."""

    default_character_set: str = ""
    """SpecificCharacterSet of images that declare none, as DICOM spells it: ``ISO_IR 144``, ``GB18030``,
    ``\\ISO 2022 IR 149``. Results then declare it. Empty: texts are taken for UTF-8 where they are, else for Latin-1,
    and results declare none either: archives have settings of their own for such images."""

    @field_validator("default_character_set")
    @classmethod
    def _is_defined(cls, value: str) -> str:
        right_halves = "13|100|101|109|110|126|127|138|144|148|166|203"
        single = rf"ISO_IR ({right_halves}|192)|GB18030|GBK"
        extended = rf"(ISO 2022 IR (6|{right_halves}))?(\\ISO 2022 IR (6|58|87|149|159|{right_halves}))+"
        if value and not re.fullmatch(f"{single}|{extended}", value):
            raise ValueError(
                "give a defined term of PS3.3 C.12.1.1.2, e.g. 'ISO_IR 100', 'GB18030' or '\\ISO 2022 IR 149'"
            )
        return value


class ModelSettings(Section):
    """The model that reads the films."""

    folder: Path = Field(default_factory=lambda: shipped("models", "spine"))
    """Folder with model.onnx and manifest.toml."""
    precision: Literal["auto", "fp32", "int8"] = "auto"
    """Which of the folder's models is run: auto takes the int8 one where the processor is made for it."""
    policy: Path = Field(default_factory=lambda: shipped("config", "grading.toml"))
    """The grading policy: every threshold with its source."""


class WorkSettings(Section):
    """The worker processes."""

    workers: int = Field(default=1, ge=1)
    """Processes that read studies; each holds one model session."""
    threads_per_worker: int = Field(default=0, ge=0)
    """Threads of one session; 0 = cores ÷ workers."""
    time_limit_s: Seconds = 300.0
    """A study that takes longer (s) is stopped and its attempt counted as failed."""
    memory_limit_mb: int = Field(default=4096, ge=256)
    """Memory (MB) that a worker may take for a study, beyond what it holds idle: a film of 32 million pixels, more than
    any detector has, was measured to take 1400. A study that asks for more has failed its attempt."""
    stop_grace_s: Seconds = 20.0
    """What is in work at SIGTERM gets so long (s) to finish; else it is given back, no attempt counted, and done again
    at the next start. A film takes seconds; the units in ``deploy/`` wait longer than this before they kill."""
    maximum_attempts: int = Field(default=3, ge=1)
    retry_wait_s: Seconds = 30.0
    """Wait before the second attempt (s); doubled for each one after it."""
    urgent_priorities: tuple[str, ...] = ("STAT",)
    """Values of RequestedProcedurePriority (0040,1003) whose studies go before those that have waited up to an hour."""
    urgent_calling_ae_titles: tuple[AETitle, ...] = ()
    """Senders whose studies do too, such as the emergency room's."""
    poll_s: Seconds = 1.0
    """How often the ledger is looked at (s): no study waits for a lost event."""


class RetentionSettings(Section):
    """When files leave the spool; the database keeps its rows. What is not delivered or has failed stays."""

    days: float = Field(default=0, ge=0)
    """Files of studies that were delivered so many days ago are deleted; 0 = never: an administrator decides."""
    maximum_gb: float = Field(default=0, ge=0)
    """Above this size (GB) of the spool's files the oldest delivered ones are deleted; 0 = no limit."""
    delete: tuple[Literal["originals", "results"], ...] = ("originals", "results")
    """Results that went to no destination are never deleted: they are nowhere else."""
    refused: bool = False
    """Films that were not read (not a spine, no vertebra found) may go too; else they wait for `spinepacs discard`."""
    grace_s: Seconds = 3600.0
    """A file that no row of the database wants is left alone for so long (s): longer than any receive takes."""


class OutputSettings(Section):
    """What is written for each radiograph."""

    segmentation: Literal["compat", "strict", "labelmap"] = "compat"
    """``compat``: BINARY with plane geometry made up, since neither OHIF nor 3D Slicer opens it without."""
    segmentation_enabled: bool = True
    report_enabled: bool = True
    report: Literal["comprehensive", "comprehensive-3d"] = "comprehensive"
    """SOP class of the SR. IHE AI Results asks for ``comprehensive-3d``; more archives and viewers know the other."""
    overlay_enabled: bool = True
    presentation_state_enabled: bool = False
    """A presentation state (GSPS) with outlines and names, for viewers that show no segmentation. Off: a viewer that
    applies each state that it finds would show the film with marks before anybody has asked for them."""
    language: Language = "en"
    """Of what people read in the results: picture, report, presentation state and page (docs/languages.md)."""
    fhir_version: Literal["R5", "R4B"] = "R5"
    """Of the Bundles for destinations of kind fhir and for ``process --fhir``."""
    device_serial_number: str = "0"


class HealthSettings(Section):
    """Liveness, readiness and metrics over HTTP, read-only."""

    enabled: bool = True
    bind: str = "127.0.0.1"
    port: Port = 11180


class LogSettings(Section):
    """Logs go to standard error; they hold UIDs and never a patient's name or ID."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["text", "json"] = "text"


class AuditSettings(Section):
    """Where the audit trail is sent besides the database; nowhere while ``syslog`` is not set."""

    syslog: str = ""
    """``tls://host:6514`` (RFC 5425) or ``udp://host:514`` (RFC 5426): DICOM audit messages, with patient IDs."""
    source_id: str = Field(default="SPINEPACS", min_length=1)
    """AuditSourceID in the messages: which installation this is."""
    tls_ca: Path | None = None
    """PEM file of the authorities that sign the server's certificate; this machine's own where not set."""
    tls_certificate: Path | None = None
    """PEM file of our certificate, where the server asks for one."""
    tls_key: Path | None = None
    """PEM file of its key; not needed where the certificate's file holds it."""

    @field_validator("syslog")
    @classmethod
    def _is_syslog(cls, value: str) -> str:
        if value and not re.fullmatch(r"(tls|udp)://([\w.-]+|\[[0-9a-fA-F:]+\]):\d{1,5}", value):
            raise ValueError("give tls://host:6514 or udp://host:514")
        return value
