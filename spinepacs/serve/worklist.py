"""Workitems of a UPS-RS server: claimed, fetched and read as a campaign's, and told what became of them.

All that is to be said of a workitem is decided by the ledger, and written down before it is said, so a process may die
anywhere: the next one says it again under the same Transaction UID, and what was said already is no mistake.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from pydicom import Dataset
from pydicom.uid import generate_uid

from spinepacs.domain.campaign import Campaign, Kind, NewCampaign, Query
from spinepacs.domain.worklist import (
    WORKLIST,
    CodedTerm,
    Fate,
    Outcome,
    Output,
    Priority,
    Scheduled,
    Workitem,
    WorkitemState,
)
from spinepacs.errors import Transient
from spinepacs.exchange.performed import DONE_PERCENT, held_by, not_performed, performed, progress
from spinepacs.exchange.ups import Said, Worklist
from spinepacs.serve.standing import standing, upper
from spinepacs.serve.supply import Supply
from spinepacs.settings.destinations import DicomDestination, DicomwebDestination
from spinepacs.settings.settings import Settings
from spinepacs.store.ledger import Ledger

_HERE_PERCENT = 50
_log = logging.getLogger(__name__)


class Working:
    """See the module.

    Parameters
    ----------
    settings
        All of them.
    ledger
        Opened by this process.
    clock
        Monotonic seconds.
    """

    def __init__(
        self, settings: Settings, ledger: Ledger, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._workitems = ledger.workitems
        self._clock = clock
        self._server: Worklist | None = None
        self._poll_at_s = 0.0
        self._look_at_s = clock() + settings.worklist.poll_s
        self._looked_at = ""

    @property
    def is_on(self) -> bool:
        """See Standing."""
        return self._settings.worklist.enabled

    def new(self) -> NewCampaign:
        """See Standing."""
        wanted = self._settings.worklist
        url, credentials = wanted.archive
        return standing(
            self._settings,
            WORKLIST,
            (Kind.DICOM, wanted.ae) if wanted.ae else (Kind.DICOMWEB, url),
            Query(modalities=upper(self._settings.selection.modalities)),
            delivers=True,
            move_to=wanted.move_to or "",
            credentials=credentials,
        )

    def take_back(self) -> None:
        """Nothing: what is open is gone on with."""

    def next(self, campaign: Campaign, supply: Supply) -> bool:
        """See Standing."""
        if self._server is None:
            self._server = open_worklist(self._settings)
        try:
            now = datetime.now(UTC)
            is_done = (
                any(self._advance(campaign, self._server, each) for each in self._workitems.due(now))
                or self._look(self._server)
                or self._find(campaign, self._server)
            )
        except Transient:
            self._server.close()
            self._server = None
            raise
        return is_done

    def _find(self, campaign: Campaign, server: Worklist) -> bool:
        """Look for workitems that are ours, as many as there is room for; whether there was news of any kind."""
        room = self._settings.worklist.maximum - self._workitems.open()
        if room <= 0 or self._clock() < self._poll_at_s:
            return False
        self._poll_at_s = self._clock() + self._settings.worklist.poll_s
        found = 0
        for each in self._scheduled(server):
            if not self._workitems.known([each.uid]):
                self._workitems.claiming(each, str(generate_uid()))
                found += 1
            if found == room:
                self._poll_at_s = 0.0  # there may be more
                break
        return bool(found or campaign.trouble)  # that it answers again is news, too

    def _scheduled(self, server: Worklist) -> Iterator[Scheduled]:
        """Those of high priority first, whatever else waits; those that state none are found with the last."""
        wanted = self._settings.worklist
        station = CodedTerm.parse(wanted.scheduled_station) if wanted.scheduled_station else None
        codes: list[CodedTerm | None] = [*map(CodedTerm.parse, wanted.workitem_codes)] or [None]
        for priority in (Priority.HIGH, Priority.MEDIUM, None):
            for code in codes:
                yield from server.scheduled(code, station, wanted.label, priority)

    def _look(self, server: Worklist) -> bool:
        """Look from time to time whether somebody else has ended one that is ours, each in turn; whether one has."""
        if self._clock() < self._look_at_s:
            return False
        self._look_at_s = self._clock() + self._settings.worklist.poll_s
        due = self._workitems.due(datetime.now(UTC))
        ours = {each.uid: each for each in due if each.state is WorkitemState.CLAIMED}
        if not ours:
            return False
        self._looked_at = min([uid for uid in ours if uid > self._looked_at] or ours)
        return self._is_over(ours[self._looked_at], server.state(self._looked_at))

    def _advance(self, campaign: Campaign, server: Worklist, workitem: Workitem) -> bool:
        """Do what there is to do about a workitem; whether there was anything."""
        outcome = None
        if workitem.state is WorkitemState.CLAIMED:
            outcome = self._workitems.outcome(campaign, workitem)
            is_news = outcome.is_here and workitem.progress < _HERE_PERCENT
            if outcome.fate is Fate.WAITING and not is_news:
                return False
        if workitem.attempts >= self._settings.work.maximum_attempts:
            self._lose(workitem, "DIED", "the process that spoke of it ended each time")
            return True
        self._workitems.begin(workitem)
        try:
            if outcome is None:
                self._claim(campaign, server, workitem)
            elif outcome.fate is Fate.WAITING:
                said = server.update(
                    workitem.uid, workitem.transaction_uid, progress(_HERE_PERCENT, "all input is here")
                )
                if self._taken(server, workitem, said):
                    self._workitems.told(workitem, _HERE_PERCENT)
            else:
                self._finish(server, workitem, outcome)
        except Transient as error:
            self._workitems.put_back(workitem, str(error), datetime.now(UTC), counted=False)
            raise
        return True

    def _claim(self, campaign: Campaign, server: Worklist, workitem: Workitem) -> None:
        """Make it ours; where that fails it may be ours already: only an update by our Transaction UID shows that."""
        said = server.change(workitem.uid, workitem.transaction_uid, "IN PROGRESS")
        if said is Said.NOT_TAKEN:
            said = server.update(workitem.uid, workitem.transaction_uid, progress(0, "claimed"))
        if said is Said.DONE:
            self._workitems.claimed(campaign, workitem)
            return
        why = "somebody else has claimed it" if said is Said.NOT_TAKEN else "the worklist has it no more"
        self._workitems.end(workitem, WorkitemState.LOST, "NOT_OURS", why)

    def _finish(self, server: Worklist, workitem: Workitem, outcome: Outcome) -> None:
        """Say what was done, or why not, and end it."""
        state = WorkitemState.COMPLETED if outcome.fate is Fate.READ else WorkitemState.CANCELED
        if workitem.progress < DONE_PERCENT:
            said = server.update(workitem.uid, workitem.transaction_uid, self._about(workitem, outcome))
            if not self._taken(server, workitem, said):
                return
            self._workitems.told(workitem, DONE_PERCENT)
        asked_for = state.value.upper()
        said = server.change(workitem.uid, workitem.transaction_uid, asked_for)
        if self._taken(server, workitem, said, asked_for):
            self._workitems.end(workitem, state, outcome.reason_code, outcome.reason)
            _log.info("workitem %s is %s", workitem.uid, state.value)

    def _about(self, workitem: Workitem, outcome: Outcome) -> Dataset:
        if outcome.fate is Fate.NOT_READ:
            return not_performed(outcome.reason_code, outcome.reason)
        station = CodedTerm.parse(self._settings.worklist.station)
        began_at = workitem.claimed_at or datetime.now(UTC)
        outputs = [output for output in outcome.outputs if output.destination in self._places()]
        return performed(station, workitem.code, began_at, outputs, self._where)

    def _taken(self, server: Worklist, workitem: Workitem, said: Said, asked_for: str = "") -> bool:
        """Whether the server has taken what was said, now or before; else it is said again, and given up in the end."""
        if said is Said.DONE:
            return True
        there = None if said is Said.GONE else server.state(workitem.uid)
        if there is not None and there == asked_for:
            return True
        if self._is_over(workitem, there):
            return False
        work = self._settings.work
        if workitem.attempts + 1 >= work.maximum_attempts:
            self._lose(workitem, "NOT_TAKEN", "the worklist does not take what is said of it")
        else:
            due_at = datetime.now(UTC) + timedelta(seconds=work.retry_wait_s * 2.0**workitem.attempts)
            self._workitems.put_back(workitem, "the worklist did not take it", due_at, counted=True)
        return False

    def _is_over(self, workitem: Workitem, there: str | None) -> bool:
        """Whether it is ours no more, by its state at the server (None: it is gone); then it ends as what happened."""
        if there is None:
            self._lose(workitem, "GONE", "the worklist has it no more")
        elif there == "CANCELED":
            reason = "somebody has canceled it at the worklist"
            self._workitems.end(workitem, WorkitemState.CANCELED, "CANCELED_THERE", reason)
            _log.warning("workitem %s is canceled: %s", workitem.uid, reason)
        elif there == "COMPLETED":
            self._lose(workitem, "COMPLETED_THERE", "somebody else has completed it at the worklist")
        elif there == "SCHEDULED":
            self._lose(workitem, "NOT_OURS", "the worklist has it as claimed by nobody")
        else:
            return False
        return True

    def _lose(self, workitem: Workitem, code: str, reason: str) -> None:
        self._workitems.end(workitem, WorkitemState.LOST, code, reason)
        _log.warning("workitem %s is lost: %s", workitem.uid, reason)

    def _places(self) -> dict[str, DicomDestination | DicomwebDestination]:
        kinds = (DicomDestination, DicomwebDestination)
        return {each.name: each for each in self._settings.destinations if isinstance(each, kinds)}

    def _where(self, output: Output) -> Dataset:
        return held_by(self._places()[output.destination], output)


def open_worklist(settings: Settings) -> Worklist:
    """Open the one of the settings; raises BadSettings if its credentials cannot be used."""
    wanted = settings.worklist
    return Worklist(wanted.url or "", str(wanted.credentials or ""))
