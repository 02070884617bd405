"""Measurement groups of a report (TID 1410 for vertebrae, TID 1501 for discs and curves) and its conclusions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as standard
from pydicom.sr.coding import Code

from spinepacs.dicom import codes, identity
from spinepacs.dicom.report import content as sr
from spinepacs.dicom.report import measure_codes as by_measure
from spinepacs.dicom.report import sign_codes as by_sign
from spinepacs.domain.anatomy import DiscLevel, Level, Span
from spinepacs.domain.findings import EarlierObject, EncodedObject, Reading, Vertebra
from spinepacs.domain.measures import Measure, Place, Quantity, Reason, Unit
from spinepacs.domain.sentences import sentence
from spinepacs.domain.signs import Conclusion, Finding, Sign

DCM, SCT = standard.DCM, standard.SCT
_METHOD, _SITE, _WHERE = SCT.MeasurementMethod, SCT.FindingSite, SCT.TopographicalModifier

_DRAWN = frozenset({Quantity.DISC_HEIGHT_MIDDLE, Quantity.AP_DISC_HEIGHT_MIDDLE})
"""What is given once more without modifiers, so that OHIF draws it: one label a disc can be read, twelve cannot."""

SegmentationObject = EncodedObject | EarlierObject
"""The SEG of a reading: made with the report, or there already."""


class Groups:
    """The groups of one reading.

    Parameters
    ----------
    header
        Of the source image.
    reading
        With a spine.
    segmentation
        Its SEG; None where none is written.
    """

    def __init__(self, header: Dataset, reading: Reading, segmentation: SegmentationObject | None) -> None:
        self._header, self._reading, self._segmentation = header, reading, segmentation
        self._corner = np.array([reading.columns, reading.rows])
        self._source = self._image(sr.SELECTED, None)
        self._measures: dict[Place, list[Measure]] = defaultdict(list)
        self._findings: dict[Place, list[Finding]] = defaultdict(list)
        for measure in reading.published_measures:
            self._measures[measure.place].append(measure)
        for finding in reading.findings:
            self._findings[finding.place].append(finding)

    def vertebrae(self) -> Iterator[sr.Item]:
        """One group for each vertebra, with its segment or its outline."""
        for segment, vertebra in enumerate(self._reading.spine.vertebrae if self._reading.spine else (), 1):
            level = vertebra.level
            head = self._head(level.name, codes.VERTEBRA, [site_of(level)])
            region = self._region(vertebra, segment)
            values = chain.from_iterable(self._value(measure) for measure in self._measures[level])
            yield _group("1410", head, region, [self._area(vertebra)], values, self._grades(level))

    def discs(self) -> Iterator[sr.Item]:
        """One group for each disc, with the lines that were measured."""
        for disc in sorted(place for place in self._measures if isinstance(place, DiscLevel)):
            measures = self._measures[disc]
            head = self._head(disc.name, codes.INTERVERTEBRAL_DISC, [site_of(disc)])
            drawn = (self._drawn_height(measure) for measure in measures if measure.quantity in _DRAWN)
            values = chain.from_iterable(self._value(measure) for measure in measures)
            yield _group("1501", head, [self._basis()], drawn, values, self._grades(disc))

    def spans(self) -> Iterator[sr.Item]:
        """One group for each angle of a region or a curve, its two legs drawn as one line."""
        for measure in self._reading.published_measures:
            if isinstance(measure.place, Span):
                ends = [site_of(level) for level in measure.levels]
                cobb = measure.quantity in (Quantity.COBB_MAIN, Quantity.COBB_OTHER)
                name = f"Cobb {measure.place.name}" if cobb else measure.place.name
                head = self._head(name, codes.SPINE, ends)
                yield _group("1501", head, [self._angle(measure)], _curve(measure))

    def elsewhere(self) -> Iterator[sr.Item]:
        """Grades of discs of which nothing could be measured: a group without a line is more than OHIF can open."""
        for place in sorted(place for place in self._findings if isinstance(place, DiscLevel)):
            if place not in self._measures:
                for finding in self._findings[place]:
                    if finding.reason is not Reason.NOT_VALIDATED:
                        yield grade_item(sr.CONTAINS, finding, [sr.code(sr.MODIFIER, _SITE, site_of(place))])

    def _head(self, name: str, finding: Code, sites: Iterable[Code]) -> Iterator[sr.Item]:
        """Rows that all groups begin with: tracking, finding, algorithm (TID 4019), site."""
        versions = self._reading.versions
        tracking = identity.tracking_uid(self._reading, name)
        yield sr.text(sr.CONTEXT, DCM.TrackingIdentifier, name)
        yield sr.uid(sr.CONTEXT, DCM.TrackingUniqueIdentifier, tracking)
        yield sr.code(sr.CONTAINS, DCM.Finding, finding)
        yield sr.text(sr.MODIFIER, DCM.AlgorithmName, versions.model_name)
        yield sr.text(sr.MODIFIER, DCM.AlgorithmVersion, versions.model_version)
        for site in sites:
            yield sr.code(sr.MODIFIER, _SITE, site)

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

    def _basis(self) -> sr.Item:
        """On what ground lengths of the group are stated, as its method."""
        spacing = self._reading.spacing
        return _method(codes.SPACING[spacing.basis if spacing else None])

    def _value(self, measure: Measure) -> Iterator[sr.Item]:
        """One measure after TID 300: method, site, uncertainty, and the line of a height or a slip."""
        concept, where, method = by_measure.MEASURES[measure.quantity]
        sided = [sr.code(sr.MODIFIER, _WHERE, where)] if where else []
        children = [_method(method)] if method else []
        children.append(sr.code(sr.MODIFIER, _SITE, site_of(measure.place), sided))
        children += _uncertainty(measure)
        if measure.unit in (Unit.MM, Unit.PX) and isinstance(measure.place, DiscLevel):
            children += [self._draw(sr.INFERRED, None, line) for line in measure.lines_px]
        yield _number(concept, measure, children)

    def _drawn_height(self, measure: Measure) -> sr.Item:
        lines = [self._draw(sr.INFERRED, None, line) for line in measure.lines_px]
        return _number(codes.DISC_HEIGHT, measure, lines)

    def _angle(self, measure: Measure) -> sr.Item:
        """An angle whose first child is its line, since OHIF draws and labels no other."""
        children = []
        if measure.lines_px:
            upper, lower = measure.lines_px
            children.append(self._draw(sr.INFERRED, None, np.concatenate([upper[::-1], lower])))
        coded = by_measure.MEASURES[measure.quantity]
        children += [_method(coded.method)] if coded.method else []
        return _number(coded.concept, measure, [*children, *_uncertainty(measure)])

    def _grades(self, place: Place) -> Iterator[sr.Item]:
        for finding in self._findings.get(place, ()):
            if finding.reason is not Reason.NOT_VALIDATED:
                yield grade_item(sr.CONTAINS, finding)

    def _draw(self, relation: str, concept: Code | None, points: NDArray[np.float64]) -> sr.Item:
        """Draw a polyline; what lies beyond the border of the image is moved to it."""
        inside = np.maximum(np.minimum(points, self._corner), 0)
        return sr.polyline(relation, concept, inside, self._source)

    def _image(self, relation: str, concept: Code | None) -> sr.Item:
        return sr.image(relation, concept, self._header.SOPClassUID, self._header.SOPInstanceUID)


def grade_item(relation: str, finding: Finding, site: Iterable[sr.Item] = ()) -> sr.Item:
    """Encode a grade, or that it is withheld; with the computed one and the reason where the two differ.

    ``site`` says where, for a grade that stands in no group.
    """
    published, computed = finding.published_grade, finding.computed_grade
    value = _published(finding)
    about = [*site, _method(by_sign.SCHEMES[finding.scheme])]
    if finding.side:
        about.append(sr.code(sr.MODIFIER, _WHERE, by_sign.SIDES[finding.side]))
    if finding.form:
        about.append(sr.code(sr.MODIFIER, by_sign.FORM, by_sign.FORMS[finding.form]))
    if finding.reason:
        about.append(sr.code(sr.MODIFIER, by_sign.REASON, by_sign.reason_code(finding.reason)))
    if computed is not None and computed != published:
        about.append(sr.code(sr.MODIFIER, by_sign.COMPUTED, by_sign.grade_code(finding.sign, computed)))
    if published is not None:
        about += _compared(finding)
    return sr.code(relation, by_sign.SIGNS[finding.sign], value, about)


def conclusion_item(conclusion: Conclusion) -> sr.Item:
    """Encode what the findings of a region add up to: statement, region, sentence, and what supports it."""
    about = [
        sr.code(sr.MODIFIER, _SITE, by_sign.AREAS[conclusion.area]),
        _method(by_sign.SCHEMES[conclusion.scheme]),
    ]
    if conclusion.reason:
        about.append(sr.code(sr.MODIFIER, by_sign.REASON, by_sign.reason_code(conclusion.reason)))
    if conclusion.published_degree is not None:
        degree = by_sign.grade_code(Sign.DISC_DEGENERATION, conclusion.published_degree)
        about.append(sr.code(sr.MODIFIER, by_sign.SIGNS[Sign.DISC_DEGENERATION], degree))
    if conclusion.for_age:
        about.append(sr.code(sr.MODIFIER, by_sign.FOR_AGE, by_sign.FOR_AGES[conclusion.for_age]))
    about.append(sr.text(sr.PROPERTY, DCM.Comment, sentence(conclusion)))
    for finding in conclusion.support:
        about.append(
            sr.code(
                sr.INFERRED,
                by_sign.SIGNS[finding.sign],
                _published(finding),
                [sr.code(sr.MODIFIER, _SITE, site_of(finding.place))],
            )
        )
    return sr.code(sr.CONTAINS, DCM.Conclusion, by_sign.STATEMENTS[conclusion.statement], about)


def site_of(place: Place) -> Code:
    """Code of a vertebra or a disc; the spine for a span."""
    if isinstance(place, DiscLevel):
        return codes.DISCS[place]
    return codes.VERTEBRAE[place] if isinstance(place, Level) else codes.SPINE


def _published(finding: Finding) -> Code:
    if finding.published_grade is not None:
        return by_sign.grade_code(finding.sign, finding.published_grade)
    return by_sign.NOT_GRADED if finding.computed_grade is None else by_sign.WITHHELD


def _compared(finding: Finding) -> Iterator[sr.Item]:
    """What a published grade rests on: the value, what was expected, and which other grades are as possible."""
    if finding.reference_scheme and finding.reference_grade is not None:
        grade = by_sign.reference_code(finding.reference_grade)
        scheme = _method(by_sign.SCHEMES[finding.reference_scheme])
        yield sr.code(sr.MODIFIER, by_sign.REFERENCE_GRADE, grade, [scheme])
    if finding.expected_from:
        origin = by_sign.EXPECTED_FROMS[finding.expected_from]
        yield sr.code(sr.MODIFIER, by_sign.EXPECTED_FROM, origin)
    if finding.value is not None:
        unit, decimals = by_measure.UNITS[finding.unit], by_measure.DECIMALS[finding.unit]
        yield sr.number(sr.PROPERTY, by_sign.GRADED, f"{finding.value:.{decimals}f}", unit)
    if finding.expected is not None:
        yield sr.number(sr.PROPERTY, by_sign.EXPECTED, f"{finding.expected:.3f}", codes.RATIO)
    if finding.grade_range and finding.is_borderline:
        for concept, limit in zip(
            (by_sign.LEAST_GRADE, by_sign.MOST_GRADE), finding.grade_range, strict=True
        ):
            yield sr.code(sr.PROPERTY, concept, by_sign.grade_code(finding.sign, limit))


def _curve(measure: Measure) -> Iterator[sr.Item]:
    """Apex and convex side of a scoliosis curve."""
    if measure.apex is not None:
        yield sr.code(sr.CONTAINS, by_measure.APEX, site_of(measure.apex))
    if measure.convex_left is not None:
        side = codes.IMAGE_LEFT if measure.convex_left else codes.IMAGE_RIGHT
        yield sr.code(sr.CONTAINS, by_measure.CONVEXITY, side)


def _uncertainty(measure: Measure) -> list[sr.Item]:
    """Half-width of the 95 % interval (TID 310, row 5); nothing where it is not known."""
    if measure.margin is None:
        return []
    unit, decimals = by_measure.UNITS[measure.unit], by_measure.DECIMALS[measure.unit]
    return [sr.number(sr.PROPERTY, by_measure.UNCERTAINTY, f"{measure.margin:.{decimals}f}", unit)]


def _number(concept: Code, measure: Measure, children: Iterable[sr.Item]) -> sr.Item:
    value = f"{measure.value:.{by_measure.DECIMALS[measure.unit]}f}"
    return sr.number(sr.CONTAINS, concept, value, by_measure.UNITS[measure.unit], children)


def _method(method: Code) -> sr.Item:
    return sr.code(sr.MODIFIER, _METHOD, method)


def _group(template: str, *parts: Iterable[sr.Item]) -> sr.Item:
    return sr.container(sr.CONTAINS, DCM.MeasurementGroup, chain(*parts), template)


def _closed(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Repeat the first point at the end: what makes a POLYLINE a closed one (PS3.3 C.18.6.1.2)."""
    return np.concatenate([points, points[:1]])
