"""``check`` looks at the archives of campaigns that run, and at their models."""

from __future__ import annotations

from pathlib import Path

import pytest

from spinepacs.check.archives import campaigns
from spinepacs.domain.campaign import CampaignState, Kind, NewCampaign, Query
from spinepacs.domain.findings import Versions
from spinepacs.pipeline import Pipeline
from spinepacs.settings.sections import ModelSettings, StorageSettings
from spinepacs.settings.settings import Settings
from spinepacs.store.ledger import Ledger
from tests import models, peers
from tests.daemons import PHANTOM

pytestmark = peers.UNCLOSED_SOCKETS


@pytest.fixture
def settings(tmp_path: Path, ledger: Ledger) -> Settings:
    model = models.write_model(tmp_path / "model", PHANTOM)
    return Settings(storage=StorageSettings(database_url=ledger.url), model=ModelSettings(folder=model))


def start(ledger: Ledger, settings: Settings, name: str, kind: Kind, place: str, **changes: Versions) -> None:
    model = settings.model
    versions = changes.get("versions") or Pipeline.open(model, settings.output, 1).versions
    ledger.campaigns.start(
        NewCampaign(name, kind, place, Query(), str(model.folder), str(model.policy), versions)
    )


def test_each_is_asked_in_its_own_way(tmp_path: Path, ledger: Ledger, settings: Settings) -> None:
    port = peers.free_port()
    start(ledger, settings, "web", Kind.DICOMWEB, f"http://127.0.0.1:{port}")
    start(ledger, settings, "peer", Kind.DICOM, f"ORTHANC@127.0.0.1:{port}")
    start(ledger, settings, "folder", Kind.FOLDER, str(tmp_path))
    start(ledger, settings, "gone", Kind.FOLDER, str(tmp_path / "gone"))
    start(ledger, settings, "here", Kind.AGAIN, "")
    start(ledger, settings, "old", Kind.AGAIN, "", versions=Versions("made-up", "0", "p", "0"))
    start(ledger, settings, "over", Kind.DICOMWEB, "http://127.0.0.1:1")
    ledger.campaigns.change("over", CampaignState.CANCELLED)
    found = {result.name.removeprefix("campaign "): result for result in campaigns(settings)}
    assert {name: result.ok for name, result in found.items()} == {
        "web": False, "peer": False, "folder": True, "gone": False, "here": True, "old": False,
    }  # fmt: skip
    assert "does not answer" in found["web"].detail
    assert "cannot be reached" in found["peer"].detail
    assert "mount its share" in found["gone"].detail
    assert "of another version" in found["old"].detail
