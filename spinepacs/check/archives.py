"""Archives of campaigns that run: whether they answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from spinepacs.check.result import CheckResult
from spinepacs.domain.campaign import Campaign, Kind
from spinepacs.errors import Permanent, SpinepacsError
from spinepacs.exchange.dicomweb import DicomWeb
from spinepacs.exchange.retrieve import QueryRetrieve
from spinepacs.pipeline import Pipeline
from spinepacs.settings.settings import Settings
from spinepacs.store.ledger import Ledger


def campaigns(settings: Settings) -> Iterator[CheckResult]:
    """Whether each running campaign's archive answers, and its model can be used."""
    try:
        with Ledger.open_to_read(settings.storage.database_url) as ledger:
            running = ledger.campaigns.running()
    except SpinepacsError:
        return  # said elsewhere: no database, or no tables yet
    for campaign in running:
        try:
            yield CheckResult(f"campaign {campaign.name}", True, f"{_probed(campaign, settings)}")
        except SpinepacsError as error:
            yield CheckResult(f"campaign {campaign.name}", False, str(error))


def _probed(campaign: Campaign, settings: Settings) -> str:
    check_model(campaign, settings)
    if campaign.kind is Kind.AGAIN:
        return "its films are here"
    if campaign.kind is Kind.FOLDER:
        if not Path(campaign.place).is_dir():
            raise Permanent(f"{campaign.place} is not there: mount its share")
        return f"{campaign.place} is there"
    if campaign.kind is Kind.DICOMWEB:
        archive = DicomWeb(campaign.place, campaign.credentials)
        try:
            return archive.probe()
        finally:
            archive.close()
    return QueryRetrieve(campaign.place, settings, campaign.move_to).probe()


def check_model(campaign: Campaign, settings: Settings) -> None:
    """Load a campaign's model and policy.

    Raises
    ------
    BadModel, BadSettings, Permanent
        If they cannot be used, or are of another version than the campaign was started with.
    """
    found = open_model(Path(campaign.model_folder), Path(campaign.policy_file), settings).versions
    if found != campaign.versions:
        raise Permanent(
            f"{campaign.model_folder} and {campaign.policy_file} are of another version than when it was started: "
            "put the old ones back, or cancel it and start another"
        )


def open_model(folder: Path, policy: Path, settings: Settings) -> Pipeline:
    """Load a model and a policy for a look; raises BadModel or BadSettings."""
    model = settings.model.model_copy(update={"folder": folder, "policy": policy})
    return Pipeline.open(model, settings.output, 1)
