"""The table ``[priors]`` of the settings file: earlier studies of a patient of whom a film comes (docs/priors.md)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from spinepacs.settings.types import AETitle, Hours, PeerAddress, Section, ServiceUrl


class PriorsSettings(Section):
    """Which archive is asked for earlier studies, for how many, and what becomes of the results."""

    enabled: bool = False
    dicomweb: ServiceUrl | None = None
    """Archive, by QIDO-RS and WADO-RS: the URL up to ``/studies``."""
    ae: PeerAddress | None = None
    """Or one by C-FIND and C-MOVE to our own listener: ``AE@host:port``."""
    move_to: AETitle | None = None
    """With ``ae``: as what the archive knows us, if not by the listener's AE title."""
    credentials: Path | None = None
    """With ``dicomweb``: TOML file with user and password, or token; not set: the daemon's environment, or none."""
    years: int = Field(default=10, ge=1, le=100)
    """How far back, from the date of the study that has come."""
    maximum_studies: int = Field(default=10, ge=1, le=1000)
    """Of one patient, the newest first."""
    modalities: tuple[str, ...] = ()
    """Modality; empty = those of ``selection.modalities``."""
    body_parts: tuple[str, ...] = ()
    """BodyPartExamined; empty = any. What is fetched then passes ``[selection]`` as every film does."""
    ask_again_days: float = Field(default=30, ge=0)
    """A further film of a study that is known has its patient asked for again after so many days; a new study at
    once."""
    deliver: bool = False
    """Write SEG, SR and overlay of priors too, and send them; off: findings go into the database only."""
    per_hour: float = Field(default=0, ge=0)
    """No more studies an hour; 0 = no limit."""
    hours: tuple[Hours, ...] = ()
    """Only at these hours of the day, by this machine's clock: ``["18:00-06:00"]``. Empty = always."""

    @property
    def place(self) -> str:
        """Where the archive is, as it is written."""
        return self.dicomweb or self.ae or ""

    @property
    def ask_again_after(self) -> timedelta | None:
        """When a film of a known study has its patient asked for again; None: no film ever does."""
        return timedelta(days=self.ask_again_days) if self.enabled else None

    @model_validator(mode="after")
    def _one_archive(self) -> Self:
        if self.enabled and bool(self.dicomweb) == bool(self.ae):
            raise ValueError("give one of dicomweb and ae: where earlier studies are to be had")
        if self.credentials and not self.dicomweb:
            raise ValueError("credentials are for dicomweb")
        if self.move_to and not self.ae:
            raise ValueError("move_to is for ae")
        return self
