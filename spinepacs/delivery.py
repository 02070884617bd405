"""Outbox to PACS: each destination has a thread of its own, so that a bad one never delays another.

What a PACS answers becomes a :class:`Verdict`, a value; only success and warnings count as sent. Retry lives here and
nowhere else: how long to wait is computed from the settings of the destination and the attempts in the ledger.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from io import BytesIO
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context

from spinepacs.errors import Transient
from spinepacs.settings import Destination
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import OutboxItem, OutboxState
from spinepacs.store.spool import Spool

BATCH = 50
"""Objects sent in one association."""

PERMANENT_ATTEMPTS = 3
"""A refusal that should be final is tried so often: some PACS answer 'cannot understand' when their disk is full."""

LONGEST_PAUSE_S = 30.0
"""Longest pause of a destination's thread: an object that ``spinepacs retry`` makes due waits no longer."""
_NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
_MAXIMUM_CONTEXTS = 128
_log = logging.getLogger(__name__)
# Files go out as they lie in the spool, in pieces, neither parsed nor encoded anew.
_config.STORE_SEND_CHUNKED_DATASET = True


class Outcome(StrEnum):
    """What to do next with an object that was offered to a PACS."""

    SENT = "sent"
    TRANSIENT = "transient"
    PERMANENT = "permanent"


@dataclass(frozen=True)
class Verdict:
    """How one attempt ended: what to do next, the DICOM status (None: no answer), and a sentence for a person."""

    outcome: Outcome
    status: int | None
    message: str

    @property
    def is_lost(self) -> bool:
        """There was no answer: the association is of no more use, whether it knows that yet or not."""
        return self.outcome is Outcome.TRANSIENT and self.status is None


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


def wait_s(destination: Destination, attempts: int) -> float:
    """Seconds until the next attempt after ``attempts`` failed ones: doubled each time, up to the longest."""
    return float(min(destination.retry_first_s * 2.0 ** min(attempts - 1, 60), destination.retry_longest_s))


class Courier:
    """Brings the results of one destination's outbox rows there, and writes each attempt down.

    Parameters
    ----------
    destination
        Where to.
    calling_ae
        Our AE title, where the destination does not set one.
    spool, ledger
        Opened by this process.
    """

    def __init__(self, destination: Destination, calling_ae: str, spool: Spool, ledger: Ledger) -> None:
        self._destination = destination
        self._calling_ae = destination.calling_ae_title or calling_ae
        self._spool = spool
        self._ledger = ledger
        self._failures = 0

    def run(self, stop: threading.Event, poll_s: float) -> None:
        """Deliver until told to stop; a defect is logged and does not end it."""
        while not stop.is_set():
            try:
                pause_s = poll_s if self.deliver_due(stop) else self._pause_s()
            except Transient as error:
                _log.warning("delivery waits: %s", error, extra=self._context())
                pause_s = max(poll_s, 1.0)
            except Exception:
                _log.exception("defect in delivery", extra=self._context())
                pause_s = max(poll_s, LONGEST_PAUSE_S)
            stop.wait(pause_s)

    def deliver_due(self, stop: threading.Event) -> bool:
        """Send what is due; False if the destination could not be reached, or broke off."""
        while not stop.is_set():
            items = self._ledger.due(self._destination.name, limit=BATCH)
            if not items:
                break
            if not self._deliver(items, stop):
                self._failures += 1
                return False
            self._failures = 0
        return True

    def _deliver(self, items: Sequence[OutboxItem], stop: threading.Event) -> bool:
        """Send one batch in one association; False if there was none, or it was lost."""
        with associate(self._destination, self._calling_ae, contexts_for(items)) as association:
            if not association.is_established:
                self._ledger.begin_delivery([item.outbox_id for item in items])
                verdict = _why_not(association, self._destination, items)
                for item in items:
                    self._finish(item, verdict)
                return False
            for item in items:
                if stop.is_set():
                    break
                self._ledger.begin_delivery([item.outbox_id])
                verdict = send(association, item, self._spool.path_of(item.sha256))
                self._finish(item, verdict)
                if verdict.is_lost:
                    return False
        return True

    def _finish(self, item: OutboxItem, verdict: Verdict) -> None:
        attempts = item.attempts + 1
        limit = self._destination.maximum_attempts
        if verdict.outcome is Outcome.PERMANENT:
            limit = min(limit, PERMANENT_ATTEMPTS)
        state, next_attempt_at = OutboxState.SENT, None
        if verdict.outcome is not Outcome.SENT:
            state = OutboxState.FAILED if attempts >= limit else OutboxState.PENDING
            next_attempt_at = datetime.now(UTC) + timedelta(seconds=wait_s(self._destination, attempts))
        self._ledger.finish_delivery(item.outbox_id, state, verdict.status, verdict.message, next_attempt_at)
        context = {
            **self._context(),
            "study_uid": item.study_uid,
            "sop_uid": item.sop_uid,
            "state": state.value,
        }
        level = logging.INFO if state is OutboxState.SENT else logging.WARNING
        _log.log(level, "delivery of %s: %s", item.kind, verdict.message or "sent", extra=context)

    def _pause_s(self) -> float:
        return min(wait_s(self._destination, self._failures), LONGEST_PAUSE_S)

    def _context(self) -> dict[str, str]:
        return {"destination": self._destination.name}


