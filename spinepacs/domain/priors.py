"""Priors: earlier studies of a patient of whom a film has come, and which of an archive's answers are such."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from spinepacs.domain.campaign import Query

PRIORS = "_priors"
"""Name of the campaign that fetches priors: one that never ends, and whose list grows by what is asked for. No campaign
that a person starts can be called so."""

PATTERN = frozenset("*?\\")
"""Characters with which a patient ID would match those of others (PS3.4 C.2.2.2.4)."""


class AskState(StrEnum):
    """Where it stands with asking for one patient: ``waiting → asking → asked``, and once more for a new study."""

    WAITING = "waiting"
    ASKING = "asking"
    """The archive is being asked; the attempt is counted."""
    ASKED = "asked"
    FAILED = "failed"
    """The archive does not answer this question, or asking has ended its process each time: the reason says why."""


UNDONE = (AskState.WAITING, AskState.ASKING, AskState.FAILED)


@dataclass(frozen=True)
class Ask:
    """A patient whose earlier studies are to be asked for. Never for a log or an exception.

    Parameters
    ----------
    patient_id, issuer
        PatientID and IssuerOfPatientID as the film has them; ``issuer`` is empty where it names none.
    study_uid, study_date
        The study because of which it is asked; ``study_date`` is None where its film has none.
    attempts
        That have been made before.
    """

    ask_id: int
    patient_id: str
    issuer: str
    study_uid: str
    study_date: date | None
    attempts: int

    def days(self, years: int, today: date) -> tuple[date, date]:
        """First and last day of the studies that are earlier than its own, at most ``years`` back."""
        until = self.study_date or today
        # 29 February has no day a year earlier.
        since = until.replace(year=max(1, until.year - years), day=min(until.day, 28))
        return since, until - timedelta(days=1)

    def is_of(self, patient_id: str, issuer: str) -> bool:
        """Whether identifiers are this patient's: the ID is the same, and so is the issuer where both name one."""
        same_issuer = not self.issuer.strip() or not issuer.strip() or issuer.strip() == self.issuer.strip()
        return patient_id.strip() == self.patient_id.strip() and same_issuer


@dataclass(frozen=True)
class PatientStudy:
    """A study as an archive's answer has it.

    Parameters
    ----------
    day
        Study date; None: it says none.
    patient_id, issuer
        Of its patient; empty where the answer says none.
    modalities
        ModalitiesInStudy, upper case; empty where the answer says none.
    """

    study_uid: str
    day: date | None
    patient_id: str
    issuer: str = ""
    modalities: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chosen:
    """What is made of an answer: the studies to fetch, the newest first, and how many were another patient's."""

    study_uids: tuple[str, ...]
    strangers: int = 0


def choose(
    ask: Ask, found: Iterable[PatientStudy], query: Query, days: tuple[date, date], most: int
) -> Chosen:
    """Choose the priors of an answer; archives may answer more than they were asked for.

    Where the film names no issuer and the answer names several, nobody knows whose the studies with one are: they count
    as another patient's.
    """
    found = list(found)
    ours = [each for each in found if ask.is_of(each.patient_id, each.issuer)]
    issuers = {each.issuer.strip() for each in ours} - {""}
    if not ask.issuer.strip() and len(issuers) > 1:
        ours = [each for each in ours if not each.issuer.strip()]
    wanted = [
        (each.day, each.study_uid)
        for each in ours
        if each.study_uid != ask.study_uid
        and each.day is not None
        and days[0] <= each.day <= days[1]
        and (not each.modalities or any(query.takes(modality, "") for modality in each.modalities))
    ]
    newest = dict.fromkeys(uid for _, uid in sorted(wanted, reverse=True))
    return Chosen(tuple(newest)[:most], len(found) - len(ours))
