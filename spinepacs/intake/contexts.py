"""Which SOP classes are taken in, and with which transfer syntaxes (PS3.8 9.3.2.2, PS3.4 Annex B).

A study that holds more than films must come whole: Orthanc fails a transfer, and `storescu` ends it, at the first
object whose class is refused. So what is no film is taken too, in any syntax, since nothing of it is decoded; of films
only what can be decoded is, so that a sender that is able to transcodes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Literal

from pydicom.uid import UID
from pynetdicom import AllStoragePresentationContexts, build_context
from pynetdicom.pdu_primitives import SOPClassCommonExtendedNegotiation
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made by a module __getattr__ table
    StorageCommitmentPushModel,
    Verification,
)

from spinepacs.dicom.reading.classes import RADIOGRAPH_CLASSES, is_private
from spinepacs.dicom.reading.pixels import DECODABLE_TRANSFER_SYNTAXES
from spinepacs.intake.negotiation import REMEMBERED, Same, is_remembered

_STORAGE_SERVICE = "1.2.840.10008.4.2"
_STANDARD_STORAGE_ROOT = "1.2.840.10008.5.1.4.1.1."
"""Of every composite storage class of the Standard but a few, those of later editions too."""
_KNOWN = frozenset(str(context.abstract_syntax) for context in AllStoragePresentationContexts)

Taken = Literal["all", "radiographs"]


def is_storage(sop_class_uid: str) -> bool:
    """Whether objects of this class may be stored: of the Standard's storage classes and all private ones."""
    standard = sop_class_uid in _KNOWN or sop_class_uid.startswith(_STANDARD_STORAGE_ROOT)
    return standard or is_private(sop_class_uid)


def supported(
    requested: Sequence[PresentationContext], taken: Taken, takes_reports: bool
) -> list[PresentationContext]:
    """What we support of what an association asks for; in storage commitment the one who calls is the SCP."""
    if is_remembered(requested):
        return list(_remembered(Same(requested), taken, takes_reports))
    return _supported(requested, taken, takes_reports)


@lru_cache(maxsize=REMEMBERED)
def _remembered(requested: Same, taken: Taken, takes_reports: bool) -> list[PresentationContext]:
    return _supported(requested.each, taken, takes_reports)


def _supported(
    requested: Iterable[PresentationContext], taken: Taken, takes_reports: bool
) -> list[PresentationContext]:
    syntaxes: dict[UID, list[UID]] = defaultdict(list)
    for context in requested:
        if context.abstract_syntax:
            syntaxes[context.abstract_syntax] += context.transfer_syntax
    found = []
    for sop_class, offered in syntaxes.items():
        if sop_class == Verification:
            found.append(build_context(Verification))
        elif sop_class in RADIOGRAPH_CLASSES:
            found.append(_context(sop_class, DECODABLE_TRANSFER_SYNTAXES))
        elif taken == "all" and is_storage(sop_class):
            found.append(_context(sop_class, _simplest_first(offered)))
        elif takes_reports and sop_class == StorageCommitmentPushModel:
            reports = build_context(StorageCommitmentPushModel)
            reports.scu_role, reports.scp_role = False, True
            found.append(reports)
    return found


@lru_cache(maxsize=1024)
def _context(sop_class: UID, syntaxes: tuple[str | UID, ...]) -> PresentationContext:
    """Made once for all associations, since pynetdicom checks every UID anew; negotiation only reads it."""
    return build_context(sop_class, list(syntaxes))


def _simplest_first(offered: Sequence[UID]) -> tuple[str | UID, ...]:
    """What any sender can write, before what only this one offers."""
    known = [syntax for syntax in DECODABLE_TRANSFER_SYNTAXES if syntax in offered]
    return tuple(dict.fromkeys([*known, *offered]))


def services(requested: Sequence[PresentationContext]) -> dict[UID, SOPClassCommonExtendedNegotiation]:
    """Tell pynetdicom that classes which it does not know are for storage; nothing of it is sent to the peer."""
    return dict(_services_remembered(Same(requested)) if is_remembered(requested) else _services(requested))


@lru_cache(maxsize=REMEMBERED)
def _services_remembered(requested: Same) -> dict[UID, SOPClassCommonExtendedNegotiation]:
    return _services(requested.each)


def _services(requested: Iterable[PresentationContext]) -> dict[UID, SOPClassCommonExtendedNegotiation]:
    found = {}
    for context in requested:
        sop_class = context.abstract_syntax
        if sop_class and sop_class not in _KNOWN and is_storage(sop_class):
            item = SOPClassCommonExtendedNegotiation()
            item.sop_class_uid, item.service_class_uid = sop_class, UID(_STORAGE_SERVICE)
            found[sop_class] = item
    return found


def refused(contexts: Iterable[PresentationContext]) -> str:
    """Name the classes of refused contexts, and why: for the log."""
    why = {3: "class not taken", 4: "no transfer syntax that can be decoded"}
    named = (
        f"{context.abstract_syntax.name} ({why.get(context.result or 0, 'role')})"
        for context in contexts
        if context.abstract_syntax
    )
    return "; ".join(dict.fromkeys(named))
