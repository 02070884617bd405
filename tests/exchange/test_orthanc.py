"""A real Orthanc, asked in both ways: the same studies, the same films, and each as it is stored."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage

from spinepacs.domain.campaign import Query, WantedFilm
from spinepacs.domain.priors import Ask
from spinepacs.exchange.archive import Archive, ArchiveAway, Asked, NotGiven
from spinepacs.exchange.dicomweb import DicomWeb
from spinepacs.exchange.retrieve import QueryRetrieve
from spinepacs.settings.sections import ListenerSettings
from spinepacs.settings.settings import Settings
from tests import films, peers

pytestmark = [pytest.mark.peer, *peers.UNCLOSED_SOCKETS]

DAY, JPEG_2000 = date(2026, 1, 2), "1.2.840.10008.1.2.4.90"


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Orthanc]:
    """One study with a lumbar and a cervical series and a CT; another of the next day, with another number."""
    folder = tmp_path_factory.mktemp("orthanc")
    made = [
        films.make_dx(seed="l", study="one", BodyPartExamined="LSPINE"),
        films.make_dx(seed="c", study="one", BodyPartExamined="CSPINE"),
        films.make_dx(
            seed="x", study="one", SOPClassUID=CTImageStorage, Modality="CT", BodyPartExamined="LSPINE"
        ),
        films.make_cr(
            seed="n", study="two", BodyPartExamined=None, StudyDate="20260103", AccessionNumber="B7",
            IssuerOfPatientID="HOSPITAL",
        ),
        films.make_cr(seed="o", study="other", PatientID=f"{films.PATIENT_ID}0"),
    ]  # fmt: skip
    with peers.orthanc(
        folder, dicomweb=True, DicomModalities={"us": ["SPINEPACS", "127.0.0.1", 1]}
    ) as running:
        for film in made:
            running.post("/instances", films.write(film, folder / "film.dcm", JPEG_2000).read_bytes())
        yield running


@pytest.fixture(params=["dicomweb", "dicom"])
def archive(request: pytest.FixtureRequest, pacs: peers.Orthanc) -> Iterator[Archive]:
    if request.param == "dicomweb":
        web = DicomWeb(f"{pacs.url}/dicom-web")
        yield web
        web.close()
    else:
        yield QueryRetrieve(f"ORTHANC@127.0.0.1:{pacs.dicom_port}", Settings())


def uid(study: str) -> str:
    return str(films.make_dx(study=study).StudyInstanceUID)


def sop_uids(*seeds: str) -> set[str]:
    return {str(films.make_dx(seed=seed, study="one").SOPInstanceUID) for seed in seeds}


def found(archive: Archive, asked: Asked) -> list[str]:
    return [each for page in archive.studies(asked, Query()) for each in page]


def test_studies_by_day_and_by_accession_number(archive: Archive) -> None:
    assert set(found(archive, Asked(day=DAY))) == {uid("one"), uid("other")}
    assert found(archive, Asked(day=date(2020, 1, 1))) == []
    assert found(archive, Asked(accession="B7")) == [uid("two")]
    assert found(archive, Asked(accession="b7")) == [], "Orthanc's QIDO-RS finds it all the same"
    assert "answers" in archive.probe()


@pytest.mark.parametrize("patient_id", [films.PATIENT_ID, films.PATIENT_ID.lower()])
def test_studies_of_a_patient(archive: Archive, patient_id: str) -> None:
    """And none of one whose ID begins so; Orthanc looks for IDs regardless of case, and so may give another's."""
    ask = Ask(1, patient_id, "", "1.2.3", None, 0)
    rows = {row.study_uid: row for row in archive.of_patient(ask, (date(2026, 1, 1), date(2026, 1, 3)))}
    if rows or patient_id == films.PATIENT_ID:
        assert set(rows) == {uid("one"), uid("two")}
        assert rows[uid("one")].day == DAY
        assert set(rows[uid("one")].modalities) == {"CT", "DX"}
        assert {row.patient_id for row in rows.values()} == {films.PATIENT_ID}
        assert rows[uid("two")].issuer in ("HOSPITAL", "")
    assert archive.of_patient(ask, (date(2026, 1, 4), date(2026, 1, 9))) == []


def test_films_by_modality_and_body_part_of_their_series(archive: Archive) -> None:
    every = {film.sop_uid for film in archive.films(uid("one"), Query())}
    assert every == sop_uids("l", "c", "x")
    plain = archive.films(uid("one"), Query(modalities=("CR", "DX")))
    assert {film.sop_uid for film in plain} == sop_uids("l", "c")
    lumbar = archive.films(uid("one"), Query(modalities=("CR", "DX"), body_parts=("LSPINE",)))
    assert {film.sop_uid for film in lumbar} == sop_uids("l")
    assert archive.films(uid("one"), Query(modalities=("MR",))) == []
    unnamed = archive.films(uid("two"), Query(body_parts=("LSPINE",)))
    assert len(unnamed) == 1, "a body part that is not stated is not held against it"
    with pytest.raises(NotGiven, match="nothing of this study"):
        archive.films("1.2.3.4", Query())


def test_a_film_comes_in_the_transfer_syntax_in_which_it_is_stored(pacs: peers.Orthanc) -> None:
    web = DicomWeb(f"{pacs.url}/dicom-web")
    (film,) = web.films(uid("one"), Query(modalities=("DX",), body_parts=("LSPINE",)))
    assert str(dcmread(BytesIO(web.fetch(film))).file_meta.TransferSyntaxUID) == JPEG_2000
    with pytest.raises(NotGiven, match="404"):
        web.fetch(WantedFilm("1.2.3", film.study_uid, film.series_uid))
    web.close()


def test_a_move_that_goes_nowhere_is_told_by_a_status_and_nothing_else(pacs: peers.Orthanc) -> None:
    peer = QueryRetrieve(f"ORTHANC@127.0.0.1:{pacs.dicom_port}", Settings(), "NOBODY")
    (film,) = peer.films(uid("two"), Query())
    assert peer.move(film.study_uid, film.series_uid) == "C-MOVE status 0xC000"


def test_an_archive_that_does_not_know_us_breaks_off(pacs: peers.Orthanc) -> None:
    peer = QueryRetrieve(
        f"ORTHANC@127.0.0.1:{pacs.dicom_port}", Settings(listener=ListenerSettings(ae_title="STRANGER"))
    )
    with pytest.raises(ArchiveAway, match="does it know our AE title"):
        peer.probe()


def test_nobody_listens(tmp_path: Path) -> None:
    peer = QueryRetrieve(f"ORTHANC@127.0.0.1:{peers.free_port()}", Settings())
    with pytest.raises(ArchiveAway, match="cannot be reached"):
        peer.probe()


def test_somebody_who_is_no_archive(tmp_path: Path) -> None:
    with peers.dcmtk_storescp(tmp_path) as scp:
        peer = QueryRetrieve(f"DCMTK@127.0.0.1:{scp.port}", Settings())
        with pytest.raises(ArchiveAway, match="does not offer query and retrieve"):
            peer.probe()
