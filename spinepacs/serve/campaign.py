"""The process that works on campaigns: lists, asks, fetches, and sees what became of it.

Reading is the workers' part, and they take a campaign's studies when nothing else is due. So here only few studies are
fetched ahead (:data:`AHEAD`): the spool and the archive are not loaded for what nobody reads yet, and whoever pauses a
campaign waits for no more than these.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from spinepacs.delivery.pace import open_for_s
from spinepacs.domain.campaign import Campaign, Item, ItemState, Kind
from spinepacs.domain.priors import PRIORS
from spinepacs.domain.worklist import WORKLIST
from spinepacs.errors import BadInput, BadModel, BadSettings, DatabaseAway, Transient
from spinepacs.exchange.archive import NotGiven
from spinepacs.outages import Outage
from spinepacs.serve.pacing import may_ask
from spinepacs.serve.priors import Asking
from spinepacs.serve.standing import Standing
from spinepacs.serve.supplies import supply_of
from spinepacs.serve.supply import Supply
from spinepacs.serve.worklist import Working
from spinepacs.settings.settings import Settings
from spinepacs.store.exclusive import Turn, Turns
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool

AHEAD = 16
"""So many studies (files of a folder: four times as many) are asked for and not done, at most."""

_FILES_AHEAD = 4 * AHEAD
_LISTED_AHEAD = 5000
"""The list need not be longer than this while nothing is done of it: an archive changes meanwhile."""

_CALM = 5
"""So many times as long as ``work.poll_s`` it is before a campaign is looked for, while none runs."""

_LONGEST_PAUSE_S = 300.0
_NOT_ASKED_FOR = "it has no film of the date, modality and body part that are asked for"
_log = logging.getLogger(__name__)


@dataclass
class _Hand:
    """What this process holds of a campaign: its turn among machines, and a way to its archive."""

    turn: Turn
    outage: Outage
    supply: Supply | None = None
    is_taken_up: bool = False
    pause_s: float = 0.0
    quiet_until_s: float = field(default=0.0)

    def drop(self) -> None:
        """Close the way to the archive; a new one is made."""
        if self.supply is not None:
            self.supply.close()
        self.supply = None


class Runner:
    """See the module.

    Parameters
    ----------
    settings
        All of them.
    spool, ledger
        Opened by this process.
    turns
        One machine works on a campaign at a time.
    wall
        The time of day here.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        settings: Settings,
        spool: Spool,
        ledger: Ledger,
        turns: Turns,
        wall: Callable[[], datetime] = datetime.now,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._spool = spool
        self._ledger = ledger
        self._campaigns = ledger.campaigns
        self._turns = turns
        self._wall = wall
        self._clock = clock
        self._hands: dict[int, _Hand] = {}
        self._standing: dict[str, Standing] = {
            PRIORS: Asking(settings, ledger),
            WORKLIST: Working(settings, ledger, clock),
        }
        self._stands = False
        self._outage = Outage(_log, "the work on campaigns")

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop; a defect is logged and does not end it."""
        while not stop.is_set():
            is_busy: list[bool] = []
            try:
                self.stand()
                running = self._campaigns.running()
                self._let_go({campaign.campaign_id for campaign in running})
                is_busy = [self._step_safely(campaign) for campaign in running]
                self._outage.over()
            except (Transient, BadModel, BadSettings) as error:  # of model or policy: the workers say so, too
                self._outage.lasts(error)
            if not any(is_busy):
                stop.wait(self._settings.work.poll_s * (1 if is_busy else _CALM))
        self._let_go(set())

    def stand(self) -> None:
        """Make the campaigns that follow the settings what these, and the daemon's model of now, say; once.

        Raises
        ------
        BadModel, BadSettings
            If model or policy cannot be used.
        """
        if not self._stands:
            for each in self._standing.values():
                if each.is_on:
                    self._campaigns.stand(each.new())
            self._stands = True

    def _step_safely(self, campaign: Campaign) -> bool:
        """Do a step; a defect of ours holds up this campaign, for a while, and no other."""
        try:
            return self.step(campaign)
        except Transient:
            raise
        except Exception as error:
            _log.exception("defect in the work on the campaign %s", campaign.name)
            self._campaigns.say(campaign, f"a defect ({type(error).__name__}): see the log")
            self._hand(campaign).quiet_until_s = self._clock() + _LONGEST_PAUSE_S
            return False

    def step(self, campaign: Campaign) -> bool:
        """Do a little for one campaign: a page of its list, one study; whether anything was done.

        Raises
        ------
        Transient
            If spool or ledger do not answer.
        """
        hand = self._hand(campaign)
        is_quiet = self._clock() < hand.quiet_until_s
        if not is_quiet and not hand.turn.take():
            hand.is_taken_up = False
            return False
        if not is_quiet and not hand.is_taken_up:  # whoever had it before may have died over it
            self._campaigns.take_back(campaign, self._settings.work.maximum_attempts)
            if campaign.name in self._standing:
                self._standing[campaign.name].take_back()
        done = bool(self._campaigns.conclude(campaign))
        if not is_quiet:
            hand.is_taken_up = False  # unless this ends well: what it was about may be left as it is
            done |= self._work(campaign, hand)
            hand.is_taken_up = hand.quiet_until_s <= self._clock()
        if campaign.listed_at is not None and self._campaigns.finish(campaign):
            _log.info("the campaign %s is done", campaign.name)
        return done

    def _work(self, campaign: Campaign, hand: _Hand) -> bool:
        """List and fetch; an archive that is away is left alone for a while, by this machine."""
        if not open_for_s(campaign.hours, self._wall()):
            return False
        if campaign.name in self._standing and not self._standing[campaign.name].is_on:
            return False  # what has come is read; the rest waits until it is switched on again
        try:
            if hand.supply is None:
                hand.supply = supply_of(campaign, self._settings, self._spool, self._ledger)
            done = self._list(campaign, hand.supply) or self._fetch_next(campaign, hand.supply)
        except DatabaseAway:
            raise
        except (Transient, BadSettings, NotGiven) as error:  # the archive is away, or the disk is full
            hand.outage.lasts(error)
            self._campaigns.say(campaign, str(error))
            hand.drop()
            hand.turn.release()  # another machine may reach the archive, or have the folder mounted
            first_s = self._settings.work.retry_wait_s
            hand.pause_s = min(max(first_s, hand.pause_s * 2), _LONGEST_PAUSE_S)
            hand.quiet_until_s = self._clock() + hand.pause_s
            return False
        if done:
            hand.outage.over()
            hand.pause_s = 0.0
            self._campaigns.say(campaign, "")
        return done

    def _list(self, campaign: Campaign, supply: Supply) -> bool:
        """Write down the next page, or what makes a list grow that never ends; whether there was one."""
        if campaign.name in self._standing:
            return self._standing[campaign.name].next(campaign, supply)
        if campaign.listed_at is not None or self._campaigns.listed(campaign) > _LISTED_AHEAD:
            return False
        page = supply.page(campaign)
        self._campaigns.add(
            campaign, page.found, page.position, is_last=page.is_last, not_found=page.not_found
        )
        return True

    def _fetch_next(self, campaign: Campaign, supply: Supply) -> bool:
        """Fetch the next item, if it may be asked for now; whether one was."""
        now = datetime.now(UTC)
        last_at = self._campaigns.last_asked_at(campaign) if campaign.per_hour else None
        if not may_ask(campaign, last_at, now, self._wall()):
            return False
        most = AHEAD if campaign.kind is not Kind.FOLDER else _FILES_AHEAD
        if self._campaigns.on_its_way(campaign) >= most:
            return False
        item = self._campaigns.next_item(campaign, now)
        if item is None:
            return False
        self._campaigns.begin(item)
        try:
            self._fetch(campaign, supply, item)
        except Transient as error:  # the archive, the spool or the ledger: not its fault
            self._campaigns.put_back(item, "AWAY", str(error), None, counted=False)
            raise
        return True

    def _fetch(self, campaign: Campaign, supply: Supply, item: Item) -> None:
        try:
            films = supply.films(campaign, item)
            if not films:
                self._campaigns.close(item, ItemState.REFUSED, "NOT_ASKED_FOR", _NOT_ASKED_FOR)
                return
            supply.fetch(campaign, item, self._campaigns.want(campaign, item, films))
        except BadInput as error:  # a file that is none
            self._campaigns.close(item, ItemState.REFUSED, error.reason_code, str(error))
            return
        except NotGiven as error:
            if item.attempts + 1 < self._settings.work.maximum_attempts:
                wait_s = self._settings.work.retry_wait_s * 2.0**item.attempts
                due_at = datetime.now(UTC) + timedelta(seconds=wait_s)
                self._campaigns.put_back(item, "NOT_SENT", str(error), due_at)
                return
            if not self._campaigns.has_films(item):
                self._campaigns.close(item, ItemState.FAILED, "NOT_SENT", str(error))
                return
        self._campaigns.arrived(item)  # what is there is read; what did not come has failed

    def _hand(self, campaign: Campaign) -> _Hand:
        if campaign.campaign_id not in self._hands:
            name = f"the campaign {campaign.name}"
            self._hands[campaign.campaign_id] = _Hand(self._turns(name), Outage(_log, name))
        return self._hands[campaign.campaign_id]

    def _let_go(self, running: set[int]) -> None:
        """Forget campaigns that do not run."""
        for campaign_id in set(self._hands) - running:
            hand = self._hands.pop(campaign_id)
            hand.drop()
            hand.turn.close()
