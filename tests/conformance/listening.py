"""What the listener takes, from whom, and what it answers."""

from __future__ import annotations

import re
from typing import Literal

from pydicom.uid import UID
from pynetdicom import AE, AllStoragePresentationContexts, build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made by a module __getattr__ table
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from spinepacs.delivery import commitment as reports
from spinepacs.dicom import identity
from spinepacs.dicom.reading.classes import RADIOGRAPH_CLASSES
from spinepacs.dicom.reading.pixels import DECODABLE_TRANSFER_SYNTAXES
from spinepacs.intake import contexts, gate, listener, part10
from spinepacs.intake.acceptor import application_entity
from spinepacs.intake.visitors import Turned
from spinepacs.settings.sections import ListenerSettings
from tests.conformance.markdown import table
from tests.conformance.objects import result_classes, uid_name

_PROPOSED = "1.2.840.10008.1.2.1"
_VENDOR = "1.2.840.113619.4.26"
"""A private storage class, of GE."""


def _taken(sop_class: str, taken: Literal["all", "radiographs"] = "all", reports_too: bool = True) -> bool:
    return bool(contexts.supported([build_context(sop_class, [_PROPOSED])], taken, reports_too))


def services() -> str:
    """Every SOP class that is negotiated, by name, with the roles that it is negotiated in."""
    films = [(UID(uid).name, uid, "", "yes") for uid in RADIOGRAPH_CLASSES]
    assert all(_taken(uid, "radiographs") for uid in RADIOGRAPH_CLASSES)
    results = [(uid_name(uid), uid, "yes", "") for uid in result_classes()]
    commits = _taken(StorageCommitmentPushModel) and not _taken(StorageCommitmentPushModel, reports_too=False)
    assert commits
    rows = [
        ("Verification", Verification, "yes", "yes" if _taken(Verification) else ""),
        *films,
        ("every other storage class, of the Standard and private", "", "", "yes" if _taken(_VENDOR) else ""),
        *results,
        ("Storage Commitment Push Model", StorageCommitmentPushModel, "yes", ""),
        *(
            (UID(model).name.removesuffix(")").replace(" - ", " – "), model, "yes", "")
            for model in (
                StudyRootQueryRetrieveInformationModelFind,
                StudyRootQueryRetrieveInformationModelMove,
            )
        ),
    ]
    return table(
        ("SOP class", "UID", "SCU", "SCP"), [(name, f"`{uid}`" if uid else "", *r) for name, uid, *r in rows]
    )


