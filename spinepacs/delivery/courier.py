"""Outbox to PACS: each destination has a thread of its own, so that a bad one never delays another.

What a PACS answers becomes a :class:`~spinepacs.delivery.sending.Verdict`, a value; only success and warnings count as
sent. Retry lives here and nowhere else: how long to wait is computed from the settings of the destination and the
attempts in the ledger.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from pynetdicom import evt

from spinepacs.delivery import commitment, kinds
from spinepacs.delivery.pace import Pace
from spinepacs.delivery.sending import associate, commitment_contexts, why_not
from spinepacs.delivery.verdicts import Outcome, Unreachable, Verdict
from spinepacs.dicom.commitment import new_transaction_uid
from spinepacs.errors import Transient
from spinepacs.outages import Outage
from spinepacs.settings.destinations import Destination, DicomDestination
from spinepacs.store.exclusive import Turn, Turns, Unrivalled
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import OutboxItem, OutboxState
from spinepacs.store.spool import Spool

BATCH = 50
"""Objects sent in one association."""

PERMANENT_ATTEMPTS = 3
"""A refusal that should be final is tried so often: some PACS answer 'cannot understand' when their disk is full."""

LONGEST_PAUSE_S = 30.0
"""Longest pause of a destination's thread: an object that ``spinepacs retry`` makes due waits no longer."""

LONGEST_OUTAGE_PAUSE_S = 300.0
"""A destination that is down is looked for this often at least: when it is back, everything goes there soon."""

