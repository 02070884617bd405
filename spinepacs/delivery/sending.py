"""One object to one destination: the association, the C-STORE, and what its answer means."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, cast

from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context

from spinepacs.delivery.line import LONGEST_ANSWER_BYTES, Answers, Line, end
from spinepacs.delivery.spooled import checked, unsendable
from spinepacs.delivery.verdicts import Link, Outcome, Unreachable, Verdict
from spinepacs.dicom.commitment import SOP_CLASS
from spinepacs.dicom.identity import keep_texts
from spinepacs.dicom.reading.parse import quiet
from spinepacs.errors import BadInput, BadSettings
from spinepacs.reaching import why_unreachable
from spinepacs.settings.destinations import DicomDestination
from spinepacs.store.records import OutboxItem
from spinepacs.tls import association_tls

NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
"""What every acceptor must take, one of them at least."""

_MAXIMUM_CONTEXTS = 128
_MESSAGE_IDS = (1 << 16) - 1
_log = logging.getLogger(__name__)
# Files go out as they lie in the spool, in pieces, neither parsed nor encoded anew.
_config.STORE_SEND_CHUNKED_DATASET = True
# Why there is no connection is said by us, see `spinepacs.reaching`; what pynetdicom says of it is withheld.
logging.getLogger("pynetdicom.transport").setLevel(logging.CRITICAL)


def judge(status: int | None) -> Verdict:
    """Turn a C-STORE status (PS3.4 B.2.3, PS3.7 Annex C) into what to do next.

    Anything that is neither success nor warning is not sent; what is not known to be final may pass.
    """
    if status is None:
        return Verdict(Outcome.TRANSIENT, None, "no answer: association lost or timed out")
    text = f"status 0x{status:04X}"
    if status == 0x0000:
        return Verdict(Outcome.SENT, status, "")
    if 0xB000 <= status <= 0xBFFF or status in (0x0001, 0x0107, 0x0116):
        return Verdict(Outcome.SENT, status, f"accepted with a warning, {text}")
    if 0xA900 <= status <= 0xA9FF or 0xC000 <= status <= 0xCFFF or status in _FINAL:
        return Verdict(Outcome.PERMANENT, status, f"refused, {text}")
    return Verdict(Outcome.TRANSIENT, status, f"not accepted now, {text}")


_FINAL = frozenset(
    {0x0105, 0x0106, 0x0115, 0x0117, 0x0118, 0x0119, 0x0120, 0x0121, 0x0122, 0x0124, 0x0211, 0x0212}
)
"""Invalid attributes or UIDs, class not supported, not authorised, unrecognised or mistyped operation."""


def contexts_for(items: Sequence[OutboxItem]) -> list[PresentationContext]:
    """Propose for each SOP class the syntax that the file has, and apart from it the native ones.

    They are contexts of their own since an acceptor chooses one syntax of each, and may prefer the worse.
    """
    wanted: dict[tuple[str, str], PresentationContext] = {}
    for item in items:
        for syntax in (item.transfer_syntax_uid, *NATIVE):
            wanted.setdefault((item.sop_class_uid, syntax), build_context(item.sop_class_uid, [syntax]))
    return list(wanted.values())[:_MAXIMUM_CONTEXTS]


def commitment_contexts() -> list[PresentationContext]:
    """Propose storage commitment, in which we are the SCU as the one who proposes is by default."""
    return [build_context(SOP_CLASS, list(NATIVE))]


@contextmanager
def associate(
    destination: DicomDestination,
    calling_ae: str,
    contexts: list[PresentationContext],
    handlers: Sequence[Any] = (),
) -> Iterator[Association]:
    """Open an association, established or not, and release it at the end.

    ``handlers`` are pynetdicom's, for what the destination may send over it.

    Raises
    ------
    Unreachable
        If its host is not found, or it is to be encrypted and our certificates cannot be read: both can be mended
        while things wait.
    """
    ae = AE(calling_ae)
    ae.maximum_pdu_size = LONGEST_ANSWER_BYTES
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = destination.timeout_s
    # Nothing here waits without a limit of its own, and who lingers for a report may be idle.
    ae.network_timeout = None
    all_handlers = [(evt.EVT_CONN_OPEN, _take_over, [destination.timeout_s]), *handlers]
    try:
        association = ae.associate(
            destination.host,
            destination.port,
            contexts,
            ae_title=destination.ae_title,
            evt_handlers=all_handlers,
            tls_args=_tls(destination),
        )
    except (OSError, UnicodeError) as error:  # of the resolver: not even an address to connect to
        raise Unreachable(f"host {destination.host!r} of {destination.name} is not found") from error
    try:
        yield association
    finally:
        if association.is_established:
            end(association, destination.timeout_s)


@dataclass(frozen=True)
class _Association:
    """An association as the courier sees it."""

    association: Association

    def send(self, item: OutboxItem, path: Path) -> Verdict:
        """See :func:`send`."""
        return send(self.association, item, path)

    @property
    def is_over(self) -> bool:
        """Whether it was aborted, by us, since an object cannot be sent."""
        return bool(self.association.is_aborted)


@contextmanager
def opened(
    destination: DicomDestination, calling_ae: str, items: Sequence[OutboxItem]
) -> Iterator[Link | Verdict]:
    """Open an association for one batch; see :func:`spinepacs.delivery.kinds.opened`."""
    with associate(destination, calling_ae, contexts_for(items)) as association:
        if association.is_established:
            yield _Association(association)
        else:
            yield why_not(association, destination, items)


def _tls(destination: DicomDestination) -> tuple[ssl.SSLContext, str] | None:
    try:
        return association_tls(destination)
    except BadSettings as error:
        raise Unreachable(f"no TLS to {destination.name}: {error}") from error


def _take_over(event: evt.Event, timeout_s: float) -> None:
    """Set the limits that pynetdicom does not: its sockets wait for ever for a peer that stops reading."""
    connection = cast(Line, event.assoc.dul.socket)
    connection.__class__ = Line
    connection.limit(timeout_s)
    event.assoc.dimse.__class__ = Answers


def send(association: Association, item: OutboxItem, path: Path) -> Verdict:
    """Offer one file to an established association, as it is where the destination takes its syntax."""
    accepted = {
        str(context.transfer_syntax[0])
        for context in association.accepted_contexts
        if context.abstract_syntax == item.sop_class_uid
    }
    if not accepted:
        return Verdict(
            Outcome.PERMANENT, None, f"the destination does not take {item.kind} ({item.sop_class_uid})"
        )
    try:
        offered = _prepared(path, item, accepted)
    except (FileNotFoundError, BadInput) as error:
        return unsendable(error)
    except Exception as error:
        return _cannot_be_sent(item, error)
    return _offer(association, item, offered, path.stat().st_size)


def _offer(association: Association, item: OutboxItem, offered: Path | Dataset, size_bytes: int) -> Verdict:
    cast(Answers, association.dimse).size_bytes = size_bytes
    try:
        answer = association.send_c_store(offered, msg_id=1 + item.outbox_id % _MESSAGE_IDS)
    except (OSError, RuntimeError) as error:
        return Verdict(Outcome.TRANSIENT, None, f"not sent: {type(error).__name__}")
    except Exception as error:
        association.abort()  # what was half sent is of no use
        return _cannot_be_sent(item, error)
    status = answer.get("Status")
    # ErrorComment is left out: some PACS name the patient in it.
    return judge(None if status is None else int(status))


def _cannot_be_sent(item: OutboxItem, error: Exception) -> Verdict:
    """A defect of ours or of the object's: it must not stop those behind it."""
    _log.error("%s cannot be sent", item.kind, extra={"sop_uid": item.sop_uid}, exc_info=error)
    return Verdict(Outcome.PERMANENT, None, f"it cannot be sent: {type(error).__name__}")


