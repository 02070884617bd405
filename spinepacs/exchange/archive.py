"""What an archive is asked for, whatever it speaks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from spinepacs.domain.campaign import Query, WantedFilm
from spinepacs.domain.priors import Ask, PatientStudy
from spinepacs.errors import BadSettings, Permanent, Transient
from spinepacs.settings import types

NO_STUDY = "the archive has nothing of this study"


class ArchiveAway(Transient):
    """The archive does not answer, or not in the way that was agreed: everything waits, no study is to blame."""


class NotGiven(Permanent):
    """The archive answers, and does not give this study or film."""


@dataclass(frozen=True)
class Asked:
    """Which studies are asked for: those of one day, or of one accession number."""

    day: date | None = None
    accession: str = ""


class Archive(Protocol):
    """An archive that can be asked; each method raises ArchiveAway."""

    def studies(self, asked: Asked, query: Query) -> Iterator[list[str]]:
        """Study Instance UIDs, page by page; some of them may hold nothing of what ``query`` means."""

    def of_patient(self, ask: Ask, days: tuple[date, date]) -> list[PatientStudy]:
        """Studies of a patient between two days, both included, and what else the archive answers.

        Raises NotGiven if it does not take the question.
        """

    def films(self, study_uid: str, query: Query) -> list[WantedFilm]:
        """Films of a study that ``query`` means, empty where it has none; raises NotGiven if there is no such study."""

    def probe(self) -> str:
        """Ask for next to nothing, and say in words that it was answered."""


def is_meant(asked: Asked, accession: str) -> bool:
    """Whether an answer is about what was asked for: some archives look for accession numbers regardless of case."""
    return not asked.accession or accession.strip() in ("", asked.accession)


def day_of(value: str) -> date | None:
    """A date (VR DA) of an answer; None where it is none."""
    try:
        return datetime.strptime(value.strip(), "%Y%m%d").date()
    except ValueError:
        return None


def is_uid(value: str) -> bool:
    """Whether an archive's answer is a UID (PS3.5 9.1): it goes into URLs."""
    return re.fullmatch(r"[0-9.]{1,64}", value) is not None


def parse_peer(place: str) -> tuple[str, str, int]:
    """AE title, host and port of ``AE@host:port``.

    Raises
    ------
    BadSettings
        If it is written in another way.
    """
    try:
        return types.parse_peer(place)
    except ValueError as error:
        raise BadSettings(str(error)) from None
