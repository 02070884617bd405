"""Storage commitment (PS3.4 Annex J): asks a destination whether it keeps what it has accepted, and takes its report.

The report (N-EVENT-REPORT) may come on the association of the request, or on a new one that the destination opens to
our listener, in which it proposes to be the SCP (PS3.7 D.3.3.4). Either way :func:`take_report` writes it into the
ledger; what follows from it is the courier's to decide, by :func:`decide`.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from pynetdicom import evt
from pynetdicom.association import Association

from spinepacs.dicom import commitment
from spinepacs.errors import BadInput, Transient
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import OutboxItem, OutboxState

REQUESTS = 3
"""So many requests without a report, and the objects count as lost."""

LOSSES = 3
"""An object that was accepted and not kept so often is given up: sending it once more would change nothing."""

LINGER_S = 5.0
"""The association of a request is kept open so long for destinations that report on it, at most."""

_LOOK_S = 0.1
_SUCCESS, _PROCESSING_FAILURE, _INVALID_ARGUMENT, _RESOURCE_LIMITATION = 0x0000, 0x0110, 0x0115, 0x0213
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Decision:
    """What to do next with an object whose commitment is due; ``state`` None: ask for it."""

    state: OutboxState | None
    message: str = ""


def decide(item: OutboxItem) -> Decision:
    """Ask, or take it for lost and send it again, or give it up."""
    if item.commitment_failure is not None:
        message = f"accepted, and then not committed: {commitment.why(item.commitment_failure)}"
    elif item.commitment_requests >= REQUESTS:
        message = f"accepted, and then {item.commitment_requests} requests for commitment got no answer"
    else:
        return Decision(None)
    state = OutboxState.FAILED if item.losses + 1 >= LOSSES else OutboxState.PENDING
    return Decision(state, message)


def ask(association: Association, transaction_uid: str, items: Sequence[OutboxItem]) -> int | None:
    """Send the request; the status of its answer (PS3.7 10.1.4), None if there was none."""
    objects = [(item.sop_class_uid, item.sop_uid) for item in items]
    try:
        answer, _ = association.send_n_action(
            commitment.request(transaction_uid, objects),
            commitment.REQUEST_ACTION,
            commitment.SOP_CLASS,
            commitment.SOP_UID,
        )
    except (OSError, RuntimeError):
        return None
    status = answer.get("Status")
    return None if status is None else int(status)


def linger(association: Association, ledger: Ledger, transaction_uid: str, stop: threading.Event) -> None:
    """Keep the association open until the report is there, by whatever way, or it has taken too long."""
    until = time.monotonic() + LINGER_S
    while association.is_established and time.monotonic() < until:
        if ledger.commitments.is_answered(transaction_uid) or stop.wait(_LOOK_S):
            return


def take_report(event: evt.Event, ledger: Ledger) -> tuple[int, None]:
    """Handle an N-EVENT-REPORT; 0x0000 is answered when it is in the ledger. Nothing is raised into the association."""
    association = event.assoc
    peer = association.requestor.ae_title if association.is_acceptor else ""
    context = {"calling_ae": re.sub(r"[^\x20-\x7e]", "?", peer).strip()[:16]}
    try:
        report = commitment.read_report(event.event_information)
        if not ledger.commitments.answer(
            report.transaction_uid, report.committed, report.refused, context["calling_ae"]
        ):
            _log.warning("commitment reported for a transaction that is not ours", extra=context)
            return _PROCESSING_FAILURE, None
    except BadInput as error:
        _log.warning("commitment: %s", error, extra=context)
        return _INVALID_ARGUMENT, None
    except Transient as error:
        _log.warning("commitment not taken now: %s", error, extra=context)
        return _RESOURCE_LIMITATION, None
    except Exception:
        _log.exception("defect in taking a commitment report", extra=context)
        return _PROCESSING_FAILURE, None
    kept, lost = len(report.committed), len(report.refused)
    _log.log(
        logging.WARNING if lost else logging.INFO, "commitment of %d, not of %d", kept, lost, extra=context
    )
    return _SUCCESS, None
