"""What is spoken with whom: classes, transfer syntaxes, statuses, keys, limits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from itertools import groupby
from typing import Literal

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.uid import UID
from pynetdicom import AE, AllStoragePresentationContexts, build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made by a module __getattr__ table
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from spinepacs.audit import message
from spinepacs.delivery import commitment as reports
from spinepacs.delivery import sending, stow
from spinepacs.delivery.verdicts import Outcome
from spinepacs.delivery.web import _TURNED_AWAY, Answer
from spinepacs.dicom import commitment, identity
from spinepacs.dicom.reading.classes import RADIOGRAPH_CLASSES
from spinepacs.dicom.reading.pixels import DECODABLE_TRANSFER_SYNTAXES
from spinepacs.domain.campaign import Query
from spinepacs.errors import SpinepacsError
from spinepacs.exchange.archive import Asked
from spinepacs.exchange.retrieve import QueryRetrieve
from spinepacs.intake import contexts, gate, listener, part10
from spinepacs.intake.acceptor import application_entity
from spinepacs.settings.destinations import DicomDestination
from spinepacs.settings.sections import ListenerSettings, ReadingSettings
from spinepacs.tls import CIPHERS_1_2
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
    rows = [(f"0x{code:04X}", *words) for code, words in sorted(_REPORTED.items())]
    return table(("status", "when", "the SCP should"), rows)


def rejections() -> str:
    """Associations that are not accepted, and how."""
    names = {1: "permanent", 2: "transient"}
    sources = {1: "service user", 2: "service provider (ACSE)", 3: "service provider (presentation)"}
    reasons = {(2, 3, 1): "temporary congestion", (2, 3, 2): "local limit exceeded"}
    limits = {
        gate.Turned.ASSOCIATION_LIMIT: "`maximum_associations_per_peer` from this address are open",
        gate.Turned.RATE_LIMIT: "`associations_per_minute` from this address have been opened",
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


def _ranges(judge: Callable[[int], str], codes: Iterable[int]) -> Iterable[tuple[str, list[tuple[int, int]]]]:
    """Runs of codes by what they are judged as, in the order in which each judgement first comes."""
    found: dict[str, list[tuple[int, int]]] = {}
    for word, run in groupby(codes, judge):
        numbers = list(run)
        found.setdefault(word, []).append((numbers[0], numbers[-1]))
    return found.items()


_VERDICTS = {
    "success": "sent",
    "warning": "sent; the warning is kept in the message",
    Outcome.PERMANENT.value: "refused: three attempts, then `failed`",
    Outcome.TRANSIENT.value: (
        "tried again after `retry_first_s`, doubled up to `retry_longest_s`; `failed` after `maximum_attempts`"
    ),
}


def _verdict(status: int) -> str:
    outcome = sending.judge(status).outcome
    if outcome is not Outcome.SENT:
        return outcome.value
    return "success" if status == 0 else "warning"


def sender_statuses() -> str:
    """Every status of a C-STORE answer, judged as the sender judges it."""
    last = max(high for word, runs in _ranges(_verdict, range(1 << 16)) for _, high in runs)
    assert last == 0xFFFF
    rows = []
    for word, runs in _ranges(_verdict, range(1 << 16)):
        named = [f"0x{low:04X}" if low == high else f"0x{low:04X}–0x{high:04X}" for low, high in runs]
        rows.append(
            ("every other one" if word == Outcome.TRANSIENT.value else ", ".join(named), _VERDICTS[word])
        )
    return table(("status", "what follows"), sorted(rows, key=_rest_last))


def _rest_last(row: tuple[str, str]) -> bool:
    return row[0].startswith("every other")


def stow_statuses() -> str:
    """HTTP statuses of STOW-RS without a word on the instance, as the sender judges them."""

    def judged(status: int) -> str:
        if status in _TURNED_AWAY or 300 <= status < 400:
            return "nothing was looked at: waits, no attempt is used up"
        outcome = stow.judge_answer(Answer(status, "", b""), "1.2").outcome
        return {Outcome.PERMANENT: "refused: three attempts, then `failed`"}.get(
            outcome, "tried again, each attempt counts"
        )

    rows = []
    for word, runs in _ranges(judged, range(200, 600)):
        named = [str(low) if low == high else f"{low}–{high}" for low, high in runs]
        is_rest = word.startswith("tried")
        rows.append(("every other one, 2xx included" if is_rest else ", ".join(named), word))
    return table(("status", "what follows"), sorted(rows, key=_rest_last))


def sender_defaults() -> str:
    """Policies of the sender, with the settings of a destination that change them."""
    made = DicomDestination(name="x", ae_title="X", host="x", port=1)
    words = {
        "timeout_s": "for the connection, for each answer and each piece (s)",
        "retry_first_s": "before the second attempt (s)",
        "retry_longest_s": "between attempts, at most (s)",
        "maximum_attempts": "attempts on one object",
        "commitment": "storage commitment is asked for",
        "commitment_delay_s": "from the store to the request (s)",
        "commitment_wait_s": "for a report (s)",
        "tls": "TLS",
    }
    rows = [(what, f"`{name}`", str(getattr(made, name)).lower()) for name, what in words.items()]
    return table(("policy", "setting of `[[destinations]]`", "default"), rows)


class _Recorder(QueryRetrieve):
    """Notes the keys instead of asking, and answers with one row of everything."""

    def __init__(self) -> None:
        super().__init__("AE@127.0.0.1:1", "US", "US")
        self.asked: list[Dataset] = []

    def _find(self, keys: Dataset) -> list[Dataset]:
        self.asked.append(keys)
        row = Dataset()
        row.StudyInstanceUID, row.SeriesInstanceUID, row.SOPInstanceUID, row.Modality = (
            "1.2",
            "1.3",
            "1.4",
            "CR",
        )
        return [row]


def query_keys() -> str:
    """Keys of each C-FIND, as a campaign asks it."""
    recorder, query = _Recorder(), Query()
    list(recorder.studies(Asked(day=date(2026, 1, 31)), query))
    list(recorder.studies(Asked(accession="A1"), query))
    recorder.films("1.2", query)
    found: dict[str, dict[str, set[str]]] = {}
    for keys in recorder.asked:
        level = found.setdefault(keys.QueryRetrieveLevel, {})
        for element in keys:
            if element.keyword != "QueryRetrieveLevel":
                level.setdefault(element.keyword, set()).add("single value" if element.value else "universal")
    rows = [
        (level, f"({tag >> 16:04X},{tag & 0xFFFF:04X})", keyword, ", ".join(sorted(kinds)))
        for level, keys in found.items()
        for keyword, kinds in keys.items()
        if (tag := tag_for_keyword(keyword)) is not None
    ]
    return table(("level", "tag", "key", "matching asked for"), rows)


def query_syntaxes() -> str:
    """Transfer syntaxes that are proposed for C-FIND and C-MOVE."""
    ae = AE("X")
    ae.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
    (proposed,) = ae.requested_contexts
    return table(("transfer syntax", "UID"), [(uid.name, f"`{uid}`") for uid in proposed.transfer_syntax])


def commitment_reasons() -> str:
    """Failure Reasons that have words of ours."""
    return table(
        ("Failure Reason", "shown as"),
        [(f"0x{code:04X}", words) for code, words in sorted(commitment._REASONS.items())],
    )


def ciphers() -> str:
    """Cipher suites of TLS 1.2."""
    return table(
        ("TLS 1.2 cipher suite (OpenSSL's name)",), [(f"`{name}`",) for name in CIPHERS_1_2.split(":")]
    )


def audit_events() -> str:
    """Which DICOM audit messages are written, and of what."""
    by_event: dict[tuple[str, str], list[str]] = {}
    for action, (code, kind) in message._EVENTS.items():
        by_event.setdefault((f"{code.value} {code.meaning}", kind), []).append(action)
    rows = [(event, kind, ", ".join(actions)) for (event, kind), actions in sorted(by_event.items())]
    return table(("EventID", "EventActionCode", "of"), rows)


def character_sets() -> str:
    """Terms of Specific Character Set (0008,0005) that are known."""
    single = [f"ISO_IR {n}" for n in (100, 101, 109, 110, 144, 127, 126, 138, 148, 203, 13, 166, 192)]
    single += ["GB18030", "GBK"]
    extended = [f"\\ISO 2022 IR {term.split()[1]}" for term in single[:12]]
    extended += [f"\\ISO 2022 IR {n}" for n in (6, 87, 159, 149, 58)]

    def known(terms: list[str]) -> str:
        found = []
        for term in terms:
            try:
                ReadingSettings(default_character_set=term)
            except (ValueError, SpinepacsError):
                continue
            found.append(f"`{term.removeprefix(chr(92))}`")
        return ", ".join(found)

    rows = [("without code extensions", known(single)), ("with code extensions", known(extended))]
    return table(("", "terms"), rows)