_log = logging.getLogger(__name__)


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
    turn
        One courier goes to a destination at a time, on whatever machine.
    """

    def __init__(
        self,
        destination: Destination,
        calling_ae: str,
        spool: Spool,
        ledger: Ledger,
        turn: Turn | None = None,
    ) -> None:
        self._turn = turn or Unrivalled()
        self._pace = Pace(destination)
        self._destination = destination
        self._pacs = destination if isinstance(destination, DicomDestination) else None
        self._calling_ae = (self._pacs and self._pacs.calling_ae_title) or calling_ae
        self._spool = spool
        self._ledger = ledger
        self._failures = self._refusals = 0
        self._waits = Outage(_log, "delivery")
        self._no_connection = Outage(_log, "delivery")
        self._no_commitment = Outage(_log, "commitment")

    def run(self, stop: threading.Event, poll_s: float) -> None:
        """Deliver until told to stop; a defect is logged and does not end it."""
        while not stop.is_set():
            try:
                is_ours = self._turn.take()
                is_well = not is_ours or self.deliver_due(stop)
                if is_ours and is_well and self._pace.is_open:
                    self.commit_due(stop)
                self._waits.over(**self._context())
                pause_s = poll_s if is_well else self._pause_s()
            except Transient as error:
                self._waits.lasts(error, **self._context())
                pause_s = max(poll_s, 1.0)
            except Exception:
                _log.exception("defect in delivery", extra=self._context())
                pause_s = max(poll_s, LONGEST_PAUSE_S)
            stop.wait(pause_s)
        self._turn.close()

    def deliver_due(self, stop: threading.Event) -> bool:
        """Send what is due; False if the destination could not be reached, or broke off."""
        while not stop.is_set() and self._turn.take() and (limit := self._pace.allowance(BATCH)):
            items = [item for item in self._due(limit) if not self._gave_up(item)]
            if not items:
                break
            if not self._try(items, stop):
                self._failures += 1
                return False
            self._failures = 0
        return True

    def _try(self, items: Sequence[OutboxItem], stop: threading.Event) -> bool:
        """Send one batch; False if the destination is not there."""
        try:
            return self._deliver(items, stop)
        except Unreachable as error:
            self._not_delivered(items, Verdict(Outcome.TRANSIENT, None, str(error)))
            return False

    def _due(self, limit: int) -> Sequence[OutboxItem]:
        return self._ledger.due(self._destination.name, limit=limit)

    def _gave_up(self, item: OutboxItem) -> bool:
        """Whether it can never go there, or its attempts are used up though none has ended: who sends it dies of it."""
        if why := kinds.why_not_for(self._destination, item):
            self._finish(item, Verdict(Outcome.PERMANENT, None, why), is_final=True)
            return True
        if item.attempts < self._destination.maximum_attempts:
            return False
        self._finish(item, Verdict(Outcome.PERMANENT, None, f"given up after {item.attempts} attempts"))
        return True

    def _deliver(self, items: Sequence[OutboxItem], stop: threading.Event) -> bool:
        """Send one batch over one connection; False if there was none, or it was lost."""
        with kinds.opened(self._destination, self._calling_ae, items) as link:
            if isinstance(link, Verdict):
                self._not_delivered(items, link)
                return False
            for item in items:
                if stop.is_set() or not self._turn.take():
                    break
                path = self._spool.path_of(item.sha256)  # fetched first: a storage that is away is no attempt
                self._ledger.begin_delivery([item.outbox_id], self._in(self._wait_s(item.attempts + 1)))
                self._pace.sent()
                verdict = link.send(item, path)
                if verdict.outcome is Outcome.TURNED_AWAY:
                    self._turned_away(item, verdict)
                    return False
                self._no_connection.over(**self._context())
                self._finish(item, verdict)
                if verdict.is_lost:
                    return False
                if link.is_over:
                    break
        return True

    def _turned_away(self, item: OutboxItem, verdict: Verdict) -> None:
        """It waits as if nobody were there; those behind it go first then, should it be to blame after all."""
        pause_s = min(self._wait_s(self._failures + 1), LONGEST_OUTAGE_PAUSE_S)
        self._ledger.postpone_delivery([item.outbox_id], self._in(pause_s), verdict.message, gives_back=True)
        self._no_connection.lasts(verdict.message, **self._context())

    def _not_delivered(self, items: Sequence[OutboxItem], verdict: Verdict) -> None:
        """There was no connection: a refusal is for each object; else they wait, and none has used up an attempt."""
        if verdict.outcome is Outcome.PERMANENT:
            self._ledger.begin_delivery([item.outbox_id for item in items])
            for item in items:
                self._finish(item, verdict)
            return
        pause_s = min(self._wait_s(self._failures + 1), LONGEST_OUTAGE_PAUSE_S)
        self._ledger.postpone_delivery([item.outbox_id for item in items], self._in(pause_s), verdict.message)
        self._no_connection.lasts(f"{len(items)} objects, {verdict.message}", **self._context())

    def _finish(self, item: OutboxItem, verdict: Verdict, is_final: bool = False) -> None:
        attempts = item.attempts + 1
        limit = 0 if is_final else self._destination.maximum_attempts
        if verdict.outcome is Outcome.PERMANENT:
            limit = min(limit, PERMANENT_ATTEMPTS)
        state = OutboxState.SENT
        next_attempt_at = commit_at = None
        if verdict.outcome is not Outcome.SENT:
            state = OutboxState.FAILED if attempts >= limit else OutboxState.PENDING
            next_attempt_at = self._in(self._wait_s(attempts))
        elif self._pacs and self._pacs.commitment:
            commit_at = self._in(self._pacs.commitment_delay_s)
        self._ledger.finish_delivery(
            item.outbox_id, state, verdict.status, verdict.message, next_attempt_at, commit_at
        )
        self._tell(item, state, verdict.message or "sent")

    def commit_due(self, stop: threading.Event) -> None:
        """Ask for the commitment of one batch of what was sent.

        One batch at a time: what is to be sent first comes first.
        """
        items = self._ledger.commitments.due(self._destination.name, limit=BATCH)
        if self._pacs is None or not self._pacs.commitment:
            if items:  # switched off since it was sent
                self._ledger.commitments.waive(self._destination.name)
            return
        to_ask = [item for item in items if not self._was_lost(item)]
        if not to_ask or stop.is_set():
            return
        try:
            why = self._ask(self._pacs, to_ask, stop)
        except Unreachable as error:
            why = f"commitment: {error}"
        self._refusals = self._refusals + 1 if why else 0
        if why:
            # Nobody has lost anything: it is asked again for as long as it takes, and nothing is sent again.
            ids = [item.outbox_id for item in to_ask]
            self._ledger.commitments.postpone(ids, self._in(self._wait_s(self._refusals)), why)
            self._no_commitment.lasts(why, **self._context())
        else:
            self._no_commitment.over(**self._context())

    def _was_lost(self, item: OutboxItem) -> bool:
        """Send again, or give up, what the destination has accepted and not kept."""
        decision = commitment.decide(item)
        if decision.state is None:
            return False
        next_attempt_at = self._in(self._wait_s(item.losses + 1))
        self._ledger.commitments.send_again(item, decision.state, decision.message, next_attempt_at)
        self._tell(item, decision.state, decision.message)
        return True

    def _ask(self, pacs: DicomDestination, items: Sequence[OutboxItem], stop: threading.Event) -> str:
        """Ask about one batch in one transaction; why it could not be asked, empty if it was."""
        commitments, ids = self._ledger.commitments, [item.outbox_id for item in items]
        handlers = [(evt.EVT_N_EVENT_REPORT, commitment.take_report, [self._ledger])]
        with associate(pacs, self._calling_ae, commitment_contexts(), handlers) as association:
            if not association.is_established:
                return f"commitment: {why_not(association, pacs, ()).message}"
            transaction_uid = new_transaction_uid()
            again_at = self._in(pacs.commitment_wait_s)
            commitments.begin(transaction_uid, pacs.name, ids, again_at)
            status = commitment.ask(association, transaction_uid, items)
            commitments.asked(transaction_uid, ids, status)
            if status == 0x0000:
                commitment.linger(association, self._ledger, transaction_uid, stop)
                return ""
        told = "no answer" if status is None else f"status 0x{status:04X}"
        return f"commitment: the request got {told}; does it know our AE title, host and port?"

    def _tell(self, item: OutboxItem, state: OutboxState, message: str) -> None:
        about = {"study_uid": item.study_uid, "sop_uid": item.sop_uid, "state": state.value}
        level = logging.INFO if state is OutboxState.SENT else logging.WARNING
        _log.log(level, "delivery of %s: %s", item.kind, message, extra={**self._context(), **about})

    def _wait_s(self, attempts: int) -> float:
        return self._destination.wait_s(attempts)

    def _in(self, seconds: float) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=seconds)

    def _pause_s(self) -> float:
        return min(self._wait_s(self._failures), LONGEST_PAUSE_S)

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
    turns: Turns = lambda _: Unrivalled(),
) -> None:
    """Run one courier for each destination until ``stop`` is set; each then finishes its current object."""
    threads = []
    for destination in destinations:
        turn = turns(f"delivery to {destination.name}")
        courier = Courier(destination, calling_ae, spool, ledger, turn)
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
