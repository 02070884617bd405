"""What the picture shows on the film: outlines, disc spaces in the colour of their stage, slips, angles, labels.

Cool colours are anatomy, warm ones are wear (from yellow to dark purple, so that the order is seen without hues too),
pink is alignment; no colour says anything that is not also written.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from spinepacs.dicom.overlay.draw import Area, Label, Stroke
from spinepacs.dicom.overlay.letters import Chip, Colour
from spinepacs.domain.anatomy import DiscLevel, Level, Region, Span
from spinepacs.domain.findings import Reading, Spine
from spinepacs.domain.geometry import Outline, Points
from spinepacs.domain.measures import Measure, Quantity, Unit
from spinepacs.domain.signs import Finding, Sign
from spinepacs.domain.words import FORM_LETTERS, MEYERDING, SHORT_SLIPS, number

STAGES: tuple[Colour, ...] = (
    (200, 225, 235),
    (255, 236, 110),
    (255, 158, 20),
    (238, 80, 40),
    (210, 50, 150),
)
"""By stage of disc height or degree of another sign, from none to the worst; apart for every kind of colour vision."""
UNGRADED: Colour = (170, 170, 170)
ALIGNMENT: Colour = (255, 150, 240)
HEIGHTS = (Quantity.DISC_HEIGHT_ANTERIOR, Quantity.DISC_HEIGHT_MIDDLE, Quantity.DISC_HEIGHT_POSTERIOR)
COBB = (Quantity.COBB_MAIN, Quantity.COBB_OTHER)
LETTERS = {Sign.OSTEOPHYTES: "Os", Sign.SUBCHONDRAL_SCLEROSIS: "Sc", Sign.VERTEBRAL_DEFORMITY: "G"}
"""What stands before the degree of a sign."""

_OUTLINES: dict[Region, tuple[Colour, Colour]] = {
    Region.CERVICAL: ((140, 215, 255), (85, 175, 255)),
    Region.THORACIC: ((125, 240, 220), (70, 205, 190)),
    Region.LUMBAR: ((200, 190, 255), (160, 145, 255)),
    Region.SACRAL: ((225, 225, 240), (225, 225, 240)),
}


def outline_colour(level: Level) -> Colour:
    """RGB by region; two tones take turns, so that neighbours can be told apart."""
    return _OUTLINES[level.region][level % 2]


class Marks:
    """The marks of one reading with a spine, in native px."""

    def __init__(self, reading: Reading, spine: Spine, size_px: int) -> None:
        self._spine, self._size = spine, size_px
        self._width = 1 if size_px < 16 else 2
        self._by_place = {(m.place, m.quantity): m for m in reading.published_measures}
        self._bodies = {vertebra.level: vertebra.outline for vertebra in spine.vertebrae}
        self._measures = reading.published_measures
        self._withheld = {
            m.place: float(np.mean([line[:, 1].mean() for line in m.lines_px]))
            for m in reading.withheld_measures
            if m.quantity is HEIGHTS[1] and m.lines_px
        }
        self._findings = reading.findings
        self._stages = {f.place: f for f in reading.findings if f.sign is Sign.DISC_HEIGHT_LOSS}
        self._discs = [
            m.place
            for m in self._measures
            if m.quantity is HEIGHTS[1] and isinstance(m.place, DiscLevel) and m.lines_px
        ]

    def outlines(self) -> list[Stroke]:
        """Every vertebra."""
        return [
            Stroke(v.outline.points, outline_colour(v.level), self._width, True)
            for v in self._spine.vertebrae
        ]

    def areas(self) -> list[Area]:
        """Disc spaces that have a published stage (the worse, the fuller the colour), deformed bodies, spurs."""
        areas = [area for finding in self._findings for area in self._filled(finding)]
        for disc in self._discs:
            stage = self._stage(disc)
            front, back = (self._by_place.get((disc, side)) for side in (HEIGHTS[0], HEIGHTS[2]))
            if stage and front and back and front.lines_px and back.lines_px:
                corners = np.concatenate([front.lines_px[0], back.lines_px[0][::-1]])
                areas.append(Area(corners, STAGES[stage], 0.25 + 0.08 * stage))
        return areas

    def lines(self) -> list[Stroke]:
        """Heights, slips, and dense endplates."""
        strokes = []
        for disc in self._discs:
            colour = self._colour(disc)
            for side in HEIGHTS:
                if height := self._by_place.get((disc, side)):
                    strokes += [Stroke(line, colour, 1, False) for line in height.lines_px]
        for finding in self._findings:
            if finding.published_grade:
                strokes += self._signs(finding)
        return strokes

    def legs(self) -> list[Stroke]:
        """Legs of the angles, longer than their endplates."""
        return [
            Stroke(_longer(leg), ALIGNMENT, self._width, False) for m in self.angles() for leg in m.lines_px
        ]

    def angles(self) -> list[Measure]:
        """Regional angles and scoliosis curves."""
        return [m for m in self._measures if isinstance(m.place, Span)]

    def names(self) -> list[Label]:
        """Levels at the left, with the degree of a deformed body."""
        chips: dict[Level, list[Chip]] = {}
        for f in self._findings:
            if f.sign is Sign.VERTEBRAL_DEFORMITY and f.published_grade and f.level is not None:
                form = FORM_LETTERS[f.form] if f.form else ""
                chips[f.level] = [Chip(f"G{f.published_grade}{form}", STAGES[f.published_grade])]
        return [
            Label(
                "/".join(v.names),
                v.outline.centroid.y,
                _OUTLINES[v.level.region][0],
                self._size,
                True,
                tuple(chips.get(v.level, ())),
            )
            for v in self._spine.vertebrae
        ]

    def values(self) -> list[Label]:
        """Heights at the right of their discs, with the grades that are not 0; a mark where they are withheld."""
        size = max(11, round(self._size * 0.95))
        doubtful = [
            Label("", y, UNGRADED, size, False, (Chip("?", UNGRADED),)) for y in self._withheld.values()
        ]
        return doubtful + [
            Label(
                self._heights(disc), self._y(disc), self._colour(disc), size, False, tuple(self._chips(disc))
            )
            for disc in self._discs
        ]

    def angle_labels(self) -> list[Label]:
        """Angles half-way between their legs, at the left of the names."""
        return [
            Label(
                f"{m.place.name} {number(m.value, 0)}°",
                float(np.mean([line[:, 1].mean() for line in m.lines_px])),
                ALIGNMENT,
                self._size,
                True,
            )
            for m in self.angles()
            if m.lines_px
        ]

    def _signs(self, finding: Finding) -> Iterator[Stroke]:
        """A slip's way, or a dense endplate, drawn within its body."""
        if finding.sign is Sign.SPONDYLOLISTHESIS:
            slip = self._by_place.get((finding.place, Quantity.SLIP))
            for line in slip.lines_px if slip else ():
                yield Stroke(line, ALIGNMENT, self._width + 1, False)
        elif finding.sign is Sign.SUBCHONDRAL_SCLEROSIS and (body := self._body(finding)):
            for mark in finding.marks_px:
                inwards = 0.1 * (np.array(body.centroid) - mark.mean(axis=0))
                yield Stroke(mark + inwards, STAGES[finding.published_grade or 0], self._width + 2, False)

    def _body(self, finding: Finding) -> Outline | None:
        return None if finding.level is None else self._bodies.get(finding.level)

    def _filled(self, finding: Finding) -> Iterator[Area]:
        """A deformed body, tinted, or an arrow head that points at a spur: spurs are small."""
        grade, body = finding.published_grade, self._body(finding)
        if not grade or not body:
            return
        if finding.sign is Sign.VERTEBRAL_DEFORMITY:
            yield Area(body.points, STAGES[grade], 0.12 + 0.06 * grade)
        elif finding.sign is Sign.OSTEOPHYTES:
            for mark in finding.marks_px:
                yield Area(_arrow_head(mark, 0.2 * float(np.sqrt(body.area_px))), STAGES[grade], 1.0)

    def _chips(self, disc: DiscLevel) -> Iterator[Chip]:
        """Stage; slip, osteophytes and sclerosis where there are any."""
        stage = self._stages.get(disc)
        if stage and stage.published_grade:
            yield Chip(str(stage.published_grade), STAGES[stage.published_grade])
        elif stage and stage.published_grade is None and stage.computed_grade is not None:
            yield Chip("?", UNGRADED)
        for finding in self._findings:
            grade = finding.published_grade
            if finding.place == disc and grade:
                if finding.sign is Sign.SPONDYLOLISTHESIS:
                    way = SHORT_SLIPS[finding.side]
                    yield Chip(f"{way} {MEYERDING[grade]}", ALIGNMENT)
                elif letter := LETTERS.get(finding.sign):
                    yield Chip(f"{letter}{grade}", STAGES[grade])

    def _stage(self, disc: DiscLevel) -> int | None:
        finding = self._stages.get(disc)
        return finding.published_grade if finding else None

    def _colour(self, disc: DiscLevel) -> Colour:
        return STAGES[self._stage(disc) or 0]

    def _heights(self, disc: DiscLevel) -> str:
        """Write the heights in mm; without a spacing the height index."""
        heights = [self._by_place.get((disc, side)) for side in HEIGHTS]
        if heights[1] and heights[1].unit is Unit.MM:
            return " / ".join(number(height.value, 1) for height in heights if height)
        index = self._by_place.get((disc, Quantity.DISC_HEIGHT_INDEX))
        return f"{index.value:.2f}" if index else ""

    def _y(self, disc: DiscLevel) -> float:
        return float(np.mean([line[:, 1].mean() for line in self._by_place[disc, HEIGHTS[1]].lines_px]))


def _longer(leg: Points) -> Points:
    """The same line, by three quarters of its length longer at both ends."""
    return leg + 0.75 * np.stack([leg[0] - leg[1], leg[1] - leg[0]])


def _arrow_head(mark: Points, length_px: float) -> Points:
    """(3, 2) triangle whose tip is the end of a mark, coming from outside the body."""
    start, tip = mark
    outwards = (tip - start) / max(float(np.hypot(*(tip - start))), 1e-9) * length_px
    across = np.array([-outwards[1], outwards[0]]) * 0.4
    return np.array([tip, tip + outwards + across, tip + outwards - across])
