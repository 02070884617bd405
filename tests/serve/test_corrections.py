"""A person puts films right while a daemon runs: archives hold the new results, and what says so of the old ones."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pynetdicom import AE
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind
from sqlalchemy import select

from spinepacs.domain.corrections import Accept, Draft, Operation, Reject, Shift
from spinepacs.settings.shipped import shipped
from spinepacs.store import queries
from spinepacs.store.corrections import Asked, CurrentReading
from spinepacs.store.tables import corrections, objects, outbox, readings
from tests import films, peers
from tests.daemons import Daemon, daemon, destination, film

pytestmark = [pytest.mark.peer, *peers.UNCLOSED_SOCKETS]

FILM = Path(__file__).parents[2] / "demo" / "films" / "2-lumbar-lateral.dcm"
SOP = str(dcmread(FILM, stop_before_pixels=True).SOPInstanceUID)
BEFORE = ["T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5", "S1"]
AFTER = ["T9", *BEFORE[:-1]]
BY_KIND = {"SEG": "1.2.840.10008.5.1.4.1.1.66.4", "SR": "1.2.840.10008.5.1.4.1.1.88.33",
           "OT": "1.2.840.10008.5.1.4.1.1.7", "KO": "1.2.840.10008.5.1.4.1.1.88.59"}  # fmt: skip


def ask(running: Daemon, sop: str, author: str, *operations: Operation) -> None:
    """Ask for a correction of what is current, as the command does after its preview."""
    with running.ledger() as ledger:
        current = ledger.corrections.current(sop)
        assert isinstance(current, CurrentReading)
        assert isinstance(ledger.corrections.ask(sop, current.reading_id, Draft(operations, author)), Asked)


def rows(running: Daemon, *what: Any) -> list[dict[str, Any]]:
    with running.ledger() as ledger:
        return ledger.rows(select(*what))


@contextmanager
def delivered(tmp_path: Path, port: int, sent: Path, **sections: Any) -> Iterator[Daemon]:
    """A daemon that has read a film and sent its results."""
    with daemon(tmp_path, [destination(port)], **sections) as running:
        running.start()
        running.wait_ready()
        store = [
            peers.require("storescu"),
            "-xv",
            "-aec",
            "SPINEPACS",
            "127.0.0.1",
            str(running.port),
            str(sent),
        ]
        subprocess.run(store, check=True, capture_output=True)
        settled(running)
        yield running


def settled(running: Daemon) -> None:
    peers.wait_until(lambda: running.states() == {"delivered": 1}, 90, f"delivered; see {running.log}")


def held(pacs: peers.Orthanc) -> dict[str, list[Dataset]]:
    """What an archive holds, by modality, oldest first."""
    found: dict[str, list[Dataset]] = {}
    for name in pacs.get("/instances"):
        dataset = dcmread(BytesIO(pacs.download(f"/instances/{name}/file")))
        found.setdefault(str(dataset.Modality), []).append(dataset)
    return {kind: sorted(each, key=lambda one: one.InstanceCreationDate) for kind, each in found.items()}


def vertebrae_of(report: Dataset) -> list[str]:
    """Names of the groups of a report that are about a vertebra."""
    text = report.to_json()
    return [level for level in ["T9", *BEFORE] if f'["{level}"]' in text]


def found_by_query(pacs: peers.Orthanc, study_uid: str) -> set[str]:
    """SOP classes of a study's instances as C-FIND tells them."""
    ae = AE()
    ae.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
    association = ae.associate("127.0.0.1", pacs.dicom_port, ae_title=pacs.ae_title)
    assert association.is_established
    query = Dataset()
    query.QueryRetrieveLevel, query.StudyInstanceUID = "IMAGE", study_uid
    query.SeriesInstanceUID = query.SOPInstanceUID = query.SOPClassUID = ""
    answers = association.send_c_find(query, StudyRootQueryRetrieveInformationModelFind)
    found = {str(answer.SOPClassUID) for status, answer in answers if status.Status == 0xFF00}
    association.release()
    return found


