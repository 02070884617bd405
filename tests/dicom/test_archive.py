"""All objects of a study together: dcentvfy, and a real Orthanc that takes them by C-STORE."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import pydicom
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE

from spinepacs.dicom.identity import MANUFACTURER
from spinepacs.dicom.overlay.picture import draw_overlay, encode_overlay
from spinepacs.dicom.report.document import encode_report
from spinepacs.dicom.segmentation import encode_segmentation
from spinepacs.domain.findings import EncodedObject
from spinepacs.settings.sections import OutputSettings
from tests.dicom import readings
from tests.dicom.tools import dcentvfy_errors, dciodvfy_errors
from tests.films import make_dx, write
from tests.peers import orthanc

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
        assert odd["SOPInstanceUID"].encode() in encoded.part10
        assert b"1.02.3" in encoded.part10


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
