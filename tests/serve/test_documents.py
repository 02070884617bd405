"""What other systems hold while a daemon runs and persons correct films: documents and pages, none for nobody."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from spinepacs.domain.corrections import Accept, Draft, Operation, Reject, Shift
from spinepacs.domain.findings import DOCUMENTS, ObjectKind, Reading
from spinepacs.domain.signs import Statement
from spinepacs.exchange.fhir.validation import validated
from spinepacs.serve.jobs import Done, RegistrationJob, StudyJob
from spinepacs.serve.worker import Worker
from spinepacs.settings.destinations import DicomDestination, FhirDestination, Hl7Destination
from spinepacs.settings.sections import ModelSettings, OutputSettings, StorageSettings, WorkSettings
from spinepacs.settings.settings import Settings
from spinepacs.store.corrections import Asked, CurrentReading
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import ForCampaign
from spinepacs.store.results import so_far
from spinepacs.store.spool import Spool
from spinepacs.store.tables import objects, outbox
from tests import films, models, peers
from tests.daemons import PHANTOM, Daemon, daemon, film
from tests.peers_exchange import FhirStore, Hl7Receiver, hl7_server
from tests.store import makers
from tests.store.test_corrections import send_all
from tests.web_liars import web

pytest.importorskip("hl7")
pytest.importorskip("fhir.resources")
FIRST = film(1)
SECOND = film("1b", StudyInstanceUID=FIRST.StudyInstanceUID, SeriesInstanceUID=FIRST.SeriesInstanceUID)
STUDY = str(FIRST.StudyInstanceUID)


def ask(ledger: Ledger, sop_uid: str, *operations: Operation) -> None:
    current = ledger.corrections.current(sop_uid)
    assert isinstance(current, CurrentReading)
    asked = ledger.corrections.ask(sop_uid, current.reading_id, Draft(operations, "Doe^Jane", "Ward 3"))
    assert isinstance(asked, Asked)


def send(running: Daemon, tmp_path: Path) -> None:
    """Both films by one association."""
    written = [
        str(films.write(each, tmp_path / f"{n}.dcm")) for n, each in enumerate((FIRST, SECOND), start=1)
    ]
    line = [peers.require("storescu"), "-xv", "-aec", "SPINEPACS", "127.0.0.1", str(running.port), *written]
    subprocess.run(line, check=True, capture_output=True)


def settled(running: Daemon) -> None:
    peers.wait_until(lambda: running.states() == {"delivered": 1}, 90, f"delivered; see {running.log}")


def hold_the_same(running: Daemon, ehr: FhirStore, ris: Hl7Receiver) -> None:
    """Both have what is published of the current readings, and nothing else that may be used."""
    with running.ledger() as ledger:
        current = [each for each in so_far(ledger, STUDY).readings if each.refusal is None]
    assert len(ehr.live("Observation")) == sum(map(_published, current))
    values = [fields for fields in ris.filed().values() if fields[2] == "NM" and "_margin" not in fields[3]]
    assert current == [] or values
    assert len(values) == sum(len(each.published_measures) for each in current)
    told = {each["code"]["text"] for each in ehr.live("Observation") if "valueQuantity" in each}
    assert {fields[3].split("^")[4] for fields in values} == told


def _published(reading: Reading) -> int:
    signs = [finding for finding in reading.findings if finding.published_grade is not None]
    said = [each for each in reading.conclusions if each.statement is not Statement.WITHHELD]
    return len(reading.published_measures) + len(signs) + len(said)


@pytest.mark.peer
def test_a_film_of_two_is_corrected_and_a_courier_is_killed_between_two_receivers(tmp_path: Path) -> None:
    ehr = FhirStore()
    with web(ehr) as server, hl7_server() as ris:
        quick = {"timeout_s": 30, "retry_first_s": 0.2, "retry_longest_s": 1}
        targets = [
            {"name": "ehr", "kind": "fhir", "url": server.url, **quick},
            {"name": "ris", "kind": "hl7", "host": "127.0.0.1", "port": ris.port, **quick},
        ]
        with daemon(tmp_path, targets, assembly={"quiet_period_s": 1.0}) as running:
            running.start()
            running.wait_ready()
            send(running, tmp_path)
            settled(running)
            assert (len(ehr.bundles), len(ris.messages)) == (1, 1)
            hold_the_same(running, ehr, ris)
            (report,) = ehr.live("DiagnosticReport")
            before = set(ehr.resources)

            ris.answering.clear()
            with running.ledger() as ledger:
                ask(ledger, str(SECOND.SOPInstanceUID), Shift(-1))
            peers.wait_until(
                lambda: len(ehr.bundles) == 2 and len(ris.messages) == 2, 60, f"both; see {running.log}"
            )
            peers.wait_until(lambda: "sent" in _states(running, "ehr")[1:], 30, "the Bundle noted as sent")
            os.kill(running.pids("delivery")[-1], signal.SIGKILL)
            ris.answering.set()
            settled(running)

            assert len(ehr.bundles) == 2, "what was sent is not sent again"
            assert len(ris.messages) == 3, "what was not acknowledged is"
            assert str(ris.messages[1]) == str(ris.messages[2])
            controls = [str(message.segment("MSH")[10]) for message in ris.messages]
            assert controls[0] != controls[1] == controls[2]
            assert [str(each[25]) for each in ris.messages[2].segments("OBR")] == ["P", "C"]
            assert before <= set(ehr.resources)
            (again,) = ehr.live("DiagnosticReport")
            assert again["identifier"] == report["identifier"]
            assert again["resultsInterpreter"] == [{"display": "Jane Doe"}]
            hold_the_same(running, ehr, ris)

            with running.ledger() as ledger:
                ask(ledger, str(FIRST.SOPInstanceUID), Reject("another patient's"))
            peers.wait_until(lambda: len(ris.messages) == 4 and len(ehr.bundles) == 3, 60, "the rejection")
            settled(running)
            hold_the_same(running, ehr, ris)
            assert ehr.live("DiagnosticReport")[0]["status"] == "final", "persons have seen to both films"
            for each in ehr.bundles:
                validated(json.loads(each), "R5")
            printed = _printed(running, tmp_path / "study.json")
            assert printed["entry"][0]["resource"] == ehr.live("DiagnosticReport")[0]


def _states(running: Daemon, name: str) -> list[str]:
    with running.ledger() as ledger:
        chosen = select(outbox.c.state).where(outbox.c.destination == name).order_by(outbox.c.outbox_id)
        return [row["state"] for row in ledger.rows(chosen)]


def _printed(running: Daemon, out: Path) -> dict[str, Any]:
    """What ``spinepacs fhir`` writes."""
    line = [
        sys.executable,
        "-m",
        "spinepacs",
        "fhir",
        STUDY,
        "--config",
        str(running.config),
        "--out",
        str(out),
    ]
    subprocess.run(line, check=True, capture_output=True)
    found: dict[str, Any] = json.loads(out.read_text())
    return found


PACS = DicomDestination(
    name="pacs", ae_title="PACS", host="127.0.0.1", port=104, send=("SEG", "SR", "GSPS", "PDF")
)
EHR = FhirDestination(kind="fhir", name="ehr", url="http://127.0.0.1:1/fhir")
RIS = Hl7Destination(kind="hl7", name="ris", host="127.0.0.1", port=1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.write_model(tmp_path_factory.mktemp("model"), PHANTOM)


@pytest.fixture
def worker(tmp_path: Path, model: Path, ledger: Ledger) -> Worker:
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    settings = Settings(
        storage=StorageSettings(spool=tmp_path / "spool", database_url=url),
        model=ModelSettings(folder=model),
        output=OutputSettings(presentation_state_enabled=True),
        work=WorkSettings(threads_per_worker=1),
        destinations=(PACS, EHR, RIS),
    )
    peers.needs_weasyprint()
    return Worker(settings)


def arrive(worker: Worker, ledger: Ledger, spool: Spool, tmp_path: Path) -> None:
    """One film, ready to be read."""
    stored = spool.add((films.write(FIRST, tmp_path / "film.dcm").read_bytes(),))
    new = replace(
        makers.arrival(str(FIRST.SOPInstanceUID)), sha256=stored.sha256, size_bytes=stored.size_bytes
    )
    ledger.add_arrival(new)
    assert worker.do(RegistrationJob(tuple(ledger.unregistered(10)))) == Done()
    ledger.mark_ready(STUDY)


def work(worker: Worker, ledger: Ledger, **changes: Any) -> None:
    claim = ledger.claim(worker.pipeline.versions, 3)
    assert claim is not None
    assert worker.do(StudyJob(replace(claim, **changes))) == Done()


def kinds(ledger: Ledger) -> list[str]:
    """Of all objects that were made."""
    return sorted(row["kind"] for row in ledger.rows(select(objects.c.kind)))


def due(ledger: Ledger, destination: str) -> list[str]:
    return [item.kind.value for item in ledger.due(destination)]


def deliver(ledger: Ledger) -> None:
    """Everybody takes what is theirs."""
    for each in (PACS, EHR, RIS):
        send_all(ledger, each.name)


def test_a_correction_has_its_page_and_what_is_accepted_needs_none(
    worker: Worker, ledger: Ledger, spool: Spool, tmp_path: Path
) -> None:
    arrive(worker, ledger, spool, tmp_path)
    work(worker, ledger)
    assert sorted(due(ledger, "pacs")) == ["GSPS", "PDF", "SEG", "SR"]
    deliver(ledger)
    ask(ledger, str(FIRST.SOPInstanceUID), Accept())
    work(worker, ledger)
    assert due(ledger, "pacs") == ["SR"]
    deliver(ledger)
    ask(ledger, str(FIRST.SOPInstanceUID), Shift(-1))
    work(worker, ledger)
    assert due(ledger, "pacs")[-1] == "KO", "after all that replaces"
    assert sorted(due(ledger, "pacs")) == ["GSPS", "KO", "PDF", "SEG", "SR"]
    assert (due(ledger, "ehr"), due(ledger, "ris")) == (["FHIR"], ["HL7"])
    (page,) = [item for item in ledger.due("pacs") if item.kind is ObjectKind.PDF]
    assert spool.read(page.sha256)[128:132] == b"DICM"
    ask(ledger, str(FIRST.SOPInstanceUID), Reject("blurred"))
    work(worker, ledger)
    assert due(ledger, "pacs") == ["KO"], "what waited is withdrawn; the report that was accepted is held"


def campaign(worker: Worker, delivers: bool) -> ForCampaign:
    model = worker._settings.model
    return ForCampaign(1, str(model.folder), str(model.policy), delivers)


def test_a_campaign_for_the_database_makes_nothing_at_all(
    worker: Worker, ledger: Ledger, spool: Spool, tmp_path: Path
) -> None:
    arrive(worker, ledger, spool, tmp_path)
    work(worker, ledger, campaign=campaign(worker, delivers=False))
    assert kinds(ledger) == []
    assert len(so_far(ledger, STUDY, or_bare=True).readings) == 1
    assert so_far(ledger, STUDY).readings == ()


def test_a_campaign_that_delivers_makes_pages_and_documents_too(
    worker: Worker, ledger: Ledger, spool: Spool, tmp_path: Path
) -> None:
    arrive(worker, ledger, spool, tmp_path)
    work(worker, ledger, campaign=campaign(worker, delivers=True))
    assert kinds(ledger) == sorted(["SEG", "SR", "OVERLAY", "GSPS", "PDF", *DOCUMENTS])
    assert (due(ledger, "ehr"), due(ledger, "ris")) == (["FHIR"], ["HL7"])
