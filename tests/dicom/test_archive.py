"""All objects of a study together: dcentvfy, and a real Orthanc that takes them by C-STORE."""

from __future__ import annotations

import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import pydicom
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE

from spinepacs.dicom.identity import MANUFACTURER
from spinepacs.dicom.overlay.picture import draw_overlay, encode_overlay
from spinepacs.dicom.reading.film import LoadedFilm, read_film
from spinepacs.dicom.report.document import encode_report
from spinepacs.dicom.segmentation import encode_segmentation
from spinepacs.domain.findings import EncodedObject
from spinepacs.settings.sections import OutputSettings
from tests.dicom import readings
from tests.dicom.tools import dcentvfy_errors, dciodvfy_errors
from tests.films import make_dx, write
from tests.peers import orthanc, require

OUTPUT = OutputSettings()


def objects(header: Dataset) -> list[EncodedObject]:
    reading = readings.reading(header)
    segmentation = encode_segmentation(header, reading, OUTPUT)
    assert segmentation
    picture = draw_overlay(readings.display(), reading)
    return [
        segmentation,
        encode_report(header, reading, segmentation, OUTPUT),
        encode_overlay(header, reading, picture, OUTPUT),
    ]


def test_all_are_known_as_ours_and_each_has_a_series_of_its_own() -> None:
    header = readings.header()
    datasets = [pydicom.dcmread(BytesIO(encoded.part10)) for encoded in objects(header)]
    assert {(d.Manufacturer, d.ManufacturerModelName) for d in datasets} == {(MANUFACTURER, MANUFACTURER)}
    assert {d.StudyInstanceUID for d in datasets} == {header.StudyInstanceUID}
    assert len({d.SeriesInstanceUID for d in datasets} | {header.SeriesInstanceUID}) == 4
    assert len({d.SeriesNumber for d in datasets}) == 3
    assert len({(d.ContentDate, d.ContentTime, d.InstanceCreationDate) for d in datasets}) == 1


@pytest.mark.parametrize("setting", ["compat", "strict", "labelmap"])
def test_encoding_leaves_the_source_header_as_it_is(setting: Literal["compat", "strict", "labelmap"]) -> None:
    header = readings.header(PixelSpacing=[0.2, 0.2])
    encode_segmentation(header, readings.reading(header), OutputSettings(segmentation=setting))
    objects(header)
    assert header == readings.header(PixelSpacing=[0.2, 0.2])


