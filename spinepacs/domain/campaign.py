"""Campaigns over an archive: what is asked for, of whom, and how far each study of it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from spinepacs.domain.findings import Versions

AWAY_TIMEOUT_S = 60.0
"""An archive that says nothing for so long (s) is away."""


class Kind(StrEnum):
    """Where the films of a campaign come from."""

    FOLDER = "folder"
    """A folder tree of DICOM files, which is only read."""
    DICOMWEB = "dicomweb"
    """An archive, by QIDO-RS and WADO-RS (PS3.18)."""
    DICOM = "dicom"
    """An archive, by C-FIND and C-MOVE to our own listener (PS3.4 Annex C)."""
    AGAIN = "again"
    """Films that the spool holds already."""


class CampaignState(StrEnum):
    """Where a campaign stands."""

    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    DONE = "done"


class ItemState(StrEnum):
    """Where a study of a campaign stands, or a file of a folder: ``listed → asked → arrived`` and one of the rest."""

    LISTED = "listed"
    ASKED = "asked"
    """It is being fetched; the attempt is counted."""
    ARRIVED = "arrived"
    """Everything that the archive has given of it is in the ledger, or was there; it is being read."""
    READ = "read"
    """At least one film of it was read, and none has failed."""
    KNOWN = "known"
    """The same model and policy had read all of it before."""
    REFUSED = "refused"
    """No film of it could be read, or it has none that was asked for: the reason says why."""
    FAILED = "failed"
    """A film of it could not be fetched or not be read."""


ON_ITS_WAY = (ItemState.ASKED, ItemState.ARRIVED)
OPEN = (ItemState.LISTED, *ON_ITS_WAY)


class FilmState(StrEnum):
    """Where one film of a campaign stands; ``wanted`` until it is known what became of it."""

    WANTED = "wanted"
    READ = "read"
    KNOWN = "known"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True)
class Query:
    """Which films are meant; what is empty asks for nothing.

    Parameters
    ----------
    date_from, date_to
        Study date, both included.
    modalities, body_parts
        Values of Modality and BodyPartExamined, upper case.
    """

    date_from: date | None = None
    date_to: date | None = None
    modalities: tuple[str, ...] = ()
    body_parts: tuple[str, ...] = ()

    def takes(self, modality: str, body_part: str) -> bool:
        """Whether a film or a series is meant; a body part that is not stated is not held against it."""
        part = body_part.strip().upper()
        return (not self.modalities or modality.strip().upper() in self.modalities) and (
            not self.body_parts or not part or part in self.body_parts
        )


@dataclass(frozen=True)
class NewCampaign:
    """A campaign as it is asked for.

    Parameters
    ----------
    name
        Unique.
    place
        Folder, URL, or ``AE@host:port``; empty for films that are here already.
    move_to
        AE title under which the archive knows our listener (C-MOVE).
    credentials
        File with user and password, or a token, for a URL; empty: the environment's, or none.
    studies, accessions
        Study Instance UIDs, or accession numbers: only these. Both empty: by date.
    model_folder, policy_file, versions
        What reads the films.
    delivers
        Whether results are written and sent to the destinations; else they are in the database only.
    per_hour
        No more studies (files of a folder) an hour; None: no limit.
    hours
        Only at these hours of the day, such as ``22:00-06:00``; empty: always.
    """

    name: str
    kind: Kind
    place: str
    query: Query
    model_folder: str
    policy_file: str
    versions: Versions
    move_to: str = ""
    credentials: str = ""
    studies: tuple[str, ...] = ()
    accessions: tuple[str, ...] = ()
    delivers: bool = False
    per_hour: float | None = None
    hours: tuple[str, ...] = ()


@dataclass(frozen=True)
class Campaign(NewCampaign):
    """A campaign as it stands; ``studies`` and ``accessions`` are left out but where they are listed.

    Parameters
    ----------
    position
        How far it has been listed; empty: not at all. Its meaning depends on the kind.
    listed_at
        When all of it had been listed.
    trouble
        What it waits for, in words; empty: nothing.
    """

    campaign_id: int = 0
    state: CampaignState = CampaignState.RUNNING
    position: str = ""
    listed_at: datetime | None = None
    trouble: str = ""
    created_at: datetime | None = None


@dataclass(frozen=True)
class Item:
    """A study of a campaign (its UID), or a file of a folder (its path in it)."""

    item_id: int
    what: str
    state: ItemState
    attempts: int


@dataclass(frozen=True)
class WantedFilm:
    """A film that an archive says it has; ``series_uid`` is empty where nobody needs it."""

    sop_uid: str
    study_uid: str
    series_uid: str = ""
