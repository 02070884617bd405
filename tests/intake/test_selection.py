"""Which films are read by the default rules and by rules of one's own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydicom.uid import BasicTextSRStorage, CTImageStorage, EncapsulatedPDFStorage, SegmentationStorage

from spinepacs.dicom.reading.header import header_of, read_header
from spinepacs.domain.study import StudyHeader
from spinepacs.intake.selection import select
from spinepacs.settings.sections import SelectionSettings
from tests.films import SECRETS, make_cr, make_dx, pydicom_data

RULES = SelectionSettings()
SILENT = {"BodyPartExamined": None, "StudyDescription": None, "SeriesDescription": None}


def silent(**fields: object) -> StudyHeader:
    """A CR header that speaks of nothing, with these fields."""
    return replace(header_of(make_cr(**SILENT)), **fields)  # type: ignore[arg-type]  # the fields of the test table


def code_of(header: StudyHeader, rules: SelectionSettings = RULES, calling_ae: str = "PACS") -> str:
    refusal = select(header, rules, calling_ae)
    return refusal.code if refusal else ""


@pytest.mark.parametrize(
    "body_part",
    ["CSPINE", "C-SPINE", "C SPINE", "TSPINE", "LSPINE", "L_SPINE", "LUMBAR SPINE", "WHOLE SPINE",
     "LUMBOSACRAL SPINE", "WHOLESPINE", "SCOLIOSIS", "SPINE", "CERVICAL",
     "LUMBAR", "CTSPINE", "Thoracic spine", "LWS", "TL-SPINE", "L/S SPINE"],
)  # fmt: skip
def test_the_usual_spellings_of_the_spine(body_part: str) -> None:
    assert code_of(silent(body_part=body_part)) == ""


@pytest.mark.parametrize(
    "description",
    ["C-spine lateral", "L Spine 2 views", "XR Lumbar", "Ganzwirbelsäule / Wirbelsäule", "HWS in 2 Ebenen", "scoliosis",
     "LSPINE AP", "Thoracic spine", "spinal alignment"],
)  # fmt: skip
def test_descriptions_speak_where_the_body_part_is_silent(description: str) -> None:
    assert code_of(silent(descriptions=("Study", description))) == ""


@pytest.mark.parametrize("body_part", ["CHEST", "TIBIA", "", "HAND", "PELVIS", "SPLEEN"])
def test_other_parts_are_not_read(body_part: str) -> None:
    assert code_of(silent(body_part=body_part, descriptions=("Chest PA", "Tib/Fib"))) == "NOT_SELECTED"


@pytest.mark.parametrize("modality", ["CR", "DX", "RF", "XA"])
def test_projection_modalities_are_read(modality: str) -> None:
    assert code_of(silent(body_part="CSPINE", modality=modality)) == ""


@pytest.mark.parametrize("modality", ["CT", "MR", "OT", "SEG", "SR", "US", ""])
def test_others_are_not(modality: str) -> None:
    assert code_of(silent(body_part="CSPINE", modality=modality)) == "NOT_SELECTED"


def test_own_results_are_never_read_again() -> None:
    film = make_dx(Manufacturer="spinepacs", ManufacturerModelName="spinepacs")
    assert code_of(header_of(film)) == "OWN_RESULT"


def test_senders_and_sop_classes_may_be_named() -> None:
    header = header_of(make_dx())
    senders = RULES.model_copy(update={"calling_ae_titles": ("ROOM1",)})
    assert code_of(header, senders, "ROOM1") == ""
    assert code_of(header, senders, "ROOM2") == "NOT_SELECTED"
    classes = RULES.model_copy(update={"sop_classes": (header.sop_class_uid,)})
    assert code_of(header, classes) == ""
    assert code_of(header_of(make_cr()), classes) == "NOT_SELECTED"


def test_rules_of_ones_own() -> None:
    rules = RULES.model_copy(update={"body_parts": ("TIBIA",), "descriptions": ("unterschenkel",)})
    assert code_of(silent(body_part="TIBIA"), rules) == ""
    assert code_of(silent(descriptions=("Unterschenkel",)), rules) == ""
    assert code_of(silent(body_part="CSPINE"), rules) == "NOT_SELECTED"


def test_reasons_name_the_rule_and_no_patient() -> None:
    film = make_cr(
        BodyPartExamined="CHEST", StudyDescription="Geheim Erika SECRET-4711", SeriesDescription=None
    )
    refusal = select(header_of(film), RULES, "PACS")
    assert refusal is not None
    assert "BodyPartExamined" in refusal.reason
    assert not any(secret in refusal.reason for secret in SECRETS)


@pytest.mark.parametrize("name", ["RG1_UNCR.dcm", "RG1_J2KR.dcm", "RG3_UNCR.dcm", "RG3_J2KI.dcm"])
def test_a_real_chest_and_a_real_tibia_are_not_read(name: str) -> None:
    assert code_of(read_header(pydicom_data() / name)) == "NOT_SELECTED"


@pytest.mark.parametrize(
    "sop_class", [BasicTextSRStorage, EncapsulatedPDFStorage, CTImageStorage, SegmentationStorage]
)
@pytest.mark.parametrize("modality", ["DX", "SR"])
def test_what_is_no_radiograph_is_known_by_its_class(sop_class: str, modality: str) -> None:
    header = silent(body_part="CSPINE", modality=modality, sop_class_uid=sop_class)
    assert code_of(header) == "NO_RADIOGRAPH"
    named = SelectionSettings(sop_classes=(sop_class,))
    assert code_of(header, named) == ("" if modality == "DX" else "NOT_SELECTED")


@pytest.mark.parametrize(("modality", "code"), [("DX", "UNKNOWN_SOP_CLASS"), ("OT", "NO_RADIOGRAPH")])
def test_of_a_private_class_only_what_might_be_a_film_is_kept(modality: str, code: str) -> None:
    assert code_of(silent(body_part="CSPINE", modality=modality, sop_class_uid="1.3.46.670589.9")) == code
