"""A whole study comes, whoever sends it: its film is read, everything else has a row and is dropped, or kept."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import (
    MPEG2MPML,
    BasicTextSRStorage,
    CTImageStorage,
    EncapsulatedPDFStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
    SegmentationStorage,
    XRayRadiationDoseSRStorage,
    generate_uid,
)
from pynetdicom import AE
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made by a module __getattr__ table
    DigitalXRayImageStorageForPresentation,
    PatientRootQueryRetrieveInformationModelFind,
)
from sqlalchemy import select

from spinepacs.store.tables import arrivals, objects
from tests import films, peers
from tests.daemons import Daemon, daemon, destination, film
from tests.intake.doors import counted, listening

pytestmark = peers.UNCLOSED_SOCKETS

PRIVATE = "1.3.46.670589.11.0.0.12.1"
"""A vendor's own class."""
FUTURE = "1.2.840.10008.5.1.4.1.1.9999.1"
"""A storage class of an edition that is not written yet."""
OTHERS = {
    XRayRadiationDoseSRStorage: "SR",
    BasicTextSRStorage: "SR",
    GrayscaleSoftcopyPresentationStateStorage: "PR",
    KeyObjectSelectionDocumentStorage: "KO",
    SegmentationStorage: "SEG",
    EncapsulatedPDFStorage: "DX",  # some writers take over the modality of what it is about
    CTImageStorage: "CT",
    PRIVATE: "OT",
    FUTURE: "DX",
}


def beside(film: Dataset, sop_class: str, **elements: Any) -> Dataset:
    """Another object of the film's study; of its own content only what a receiver looks at."""
    made = films.make_dx(seed=sop_class, study="study-1", Modality=OTHERS.get(sop_class, "OT"), **elements)
    del made.PixelData
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = sop_class
    made.StudyInstanceUID, made.BodyPartExamined = film.StudyInstanceUID, "LSPINE"
    made.SOPInstanceUID, made.SeriesInstanceUID = generate_uid(), generate_uid()
    return made


def study(folder: Path) -> tuple[Path, list[Path]]:
    """A film, and what may lie beside it."""
    folder.mkdir()
    shown = film(1)
    others = [
        films.write(beside(shown, sop_class), folder / f"{number}.dcm")
        for number, sop_class in enumerate(OTHERS)
    ]
    return films.write(shown, folder / "film.dcm"), others


