"""Whether a destination answers, for a person who asks."""

from __future__ import annotations

from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # defined at run time by pynetdicom

from spinepacs.delivery import kinds
from spinepacs.delivery.sending import associate
from spinepacs.errors import SpinepacsError
from spinepacs.reaching import why_unreachable
from spinepacs.settings.destinations import Destination, DicomDestination

PATIENCE_S = 10.0
"""No destination gets longer than this (s): a person waits for the answer."""

_WELL = {"dicomweb": "it answers a search", "fhir": "it says what it can do", "hl7": "it takes connections"}


def echo(destination: Destination, calling_ae: str) -> tuple[bool, str]:
    """Ask a destination in the way of its kind, storing nothing; whether it answers well, and what it says."""
    patient = destination.model_copy(update={"timeout_s": min(destination.timeout_s, PATIENCE_S)})
    if isinstance(patient, DicomDestination):
        return _echo(patient, calling_ae)
    why = kinds.probe(patient)
    return not why, why or _WELL[patient.kind]


def _echo(destination: DicomDestination, calling_ae: str) -> tuple[bool, str]:
    """Send a C-ECHO (PS3.4 Annex A)."""
    try:
        with associate(destination, calling_ae, [build_context(Verification)]) as association:
            if association.is_rejected:
                return False, "it rejected the association: check both AE titles"
            if not association.is_established:
                return False, why_unreachable(destination, destination.timeout_s)
            answer = association.send_c_echo()
    except SpinepacsError as error:
        return False, str(error)
    status = getattr(answer, "Status", None)
    if status == 0x0000:
        return True, "C-ECHO answered with success"
    return False, "no answer to the C-ECHO" if status is None else f"C-ECHO answered with 0x{status:04X}"
