"""Priors: the campaign that never ends, and the step in which it asks an archive for one patient's earlier studies.

All that follows, fetching, reading, what becomes of each film, is what :mod:`spinepacs.serve.campaign` does for every
campaign. Nothing goes round in circles: only a film of the day's work has its patient asked for, and what was fetched
is none.
"""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime, timedelta
from urllib.parse import urlsplit

from spinepacs.domain.campaign import Campaign, Kind, NewCampaign, Query
from spinepacs.domain.priors import PRIORS, Ask, choose
from spinepacs.errors import Transient
from spinepacs.exchange.archive import ArchiveAway, NotGiven
from spinepacs.serve.standing import standing, upper
from spinepacs.serve.supplies import ArchiveSupply
from spinepacs.serve.supply import Supply
from spinepacs.settings.settings import Settings
from spinepacs.store.ledger import Ledger

FETCHED_FIRST = 100
"""While so many studies wait to be fetched nobody else is asked for: the first patient's are read before."""

_log = logging.getLogger(__name__)


class Asking:
    """See the module."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self._settings = settings
        self._priors = ledger.priors
        self._campaigns = ledger.campaigns

    @property
    def is_on(self) -> bool:
        """See Standing."""
        return self._settings.priors.enabled

    def new(self) -> NewCampaign:
        """See Standing."""
        wanted = self._settings.priors
        modalities = wanted.modalities or self._settings.selection.modalities
        return standing(
            self._settings,
            PRIORS,
            (Kind.DICOMWEB if wanted.dicomweb else Kind.DICOM, wanted.place),
            Query(modalities=upper(modalities), body_parts=upper(wanted.body_parts)),
            delivers=wanted.deliver,
            move_to=wanted.move_to or "",
            credentials=str(wanted.credentials or ""),
            per_hour=wanted.per_hour or None,
            hours=wanted.hours,
        )

    def take_back(self) -> None:
        """See Standing."""
        self._priors.take_back(self._settings.work.maximum_attempts)

    def next(self, campaign: Campaign, supply: Supply) -> bool:
        """See Standing: ask for the patient whose turn it is; nothing is held against it if the archive is away."""
        if self._campaigns.listed(campaign) >= FETCHED_FIRST:
            return False
        ask = self._priors.next(datetime.now(UTC))
        if ask is None:
            return False
        self._priors.begin(ask)
        try:
            self._ask(campaign, supply, ask)
        except Transient as error:
            self._priors.put_back(ask, "AWAY", str(error), None, counted=False)
            raise
        return True

    def _ask(self, campaign: Campaign, supply: Supply, ask: Ask) -> None:
        if not isinstance(supply, ArchiveSupply):
            raise ArchiveAway("priors come from an archive: set priors.dicomweb or priors.ae")
        settings, work = self._settings.priors, self._settings.work
        days = ask.days(settings.years, date.today())
        try:
            found = supply.of_patient(ask, days)
        except NotGiven as error:
            if ask.attempts + 1 >= work.maximum_attempts:
                self._priors.give_up(ask, "NOT_ANSWERED", str(error))
                return
            due_at = datetime.now(UTC) + timedelta(seconds=work.retry_wait_s * 2.0**ask.attempts)
            self._priors.put_back(ask, "NOT_ANSWERED", str(error), due_at)
            return
        chosen = choose(ask, found, campaign.query, days, settings.maximum_studies)
        self._priors.answer(campaign, ask, chosen, _name_of(campaign))
        if chosen.strangers:
            _log.warning(
                "the archive answered with %d studies of another patient than it was asked for; none was fetched",
                chosen.strangers,
            )


def _name_of(campaign: Campaign) -> str:
    """AE title or host of the archive, for the audit trail."""
    if campaign.kind is Kind.DICOM:
        return campaign.place.partition("@")[0]
    return urlsplit(campaign.place).hostname or ""
