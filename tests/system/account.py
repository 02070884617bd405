"""What was taken in against what came out: the promise of docs/reliability.md, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import select

from spinepacs.store.ledger import Ledger
from spinepacs.store.tables import arrivals, objects, readings
from tests.peers import Orthanc

_MODALITIES = {"SEG": "SEG", "SR": "SR", "OVERLAY": "OT"}


@dataclass
class Account:
    """SOP UIDs of films by what is wrong with them; all empty when the promise is kept."""

    lost: set[str] = field(default_factory=set)
    """Taken in, but a reading, or one of its three objects in the PACS, is missing."""
    doubled: set[str] = field(default_factory=set)
    """More than one arrival, reading or object of a kind."""
    strange: set[str] = field(default_factory=set)
    """SOP UIDs of objects in the PACS that belong to no film that was taken in."""

    @property
    def is_settled(self) -> bool:
        """Whether every film has exactly what it was promised."""
        return not (self.lost or self.doubled or self.strange)


def settle_account(taken: Mapping[str, str], ledger: Ledger, orthanc: Orthanc) -> Account:
    """Compare films (SOP UID to Study UID) with the ledger and with what the PACS holds.

    By film: one arrival, one reading, one object of each kind in the ledger, and these very objects in the PACS. By
    study, of the PACS alone: as many objects of each modality as films were taken in.
    """
    account = Account()
    arrived = Counter(row["sop_uid"] for row in ledger.rows(select(arrivals.c.sop_uid)))
    read = Counter(row["sop_uid"] for row in ledger.rows(select(readings.c.sop_uid)))
    made = _objects(ledger)
    held = orthanc.sop_uids()
    for sop_uid in taken:
        kinds = Counter(kind for kind, _ in made.get(sop_uid, ()))
        counts = [arrived[sop_uid], read[sop_uid], *(kinds[kind] for kind in _MODALITIES)]
        if 0 in counts or not {uid for _, uid in made[sop_uid]} <= held:
            account.lost.add(sop_uid)
        if max(counts) > 1:
            account.doubled.add(sop_uid)
    account.strange = held - {uid for sop_uid in taken for _, uid in made.get(sop_uid, ())}
    _by_study(taken, orthanc, account)
    return account


def _objects(ledger: Ledger) -> dict[str, list[tuple[str, str]]]:
    """By film: kind and SOP UID of each object."""
    made: dict[str, list[tuple[str, str]]] = {}
    question = select(readings.c.sop_uid.label("film"), objects.c.kind, objects.c.sop_uid).join(
        objects, objects.c.reading_id == readings.c.reading_id
    )
    for row in ledger.rows(question):
        made.setdefault(row["film"], []).append((row["kind"], row["sop_uid"]))
    return made


def _by_study(taken: Mapping[str, str], orthanc: Orthanc, account: Account) -> None:
    studies = {
        study["ID"]: study["MainDicomTags"]["StudyInstanceUID"] for study in orthanc.get("/studies?expand")
    }
    held: Counter[tuple[str, str]] = Counter()
    for series in orthanc.get("/series?expand"):
        held[studies[series["ParentStudy"]], series["MainDicomTags"]["Modality"]] += len(series["Instances"])
    films = Counter(taken.values())
    for sop_uid, study_uid in taken.items():
        counts = [held[study_uid, modality] for modality in _MODALITIES.values()]
        if min(counts) < films[study_uid]:
            account.lost.add(sop_uid)
        if max(counts) > films[study_uid]:
            account.doubled.add(sop_uid)
