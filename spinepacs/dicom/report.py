"""The structured report of one radiograph: Comprehensive SR, TID 1500 Measurement Report (PS3.16)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as standard
from pydicom.sr.coding import Code
from pydicom.uid import ComprehensiveSRStorage, ExplicitVRLittleEndian

import spinepacs
from spinepacs.anatomy import DiscLevel, Level
from spinepacs.dicom import codes, identity
from spinepacs.dicom import report_content as sr
from spinepacs.dicom.parse import quiet
from spinepacs.findings import DiscHeight, EncodedObject, Finding, ObjectKind, Reading, Vertebra
from spinepacs.settings import OutputSettings

DCM, SCT = standard.DCM, standard.SCT
_QUALITATIVE_EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")
_ENGLISH = Code("en", "RFC5646", "English")
_MODALITIES = {
    "CR": "Computed Radiography",
    "DX": "Digital Radiography",
    "RF": "Radiofluoroscopy",
    "XA": "X-Ray Angiography",
}


@quiet()  # the source was checked when it was read; its UIDs are kept, be they odd
def encode_report(
    header: Dataset, reading: Reading, segmentation: EncodedObject | None, output: OutputSettings
) -> EncodedObject:
    """Encode a reading as a report that anyone can parse without us.

    Parameters
    ----------
    header
        Sanitised header of the source image, without pixels.
    reading
        A reading with vertebrae.
    segmentation
        Its SEG, whose segments are then referenced; without it each vertebra carries its outline.
    output
        Device serial number and encoding.

    Raises
    ------
    ValueError
        If the reading has no spine: there is nothing to report.
    """
    if reading.spine is None:
        raise ValueError("a reading without a spine has no report")
    dataset = _root()
    identity.stamp(dataset, header, reading, ObjectKind.SR, output)
    dataset.SOPClassUID, dataset.Modality = ComprehensiveSRStorage, "SR"
    dataset.CompletionFlag, dataset.VerificationFlag = "COMPLETE", "UNVERIFIED"
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.PerformedProcedureCodeSequence = []
    dataset.CurrentRequestedProcedureEvidenceSequence = [_evidence(header, segmentation)]
    dataset.CodingSchemeIdentificationSequence = [_private_scheme()]
    sr.set_content(dataset, _tree(header, reading, segmentation))
    return identity.encoded(ObjectKind.SR, reading.sop_uid, dataset, ExplicitVRLittleEndian)


def _root() -> Dataset:
    """Attributes of the root content item: a container that follows TID 1500."""
    root, title = Dataset(), DCM.ImagingMeasurementReport
    root.ValueType, root.ContinuityOfContent = "CONTAINER", "SEPARATE"
    root.ConceptNameCodeSequence = [identity.code_item(title.value, title.scheme_designator, title.meaning)]
    template = Dataset()
    template.MappingResource, template.TemplateIdentifier = "DCMR", "1500"
    root.ContentTemplateSequence = [template]
    return root


def _tree(header: Dataset, reading: Reading, segmentation: EncodedObject | None) -> Iterator[sr.Item]:
    """Rows of TID 1500."""
    groups = _Groups(header, reading, segmentation)
    yield sr.code(sr.MODIFIER, DCM.LanguageOfContentItemAndDescendants, _ENGLISH)
    yield from _observer(header, reading)
    yield sr.code(sr.MODIFIER, DCM.ProcedureReported, codes.PLAIN_RADIOGRAPHY)
    entry = sr.container(sr.CONTAINS, DCM.ImageLibraryGroup, [_library_entry(header, reading)])
    yield sr.container(sr.CONTAINS, DCM.ImageLibrary, [entry], "1600")
    # Discs first: OHIF opens a report at its first group, and fails at one that has no SCOORD at all.
    yield sr.container(sr.CONTAINS, DCM.ImagingMeasurements, [*groups.discs(), *groups.vertebrae()])
    remarks = [sr.text(sr.CONTAINS, DCM.Comment, remark) for remark in _remarks(reading)]
    yield sr.container(sr.CONTAINS, _QUALITATIVE_EVALUATIONS, remarks)


def _observer(header: Dataset, reading: Reading) -> Iterator[sr.Item]:
    """TID 1002 and 1004: a device made these observations."""
    device = identity.derived_uid(identity.MANUFACTURER, "DEVICE", reading.versions)
    yield sr.code(sr.CONTEXT, DCM.ObserverType, DCM.Device)
    yield sr.uid(sr.CONTEXT, DCM.DeviceObserverUID, device)
    yield sr.text(sr.CONTEXT, DCM.DeviceObserverName, identity.MANUFACTURER)
    yield sr.text(sr.CONTEXT, DCM.DeviceObserverManufacturer, identity.MANUFACTURER)
    yield sr.text(sr.CONTEXT, DCM.DeviceObserverModelName, identity.MANUFACTURER)


def _library_entry(header: Dataset, reading: Reading) -> sr.Item:
    """TID 1601 and 1602: the source image and what is needed to interpret coordinates on it."""
    about = [
        sr.number(sr.ACQUISITION, DCM.PixelDataRows, str(reading.rows), codes.PIXELS),
        sr.number(sr.ACQUISITION, DCM.PixelDataColumns, str(reading.columns), codes.PIXELS),
    ]
    modality = str(header.get("Modality", ""))
    if modality in _MODALITIES:
        value = Code(modality, "DCM", _MODALITIES[modality])
        about.insert(0, sr.code(sr.ACQUISITION, DCM.Modality, value))
    return sr.image(sr.CONTAINS, None, header.SOPClassUID, header.SOPInstanceUID, children=about)


def _remarks(reading: Reading) -> Iterator[str]:
    """What a reader must know before using a number."""
    versions = reading.versions
    yield f"{identity.DISCLAIMER}. Made by software, not verified by a physician."
    yield f"Lengths: {codes.SPACING[reading.spacing.basis if reading.spacing else None].meaning}."
    yield (
        f"Software {identity.MANUFACTURER} {spinepacs.__version__}, model {versions.model_name} "
        f"{versions.model_version}, grading policy {versions.policy_name} {versions.policy_version}."
    )
    missing = reading.spine.missing if reading.spine else ()
    if missing:
        yield f"Not found between the levels reported: {', '.join(level.name for level in missing)}."


class _Groups:
    """Measurement groups of one reading: TID 1410 for vertebrae, TID 1501 for discs."""

    def __init__(self, header: Dataset, reading: Reading, segmentation: EncodedObject | None) -> None:
        self._header, self._reading, self._segmentation = header, reading, segmentation
        self._spine = reading.spine

    def vertebrae(self) -> Iterator[sr.Item]:
        """One group for each vertebra, with its segment or its outline."""
        for segment, vertebra in enumerate(self._spine.vertebrae if self._spine else (), start=1):
            level = vertebra.level
            yield sr.container(
                sr.CONTAINS,
                DCM.MeasurementGroup,
                [
                    *self._head(level.name, codes.VERTEBRA, codes.VERTEBRAE[level]),
                    *self._region(vertebra, segment),
                    self._area(vertebra),
                    *self._grades(level),
                ],
                "1410",
            )

    def discs(self) -> Iterator[sr.Item]:
        """One group for each disc, its heights with the lines that were measured."""
        for height in self._reading.discs:
            disc = height.disc
            yield sr.container(
                sr.CONTAINS,
                DCM.MeasurementGroup,
                [
                    *self._head(disc.name, codes.INTERVERTEBRAL_DISC, codes.DISCS[disc]),
                    self._method(),
                    *self._heights(height),
                    *self._grades(disc),
                ],
                "1501",
            )

    def _head(self, name: str, finding: Code, site: Code) -> Iterator[sr.Item]:
        """Rows that both kinds of group begin with: tracking, finding, algorithm (TID 4019), site."""
        versions = self._reading.versions
        tracking = identity.derived_uid(self._reading.sop_uid, "TRACKING", versions, name)
        yield sr.text(sr.CONTEXT, DCM.TrackingIdentifier, name)
        yield sr.uid(sr.CONTEXT, DCM.TrackingUniqueIdentifier, tracking)
        yield sr.code(sr.CONTAINS, DCM.Finding, finding)
        yield sr.text(sr.MODIFIER, DCM.AlgorithmName, versions.model_name)
        yield sr.text(sr.MODIFIER, DCM.AlgorithmVersion, versions.model_version)
        yield sr.code(sr.MODIFIER, SCT.FindingSite, site)

    def _region(self, vertebra: Vertebra, segment: int) -> Iterator[sr.Item]:
        if self._segmentation is None:
            yield self._draw(sr.CONTAINS, DCM.ImageRegion, _closed(vertebra.outline.points))
            return
        seg = self._segmentation
        yield sr.image(
            sr.CONTAINS, DCM.ReferencedSegmentationFrame, seg.sop_class_uid, seg.sop_uid, segment=segment
        )
        yield self._image(sr.CONTAINS, DCM.SourceImageForSegmentation)

    def _area(self, vertebra: Vertebra) -> sr.Item:
        """Area within the outline; its polyline makes the group drawable where it references a segment."""
        outline, spacing = vertebra.outline, self._reading.spacing
        area, unit = outline.area_px, codes.PIXELS
        if spacing:
            area, unit = area * spacing.row_mm * spacing.column_mm, codes.MM2
        drawn = self._draw(sr.INFERRED, DCM.ImageRegion, _closed(outline.points))
        return sr.number(sr.CONTAINS, SCT.Area, f"{area:.1f}", unit, [drawn])

    def _method(self) -> sr.Item:
        spacing = self._reading.spacing
        return sr.code(sr.MODIFIER, SCT.MeasurementMethod, codes.SPACING[spacing.basis if spacing else None])

    def _heights(self, height: DiscHeight) -> Iterator[sr.Item]:
        """Heights by side (mm where the image has a spacing, else px), the index and the wedge angle.

        OHIF draws and labels those NUM items whose first child is a SCOORD: here the middle height, once more, under
        a code without modifiers. One label for a disc can be read; five cannot.
        """
        site = codes.DISCS[height.disc]
        within = [sr.code(sr.MODIFIER, SCT.FindingSite, site)]
        middle = [
            self._draw(sr.INFERRED, None, line) for side, line in height.lines_px.items() if side == "middle"
        ]
        yield self._length(codes.DISC_HEIGHT, height, "middle", middle)
        for side, place in codes.SIDES.items():
            if getattr(height, f"{side}_px") is not None:
                where = sr.code(sr.MODIFIER, SCT.TopographicalModifier, place)
                children = [sr.code(sr.MODIFIER, SCT.FindingSite, site, [where])]
                if side in height.lines_px:
                    children.append(self._draw(sr.INFERRED, None, height.lines_px[side]))
                yield self._length(codes.HEIGHT, height, side, children)
        yield sr.number(sr.CONTAINS, codes.HEIGHT_INDEX, f"{height.height_index:.3f}", codes.RATIO, within)
        yield sr.number(sr.CONTAINS, codes.WEDGE, f"{height.wedge_deg:.1f}", codes.DEGREES, within)

    @staticmethod
    def _length(concept: Code, height: DiscHeight, side: str, children: list[sr.Item]) -> sr.Item:
        """One height in mm; in px where there is no mm."""
        mm, px = getattr(height, f"{side}_mm"), getattr(height, f"{side}_px")
        value, unit = (px, codes.PIXELS) if mm is None else (mm, codes.MM)
        return sr.number(sr.CONTAINS, concept, f"{value:.2f}", unit, children)

    def _grades(self, place: DiscLevel | Level) -> Iterator[sr.Item]:
        """Published grades at a disc or a vertebra; what is withheld is not reported."""
        for finding in self._reading.findings:
            if finding.published_grade is not None and _place(finding) == place:
                grade = codes.grade_value(finding.published_grade)
                yield sr.code(sr.CONTAINS, codes.finding_concept(finding.kind), grade)

    def _draw(self, relation: str, concept: Code | None, points: NDArray[np.float64]) -> sr.Item:
        """Draw a polyline; what lies beyond the border of the image is moved to it."""
        inside = np.clip(points, 0, (self._reading.columns, self._reading.rows))
        return sr.polyline(relation, concept, inside, self._image(sr.SELECTED, None))

    def _image(self, relation: str, concept: Code | None) -> sr.Item:
        return sr.image(relation, concept, self._header.SOPClassUID, self._header.SOPInstanceUID)


def _closed(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Repeat the first point at the end: what makes a POLYLINE a closed one (PS3.3 C.18.6.1.2)."""
    return np.concatenate([points, points[:1]])


def _place(finding: Finding) -> DiscLevel | Level | None:
    return finding.level if finding.disc is None else finding.disc


def _evidence(header: Dataset, segmentation: EncodedObject | None) -> Dataset:
    """Everything that the report refers to, by study and series (PS3.3 C.17.2.3)."""
    study = Dataset()
    study.StudyInstanceUID = header.StudyInstanceUID
    study.ReferencedSeriesSequence = [_series(header.SeriesInstanceUID, identity.image_reference(header))]
    if segmentation is not None:
        reference = Dataset()
        reference.ReferencedSOPClassUID = segmentation.sop_class_uid
        reference.ReferencedSOPInstanceUID = segmentation.sop_uid
        study.ReferencedSeriesSequence.append(_series(segmentation.series_uid, reference))
    return study


def _series(series_uid: str, reference: Dataset) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedSOPSequence = series_uid, [reference]
    return series


def _private_scheme() -> Dataset:
    """Declare 99SPINEPACS (PS3.3 C.12.1.1.17)."""
    item = Dataset()
    item.CodingSchemeDesignator = codes.PRIVATE_SCHEME
    item.CodingSchemeName = "spinepacs private codes"
    item.CodingSchemeResponsibleOrganization = "spinepacs"
    return item
