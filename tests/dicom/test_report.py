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

from spinepacs.anatomy import Level
from spinepacs.dicom import codes
from spinepacs.dicom.report import encode_report
from spinepacs.dicom.segmentation import encode_segmentation
from spinepacs.findings import EncodedObject, Reading
from spinepacs.geometry import Outline, Spacing
from spinepacs.settings import OutputSettings
from spinepacs.study import View
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


def test_every_disc_has_its_heights_in_mm_with_the_lines_measured() -> None:
    reading, _, encoded = encode()
    groups = read_back(encoded).content.get_image_measurement_groups()
    assert [g.tracking_identifier for g in groups] == [d.disc.name for d in reading.discs]
    for group, disc in zip(groups, reading.discs, strict=True):
        assert group.finding_sites[0].value == codes.DISCS[disc.disc]
        assert heights_of(group) == {
            "Anterior": (pytest.approx(disc.anterior_mm, abs=0.006), "mm"),
            "Central": (pytest.approx(disc.middle_mm, abs=0.006), "mm"),
            "Posterior": (pytest.approx(disc.posterior_mm, abs=0.006), "mm"),
        }
        lines = [m.referenced_coordinates[0].value for m in group.get_measurements(name=HEIGHT)]
        for side, line in zip(("anterior", "middle", "posterior"), lines, strict=True):
            np.testing.assert_allclose(line, disc.lines_px[side], rtol=1e-6)
        (index,) = group.get_measurements(name=codes.HEIGHT_INDEX)
        assert index.value == pytest.approx(disc.height_index, abs=0.0006)
        assert group.method == codes.SPACING[readings.SPACING.basis]


def test_without_a_spacing_heights_are_pixels() -> None:
    header = readings.header()
    reading, _, encoded = encode(readings.reading(header, spacing=None))
    group = read_back(encoded).content.get_image_measurement_groups()[0]
    assert heights_of(group)["Central"] == (pytest.approx(reading.discs[0].middle_px, abs=0.006), "{pixels}")
    assert b"\x00mm" not in encoded.part10
    assert "px, the image states no spacing" in group.method.meaning


def test_an_ap_film_has_sides_of_the_image() -> None:
    header = readings.header()
    _, _, encoded = encode(readings.reading(header, view=View.AP))
    group = read_back(encoded).content.get_image_measurement_groups()[0]
    assert set(heights_of(group)) == {"Left side of the image", "Central", "Right side of the image"}


def test_only_published_grades_are_reported() -> None:
    reading, _, encoded = encode()
    published = {f.disc.name: f.published_grade for f in reading.findings if f.disc}
    for group in read_back(encoded).content.get_image_measurement_groups():
        evaluations = group.get_qualitative_evaluations(name=codes.finding_concept("disc_height_loss"))
        grade = published[group.tracking_identifier]
        assert [e.value.meaning for e in evaluations] == ([] if grade is None else [f"Grade {grade}"])
    assert None in published.values()


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