def refused_classes() -> str:
    """Of the storage classes that pynetdicom knows those that are not taken, and what else is not."""
    known = [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
    refused = [UID(uid).name for uid in known if not _taken(uid)]
    assert not refused
    strict = [uid for uid in known if _taken(uid, "radiographs")]
    return table(
        ("`listener.storage_classes`", "storage classes of the Standard that are taken", "private ones"),
        [
            ('`"all"`', "all", "yes" if _taken(_VENDOR) else "no"),
            (
                '`"radiographs"`',
                f"the {len(strict)} above",
                "yes" if _taken(_VENDOR, "radiographs") else "no",
            ),
        ],
    )


def film_syntaxes() -> str:
    """Transfer syntaxes of films, those that are chosen first on top."""
    offered = [build_context(RADIOGRAPH_CLASSES[0], list(DECODABLE_TRANSFER_SYNTAXES))]
    (supported,) = contexts.supported(offered, "all", False)
    return table(("transfer syntax", "UID"), [(uid.name, f"`{uid}`") for uid in supported.transfer_syntax])


_STORED = {
    listener.SUCCESS: ("Success", "it is on disk and in the database", "may delete its copy"),
    listener.OUT_OF_RESOURCES: (
        "Refused: out of resources",
        "disk full or below its reserve, database away, a defect of ours",
        "keep it, and send it again later",
    ),
    listener.CANNOT_UNDERSTAND: (
        "Error: cannot understand",
        "no dataset, or no usable SOP Instance UID in the request",
        "not send it again as it is: look at its log and ours",
    ),
    listener.TOO_LARGE: (
        "Error: cannot understand",
        "larger than `listener.maximum_object_mb`; Error Comment says so",
        "not send it again: it stays refused until that setting is raised",
    ),
}


def store_statuses() -> str:
    """What the listener answers to a C-STORE."""
    assert set(_STORED) == {v for name, v in vars(listener).items() if name.isupper() and type(v) is int}
    rows = [(f"0x{code:04X}", *words) for code, words in sorted(_STORED.items())]
    return table(("status", "meaning", "when", "the sender should"), rows)


_REPORTED = {
    reports._SUCCESS: ("it is in the database", "go on"),
    reports._PROCESSING_FAILURE: (
        "the transaction is none of ours, or a defect of ours",
        "not report it again",
    ),
    reports._INVALID_ARGUMENT: ("the report cannot be read", "not report it again as it is"),
    reports._RESOURCE_LIMITATION: ("the database is away", "report it again later"),
}


def report_statuses() -> str:
    """What is answered to an N-EVENT-REPORT."""
    statuses = {v for name, v in vars(reports).items() if re.fullmatch("_[A-Z_]+", name) and type(v) is int}
    assert set(_REPORTED) == statuses
    rows = [(f"0x{code:04X}", *words) for code, words in sorted(_REPORTED.items())]
    return table(("status", "when", "the SCP should"), rows)


def rejections() -> str:
    """Associations that are not accepted, and how."""
    names = {1: "permanent", 2: "transient"}
    sources = {1: "service user", 2: "service provider (ACSE)", 3: "service provider (presentation)"}
    reasons = {(2, 3, 1): "temporary congestion", (2, 3, 2): "local limit exceeded"}
    limits = {
        Turned.ASSOCIATION_LIMIT: "`maximum_associations_per_peer` from this address are open",
        Turned.RATE_LIMIT: "`associations_per_minute` from this address have been opened",
    }
    rows: list[tuple[str, ...]] = [
        (limits[reason], names[how[0]], sources[how[1]], f"{how[2]}: {reasons[how]}", "try again later")
        for reason, how in gate._REJECTIONS.items()
    ]
    settings = ListenerSettings(calling_ae_titles=("CT1",))
    ae = application_entity(settings)
    if ae.require_called_aet:
        rows.append(
            ("the called AE title is not `ae_title` (`check_called_ae`)", names[1], sources[1],
             "7: called AE title not recognised", "correct its settings")
        )  # fmt: skip
    if ae.require_calling_aet:
        rows.append(
            ("the calling AE title is not among `calling_ae_titles`, where any are set", names[1], sources[1],
             "3: calling AE title not recognised", "have itself added there")
        )  # fmt: skip
    return table(("when", "result", "source", "reason", "the sender should"), rows)


_LIMITS = {
    "ae_title": "AE title",
    "bind": "address",
    "port": "port",
    "maximum_associations": "associations at a time; more wait in line",
    "maximum_associations_per_peer": "of these from one address",
    "associations_per_minute": "new ones from one address in a minute",
    "maximum_pdu_bytes": "Maximum Length Received (bytes)",
    "maximum_object_mb": "an object (MB)",
    "acse_timeout_s": "until the association request is whole, TLS handshake included (s)",
    "network_timeout_s": "nothing has come over an association (s)",
    "transfer_timeout_s": "an object is not whole since its first byte (s)",
}


def listener_limits() -> str:
    """Policies of the listener, with the settings that change them."""
    defaults = ListenerSettings()
    rows = [(words, f"`listener.{name}`", getattr(defaults, name)) for name, words in _LIMITS.items()]
    return table(("policy", "setting", "default"), rows)


def identification() -> str:
    """Implementation Class UIDs: of associations, and of files that we write."""
    return table(
        ("where", "Implementation Class UID"),
        [
            ("associations, accepted and opened", f"`{AE('X').implementation_class_uid}` (pynetdicom's)"),
            ("files that hold results", f"`{identity.IMPLEMENTATION_CLASS_UID}`"),
            ("files of what was received", f"`{part10.IMPLEMENTATION_CLASS_UID}`"),
        ],
    )
