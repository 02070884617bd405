"""The structured report, read back with highdicom and checked by dciodvfy."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes as standard
from pydicom.uid import Comprehensive3DSRStorage

from spinepacs.dicom import codes
from spinepacs.dicom.report.document import encode_report
from spinepacs.dicom.report.groups import site_of
from spinepacs.dicom.report.measure_codes import MEASURES
from spinepacs.dicom.report.sign_codes import (
    SCHEMES,
    SIDES,
    SIGNS,
    STATEMENTS,
    grade_code,
    note_code,
    reason_code,
)
from spinepacs.dicom.segmentation import encode_segmentation
from spinepacs.domain import words
from spinepacs.domain.anatomy import DiscLevel, Level, Span
from spinepacs.domain.findings import EncodedObject, Reading
from spinepacs.domain.geometry import Outline, Spacing
from spinepacs.domain.measures import Measure, Place, Quantity, Reason, Unit
from spinepacs.domain.signs import GRADE_NAMES, Deformity, Finding, ForAge, Scheme, Side, Sign
from spinepacs.domain.study import View
from spinepacs.settings.sections import OutputSettings
from tests.dicom import readings
from tests.dicom.tools import dciodvfy_complaints

OUTPUT = OutputSettings()
HEIGHT = standard.DCM.Height


def encode(
    reading: Reading | None = None, *, segmented: bool = True, **elements: Any
) -> tuple[Reading, EncodedObject | None, EncodedObject]:
    header = readings.header(**elements)
    reading = reading or readings.reading(header)
    segmentation = encode_segmentation(header, reading, OUTPUT) if segmented else None
    return reading, segmentation, encode_report(header, reading, segmentation, OUTPUT)


def read_back(encoded: EncodedObject) -> Any:
    return hd.sr.srread(BytesIO(encoded.part10))


def heights_of(group: Any) -> dict[str, tuple[float, str]]:
    """Height by topographical modifier, with its unit."""
    found = {}
    for measurement in group.get_measurements(name=HEIGHT):
        (site,) = measurement.finding_sites
        found[site.topographical_modifier.meaning] = (measurement.value, measurement.unit.value)
    return found


def test_every_vertebra_refers_to_its_segment() -> None:
    reading, segmentation, encoded = encode()
    assert reading.spine
    assert segmentation
    groups = read_back(encoded).content.get_planar_roi_measurement_groups()
    assert [g.tracking_identifier for g in groups] == [v.level.name for v in reading.spine.vertebrae]
    for number, (group, vertebra) in enumerate(zip(groups, reading.spine.vertebrae, strict=True), start=1):
        (frame, *_) = group.referenced_segmentation_frame
        assert frame.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == segmentation.sop_uid
        assert frame.ReferencedSOPSequence[0].ReferencedSegmentNumber == number
        assert group.finding_sites[0].value == codes.VERTEBRAE[vertebra.level]
        assert group.finding_type == codes.VERTEBRA


def test_a_3d_report_holds_the_same_under_another_class_and_uid(tmp_path: Path) -> None:
    header = readings.header()
    reading = readings.reading(header)
    plain, other = (
        encode_report(header, reading, None, OutputSettings(report=report))
        for report in ("comprehensive", "comprehensive-3d")
    )
    assert plain.sop_uid != other.sop_uid
    assert plain.series_uid != other.series_uid
    assert other.sop_class_uid == Comprehensive3DSRStorage
    assert isinstance(read_back(other), hd.sr.Comprehensive3DSR)
    path = tmp_path / "report.dcm"
    path.write_bytes(other.part10)
    assert dciodvfy_complaints(path) == []
    contents = [pydicom.dcmread(BytesIO(item.part10)).ContentSequence for item in (plain, other)]
    assert contents[0] == contents[1]


def test_tracking_uids_are_those_of_the_segments() -> None:
    _, segmentation, encoded = encode()
    assert segmentation
    segments = hd.seg.segread(BytesIO(segmentation.part10))
    groups = read_back(encoded).content.get_planar_roi_measurement_groups()
    assert [g.tracking_uid for g in groups] == [
        segments.get_segment_description(number).tracking_uid for number in segments.segment_numbers
    ]


def test_without_a_segmentation_every_vertebra_carries_its_outline() -> None:
    reading, _, encoded = encode(segmented=False)
    assert reading.spine
    groups = read_back(encoded).content.get_planar_roi_measurement_groups()
    for group, vertebra in zip(groups, reading.spine.vertebrae, strict=True):
        points = group.roi.value
        np.testing.assert_allclose(points[:-1], vertebra.outline.points, rtol=1e-6)
        np.testing.assert_array_equal(points[0], points[-1])


def test_an_outline_beyond_the_border_is_drawn_within_the_image() -> None:
    header = readings.header()
    reading = readings.reading(header)
    assert reading.spine
    vertebrae = list(reading.spine.vertebrae)
    moved = vertebrae[0].outline.points - [0, 120]
    vertebrae[0] = replace(vertebrae[0], outline=Outline(moved))
    reading = replace(reading, spine=replace(reading.spine, vertebrae=tuple(vertebrae)))
    _, _, encoded = encode(reading, segmented=False)
    points = read_back(encoded).content.get_planar_roi_measurement_groups()[0].roi.value
    assert moved[:, 1].min() < 0
    assert points[:, 1].min() == 0


def values_of(reading: Reading, place: Place) -> dict[Quantity, Measure]:
    return {m.quantity: m for m in reading.measures if m.place == place}


def test_every_disc_has_its_heights_in_mm_with_the_lines_measured() -> None:
    reading, _, encoded = encode()
    groups = read_back(encoded).content.get_image_measurement_groups()
    discs = [m.place for m in reading.measures if m.quantity is Quantity.DISC_HEIGHT_MIDDLE]
    for group, disc in zip(groups, discs, strict=False):
        measured = values_of(reading, disc)
        sides = [Quantity.DISC_HEIGHT_ANTERIOR, Quantity.DISC_HEIGHT_MIDDLE, Quantity.DISC_HEIGHT_POSTERIOR]
        assert group.tracking_identifier == disc.name
        assert group.finding_sites[0].value == codes.DISCS[disc]
        assert heights_of(group) == {
            name: (pytest.approx(measured[side].value, abs=0.006), "mm")
            for name, side in zip(("Anterior", "Central", "Posterior"), sides, strict=True)
        }
        lines = [m.referenced_coordinates[0].value for m in group.get_measurements(name=HEIGHT)]
        for side, line in zip(sides, lines, strict=True):
            np.testing.assert_allclose(line, measured[side].lines_px[0], rtol=1e-6)
        assert group.method == codes.SPACING[readings.SPACING.basis]


def test_methods_tell_the_ways_to_measure_a_disc_apart() -> None:
    reading, _, encoded = encode()
    group = read_back(encoded).content.get_image_measurement_groups()[0]
    measured = values_of(reading, reading.discs[0].disc)
    indices = {m.method and m.method.value: m.value for m in group.get_measurements(name=codes.HEIGHT_INDEX)}
    assert indices == {
        None: pytest.approx(measured[Quantity.DISC_HEIGHT_INDEX].value, abs=6e-4),
        "FROBIN_1997": pytest.approx(measured[Quantity.DISC_HEIGHT_FROBIN].value, abs=6e-4),
    }
    lengths = {m.method and m.method.value for m in group.get_measurements(name=codes.DISC_HEIGHT)}
    assert lengths == {None, "DABBS_1990", "HURXTHAL_1968"}


@pytest.mark.parametrize("place", [Level, DiscLevel, Span])
def test_every_quantity_has_a_code_of_its_own(place: type) -> None:
    coded = [MEASURES[quantity] for quantity in Quantity if _place_of(quantity) is place]
    # The main curve and the others are told apart by their levels; lateral and AP measures never meet.
    assert len(set(coded)) >= len(coded) - {Level: 0, DiscLevel: 3, Span: 1}[place]
    assert all(len(code.value) <= 16 and len(code.meaning) <= 64 for c in coded for code in c if code)


def _place_of(quantity: Quantity) -> type:
    for view in (View.LATERAL, View.AP):
        for first, count in ((Level.C2, 6), (Level.T1, 18)):
            for m in readings.reading(readings.header(), first, count, view=view).measures:
                if m.quantity is quantity:
                    return type(m.place)
    return Span


def test_the_uncertainty_stands_where_tid_310_has_it() -> None:
    reading, _, encoded = encode()
    group = read_back(encoded).content.get_image_measurement_groups()[0]
    margin = values_of(reading, reading.discs[0].disc)[Quantity.DISC_HEIGHT_MIDDLE].margin
    (central,) = [
        m
        for m in group.get_measurements(name=HEIGHT)
        if m.finding_sites[0].topographical_modifier.meaning == "Central"
    ]
    (around,) = [item for item in central[0].ContentSequence if item.RelationshipType == "HAS PROPERTIES"]
    assert around.ConceptNameCodeSequence[0].CodeValue == "371884006"
    assert around.MeasuredValueSequence[0].NumericValue == pytest.approx(margin, abs=0.006)
    assert around.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue == "mm"


def test_the_regional_angle_is_a_group_with_its_legs_drawn() -> None:
    reading, _, encoded = encode()
    (angle,) = [m for m in reading.measures if m.quantity is Quantity.CERVICAL_LORDOSIS]
    (group,) = [
        g
        for g in read_back(encoded).content.get_image_measurement_groups()
        if g.tracking_identifier == "C2-C7"
    ]
    (measurement,) = group.get_measurements()
    assert measurement.unit.value == "deg"
    assert measurement.value == pytest.approx(angle.value, abs=0.06)
    assert measurement.referenced_coordinates[0].value.shape == (4, 2)
    assert [s.value for s in group.finding_sites] == [codes.VERTEBRAE[Level.C2], codes.VERTEBRAE[Level.C7]]


def test_a_cobb_angle_has_the_standard_code_ends_and_apex() -> None:
    reading = readings.reading(readings.header(), Level.T1, 17, view=View.AP)
    (curve,) = [m for m in reading.measures if m.quantity is Quantity.COBB_MAIN]
    groups = read_back(encode(reading)[2]).content.get_image_measurement_groups()
    (group,) = [g for g in groups if g.tracking_identifier == f"Cobb {curve.place.name}"]
    (measurement,) = group.get_measurements(name=standard.SCT.CobbAngle)
    assert measurement.method.value == "COBB_1948"
    names = {e.name.value: e.value for e in group.get_qualitative_evaluations()}
    assert curve.apex is not None
    assert names["APEX"] == site_of(curve.apex)
    assert names["CONVEXITY"].value == ("IMAGE_LEFT" if curve.convex_left else "IMAGE_RIGHT")


def test_without_a_spacing_heights_are_pixels() -> None:
    header = readings.header()
    reading, _, encoded = encode(readings.reading(header, spacing=None))
    group = read_back(encoded).content.get_image_measurement_groups()[0]
    middle = values_of(reading, reading.discs[0].disc)[Quantity.DISC_HEIGHT_MIDDLE]
    assert heights_of(group)["Central"] == (pytest.approx(middle.value, abs=0.006), "{pixels}")
    assert b"\x00mm" not in encoded.part10
    assert "px, the image states no spacing" in group.method.meaning


def test_an_ap_film_has_sides_of_the_image() -> None:
    header = readings.header()
    _, _, encoded = encode(readings.reading(header, view=View.AP))
    group = read_back(encoded).content.get_image_measurement_groups()[0]
    assert set(heights_of(group)) == {"Left side of the image", "Central", "Right side of the image"}


def test_grades_are_published_or_said_to_be_withheld() -> None:
    reading, _, encoded = encode()
    stages = {f.disc.name: f for f in reading.findings if f.disc and f.sign is Sign.DISC_HEIGHT_LOSS}
    for group in read_back(encoded).content.get_image_measurement_groups():
        if finding := stages.pop(group.tracking_identifier, None):
            (stage,) = group.get_qualitative_evaluations(name=SIGNS[Sign.DISC_HEIGHT_LOSS])
            grade = finding.published_grade
            wanted = "Withheld" if grade is None else f"Grade {grade}: {('none', 'initial', 'middle')[grade]}"
            assert stage.value.meaning == wanted
    assert stages == {}


def modifiers(item: pydicom.Dataset) -> dict[str, str]:
    return {
        child.ConceptNameCodeSequence[0].CodeMeaning: child.ConceptCodeSequence[0].CodeMeaning
        for child in item.ContentSequence
        if child.ValueType == "CODE" and child.RelationshipType == "HAS CONCEPT MOD"
    }


def test_a_withheld_grade_tells_the_computed_one_and_why() -> None:
    item = pydicom.dcmread(BytesIO(encode()[2].part10))
    measurements = next(i for i in item.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "126010")
    graded = [
        modifiers(child)
        for group in measurements.ContentSequence
        for child in group.ContentSequence
        if child.ValueType == "CODE" and child.ConceptCodeSequence[0].CodeValue == "WITHHELD"
    ]
    assert graded
    assert graded[0] == {
        "Measurement Method": "spinepacs grading policy",
        "Reason": "Vertebra barely found",
        "Computed grade, not published": "Grade 1: initial",
    }


def test_a_published_grade_carries_what_it_rests_on() -> None:
    item = pydicom.dcmread(BytesIO(encode()[2].part10))
    measurements = next(i for i in item.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "126010")
    stage = next(
        child
        for group in measurements.ContentSequence
        for child in group.ContentSequence
        if child.ValueType == "CODE" and child.ConceptCodeSequence[0].CodeValue == "DISC_NARROWING_2"
    )
    assert modifiers(stage)["Grade under a published scheme"] == "Grade 1"
    numbers = {
        child.ConceptNameCodeSequence[0].CodeValue: child.MeasuredValueSequence[0].NumericValue
        for child in stage.ContentSequence
        if child.ValueType == "NUM"
    }
    assert numbers == {"GRADED_VALUE": 0.4, "EXPECTED": 0.3}
    limits = [
        child.ConceptCodeSequence[0].CodeValue
        for child in stage.ContentSequence
        if child.RelationshipType == "HAS PROPERTIES" and child.ValueType == "CODE"
    ]
    assert limits == ["DISC_NARROWING_1", "DISC_NARROWING_2"]


def test_conclusions_are_coded_and_carry_their_sentence_and_support() -> None:
    reading, _, encoded = encode()
    root = pydicom.dcmread(BytesIO(encoded.part10))
    container = next(i for i in root.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "C0034375")
    coded = [item for item in container.ContentSequence if item.ValueType == "CODE"]
    assert [item.ConceptCodeSequence[0].CodeValue for item in coded] == ["MODERATE_SIGNS", "WITHHELD"]
    assert modifiers(coded[0])["Finding Site"] == "Cervical spine"
    assert modifiers(coded[1])["Reason"] == "Too few discs graded"
    (sentence,) = [c.TextValue for c in coded[0].ContentSequence if c.ValueType == "TEXT"]
    assert sentence == reading.conclusions[0].sentence
    support = [c for c in coded[0].ContentSequence if c.RelationshipType == "INFERRED FROM"]
    assert len(support) == len(reading.conclusions[0].support) > 0


def worn() -> Reading:
    """A reading with every sign, every reason, a disc without any measure, and every note."""
    reading = readings.reading(readings.header())
    disc, level = DiscLevel.below(Level.C4), Level.C5
    every = [
        Finding(sign, disc, Scheme.WALRAEVENS, 0.2, Unit.RATIO, 2, None, reason, grade_range=(1, 3))
        for sign, reason in zip(Sign, Reason, strict=False)
    ]
    every += [
        Finding(Sign.OSTEOPHYTES, level, Scheme.WALRAEVENS, 0.1, Unit.RATIO, 1, 1, side=side) for side in Side
    ]
    every += [
        Finding(Sign.VERTEBRAL_DEFORMITY, level, Scheme.GENANT, 0.3, Unit.RATIO, 2, 2, form=form)
        for form in Deformity
    ]
    far = DiscLevel.below(Level.T11)
    every.append(
        Finding(
            Sign.DISC_HEIGHT_LOSS, far, Scheme.SPINEPACS, None, Unit.RATIO, None, None, Reason.NOT_MEASURABLE
        )
    )
    every += [
        Finding(
            Sign.OSTEOPHYTES, place, Scheme.WALRAEVENS, None, Unit.RATIO, None, None, Reason.NOT_VALIDATED
        )
        for place in (disc, far)
    ]
    said = replace(reading.conclusions[0], for_age=ForAge.MORE)
    return replace(reading, findings=tuple(every), notes=(*words.NOTES, "SOMETHING_NEW"), conclusions=(said,))


def evaluated(encoded: EncodedObject) -> list[Any]:
    """What stands under Qualitative Evaluations."""
    root = pydicom.dcmread(BytesIO(encoded.part10))
    (container,) = (i for i in root.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "C0034375")
    return list(container.ContentSequence)


def test_every_note_is_coded_with_its_words() -> None:
    reading = worn()
    coded = [i.ConceptCodeSequence[0] for i in evaluated(encode(reading)[2]) if named(i) == "FILM_NOTE"]
    assert len(coded) == len({code.CodeValue for code in coded}) == len(reading.notes)
    assert {code.CodingSchemeDesignator for code in coded} == {"99SPINEPACS"}
    meanings = {code.CodeMeaning for code in coded}
    assert {"Metal over a vertebra", "Something new", "Oblique view"} <= meanings


def test_a_grade_of_a_disc_without_measures_stands_among_the_evaluations() -> None:
    encoded = encode(worn())[2]
    (found,) = (i for i in evaluated(encoded) if named(i) == "DISC_NARROWING")
    assert found.ConceptCodeSequence[0].CodeValue == "NOT_GRADED"
    assert modifiers(found)["Reason"] == "Not measurable"
    assert "T11" in modifiers(found)["Finding Site"]
    groups = read_back(encoded).content.get_image_measurement_groups()
    assert "T11/T12" not in [group.tracking_identifier for group in groups]


def test_withheld_measures_are_left_out_and_said_to_be() -> None:
    reading = readings.reading(readings.header())
    measures = tuple(
        replace(m, reason=Reason.UNCERTAIN) if m.place.name in ("C4/C5", "C2-C7") else m
        for m in reading.measures
    )
    encoded = encode(replace(reading, measures=measures))[2]
    assert b"Measures withheld (outlines too uncertain): C4/C5, C2-C7." in encoded.part10
    tracked = [g.tracking_identifier for g in read_back(encoded).content.get_image_measurement_groups()]
    assert "C3/C4" in tracked
    assert not {"C4/C5", "C2-C7"} & set(tracked)


def test_what_the_policy_never_grades_is_said_once() -> None:
    encoded = encode(worn())[2]
    assert b"Not graded where this policy has no tested rule: osteophytes at 2 discs." in encoded.part10
    assert b"No tested rule for this region" not in encoded.part10


def test_a_conclusion_has_its_degree_and_what_is_usual_at_the_age() -> None:
    (conclusion,) = (i for i in evaluated(encode(worn())[2]) if named(i) == "121077")
    said = modifiers(conclusion)
    assert said["Overall degree of disc degeneration"] == "Grade 2: moderate"
    assert said["Compared with what is usual at this age"] == "More than usual at this age"


@pytest.mark.peer
def test_dciodvfy_has_nothing_to_say_of_a_worn_spine(tmp_path: Path) -> None:
    path = tmp_path / "report.dcm"
    path.write_bytes(encode(worn())[2].part10)
    assert dciodvfy_complaints(path) == []


def named(item: Any) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeValue)


@pytest.mark.parametrize("note", [*words.NOTES, "A_NOTE_OF_TOMORROW_WITH_A_LONG_NAME"])
def test_every_code_of_notes_fits_its_vr(note: str) -> None:
    assert len(note_code(note).value) <= 16
    assert len(words.note_words(note)) <= 64


@pytest.mark.parametrize("reason", Reason)
def test_every_code_of_signs_fits_its_vr(reason: Reason) -> None:
    grades = [grade_code(sign, grade) for sign, names in GRADE_NAMES.items() for grade in range(len(names))]
    for code in [reason_code(reason), *grades, *STATEMENTS.values(), *SIDES.values(), *SCHEMES.values()]:
        assert len(code.value) <= 16
        assert len(code.meaning) <= 64


def test_it_is_unverified_by_a_device_and_not_for_diagnosis() -> None:
    _, _, encoded = encode()
    report = pydicom.dcmread(BytesIO(encoded.part10))
    assert report.VerificationFlag == "UNVERIFIED"
    observers = read_back(encoded).content.get_observer_contexts(observer_type=standard.DCM.Device)
    assert observers[0].observer_identifying_attributes.name == "spinepacs"
    assert b"Not for diagnostic use. Made by software" in encoded.part10
    assert b"Lengths: mm in the detector plane" in encoded.part10
    assert b"model spine-v0 0.1, grading policy default 1" in encoded.part10


def test_everything_referred_to_is_listed_as_evidence() -> None:
    _, segmentation, encoded = encode()
    assert segmentation
    header = readings.header()
    evidence = pydicom.dcmread(BytesIO(encoded.part10)).CurrentRequestedProcedureEvidenceSequence[0]
    listed = {
        (series.SeriesInstanceUID, item.ReferencedSOPInstanceUID)
        for series in evidence.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    assert listed == {
        (header.SeriesInstanceUID, header.SOPInstanceUID),
        (segmentation.series_uid, segmentation.sop_uid),
    }


@pytest.mark.peer
@pytest.mark.parametrize("spacing", [readings.SPACING, None])
@pytest.mark.parametrize("segmented", [True, False])
def test_dciodvfy_has_nothing_to_say(tmp_path: Path, spacing: Spacing | None, segmented: bool) -> None:
    path = tmp_path / "report.dcm"
    reading = readings.reading(readings.header(), spacing=spacing)
    path.write_bytes(encode(reading, segmented=segmented)[2].part10)
    assert dciodvfy_complaints(path) == []


def test_the_same_reading_gives_the_same_bytes() -> None:
    assert encode()[2].part10 == encode()[2].part10


@pytest.mark.parametrize(
    ("charset", "name"),
    [("ISO_IR 100", "Müller^Jörg"), (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"), (None, "Plain^Name")],
)
def test_names_in_other_scripts_survive(charset: str | list[str] | None, name: str) -> None:
    _, _, encoded = encode(SpecificCharacterSet=charset, PatientName=name)
    assert str(pydicom.dcmread(BytesIO(encoded.part10)).PatientName) == name
    assert read_back(encoded).content.get_image_measurement_groups()


def test_a_single_vertebra_makes_a_report_without_discs() -> None:
    header = readings.header()
    _, _, encoded = encode(readings.reading(header, Level.S1, 1))
    content = read_back(encoded).content
    assert [g.tracking_identifier for g in content.get_planar_roi_measurement_groups()] == ["S1"]
    assert content.get_image_measurement_groups() == []


def test_every_group_has_a_polyline_since_ohif_fails_without() -> None:
    _, _, encoded = encode()
    report = pydicom.dcmread(BytesIO(encoded.part10))
    measurements = next(
        item for item in report.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "126010"
    )
    for group in measurements.ContentSequence:
        numbers = [item for item in group.ContentSequence if item.ValueType == "NUM"]
        firsts = [n.ContentSequence[0].ValueType for n in numbers if "ContentSequence" in n]
        assert "SCOORD" in firsts
    assert measurements.ContentSequence[0].ContentTemplateSequence[0].TemplateIdentifier == "1501"


def test_a_reading_without_a_spine_has_no_report() -> None:
    nothing = replace(readings.reading(readings.header()), spine=None)
    with pytest.raises(ValueError, match="without a spine"):
        encode_report(readings.header(), nothing, None, OUTPUT)
