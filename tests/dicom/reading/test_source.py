"""The header that results are made of: the film's identity byte for byte, whatever the state of the source."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from spinepacs.dicom.identity import TYPE_2, WHERE_KNOWN, WORDS, Carried, keep_texts
from spinepacs.dicom.reading.film import LoadedFilm, read_film
from spinepacs.dicom.reading.parse import parse, quiet, stored
from spinepacs.dicom.report.document import encode_report
from spinepacs.settings.sections import OutputSettings
from tests.dicom import readings
from tests.dicom.test_archive import objects
from tests.films import make_cr, make_dx, write

VALUES: dict[str, Any] = {
    "LO": "Some text", "SH": "Some text", "LT": "Some text", "PN": "Some^Name", "UI": "1.2.3", "CS": "NO",
    "AS": "042Y", "DS": 70.5, "TM": "102030",
}  # fmt: skip
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
    {"PatientID": b"  4711"},
    {"PatientID": b"47\t11 "},
    {"PatientID": b"47\\11 "},
    {"PatientID": b"4711\0 "},
    {"PatientID": b"\xc4\xd6 4711 ", "SpecificCharacterSet": None},
    {"AccessionNumber": b"A-2026-000000000000000000001", "StudyID": b" 1\\2"},
    {"PatientName": b"A" * 55 + b"^" + b"B" * 17 + b"=" + b"C" * 60},
    {"SpecificCharacterSet": "ISO_IR 13", "PatientName": b"YAMADA\\TARO^~"},
    {"SpecificCharacterSet": ["", "ISO 2022 IR 58"], "PatientName": b"Zhang=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1"},
    {
        "SpecificCharacterSet": ["ISO 2022 IR 100", "ISO 2022 IR 149"],
        "PatientName": b"M\xfcller=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7",
        "PatientComments": b"\x1b$)C\xb1\xe2\r\n\x1b$)C\xb1\xe6\xb5\xbf\r\n\xb1\xe6",
    },
    {"SpecificCharacterSet": "GB18030", "PatientName": "王\x5c^小".encode("gb18030")},
    {"SpecificCharacterSet": "ISO-IR 100", "PatientName": b"M\xfcller"},
    {"AnatomicRegionSequence": None, "ViewCodeSequence": None, "PatientOrientation": None},
]


def identity_in(path: Path) -> dict[str, bytes]:
    """Texts of patient and study and their character set, as they stand in a file, without padding."""
    dataset = parse(path, with_pixels=False)
    keywords = ("SpecificCharacterSet", *TYPE_2, *WHERE_KNOWN)
    texts = [
        keyword for keyword in keywords if keyword in dataset and dictionary_VR(keyword) in (*WORDS, "CS")
    ]
    found = {keyword: stored(dataset, keyword).rstrip(b" ") for keyword in texts if keyword != "PatientSex"}
    return {keyword: value for keyword, value in found.items() if value}


def source(tmp_path: Path, film: Dataset) -> Dataset:
    loaded = read_film(write(film, tmp_path / "film"))
    assert isinstance(loaded, LoadedFilm), loaded
    return loaded.header


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: "+".join(damage) or "none")
@pytest.mark.parametrize("make", [make_dx, make_cr])
def test_results_are_made_of_it_and_have_its_identity(
    tmp_path: Path, make: Any, damage: dict[str, Any]
) -> None:
    film = write(make(**damage), tmp_path / "film")
    header = source(tmp_path, make(**damage))
    for made in objects(header):
        (tmp_path / "made").write_bytes(made.part10)
        assert identity_in(tmp_path / "made") == identity_in(film)


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: "+".join(damage) or "none")
def test_every_value_beside_the_texts_of_patient_and_study_is_valid(
    tmp_path: Path, damage: dict[str, Any]
) -> None:
    header = source(tmp_path, make_dx(**damage))
    assert all(keyword in header for keyword in TYPE_2)
    assert header.PatientSex in ("M", "F", "O", "")
    assert "PixelData" not in header
    for element in list(header):
        if isinstance(element, Carried) or element.keyword == "SpecificCharacterSet":
            del header[element.tag]
    if "StudyInstanceUID" not in damage:  # warnings are errors: every value is checked
        pydicom.dcmwrite(BytesIO(), header, enforce_file_format=True)


def test_private_elements_and_comments_on_the_image_stay_behind(tmp_path: Path) -> None:
    film = make_dx(ImageComments="Geheim", OperatorsName="Geheim^Otto")
    film.private_block(0x0019, "ACME", create=True).add_new(0x01, "LO", "Geheim")
    film.VOILUTSequence = []
    item = Dataset()
    item.PatientID = "other"
    item.private_block(0x0019, "ACME", create=True).add_new(0x01, "LO", "Geheim")
    film.OtherPatientIDsSequence = [item]
    header = source(tmp_path, film)
    assert not any(element.tag.is_private for element in header.iterall())
    for keyword in ("ImageComments", "OperatorsName", "VOILUTSequence", "WindowCenter"):
        assert keyword not in header


@pytest.mark.parametrize("keyword", WHERE_KNOWN)
def test_every_attribute_of_patient_and_study_that_results_have_comes_through(
    tmp_path: Path, keyword: str
) -> None:
    item = Dataset()
    item.CodeValue, item.ReferencedSOPInstanceUID, item.UniversalEntityID = "C1", "1.2.3", "1.2.3.4"
    value = VALUES.get(dictionary_VR(keyword), [item])
    film = make_dx(**{keyword: value})
    for made in objects(source(tmp_path, film)):
        assert pydicom.dcmread(BytesIO(made.part10))[keyword].value == film[keyword].value


def test_issuers_come_through_however_deep(tmp_path: Path) -> None:
    qualifiers, other = Dataset(), Dataset()
    qualifiers.UniversalEntityID, qualifiers.UniversalEntityIDType = "1.2.3", "ISO"
    other.PatientID, other.IssuerOfPatientID, other.TypeOfPatientID = "  O1", "Klinik", "TEXT"
    other.IssuerOfPatientIDQualifiersSequence = [qualifiers]
    header = source(tmp_path, make_dx(OtherPatientIDsSequence=[other]))
    for made in objects(header):
        (carried,) = pydicom.dcmread(BytesIO(made.part10)).OtherPatientIDsSequence
        assert carried == other


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: "+".join(damage) or "none")
def test_the_identity_outlives_a_destination_that_takes_implicit_vr_only(
    tmp_path: Path, damage: dict[str, Any]
) -> None:
    other = Dataset()
    other.PatientID, other.IssuerOfPatientID = "O1", "Klinik"
    header = source(tmp_path, make_dx(OtherPatientIDsSequence=[other], **damage))
    made = encode_report(header, readings.reading(header), None, OutputSettings())
    (tmp_path / "explicit").write_bytes(made.part10)
    with quiet():
        written_anew = pydicom.dcmread(tmp_path / "explicit")
        keep_texts(written_anew)
        written_anew.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        written_anew.save_as(tmp_path / "implicit", implicit_vr=True)
        assert pydicom.dcmread(tmp_path / "implicit").OtherPatientIDsSequence == [other]
    assert identity_in(tmp_path / "implicit") == identity_in(tmp_path / "explicit")


OLD = {"StudyDate": b"1993.04.06", "StudyTime": b"10:20:30", "ContentTime": b"102030.1234567 "}


def test_dates_of_old_consoles_are_written_in_today_s_form(tmp_path: Path) -> None:
    header = source(tmp_path, make_dx(**OLD, PatientBirthDate=b"1956-11-03", PatientAge=b"36Y "))
    assert (header.StudyDate, header.StudyTime, header.ContentTime) == ("19930406", "102030", "102030.123456")
    assert (header.PatientBirthDate, header.PatientAge) == ("19561103", "036Y")
    for made in objects(header):
        result = pydicom.dcmread(BytesIO(made.part10))
        assert (result.StudyDate, result.StudyTime, result.PatientBirthDate) == (
            "19930406",
            "102030",
            "19561103",
        )


def test_the_default_character_set_is_that_of_films_that_declare_none(tmp_path: Path) -> None:
    russian = "Иванов^Иван".encode("iso8859_5")
    for declared, expected in ((None, "ISO_IR 144"), ("", "ISO_IR 144"), ("ISO_IR 100", "ISO_IR 100")):
        path = write(make_dx(SpecificCharacterSet=declared, PatientName=russian), tmp_path / "film")
        loaded = read_film(path, "ISO_IR 144")
        assert isinstance(loaded, LoadedFilm)
        for made in objects(loaded.header):
            result = pydicom.dcmread(BytesIO(made.part10))
            assert result.SpecificCharacterSet == expected
            assert (str(result.PatientName) == "Иванов^Иван") is (expected == "ISO_IR 144")
    korean = b"Hong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7"
    path = write(make_dx(SpecificCharacterSet=None, PatientName=korean), tmp_path / "film")
    loaded = read_film(path, "\\ISO 2022 IR 149")
    assert isinstance(loaded, LoadedFilm)
    assert [str(v) for v in loaded.header.SpecificCharacterSet] == ["", "ISO 2022 IR 149"]


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