def test_one_command_renames_a_film_everywhere(tmp_path: Path) -> None:
    # Whether a body at the border is found must not depend on the processor.
    model = {"folder": str(shipped("models", "spine")), "precision": "fp32"}
    with (
        peers.orthanc(tmp_path, dicomweb=True, DicomAlwaysAllowFind=True) as pacs,
        delivered(tmp_path, pacs.dicom_port, FILM, model=model) as running,
    ):
        old = held(pacs)
        assert {kind: len(each) for kind, each in old.items()} == {"SEG": 1, "SR": 1, "OT": 1}
        preview = running.command("correct", SOP, "--shift", "-1", "--author", "Doe^Jane", "--preview")
        assert "name       L4: L4 → L3" in preview
        assert rows(running, corrections.c.uid) == [], "a preview writes nothing"

        running.command("correct", SOP, "--shift", "-1", "--author", "Doe^Jane", "--organisation", "Ward 3",
                "--reason", "six lumbar bodies were counted")  # fmt: skip
        peers.wait_until(lambda: len(pacs.sop_uids()) == 7, 60, f"new results; see {running.log}")
        settled(running)

        now = held(pacs)
        (segmentation,) = [one for one in now["SEG"] if one.SOPInstanceUID != old["SEG"][0].SOPInstanceUID]
        assert [str(one.SegmentLabel) for one in segmentation.SegmentSequence] == AFTER
        assert str(segmentation.ContentCreatorName) == "Doe^Jane"
        (report,) = [one for one in now["SR"] if one.SOPInstanceUID != old["SR"][0].SOPInstanceUID]
        assert (report.VerificationFlag, report.CompletionFlag) == ("VERIFIED", "COMPLETE")
        assert str(report.VerifyingObserverSequence[0].VerifyingObserverName) == "Doe^Jane"
        assert report.VerifyingObserverSequence[0].VerifyingOrganization == "Ward 3"
        (before,) = report.PredecessorDocumentsSequence[0].ReferencedSeriesSequence
        assert before.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == old["SR"][0].SOPInstanceUID
        assert vertebrae_of(report) == AFTER
        assert vertebrae_of(old["SR"][0]) == BEFORE
        (picture,) = [one for one in now["OT"] if one.SOPInstanceUID != old["OT"][0].SOPInstanceUID]
        assert picture.SeriesDescription.startswith("Spine picture T9-L5")
        (rejection,) = now["KO"]
        assert rejection.ConceptNameCodeSequence[0].CodeValue == "113001"
        named = {
            str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
            for item in rejection.ContentSequence
            if "ReferencedSOPSequence" in item
        }
        assert named == {str(one.SOPInstanceUID) for each in old.values() for one in each}

        study_uid = str(report.StudyInstanceUID)
        assert found_by_query(pacs, study_uid) == set(BY_KIND.values())
        answer = pacs.get(f"/dicom-web/studies/{study_uid}/instances")
        told = {one["00080018"]["Value"][0] for one in answer}
        assert {str(report.SOPInstanceUID), str(rejection.SOPInstanceUID)} <= told

        with running.ledger() as ledger:
            found = queries.find(ledger, "vertebrae")
            assert {row["level"] for row in found} == set(AFTER)
            assert {row["raw_level"] for row in found} == set(BEFORE), "what the network said stays"
            assert {row["level_reason"] for row in found} == {"by a person"}
            assert len(queries.find(ledger, "films", all_versions=True)) == 2
        listed = running.command("corrections", "list")
        assert "Doe^Jane" in listed
        assert "done" in listed
        trail = running.command("audit")
        assert "correction-asked" in trail
        assert ",corrected," in trail


def test_a_worker_that_is_killed_in_the_middle_of_it_doubles_nothing(tmp_path: Path) -> None:
    sent = films.write(film(1), tmp_path / "1.dcm")
    sop = str(dcmread(sent).SOPInstanceUID)
    with peers.dcmtk_storescp(tmp_path) as pacs, delivered(tmp_path, pacs.port, sent) as running:
        (worker,) = running.pids("worker-1")
        os.kill(worker, signal.SIGSTOP)
        running.command("correct", sop, "--shift", "-1", "--author", "Doe^Jane")
        peers.wait_until(lambda: running.states() == {"working": 1}, 30, f"in work; see {running.log}")
        os.kill(worker, signal.SIGKILL)
        settled(running)
        peers.wait_until(lambda: len(pacs.received()) == 7, 30, "all results")
        assert [row["author"] for row in rows(running, readings.c.author)] == ["", "Doe^Jane"]
        assert [row["state"] for row in rows(running, corrections.c.state)] == ["done"]
        assert len(rows(running, objects.c.sop_uid)) == 7
        assert {row["state"] for row in rows(running, outbox.c.state)} == {"sent"}


def test_accepted_and_then_rejected(tmp_path: Path) -> None:
    sent = films.write(film(1), tmp_path / "1.dcm")
    sop = str(dcmread(sent).SOPInstanceUID)
    with peers.dcmtk_storescp(tmp_path) as pacs, delivered(tmp_path, pacs.port, sent) as running:
        ask(running, sop, "Doe^Jane", Accept())
        peers.wait_until(lambda: len(pacs.received()) == 4, 60, "the verified report")
        settled(running)
        verified = [one for one in map(dcmread, pacs.received()) if one.get("VerificationFlag") == "VERIFIED"]
        assert len(verified) == 1
        ask(running, sop, "Roe^Ann", Reject("another patient's"))
        peers.wait_until(lambda: len(pacs.received()) == 5, 60, "the key object")
        settled(running)
        (rejection,) = [one for one in map(dcmread, pacs.received()) if one.Modality == "KO"]
        evidence = rejection.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
        assert len(evidence) == 3, "the segmentation, the picture, and the report that was accepted"
        assert str(verified[0].SeriesInstanceUID) in {str(one.SeriesInstanceUID) for one in evidence}
        with running.ledger() as ledger:
            assert queries.find(ledger, "discs") == [], "nothing of it is published"
            (row,) = queries.find(ledger, "films")
            assert (row["refusal_code"], row["author"]) == ("REJECTED", "Roe^Ann")
            assert [row["state"] for row in ledger.corrections.history(sop)] == ["done", "superseded"]
        ask(running, sop, "Doe^Jane", Shift(0))
        peers.wait_until(lambda: len(pacs.received()) == 8, 60, "what was rejected, taken back")
