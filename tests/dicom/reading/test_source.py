"""The sanitised header: highdicom builds a Segmentation from it, whatever the state of the source."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from spinepacs.dicom.reading.film import LoadedFilm, read_film
from tests.films import make_cr, make_dx, write

DAMAGE: list[dict[str, Any]] = [
    {},
    {"PatientSex": "X"},
    {"PatientName": None, "PatientID": None, "PatientBirthDate": None, "PatientSex": None},
    {
        "StudyDate": None,
        "StudyTime": None,
        "StudyID": None,
        "AccessionNumber": None,
        "ReferringPhysicianName": None,
    },
    {
        "StudyDate": b"2026-13-45",
        "StudyTime": b"25:99 ",
        "PatientBirthDate": b"unknown ",
        "ContentDate": b"20260230",
    },
    {"ImagerPixelSpacing": [0, 0], "PixelSpacing": [0, 0]},
    {"ImagerPixelSpacing": b"0.1 "},
    {"SpecificCharacterSet": "NONSENSE", "PatientName": b"M\xfcller^Geheim"},
    {"SpecificCharacterSet": "ISO_IR 192", "PatientName": b"M\xfcller^Geheim"},
    {"SpecificCharacterSet": None, "StudyDescription": b"Wirbels\xe4ule"},
    {"SpecificCharacterSet": ["", "ISO 2022 IR 87"], "PatientName": b"Geheim^\x1b$B;3ED\x1b(B"},
    {"StudyDescription": "x" * 200, "PatientID": "7" * 90, "StudyID": "9" * 40, "AccessionNumber": "8" * 40},
    {"PatientName": "x" * 200, "InstitutionName": b"a\x00b\x07c ", "BodyPartExamined": "spine, all of it"},
    {"InstanceNumber": b"one ", "SeriesNumber": b"1.5 ", "AcquisitionNumber": b"99999999999 "},
    {"StudyInstanceUID": "1.2.040." + "9" * 56},
    {"AnatomicRegionSequence": None, "ViewCodeSequence": None, "PatientOrientation": None},
]


def source(tmp_path: Path, film: Dataset) -> Dataset:
    loaded = read_film(write(film, tmp_path / "film"))
    assert isinstance(loaded, LoadedFilm), loaded
    return loaded.header


def segmentation(header: Dataset) -> hd.seg.Segmentation:
    labels = np.zeros((header.Rows, header.Columns), np.uint8)
    labels[50:90, 60:120] = 1
    segment = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label="C3",
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=codes.cid7603.C3Vertebra,
        algorithm_type="AUTOMATIC",
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            "a", codes.DCM.ArtificialIntelligence, "1"
        ),
    )
    return hd.seg.Segmentation(
        source_images=[header],
        pixel_array=labels,
        segmentation_type="BINARY",
        segment_descriptions=[segment],
        series_instance_uid=generate_uid(),
        series_number=100,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="spinepacs",
        manufacturer_model_name="spinepacs",
        software_versions="0",
        device_serial_number="0",
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: "+".join(damage) or "none")
@pytest.mark.parametrize("make", [make_dx, make_cr])
def test_highdicom_builds_from_it(tmp_path: Path, make: Any, damage: dict[str, Any]) -> None:
    header = source(tmp_path, make(**damage))
    with warnings.catch_warnings():
        # Warnings of highdicom about names with one component and odd UIDs concern the source, not its header here.
        warnings.filterwarnings(
            "ignore", message=".*(person name|Invalid value for VR UI).*", category=UserWarning
        )
        built = segmentation(header)
        if "SpecificCharacterSet" in header:
            built.SpecificCharacterSet = header.SpecificCharacterSet
        file = BytesIO()
        built.save_as(file)
        file.seek(0)
        read_again = pydicom.dcmread(file)
        assert read_again.StudyInstanceUID == header.StudyInstanceUID
        assert str(read_again.PatientName or "") == str(header.PatientName or "")
        assert read_again.ReferencedSeriesSequence[0].SeriesInstanceUID == header.SeriesInstanceUID


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: "+".join(damage) or "none")
def test_every_value_of_it_is_valid(tmp_path: Path, damage: dict[str, Any]) -> None:
    header = source(tmp_path, make_dx(**damage))
    for keyword in (
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyDate",
        "StudyTime",
        "StudyID",
    ):
        assert keyword in header
    assert header.PatientSex in ("M", "F", "O", "")
    assert "PixelData" not in header
    file = BytesIO()
    if "StudyInstanceUID" not in damage:
        pydicom.dcmwrite(
            file, header, enforce_file_format=True
        )  # warnings are errors: every value is checked


def test_private_elements_and_comments_stay_behind(tmp_path: Path) -> None:
    film = make_dx(ImageComments="Geheim", PatientComments="Geheim", OperatorsName="Geheim^Otto")
    film.private_block(0x0019, "ACME", create=True).add_new(0x01, "LO", "Geheim")
    film.VOILUTSequence = []
    header = source(tmp_path, film)
    assert not any(element.tag.is_private for element in header)
    for keyword in ("ImageComments", "PatientComments", "OperatorsName", "VOILUTSequence", "WindowCenter"):
        assert keyword not in header


def test_texts_survive_in_their_character_set(tmp_path: Path) -> None:
    header = source(tmp_path, make_dx(PatientName="Müller^Jürgen"))
    assert (header.SpecificCharacterSet, str(header.PatientName)) == ("ISO_IR 100", "Müller^Jürgen")
    header = source(tmp_path, make_dx(SpecificCharacterSet=None, PatientName=b"M\xfcller^J\xfcrgen"))
    assert header.SpecificCharacterSet == "ISO_IR 192"
    japanese = b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"
    header = source(tmp_path, make_dx(SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName=japanese))
    assert str(header.PatientName) == "Yamada^Tarou=山田^太郎"
    assert header.SpecificCharacterSet == "ISO_IR 192"


@pytest.mark.parametrize("keyword", ["PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"])
def test_only_whole_spacings_are_kept(tmp_path: Path, keyword: str) -> None:
    assert list(source(tmp_path, make_cr(**{keyword: [0.2, 0.1]}))[keyword].value) == [0.2, 0.1]
    assert keyword not in source(tmp_path, make_cr(**{keyword: [0, 0]}))


def test_the_original_dataset_is_not_changed(tmp_path: Path) -> None:
    film = make_dx(PatientSex="X")
    path = write(film, tmp_path / "film")
    before = path.read_bytes()
    read_film(path)
    assert path.read_bytes() == before