@pytest.mark.peer
@pytest.mark.parametrize(
    "elements",
    [
        {"SOPInstanceUID": "1.2." + "9" * 60},
        {"PatientOrientation": ["A"]},
        {"PatientOrientation": None, "SeriesNumber": -5, "InstanceNumber": 2147483647},
        {"PatientName": "", "PatientSex": "X", "StudyDate": "2026-01-02", "ContentDate": "99999999"},
        {"FrameOfReferenceUID": "1.2.3", "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
    ],
)
def test_odd_sources_get_valid_objects(tmp_path: Path, elements: dict[str, Any]) -> None:
    path = tmp_path / "object.dcm"
    for encoded in objects(readings.header(**elements)):
        path.write_bytes(encoded.part10)
        assert dciodvfy_errors(path) == []


def test_odd_uids_of_a_source_are_kept() -> None:
    odd = {"StudyInstanceUID": "1.02.3", "SOPInstanceUID": "1.2.840.0012.5." + "9" * 45}
    with pydicom.config.disable_value_validation():
        header = readings.header(**odd)
    for encoded in objects(header):
        assert encoded.source_sop_uid == odd["SOPInstanceUID"]
        assert odd["SOPInstanceUID"].encode() in bytes(encoded.part10)
        assert b"1.02.3" in bytes(encoded.part10)


@pytest.mark.peer
def test_dcentvfy_finds_them_at_one_with_their_film(tmp_path: Path) -> None:
    film = write(make_dx(), tmp_path / "film.dcm")
    files = [film]
    for encoded in objects(readings.header()):
        files.append(tmp_path / f"{encoded.kind}.dcm")
        files[-1].write_bytes(encoded.part10)
    assert dcentvfy_errors(*files) == []


@pytest.mark.peer
def test_orthanc_takes_them_into_the_study_of_the_film(tmp_path: Path) -> None:
    encoded = objects(readings.header())
    with orthanc(tmp_path) as pacs:
        pacs.post("/instances", write(make_dx(), tmp_path / "film.dcm").read_bytes())
        sender = AE()
        for item in encoded:
            sender.add_requested_context(item.sop_class_uid, item.transfer_syntax_uid)
        association = sender.associate("127.0.0.1", pacs.dicom_port)
        assert association.is_established
        statuses = [
            association.send_c_store(pydicom.dcmread(BytesIO(item.part10))).Status for item in encoded
        ]
        association.release()

        assert statuses == [0, 0, 0]
        assert {item.sop_uid for item in encoded} < pacs.sop_uids()
        (study,) = pacs.get("/studies?expand")
        assert len(study["Series"]) == 4


ODD_IDENTITIES: dict[str, dict[str, Any]] = {
    "blanks": {"PatientID": b"  4711 "},
    "tab": {"PatientID": b"47\t12 "},
    "long": {"PatientID": b"7" * 70, "AccessionNumber": b"A" * 24, "StudyID": b"S" * 20},
    "backslash": {"PatientID": b"47\\14 "},
    "undeclared": {"PatientID": b"\xc4\xd64715", "SpecificCharacterSet": None},
    "yen": {"PatientID": b"47\\16~", "PatientName": b"YAMADA\\TARO", "SpecificCharacterSet": "ISO_IR 13"},
    "groups": {"PatientName": b"A" * 55 + b"^" + b"B" * 17 + b"=" + b"C" * 60, "PatientID": "4717"},
    "chinese": {
        "SpecificCharacterSet": ["", "ISO 2022 IR 58"],
        "PatientName": b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab",
        "PatientID": "4718",
    },
    "korean": {
        "SpecificCharacterSet": ["ISO 2022 IR 100", "ISO 2022 IR 149"],
        "PatientName": b"M\xfcller=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7",
        "PatientID": "4719",
    },
    "gb18030": {
        "SpecificCharacterSet": "GB18030", "PatientName": "王俽^小东".encode("gb18030"), "PatientID": "4720"
    },
    "not-utf-8": {"SpecificCharacterSet": "ISO_IR 192", "PatientName": b"M\xfcller", "PatientID": b"\xfc4721"},
    "misspelt": {"SpecificCharacterSet": "ISO-IR 100", "PatientName": b"M\xfcller", "PatientID": b"\xfc4722"},
}  # fmt: skip


@pytest.mark.peer
def test_results_join_patient_and_study_whatever_the_identity_looks_like(tmp_path: Path) -> None:
    """In Orthanc, which makes a second patient of the least difference, and by DCMTK's dump."""
    with orthanc(tmp_path) as pacs:
        for name, elements in ODD_IDENTITIES.items():
            film = write(make_dx(study=name, **elements), tmp_path / f"{name}.dcm")
            loaded = read_film(film)
            assert isinstance(loaded, LoadedFilm)
            pacs.post("/instances", film.read_bytes())
            for made in objects(loaded.header):
                (tmp_path / "made.dcm").write_bytes(made.part10)
                assert dumped_identity(tmp_path / "made.dcm") == dumped_identity(film), name
                pacs.post("/instances", made.part10)
        studies = pacs.get("/studies?expand")
        assert {len(study["Series"]) for study in studies} == {4}
        assert len(studies) == len(pacs.get("/patients")) == len(ODD_IDENTITIES)


def dumped_identity(path: Path) -> set[str]:
    """Patient and study as dcmdump prints them; reports name the study once more, among their evidence."""
    tags = ("0008,0005", "0008,0050", "0010,0010", "0010,0020", "0020,000d", "0020,0010")
    command = [require("dcmdump"), "-q", *(word for tag in tags for word in ("+P", tag)), str(path)]
    done = subprocess.run(command, capture_output=True, check=True)
    return set(done.stdout.decode("latin_1").splitlines())