def send(program: str, port: int, paths: Sequence[Path]) -> str:
    """Send with DCMTK; what it says."""
    # Left to itself storescu offers a fixed list of classes, and SEG is not in it.
    contexts = ["--required"] if program == "storescu" else []
    options = [*contexts, "-aec", "SPINEPACS", "127.0.0.1", str(port), *map(str, paths)]
    done = subprocess.run([peers.require(program), *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def states(running: Daemon) -> Counter[tuple[str, str]]:
    """Arrivals by state and reason."""
    with running.ledger() as ledger:
        rows = ledger.rows(select(arrivals.c.state, arrivals.c.reason_code))
    return Counter((row["state"], row["reason_code"]) for row in rows)


@pytest.mark.peer
@pytest.mark.parametrize("sender", ["storescu", "dcmsend", "orthanc"])
def test_a_study_comes_whole_and_its_film_alone_is_read(tmp_path: Path, sender: str) -> None:
    shown, others = study(tmp_path / "study")
    if sender == "storescu":  # which itself gives up at a class that it does not know
        others = [path for path in others if dcmread(path).SOPClassUID not in (PRIVATE, FUTURE)]
    with peers.orthanc(tmp_path) as archive:
        pacs = [destination(archive.dicom_port, "orthanc")]
        with daemon(tmp_path, pacs, retention={"grace_s": 1}) as running:
            archive.add_modality("spinepacs", "SPINEPACS", running.port)
            running.start()
            running.wait_ready()
            if sender == "orthanc":
                for path in (shown, *others):
                    archive.post("/instances", path.read_bytes())
                (known,) = archive.get("/studies")
                answer = archive.post("/modalities/spinepacs/store", known)
                assert answer["FailedInstancesCount"] == 0
            else:
                send(sender, running.port, [others[0], shown, *others[1:]])
            peers.wait_until(
                lambda: running.states() == {"delivered": 1}, 60, f"a study read; see {running.log}"
            )
            expected = Counter({("selected", ""): 1, ("refused", "NO_RADIOGRAPH"): len(others)})
            assert states(running) == expected

            # Now the archive sends everything back, with our results.
            before = archive.sop_uids()
            archive.post("/instances", shown.read_bytes())
            (known,) = archive.get("/studies")
            assert archive.post("/modalities/spinepacs/store", known)["FailedInstancesCount"] == 0
            expected["refused", "OWN_RESULT"] = 3
            peers.wait_until(lambda: states(running) == expected, 60, "our own results, refused")
            assert running.states() == {"delivered": 1}
            assert archive.sop_uids() - before <= {dcmread(shown).SOPInstanceUID}
            with running.ledger() as ledger:
                assert len(ledger.rows(select(objects.c.sop_uid))) == 3
            spool = Path(running.settings["storage"]["spool"])
            wanted = 1 + 3
            peers.wait_until(
                lambda: len(list(spool.rglob("*.dcm"))) == wanted, 60, "the others' files are gone"
            )
            assert 'turned_away_total{reason="context"} 0.0' in running.http("/metrics")[1]


@pytest.mark.peer
def test_what_is_no_film_is_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    shown, others = study(tmp_path / "study")
    with daemon(tmp_path, retention={"grace_s": 0.5}, selection={"others": "keep"}) as running:
        running.start()
        running.wait_ready()
        send("dcmsend", running.port, [*others, shown])
        peers.wait_until(lambda: running.states() == {"delivered": 1}, 60, f"a study read; see {running.log}")
        with running.ledger() as ledger:
            deleted = ledger.rows(select(arrivals.c.sop_uid).where(arrivals.c.file_deleted_at.is_not(None)))
        assert not deleted


def negotiated(port: int, contexts: Mapping[str, list[str]]) -> list[str]:
    """Classes of the contexts that are accepted, of those that are asked for with their syntaxes."""
    ae = AE()
    for sop_class, syntaxes in contexts.items():
        ae.add_requested_context(sop_class, syntaxes)
    association = ae.associate("127.0.0.1", port, ae_title="SPINEPACS")
    accepted = [str(context.abstract_syntax) for context in association.accepted_contexts]
    association.release()
    return accepted


def test_a_film_in_a_syntax_that_nobody_decodes_is_refused_and_counted(spool, ledger, caplog) -> None:
    asked = {
        DigitalXRayImageStorageForPresentation: [MPEG2MPML],
        EncapsulatedPDFStorage: [MPEG2MPML],
        PatientRootQueryRetrieveInformationModelFind: ["1.2.840.10008.1.2"],
    }
    with listening(spool, ledger) as (listener, book):
        assert negotiated(listener.port, asked) == [EncapsulatedPDFStorage]
        assert counted(book) == {"context": 2}
    (line,) = [
        record.getMessage() for record in caplog.records if "turned away (context)" in record.getMessage()
    ]
    assert "Digital X-Ray Image Storage - For Presentation (no transfer syntax that can be decoded)" in line
    assert "FIND (class not taken)" in line


def test_the_old_way_takes_radiographs_only(spool, ledger) -> None:
    little = ["1.2.840.10008.1.2"]
    asked = {DigitalXRayImageStorageForPresentation: little, SegmentationStorage: little, PRIVATE: little}
    with listening(spool, ledger, storage_classes="radiographs") as (listener, book):
        assert negotiated(listener.port, asked) == [DigitalXRayImageStorageForPresentation]
        assert counted(book) == {"context": 2}


def test_all_128_contexts_of_a_sender_are_answered(spool, ledger) -> None:
    classes = [f"1.2.840.10008.5.1.4.1.1.{number}" for number in range(2, 66)]
    classes += [f"1.3.6.1.4.1.9999.{number}" for number in range(64)]
    with listening(spool, ledger) as (listener, _):
        assert negotiated(listener.port, {uid: ["1.2.840.10008.1.2.1"] for uid in classes}) == classes


def test_what_one_sender_was_answered_is_not_what_the_next_one_gets(spool, ledger) -> None:
    with listening(spool, ledger) as (listener, _):
        for syntaxes in ([MPEG2MPML], ["1.2.840.10008.1.2"], [MPEG2MPML, "1.2.840.10008.1.2.1"]):
            ae = AE()
            ae.add_requested_context(EncapsulatedPDFStorage, syntaxes)
            association = ae.associate("127.0.0.1", listener.port, ae_title="SPINEPACS")
            (accepted,) = association.accepted_contexts
            association.release()
            assert accepted.transfer_syntax == syntaxes[-1:]  # the simplest


@pytest.mark.parametrize("sop_class", [PRIVATE, FUTURE])
def test_classes_that_no_library_knows_are_stored(spool, ledger, sop_class: str) -> None:
    sent = beside(film(1), sop_class)
    ae = AE()
    ae.add_requested_context(sop_class, sent.file_meta.TransferSyntaxUID)
    with listening(spool, ledger) as (listener, _):
        association = ae.associate("127.0.0.1", listener.port, ae_title="SPINEPACS")
        assert association.send_c_store(sent).Status == 0x0000
        association.release()
    (row,) = ledger.unregistered(10)
    assert (row.sop_uid, row.sop_class_uid) == (sent.SOPInstanceUID, sop_class)
