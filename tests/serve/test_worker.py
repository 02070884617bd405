"""What a worker makes of arrivals and studies, in this process."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from pydicom import Dataset
from pydicom.uid import ComprehensiveSRStorage

from spinepacs.dicom.reading.header import read_header
from spinepacs.errors import BadInput, BadModel, Failed, Transient, failed
from spinepacs.serve import worker as worker_module
from spinepacs.serve.jobs import Done, RegistrationJob, StudyJob
from spinepacs.serve.worker import Worker
from spinepacs.settings.destinations import DicomDestination, FhirDestination, Hl7Destination
from spinepacs.settings.sections import (
    ModelSettings,
    SelectionSettings,
    StorageSettings,
    WorkSettings,
)
from spinepacs.settings.settings import Settings
from spinepacs.settings.shipped import shipped
from spinepacs.store.ledger import Ledger
from spinepacs.store.queries import Filters, find_studies
from spinepacs.store.records import ForCampaign
from spinepacs.store.results import so_far
from spinepacs.store.spool import Spool
from tests import films, models
from tests.daemons import PHANTOM, film
from tests.store import makers

PACS = DicomDestination(name="pacs", ae_title="PACS", host="127.0.0.1", port=104)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return models.write_model(tmp_path_factory.mktemp("model"), PHANTOM)


@pytest.fixture
def settings(tmp_path, model):
    return Settings(
        storage=StorageSettings(
            spool=tmp_path / "spool", database_url=f"sqlite:///{tmp_path / 'ledger.sqlite'}"
        ),
        model=ModelSettings(folder=model),
        work=WorkSettings(maximum_attempts=2, threads_per_worker=1),
        destinations=(PACS,),
    )


@pytest.fixture
def worker(settings, ledger):
    return Worker(settings)


def arrive(ledger: Ledger, spool: Spool, content: bytes, sop_uid: str) -> None:
    stored = spool.add((content,))
    new = makers.arrival(sop_uid)
    ledger.add_arrival(type(new)(**{**vars(new), "sha256": stored.sha256, "size_bytes": stored.size_bytes}))


def arrive_film(ledger: Ledger, spool: Spool, tmp_path, dataset) -> str:
    content = films.write(dataset, tmp_path / "film.dcm").read_bytes()
    arrive(ledger, spool, content, dataset.SOPInstanceUID)
    return str(dataset.StudyInstanceUID)


def register_all(worker: Worker, ledger: Ledger):
    return worker.do(RegistrationJob(tuple(ledger.unregistered(100))))


def states(ledger: Ledger) -> dict[str, tuple[str, str]]:
    return {row["study_uid"]: (row["state"], row["reason_code"]) for row in find_studies(ledger, Filters())}


def test_a_film_is_registered_read_and_recorded_with_its_objects(worker, ledger, spool, tmp_path):
    study = arrive_film(ledger, spool, tmp_path, film(1))
    assert register_all(worker, ledger) == Done()
    assert states(ledger) == {study: ("arriving", "")}
    ledger.mark_ready(study)
    claim = ledger.claim(worker.pipeline.versions, 3)

    assert worker.do(StudyJob(claim)) == Done()

    assert states(ledger) == {study: ("recorded", "")}
    due = ledger.due("pacs")
    assert sorted(item.kind for item in due) == ["OVERLAY", "SEG", "SR"]
    for item in due:
        assert spool.read(item.sha256)[128:132] == b"DICM"


def test_documents_are_made_where_a_destination_is_sent_them(settings, ledger, spool, tmp_path):
    ehr = FhirDestination(kind="fhir", name="ehr", url="http://127.0.0.1:1/fhir")
    ris = Hl7Destination(kind="hl7", name="ris", host="127.0.0.1", port=1)
    worker = Worker(settings.model_copy(update={"destinations": (PACS, ehr, ris)}))
    dataset = film(1)
    study = arrive_film(ledger, spool, tmp_path, dataset)
    register_all(worker, ledger)
    ledger.mark_ready(study)
    claim = ledger.claim(worker.pipeline.versions, 3)
    assert worker.do(StudyJob(claim)) == Done()
    assert sorted(item.kind for item in ledger.due("pacs")) == ["OVERLAY", "SEG", "SR"]
    (bundle,), (message,) = ledger.due("ehr"), ledger.due("ris")
    told = json.loads(spool.read(bundle.sha256))
    assert told["entry"][0]["resource"]["subject"]["identifier"]["value"] == dataset.PatientID
    assert spool.read(message.sha256).startswith(b"MSH|^~\\&|")
    assert so_far(ledger, study).readings[0].sop_uid == dataset.SOPInstanceUID


def test_what_is_not_a_spine_is_refused_with_the_reason(worker, ledger, spool, tmp_path):
    chest = film(
        1, BodyPartExamined="CHEST", StudyDescription="", SeriesDescription="", AnatomicRegionSequence=None
    )
    study = arrive_film(ledger, spool, tmp_path, chest)
    register_all(worker, ledger)
    ledger.mark_ready(study)
    assert states(ledger) == {study: ("refused", "NOT_SELECTED")}


@pytest.mark.parametrize("others", ["drop", "keep"])
def test_the_file_of_what_is_no_radiograph_is_dropped_or_kept_and_its_row_stays(
    settings, ledger, spool, tmp_path, others
):
    """A report whose content no header of a film would be allowed to have."""
    report = film(1, SOPClassUID=ComprehensiveSRStorage, Modality="SR", PixelData=None)
    report.file_meta.MediaStorageSOPClassUID = ComprehensiveSRStorage
    report.ContentSequence = [Dataset() for _ in range(60_000)]
    study = arrive_film(ledger, spool, tmp_path, report)
    worker = Worker(settings.model_copy(update={"selection": SelectionSettings(others=others)}))
    for _ in range(2):  # it comes again, and its file is given up again
        assert register_all(worker, ledger) == Done()
        assert (bool(ledger.files.wanted("")), ledger.counts().arrivals) == (others == "keep", {"refused": 1})
        arrive_film(ledger, spool, tmp_path, report)
    ledger.mark_ready(study)
    register_all(worker, ledger)
    assert states(ledger) == {study: ("refused", "NO_RADIOGRAPH")}


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"not DICOM at all" * 20, "NOT_DICOM"), (b"", "NOT_DICOM"), (b"\0" * 128 + b"DICM", None)],
)
def test_a_header_that_cannot_be_read_is_kept_with_its_reason(worker, ledger, spool, content, code):
    arrive(ledger, spool, content, "1.2.3")
    assert register_all(worker, ledger) == Done()
    assert ledger.unregistered(10) == []
    counts = ledger.counts()
    assert counts.arrivals == {"unreadable": 1}
    assert list(counts.refused) == [code] if code else counts.refused


def test_one_broken_header_does_not_hold_up_the_others(worker, ledger, spool, tmp_path):
    arrive(ledger, spool, b"broken", "1.2.3")
    study = arrive_film(ledger, spool, tmp_path, film(1))
    assert register_all(worker, ledger) == Done()
    assert states(ledger) == {study: ("arriving", "")}


def test_a_header_that_has_killed_its_reader_is_given_up(worker, ledger, spool, tmp_path):
    arrive_film(ledger, spool, tmp_path, film(1))
    (arrival,) = ledger.unregistered(1)
    for _ in range(2):  # two workers began and did not come back
        ledger.begin_registration(arrival.arrival_id)
    register_all(worker, ledger)
    assert ledger.counts().refused == {"HEADER_KILLS_READER": 1}


def test_a_header_that_kills_its_reader_costs_those_that_were_begun_with_it_nothing(
    settings, ledger, spool, tmp_path, monkeypatch
):
    studies = [arrive_film(ledger, spool, tmp_path, film(number)) for number in range(1, 5)]
    waiting = ledger.unregistered(10)
    killer = spool.path_of(waiting[1].sha256)

    class Killed(BaseException):
        """What no worker survives."""

    def read(path, *more):
        if path == killer:
            raise Killed
        return read_header(path, *more)

    monkeypatch.setattr(worker_module, "read_header", read)
    for _ in range(2):  # each time another worker
        with pytest.raises(Killed):
            register_all(Worker(settings), ledger)
    assert register_all(Worker(settings), ledger) == Done()
    assert ledger.counts().refused == {"HEADER_KILLS_READER": 1}
    assert states(ledger) == {study: ("arriving", "") for study in studies if study != studies[1]}


def test_a_disk_that_is_away_is_no_fault_of_the_image(worker, ledger, spool, tmp_path):
    arrive_film(ledger, spool, tmp_path, film(1))
    folder = tmp_path / "spool" / "files"
    folder.rename(tmp_path / "away")
    for _ in range(5):  # more often than a header may kill its reader
        answer = register_all(worker, ledger)
        assert isinstance(answer, Failed)
        assert answer.transient
    (tmp_path / "away").rename(folder)
    assert register_all(worker, ledger) == Done()


def test_a_missing_file_is_said_and_does_not_hold_up_the_others(worker, ledger, spool, tmp_path):
    arrive_film(ledger, spool, tmp_path, film(1))
    spool.path_of(ledger.unregistered(1)[0].sha256).unlink()
    study = arrive_film(ledger, spool, tmp_path, film(2))
    assert register_all(worker, ledger) == Done()
    assert ledger.counts().refused == {"FILE_MISSING": 1}
    assert states(ledger) == {study: ("arriving", "")}


def test_a_film_that_is_gone_fails_its_study_and_a_disk_that_is_away_does_not(
    worker, ledger, spool, tmp_path
):
    study = arrive_film(ledger, spool, tmp_path, film(1))
    assert register_all(worker, ledger) == Done()
    ledger.mark_ready(study)
    claim = ledger.claim(worker.pipeline.versions, 3)
    folder = tmp_path / "spool" / "files"
    folder.rename(tmp_path / "away")
    assert worker.do(StudyJob(claim)).transient
    (tmp_path / "away").rename(folder)
    spool.path_of(claim.arrivals[0].sha256).unlink()
    answer = worker.do(StudyJob(claim))
    assert not answer.transient
    assert "send the study again" in answer.reason


def test_an_altered_model_is_refused(settings, ledger, model, tmp_path):
    altered = tmp_path / "altered"
    altered.mkdir()
    (altered / "manifest.toml").write_bytes((model / "manifest.toml").read_bytes())
    (altered / "model.onnx").write_bytes((model / "model.onnx").read_bytes() + b"x")
    with pytest.raises(BadModel):
        Worker(settings.model_copy(update={"model": ModelSettings(folder=altered)}))


def test_errors_become_answers_without_identity(caplog):
    def quotes_the_dataset() -> None:
        raise ValueError("invalid value for PatientName: Geheim^Erika")

    try:
        quotes_the_dataset()
    except ValueError as error:
        answer = failed(error)
    assert (answer.reason_code, answer.transient) == ("DEFECT", False)
    assert "quotes_the_dataset" in answer.reason
    assert "Geheim" not in answer.reason + caplog.text
    assert failed(Transient("the disk is full")) == Failed("TRANSIENT", "the disk is full", True)
    assert failed(BadInput("NOT_DICOM", "no DICOM file")) == Failed("NOT_DICOM", "no DICOM file", False)


def of_campaign(worker, claim, policy, delivers=False):
    further = worker.pipeline.versions
    versions = type(further)(further.model_name, further.model_version, further.policy_name, "next")
    campaign = ForCampaign(1, str(worker._settings.model.folder), str(policy), delivers)
    return replace(claim, versions=versions, campaign=campaign)


def test_a_campaigns_policy_is_opened_beside_our_own_and_makes_objects_only_to_deliver(
    worker, ledger, spool, tmp_path
):
    text = shipped("config", "grading.toml").read_text()
    policy = tmp_path / "next.toml"
    own = f'version = "{worker.pipeline.versions.policy_version}"'
    assert own in text
    policy.write_text(text.replace(own, 'version = "next"'))
    arrive_film(ledger, spool, tmp_path, film(1))
    assert worker.do(RegistrationJob(tuple(ledger.unregistered(10)))) == Done()
    (study,) = find_studies(ledger)
    ledger.mark_ready(study["study_uid"])
    claim = ledger.claim(worker.pipeline.versions, 3)
    path = [spool.path_of(each.sha256) for each in claim.arrivals]
    for_database = worker._pipeline_of(of_campaign(worker, claim, policy))
    assert for_database.versions.policy_version == "next"
    assert not for_database.read_study(claim.study_uid, path).images[0].objects
    to_deliver = worker._pipeline_of(of_campaign(worker, claim, policy, delivers=True))
    assert to_deliver.segmenter is for_database.segmenter, "it is opened once"
    assert len(to_deliver.read_study(claim.study_uid, path).images[0].objects) == 3
    assert worker._pipeline_of(claim) is worker.pipeline


def test_a_campaigns_policy_that_has_changed_waits_and_costs_no_attempt(worker, ledger, spool, tmp_path):
    arrive_film(ledger, spool, tmp_path, film(1))
    worker.do(RegistrationJob(tuple(ledger.unregistered(10))))
    (study,) = find_studies(ledger)
    ledger.mark_ready(study["study_uid"])
    claim = ledger.claim(worker.pipeline.versions, 3)
    changed = worker.do(StudyJob(of_campaign(worker, claim, shipped("config", "grading.toml"))))
    assert isinstance(changed, Failed)
    assert (changed.transient, changed.reason_code) == (True, "TRANSIENT")
    assert "of another version now" in changed.reason
    gone = worker.do(StudyJob(of_campaign(worker, claim, tmp_path / "gone.toml")))
    assert isinstance(gone, Failed)
    assert (gone.transient, gone.reason_code) == (True, "TRANSIENT")
