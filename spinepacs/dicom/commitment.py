"""Storage commitment: the request and the report, between datasets and plain values (PS3.4 Annex J)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made by a module __getattr__ table
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from spinepacs.errors import BadInput

SOP_CLASS: UID = StorageCommitmentPushModel
SOP_UID: UID = StorageCommitmentPushModelInstance
"""The well-known one that every request and report is about (PS3.4 J.3.5)."""

REQUEST_ACTION = 1
"""Action Type ID of the request (PS3.4 Table J.3-1)."""

_REASONS = {
    0x0110: "processing failure",
    0x0112: "no such object",
    0x0119: "class and object do not belong together",
    0x0122: "commitment of this SOP class is not supported",
    0x0131: "duplicate transaction",
    0x0213: "resource limitation",
}
"""Failure Reason (PS3.3 C.14.1.1)."""


@dataclass(frozen=True)
class Report:
    """What a destination says of the objects that it was asked about.

    Parameters
    ----------
    transaction_uid
        Of the request that it answers.
    committed
        SOP Instance UIDs that it has promised to keep.
    refused
        Failure Reason by SOP Instance UID of those that it does not keep.
    """

    transaction_uid: str
    committed: frozenset[str]
    refused: Mapping[str, int]


def new_transaction_uid() -> str:
    """Make a Transaction UID that nobody can guess, so that knowing it tells an answer from an invention."""
    return f"2.25.{uuid.uuid4().int}"


def request(transaction_uid: str, objects: Iterable[tuple[str, str]]) -> Dataset:
    """Action Information of a request (PS3.4 Table J.3-1) for pairs of SOP Class UID and SOP Instance UID."""
    dataset = Dataset()
    dataset.TransactionUID = transaction_uid
    dataset.ReferencedSOPSequence = [_reference(*pair) for pair in objects]
    return dataset


def _reference(sop_class_uid: str, sop_uid: str) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = sop_class_uid
    reference.ReferencedSOPInstanceUID = sop_uid
    return reference


def read_report(dataset: Dataset) -> Report:
    """Read the Event Information of a report (PS3.4 Table J.3-2); what failed is believed before what succeeded.

    Raises
    ------
    BadInput
        If it names no transaction, or anything in it cannot be read.
    """
    try:
        transaction_uid = str(dataset.get("TransactionUID") or "")
        committed = [
            str(item.ReferencedSOPInstanceUID) for item in dataset.get("ReferencedSOPSequence") or ()
        ]
        failed = dataset.get("FailedSOPSequence") or ()
        refused = {
            str(item.ReferencedSOPInstanceUID): int(item.get("FailureReason") or 0x0110) for item in failed
        }
    except Exception as error:  # pydicom reads late and raises whatever its parsers do
        raise BadInput(
            "BAD_COMMITMENT_REPORT", f"a report that cannot be read: {type(error).__name__}"
        ) from None
    if not transaction_uid:
        raise BadInput("BAD_COMMITMENT_REPORT", "a report without TransactionUID")
    return Report(transaction_uid, frozenset(committed) - refused.keys(), refused)


def why(failure_reason: int) -> str:
    """Put a Failure Reason into words."""
    return f"{_REASONS.get(failure_reason, 'no reason that the Standard knows')} (0x{failure_reason:04X})"