def deliver(
    destinations: Sequence[Destination],
    calling_ae: str,
    spool: Spool,
    ledger: Ledger,
    *,
    stop: threading.Event,
    poll_s: float,
) -> None:
    """Run one courier for each destination until ``stop`` is set; each then finishes its current object."""
    threads = []
    for destination in destinations:
        courier = Courier(destination, calling_ae, spool, ledger)
        threads.append(
            threading.Thread(
                target=courier.run, args=(stop, poll_s), name=f"deliver-{destination.name}", daemon=True
            )
        )
    for thread in threads:
        thread.start()
    stop.wait()
    for thread in threads:
        thread.join()


def contexts_for(items: Sequence[OutboxItem]) -> list[PresentationContext]:
    """Propose for each SOP class the syntax that the file has, and apart from it the native ones.

    They are contexts of their own since an acceptor chooses one syntax of each, and may prefer the worse.
    """
    wanted: dict[tuple[str, str], PresentationContext] = {}
    for item in items:
        for syntax in (item.transfer_syntax_uid, *_NATIVE):
            wanted.setdefault((item.sop_class_uid, syntax), build_context(item.sop_class_uid, [syntax]))
    return list(wanted.values())[:_MAXIMUM_CONTEXTS]


@contextmanager
def associate(
    destination: Destination, calling_ae: str, contexts: list[PresentationContext]
) -> Iterator[Association]:
    """Open an association, established or not, and release it at the end."""
    ae = AE(calling_ae)
    ae.maximum_pdu_size = 0
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = destination.timeout_s
    handlers = [(evt.EVT_CONN_OPEN, _limit_socket, [destination.timeout_s])]
    association = ae.associate(
        destination.host,
        destination.port,
        contexts,
        ae_title=destination.ae_title,
        evt_handlers=handlers,  # type: ignore[arg-type]  # takes any mixture; its alias wants one kind
    )
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def _limit_socket(event: evt.Event, timeout_s: float) -> None:
    """Set a limit for each write: pynetdicom's sockets wait for ever for a peer that stops reading."""
    connection = event.assoc.dul.socket
    if connection is not None and connection.socket is not None:
        connection.socket.settimeout(timeout_s)


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
        offered: Path | Dataset = path
        if item.transfer_syntax_uid not in accepted:
            offered = _native(path, ExplicitVRLittleEndian in accepted)
        answer = association.send_c_store(offered)
    except FileNotFoundError:
        return Verdict(Outcome.PERMANENT, None, "its file is missing in the spool")
    except (OSError, RuntimeError) as error:
        return Verdict(Outcome.TRANSIENT, None, f"not sent: {type(error).__name__}")
    status = answer.get("Status")
    # ErrorComment is left out: some PACS name the patient in it.
    return judge(None if status is None else int(status))


def _native(path: Path, explicit: bool) -> Dataset:
    """Read a file and bring it into a native syntax, pixels decompressed: what every destination must take."""
    dataset = dcmread(path)
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        dataset.decompress(generate_instance_uid=False)
    syntax = ExplicitVRLittleEndian if explicit else ImplicitVRLittleEndian
    buffer = BytesIO()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(buffer, implicit_vr=not explicit, little_endian=True)
    buffer.seek(0)
    return dcmread(buffer)


def _why_not(association: Association, destination: Destination, items: Sequence[OutboxItem]) -> Verdict:
    peer = f"{destination.ae_title} at {destination.host} port {destination.port}"
    if association.is_rejected:
        answer = association.acceptor.primitive
        reason = answer.reason_str if answer is not None else "no reason given"
        return Verdict(Outcome.TRANSIENT, None, f"{peer} rejected the association: {reason}")
    if association.rejected_contexts:
        kinds = ", ".join(sorted({item.kind for item in items}))
        return Verdict(Outcome.PERMANENT, None, f"{peer} does not take {kinds}")
    why = f"no association with {peer}: not reachable, or it did not answer in time"
    return Verdict(Outcome.TRANSIENT, None, why)
