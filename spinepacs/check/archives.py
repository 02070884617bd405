"""Archives of campaigns that run, and of priors: whether they answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from spinepacs.check.result import CheckResult
from spinepacs.domain.campaign import Campaign, Kind
from spinepacs.domain.priors import PRIORS
from spinepacs.domain.worklist import WORKLIST
from spinepacs.errors import Permanent, SpinepacsError
from spinepacs.exchange.dicomweb import DicomWeb
from spinepacs.exchange.retrieve import QueryRetrieve
from spinepacs.exchange.ups import Worklist
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
        if campaign.name in (PRIORS, WORKLIST):
            continue  # what the settings say counts, see below
        try:
            yield CheckResult(f"campaign {campaign.name}", True, f"{_probed(campaign, settings)}")
        except SpinepacsError as error:
            yield CheckResult(f"campaign {campaign.name}", False, str(error))


def priors(settings: Settings) -> Iterator[CheckResult]:
    """Whether the archive answers that is asked for earlier studies, where one is."""
    wanted = settings.priors
    if not wanted.enabled:
        return
    try:
        if wanted.dicomweb:
            said = _probed_web(wanted.dicomweb, str(wanted.credentials or ""))
        else:
            said = _probed_dicom(wanted.place, wanted.move_to or "", settings)
        yield CheckResult("priors", True, said)
    except SpinepacsError as error:
        yield CheckResult("priors", False, str(error))


def worklist(settings: Settings) -> Iterator[CheckResult]:
    """Whether the worklist answers, and the archive that has its films, where there is one."""
    wanted = settings.worklist
    if not wanted.enabled:
        return
    try:
        server = Worklist(wanted.url or "", str(wanted.credentials or ""))
        try:
            said = server.probe()
        finally:
            server.close()
        url, credentials = wanted.archive
        archive = (
            _probed_web(url, credentials)
            if url
            else _probed_dicom(wanted.ae or "", wanted.move_to or "", settings)
        )
        yield CheckResult("worklist", True, f"{said}; its archive: {archive}")
    except SpinepacsError as error:
        yield CheckResult("worklist", False, str(error))


def _probed(campaign: Campaign, settings: Settings) -> str:
    check_model(campaign, settings)
    if campaign.kind is Kind.AGAIN:
        return "its films are here"
    if campaign.kind is Kind.FOLDER:
        if not Path(campaign.place).is_dir():
            raise Permanent(f"{campaign.place} is not there: mount its share")
        return f"{campaign.place} is there"
    if campaign.kind is Kind.DICOMWEB:
        return _probed_web(campaign.place, campaign.credentials)
    return _probed_dicom(campaign.place, campaign.move_to, settings)


def _probed_web(url: str, credentials: str) -> str:
    archive = DicomWeb(url, credentials)
    try:
        return archive.probe()
    finally:
        archive.close()


def _probed_dicom(place: str, move_to: str, settings: Settings) -> str:
    return QueryRetrieve(place, settings, move_to).probe()


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
