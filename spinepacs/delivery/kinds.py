"""Which module speaks with which kind of destination: the one place that knows them all."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from spinepacs.delivery import fhir, mllp, sending, stow
from spinepacs.delivery.verdicts import Link, Verdict
from spinepacs.settings.destinations import (
    Destination,
    DicomDestination,
    DicomwebDestination,
    FhirDestination,
    Hl7Destination,
)
from spinepacs.store.records import OutboxItem

_DOCUMENTS = {"FHIR": "fhir", "HL7": "hl7"}


def why_not_for(destination: Destination, item: OutboxItem) -> str:
    """Why a destination of this kind can never take an object of that one (redirected, say); empty: it may."""
    fits = destination.kind == _DOCUMENTS.get(item.kind, destination.kind)
    is_plain = item.kind in _DOCUMENTS or destination.kind in ("dicom", "dicomweb")
    return "" if fits and is_plain else f"a destination of kind {destination.kind} takes no {item.kind}"


def opened(
    destination: Destination, calling_ae: str, items: Sequence[OutboxItem]
) -> AbstractContextManager[Link | Verdict]:
    """Open a way to a destination for one batch; a verdict where there is none, which is for all of the batch.

    Raises
    ------
    Unreachable
        On entering, if the destination has no part in it: its host is not known, our certificate cannot be read.
    """
    match destination:
        case DicomDestination():
            return sending.opened(destination, calling_ae, items)
        case DicomwebDestination():
            return stow.opened(destination)
        case FhirDestination():
            return fhir.opened(destination)
        case Hl7Destination():
            return mllp.opened(destination)
    raise TypeError(f"no kind of destination: {type(destination).__name__}")


def probe(destination: Destination) -> str:
    """Ask a destination that is no PACS whether it answers; why it cannot be spoken with, empty: it can."""
    match destination:
        case DicomwebDestination():
            return stow.probe(destination)
        case FhirDestination():
            return fhir.probe(destination)
        case Hl7Destination():
            return mllp.probe(destination)
    raise TypeError(f"no kind of destination to be asked so: {type(destination).__name__}")
