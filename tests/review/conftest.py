"""A film that a worker has read, in a spool and a ledger of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import Dataset

from spinepacs.domain.corrections import Draft, Operation
from spinepacs.serve.jobs import Done, RegistrationJob, StudyJob
from spinepacs.serve.worker import Worker
from spinepacs.settings.sections import ModelSettings, StorageSettings, WorkSettings
from spinepacs.settings.settings import Settings
from spinepacs.store.corrections import Asked, CurrentReading
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from tests import films, models
from tests.daemons import PHANTOM, film
from tests.store import makers


@dataclass(frozen=True)
class House:
    """What is needed to read films and to correct them."""

    settings: Settings
    ledger: Ledger
    spool: Spool
    worker: Worker
    folder: Path

    def read(self, dataset: Dataset) -> str:
        """Have a film read; its SOP UID."""
        content = films.write(dataset, self.folder / "film.dcm").read_bytes()
        stored = self.spool.add((content,))
        new = makers.arrival(str(dataset.SOPInstanceUID))
        self.ledger.add_arrival(
            type(new)(**{**vars(new), "sha256": stored.sha256, "size_bytes": stored.size_bytes})
        )
        assert self.worker.do(RegistrationJob(tuple(self.ledger.unregistered(100)))) == Done()
        self.ledger.mark_ready(str(dataset.StudyInstanceUID))
        self.work()
        return str(dataset.SOPInstanceUID)

    def work(self) -> None:
        """Let the worker do the next study."""
        claim = self.ledger.claim(self.worker.pipeline.versions, 3)
        assert claim is not None
        assert self.worker.do(StudyJob(claim)) == Done()

    def current(self, sop_uid: str) -> CurrentReading:
        found = self.ledger.corrections.current(sop_uid)
        assert isinstance(found, CurrentReading)
        return found

    def correct(self, sop_uid: str, *operations: Operation) -> None:
        """Ask for a correction, and have it worked out."""
        reading_id = self.current(sop_uid).reading_id
        asked = self.ledger.corrections.ask(sop_uid, reading_id, Draft(operations, "Doe^Jane"))
        assert isinstance(asked, Asked)
        self.work()


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.write_model(tmp_path_factory.mktemp("model"), PHANTOM)


@pytest.fixture
def house(tmp_path: Path, model: Path, ledger: Ledger, spool: Spool) -> House:
    settings = Settings(
        storage=StorageSettings(
            spool=tmp_path / "spool", database_url=f"sqlite:///{tmp_path / 'ledger.sqlite'}"
        ),
        model=ModelSettings(folder=model),
        work=WorkSettings(threads_per_worker=1, time_limit_s=60),
    )
    return House(settings, ledger, spool, Worker(settings), tmp_path)


@pytest.fixture
def sop_uid(house: House) -> str:
    """Of a lumbar film, L1 to L5, that has been read."""
    return house.read(film(1, PatientOrientation=["P", "F"]))
