"""The table ``[worklist]`` of the settings file: workitems of a UPS-RS server (docs/worklist.md)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from spinepacs.settings.types import AETitle, PeerAddress, Seconds, Section, ServiceUrl


def _code(value: str) -> str:
    """Check a code: value, scheme and perhaps meaning, as VR SH and LO have room for them."""
    if value and not re.fullmatch(r"[^^\\]{1,16}\^[^^\\]{1,16}(\^[^^\\]{1,64})?", value):
        raise ValueError("give a code as value^scheme^meaning, such as SPINEPACS^99SPINEPACS^spinepacs")
    return value


CodeText = Annotated[str, AfterValidator(_code)]


class WorklistSettings(Section):
    """Whose worklist is worked off, which workitems are ours, and where their films are."""

    enabled: bool = False
    url: ServiceUrl | None = None
    """Of the UPS-RS service, up to ``/workitems``."""
    credentials: Path | None = None
    """For it: TOML file with user and password, or token; not set: the daemon's environment, or none."""
    workitem_codes: tuple[CodeText, ...] = ()
    """Scheduled Workitem Code (0040,4018) of those that are ours, ``value^scheme^meaning``; the meaning is not
    compared. Empty = any."""
    scheduled_station: CodeText = ""
    """Scheduled Station Name Code (0040,4025) of those that are ours. Empty = any."""
    label: str = ""
    """Worklist Label (0074,1202) of those that are ours. Empty = any."""
    station: CodeText = "SPINEPACS^99SPINEPACS^spinepacs"
    """Who has done it: Performed Station Name Code (0040,4028) of what we complete."""
    dicomweb: ServiceUrl | None = None
    """Archive that has the films, by QIDO-RS and WADO-RS; not set, and ``ae`` neither: the same service."""
    archive_credentials: Path | None = None
    """With ``dicomweb``: as ``credentials``."""
    ae: PeerAddress | None = None
    """Or an archive by C-FIND and C-MOVE to our own listener: ``AE@host:port``."""
    move_to: AETitle | None = None
    """With ``ae``: as what the archive knows us, if not by the listener's AE title."""
    maximum: int = Field(default=4, ge=1, le=100)
    """Workitems in progress at a time: others may have the rest."""
    poll_s: Seconds = 10.0
    """How often the server is asked (s)."""

    @model_validator(mode="after")
    def _ours_are_known(self) -> Self:
        if not self.enabled:
            return self
        if not self.url:
            raise ValueError("url is missing: where the worklist is")
        if not (self.workitem_codes or self.scheduled_station or self.label):
            raise ValueError(
                "say which workitems are ours: workitem_codes, scheduled_station or label; else those of others, of "
                "persons even, would be claimed"
            )
        if self.dicomweb and self.ae:
            raise ValueError("give one of dicomweb and ae: where the films are")
        return self

    @property
    def archive(self) -> tuple[str, str]:
        """URL of the archive that has the films, and the file with its credentials; both empty: it is no DICOMweb."""
        if self.ae:
            return "", ""
        if self.dicomweb:
            return self.dicomweb, str(self.archive_credentials or "")
        return self.url or "", str(self.credentials or "")