def _prepared(path: Path, item: OutboxItem, accepted: set[str]) -> Path | Dataset:
    """Give the file as it is, or in a native syntax; raises whatever reading and decoding may raise."""
    checked(path, item)
    if item.transfer_syntax_uid in accepted:
        return path
    return _native(path, ExplicitVRLittleEndian in accepted)


@quiet()  # pydicom's warnings quote values
def _native(path: Path, explicit: bool) -> Dataset:
    """Read a file and bring it into a native syntax, pixels decompressed: what every destination must take."""
    dataset = dcmread(path)
    keep_texts(dataset)
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        dataset.decompress(generate_instance_uid=False)
    syntax = ExplicitVRLittleEndian if explicit else ImplicitVRLittleEndian
    buffer = BytesIO()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(buffer, implicit_vr=not explicit, little_endian=True)
    buffer.seek(0)
    return dcmread(buffer)


def why_not(association: Association, destination: DicomDestination, items: Sequence[OutboxItem]) -> Verdict:
    """Say why there is no association: whether it may pass, or nothing that we offered is taken."""
    peer = f"{destination.ae_title} at {destination.host} port {destination.port}"
    if association.is_rejected:
        answer = association.acceptor.primitive
        reason = answer.reason_str if answer is not None else "no reason given"
        return Verdict(Outcome.TRANSIENT, None, f"{peer} rejected the association: {reason}")
    if association.rejected_contexts:
        kinds = ", ".join(sorted({item.kind for item in items})) or "storage commitment"
        return Verdict(Outcome.PERMANENT, None, f"{peer} does not take {kinds}")
    why = why_unreachable(destination, destination.timeout_s)
    return Verdict(Outcome.TRANSIENT, None, f"no association with {peer}: {why}")
