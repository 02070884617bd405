"""The header as the ledger sees it, in good and in bad order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from spinepacs.dicom.reading.header import (
    anterior_left,
    header_of,
    read_header,
    turn_of,
    view_is_sure,
    view_of,
)
from spinepacs.domain.geometry import Turn
from spinepacs.domain.study import View
from spinepacs.errors import BadInput, Transient
from tests.films import make_cr, make_dx, write


def code(value: str, meaning: str, scheme: str = "SCT") -> list[Dataset]:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return [item]


def test_a_whole_header(tmp_path: Path) -> None:
    film = make_dx(PatientAge="042Y")
    header = read_header(write(film, tmp_path / "film"))
    assert (header.study_uid, header.series_uid) == (film.StudyInstanceUID, film.SeriesInstanceUID)
    assert (header.sop_uid, header.sop_class_uid) == (film.SOPInstanceUID, film.SOPClassUID)
    assert header.transfer_syntax_uid == "1.2.840.10008.1.2.1"
    assert (header.modality, header.body_part) == ("DX", "CSPINE")
    assert header.descriptions == ("Cervical spine 2 views", "C-spine lateral", "Cervical spine")
    assert (header.patient_id, header.patient_sex, header.patient_age_years) == ("SECRET-4711", "F", 42)
    assert (header.study_date, header.accession_number) == ("20260102", "A1")
    assert (header.study_description, header.manufacturer) == ("Cervical spine 2 views", "Acme")
    assert not header.is_ours


def test_descriptions_hold_no_patient_element(tmp_path: Path) -> None:
    header = read_header(write(make_dx(ImageComments="Geheim", PatientComments="Geheim"), tmp_path / "film"))
    assert not any("Geheim" in text for text in header.descriptions)


@pytest.mark.parametrize(
    ("elements", "years"),
    [
        ({"PatientAge": "018M"}, 1.5),
        ({"PatientAge": "052W"}, pytest.approx(1, abs=0.01)),
        ({"PatientAge": "365D"}, pytest.approx(1, abs=0.01)),
        ({"PatientAge": "old"}, pytest.approx(69.2, abs=0.1)),
        ({"PatientAge": None}, pytest.approx(69.2, abs=0.1)),
        ({"PatientBirthDate": "19560230"}, None),
        ({"PatientBirthDate": "20270101"}, None),
        ({"PatientBirthDate": "17000101"}, None),
        ({"PatientBirthDate": None}, None),
        ({"StudyDate": None}, None),
    ],
)
def test_age(elements: dict[str, Any], years: float | None) -> None:
    assert header_of(make_cr(**elements)).patient_age_years == years


@pytest.mark.parametrize(
    ("sex", "expected"), [("f", "F"), ("X", ""), ("", ""), (None, ""), ("MALE", ""), ("O", "O")]
)
def test_sex(sex: str | None, expected: str) -> None:
    assert header_of(make_cr(PatientSex=sex)).patient_sex == expected


@pytest.mark.parametrize(
    "date", ["01/02/2026", "20261301", "20260230", "today", "20260102-20260103", "", None, b"\xff\xfe"]
)
def test_a_broken_study_date_is_no_date(date: Any) -> None:
    assert header_of(make_cr(StudyDate=date)).study_date == ""


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"BodyPartExamined": "l-spine"}, "L-SPINE"),
        ({"BodyPartExamined": None}, "CSPINE"),
        (
            {"BodyPartExamined": None, "AnatomicRegionSequence": code("T-11503", "Lumbar spine", "SRT")},
            "LSPINE",
        ),
        ({"BodyPartExamined": None, "AnatomicRegionSequence": code("1", "Chest")}, ""),
        ({"BodyPartExamined": None, "AnatomicRegionSequence": None}, ""),
    ],
)
def test_body_part(elements: dict[str, Any], expected: str) -> None:
    assert header_of(make_dx(**elements)).body_part == expected


@pytest.mark.parametrize(
    ("manufacturer", "model", "ours"),
    [
        ("spinepacs", "spinepacs", True),
        ("spinepacs", "spinepacs wrap", False),
        ("Acme", "spinepacs", False),
        (None, None, False),
    ],
)
def test_own_results_are_known(manufacturer: str | None, model: str | None, ours: bool) -> None:
    assert header_of(make_cr(Manufacturer=manufacturer, ManufacturerModelName=model)).is_ours is ours


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        ("AP", View.AP),
        ("pa", View.AP),
        ("A.P.", View.AP),
        ("LL", View.LATERAL),
        ("RL", View.LATERAL),
        ("LATERAL", View.LATERAL),
        ("L LAT", View.LATERAL),
        ("RLAT", View.LATERAL),
        ("LATERALFLEXION", View.LATERAL),
        ("SWIMMERS", View.LATERAL),
        ("LAO", View.OBLIQUE),
        ("RPO", View.OBLIQUE),
        ("LEFT OBLIQUE", View.OBLIQUE),
        ("LAT OBL", View.OBLIQUE),
        ("RLD", View.UNKNOWN),
        ("PLATE", View.UNKNOWN),
        ("", View.UNKNOWN),
    ],
)
def test_view_by_position(position: str, expected: View) -> None:
    bare = {"SeriesDescription": None, "StudyDescription": None, "PatientOrientation": None}
    assert view_of(make_cr(ViewPosition=position, **bare)) == expected


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"ViewCodeSequence": code("399348003", "antero-posterior")}, View.AP),
        ({"ViewCodeSequence": code("R-10206", "", "SRT")}, View.AP),
        ({"ViewCodeSequence": code("R-10236", "", "SRT")}, View.LATERAL),
        ({"ViewCodeSequence": code("9", "right anterior oblique")}, View.OBLIQUE),
        ({"ViewCodeSequence": code("399312000", "antero-posterior oblique")}, View.OBLIQUE),
        ({"PatientOrientation": ["A", "F"]}, View.LATERAL),
        ({"PatientOrientation": ["L", "F"]}, View.AP),
        ({"SeriesDescription": "LWS seitl."}, View.LATERAL),
        ({"SeriesDescription": "HWS a.p."}, View.AP),
        ({"SeriesDescription": "L-Spine 3 views", "ProtocolName": "lat standing"}, View.LATERAL),
        ({"SeriesDescription": "lumbar_AP"}, View.AP),
        ({"SeriesDescription": "Spine"}, View.UNKNOWN),
    ],
)
def test_view_without_a_position(elements: dict[str, Any], expected: View) -> None:
    bare = {
        "ViewPosition": None,
        "StudyDescription": None,
        "SeriesDescription": None,
        "PatientOrientation": None,
    }
    assert view_of(make_cr(**bare | elements)) == expected


def test_the_position_outranks_the_description() -> None:
    assert view_of(make_cr(ViewPosition="AP", SeriesDescription="lateral")) == View.AP


@pytest.mark.parametrize(
    ("orientation", "view", "expected"),
    [
        (["P", "F"], View.LATERAL, True),
        (["A", "F"], View.LATERAL, False),
        (["PL", "F"], View.LATERAL, True),
        (["a", "f"], View.LATERAL, False),
        (["P", "H"], View.LATERAL, False),
        (["A", "H"], View.LATERAL, True),
        (["F", "A"], View.LATERAL, True),
        (["F", "P"], View.LATERAL, False),
        (["H", "A"], View.LATERAL, False),
        (["H", "P"], View.LATERAL, True),
        (["P"], View.LATERAL, True),
        (["P", "L"], View.LATERAL, None),
        (["F"], View.LATERAL, None),
        (None, View.LATERAL, None),
        (["P", "F"], View.AP, None),
        (["P", "F"], View.OBLIQUE, None),
    ],
)
def test_facing(orientation: list[str] | None, view: View, expected: bool | None) -> None:
    assert anterior_left(make_cr(PatientOrientation=orientation), view) is expected


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (["P", "F"], Turn.NONE),
        (["L", "F"], Turn.NONE),
        (["R", "FA"], Turn.NONE),
        (["A", "H"], Turn.HALF),
        (["R", "h"], Turn.HALF),
        (["F", "P"], Turn.CLOCKWISE),
        (["F", "R"], Turn.CLOCKWISE),
        (["H", "A"], Turn.COUNTERCLOCKWISE),
        (["H", "L"], Turn.COUNTERCLOCKWISE),
        (["P"], None),
        (["L", "P"], None),
        (["F", "H"], None),
        (["X", "F"], None),
        (None, None),
    ],
)
def test_what_brings_the_head_up(orientation: list[str] | None, expected: Turn | None) -> None:
    assert turn_of(make_cr(PatientOrientation=orientation)) is expected


@pytest.mark.parametrize("orientation", [["A", "H"], ["F", "P"], ["H", "A"]])
def test_a_turned_film_states_its_view_all_the_same(orientation: list[str]) -> None:
    bare = {"ViewPosition": None, "StudyDescription": None, "SeriesDescription": None}
    assert view_of(make_cr(PatientOrientation=orientation, **bare)) == View.LATERAL


@pytest.mark.parametrize(
    "words",
    [
        "XR SPINE AP AND LATERAL",
        "L-SPINE AP/LAT",
        "LUMBAR APLAT",
        "AP/LL STANDING",
        "C SPINE 2 VIEWS",
        "LWS in 2 Ebenen (ap + seitl.)",
        "LWS a.p. und seitlich",
        "Rachis lombaire face et profil",
        "Columna lumbar AP y perfil",
        "RX columna anteroposterior y lateral",
        "PA + LAT FULL SPINE",
        "AP_LAT",
        "腰椎正侧位",
        "AP LAT OBL",
    ],
)
def test_a_text_that_names_two_views_says_nothing(words: str) -> None:
    bare = {"ViewPosition": None, "PatientOrientation": None, "StudyDescription": None}
    assert (
        view_of(make_cr(SeriesDescription=words, SpecificCharacterSet="ISO_IR 192", **bare)) == View.UNKNOWN
    )


def test_the_text_of_the_image_goes_before_the_one_of_the_study() -> None:
    bare = {"ViewPosition": None, "PatientOrientation": None}
    film = make_cr(SeriesDescription="L-SPINE AP", StudyDescription="LUMBAR SPINE LATERAL", **bare)
    assert view_of(film) == View.AP


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"ViewPosition": "AP"}, True),
        ({"ViewPosition": "AP", "PatientOrientation": ["L", "F"]}, True),
        ({"ViewPosition": "AP", "PatientOrientation": ["P", "F"]}, False),
        ({"ViewPosition": "LL", "ViewCodeSequence": code("399348003", "antero-posterior")}, False),
        ({"ViewPosition": None, "SeriesDescription": "L-SPINE LAT"}, False),
        ({"ViewPosition": None, "SeriesDescription": None, "StudyDescription": None}, False),
    ],
)
def test_only_elements_of_the_image_that_agree_are_sure(elements: dict[str, Any], expected: bool) -> None:
    assert view_is_sure(make_cr(**{"PatientOrientation": None} | elements)) is expected


def test_codes_that_contradict_one_another_say_nothing() -> None:
    both = [*code("399348003", "antero-posterior"), *code("399198007", "right lateral")]
    bare = {
        "ViewPosition": None,
        "PatientOrientation": None,
        "StudyDescription": None,
        "SeriesDescription": None,
    }
    assert view_of(make_cr(ViewCodeSequence=both, **bare)) == View.UNKNOWN


def test_a_missing_file_may_come_back(tmp_path: Path) -> None:
    with pytest.raises(Transient):
        read_header(tmp_path / "Geheim.dcm")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="folder") as caught:
        read_header(tmp_path)
    assert caught.value.reason_code == "NOT_DICOM"
