"""What was drawn into a synthetic film, as the policy would grade it, beside what the product says of it; of a real
film, what the policy makes of its labelled corners.

Only thresholds are taken from the policy: the drawn loss of a disc's height, the length of a drawn spur over the depth
of its body and the drawn degrees of sclerosis are the generator's. Nothing of how the product estimates them enters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from spinepacs.analysis.judging.conclude import conclude
from spinepacs.analysis.judging.grade import grade
from spinepacs.analysis.judging.policy import Policy, grade_of
from spinepacs.analysis.judging.quality import quality
from spinepacs.analysis.judging.texture import texture
from spinepacs.analysis.measuring.sagittal import is_graded
from spinepacs.domain.anatomy import DiscLevel, Level
from spinepacs.domain.findings import Refusal, Spine, Vertebra
from spinepacs.domain.measures import Measure, Place
from spinepacs.domain.signs import Area, Conclusion, Finding, Sign
from spinepacs.domain.study import Radiograph
from spinepacs.training.evaluation.marks import labelled_discs, published_place
from spinepacs.training.metrics.grades import BELOW_USUAL, CONCLUSION, NOT_FOUND, UNKNOWN, GradedSign

_AREAS = {
    Area.CERVICAL: (Level.C2, Level.C7),
    Area.THORACIC: (Level.T1, Level.T11),
    Area.LUMBAR: (Level.T12, Level.L4),
    Area.LUMBOSACRAL: (Level.L5, Level.L5),
}
"""Upper levels of the first and the last disc of an area, as :class:`spinepacs.domain.signs.Area` has them."""


class Drawn(NamedTuple):
    """A drawn sign: the grade that the policy's thresholds give it, and the value it comes from."""

    grade: int
    value: float


class Graded(NamedTuple):
    """What the product's rules say of a spine; empty where there is none."""

    findings: Mapping[tuple[Sign, Place], Finding]
    conclusions: Mapping[Area, Conclusion]


def graded(spine: Spine | Refusal, film: Radiograph, measures: Sequence[Measure], policy: Policy) -> Graded:
    """Grade a spine as the pipeline does."""
    if isinstance(spine, Refusal):
        return Graded({}, {})
    look = texture(spine, film)
    findings = grade(spine, measures, look, quality(spine, film, look), policy)
    conclusions = conclude(spine, findings, policy)
    return Graded(
        {
            (one.sign, one.place): one
            for one in findings
            if one.side is None or one.sign is Sign.SPONDYLOLISTHESIS
        },
        {one.area: one for one in conclusions},
    )


def drawn_signs(
    record: Mapping[str, Any], levels: Sequence[Level], policy: Policy
) -> dict[tuple[Sign, Place], Drawn]:
    """The signs that were drawn at discs between the given levels and at their bodies.

    Parameters
    ----------
    record
        What the generator wrote of the film; nothing is known of one from before it wrote full heights.
    levels
        That the film shows.
    """
    heights = record.get("disc_sides_mm", {})
    if not all("healthy" in row for row in heights.values()):
        return {}
    rows = {row["level"]: row for row in record["vertebrae"]}
    mm_per_px = record["spacing_mm"] / record["magnification"]
    found: dict[tuple[Sign, Place], Drawn] = {}
    for disc in labelled_discs(levels):
        loss, slip = _lost(heights[disc.name], "healthy"), record["slips"][disc.name]
        spur = _spur_share(rows, disc, mm_per_px)
        plates = ((disc.upper, "lower"), (disc.lower, "upper"))
        dense = max(rows[level.name]["sclerosis_grade"][side] for level, side in plates)
        at_disc = {
            Sign.DISC_HEIGHT_LOSS: Drawn(grade_of(loss, policy.height.stage_from), loss),
            Sign.SPONDYLOLISTHESIS: Drawn(slip["meyerding"], slip["percent"] / 100),
            Sign.OSTEOPHYTES: Drawn(grade_of(spur, policy.spur.grade_from), spur),
            Sign.SUBCHONDRAL_SCLEROSIS: Drawn(dense, dense),
        }
        points = _points([at_disc[sign].grade for sign in _PARTS], policy)
        at_disc[Sign.DISC_DEGENERATION] = Drawn(grade_of(points, policy.degeneration_from), points)
        found |= {(sign, disc): drawn for sign, drawn in at_disc.items()}
    for level in filter(is_graded, levels):
        fracture = rows[level.name].get("fracture", {"genant": 0, "height_lost": 0.0})
        found[Sign.VERTEBRAL_DEFORMITY, level] = Drawn(fracture["genant"], fracture["height_lost"])
    return found


def marked_signs(marks: Graded) -> dict[tuple[Sign, Place], Drawn]:
    """Of a real film, into which nothing was drawn: what the rules make of its labelled corners, for signs of which
    corners tell. Labels err, too, so that some of what differs is theirs."""
    return {
        key: Drawn(finding.computed_grade, finding.value)
        for key, finding in marks.findings.items()
        if key[0] in _OF_CORNERS and finding.computed_grade is not None and finding.value is not None
    }


_OF_CORNERS = (Sign.DISC_HEIGHT_LOSS, Sign.SPONDYLOLISTHESIS, Sign.VERTEBRAL_DEFORMITY)
_PARTS = (Sign.DISC_HEIGHT_LOSS, Sign.OSTEOPHYTES, Sign.SUBCHONDRAL_SCLEROSIS)


def _lost(heights: Mapping[str, float], full: str) -> float:
    """Share of a disc's full height that it lacks; none where posture alone brings its plates together."""
    return 1 - heights["mean"] / heights[full] if heights[full] > 0 else 0.0


def _points(grades: Sequence[int], policy: Policy) -> int:
    return sum(min(one, most) for one, most in zip(grades, (4, 3, policy.most_sclerosis), strict=True))


def _spur_share(rows: Mapping[str, Mapping[str, Any]], disc: DiscLevel, mm_per_px: float) -> float:
    """The longer of the two front spurs at a disc, over the depth of its endplate."""
    shares = []
    for level, plate in ((disc.upper, "lower"), (disc.lower, "upper")):
        row = rows[level.name]
        depth_mm = float(np.hypot(*np.subtract(*row[f"{plate}_endplate_px"]))) * mm_per_px
        shares.append(row["osteophytes_mm"][plate]["anterior"] / depth_mm)
    return max(shares)


def graded_signs(
    drawn: Mapping[tuple[Sign, Place], Drawn],
    product: Graded,
    marks: Graded,
    bodies: Mapping[Level, Vertebra],
) -> Iterator[GradedSign]:
    """Each drawn sign beside what the product says of the same place.

    Parameters
    ----------
    product
        The product's findings at the levels that it publishes.
    marks
        The rules' findings on the film's true marks.
    bodies
        By labelled level: the product's vertebra.
    """
    for (sign, place), truth in drawn.items():
        at = published_place(place, bodies)
        finding = None if at is None else product.findings.get((sign, at))
        if sign is Sign.SPONDYLOLISTHESIS and at is not None and finding is None:
            continue  # a film whose front is not known has no slips
        name, first = (place.name, place if isinstance(place, Level) else place.upper)
        yield _beside(sign.value, name, first, truth, finding, marks.findings.get((sign, place)))


def _beside(
    sign: str, place: str, first: Level, truth: Drawn, finding: Finding | None, marks: Finding | None
) -> GradedSign:
    return GradedSign(
        sign=sign,
        place=place,
        region=first.region.value,
        level=int(first),
        drawn=truth.grade,
        drawn_value=truth.value,
        computed=_grade(finding.computed_grade if finding else None),
        published=_grade(finding.published_grade if finding else None),
        reason=NOT_FOUND if finding is None else str(finding.reason or ""),
        value=_value(finding),
        marks=_grade(marks.computed_grade if marks else None),
        marks_value=_value(marks),
    )


def _grade(given: int | None) -> int:
    return UNKNOWN if given is None else given


def _value(finding: Finding | None) -> float:
    return float("nan") if finding is None or finding.value is None else finding.value


def graded_heights(
    heights: Iterable[GradedSign], record: Mapping[str, Any], policy: Policy
) -> Iterator[GradedSign]:
    """The stages of disc heights again, against what each disc lacks of the usual height of its level and build."""
    for one in heights:
        if one.sign == Sign.DISC_HEIGHT_LOSS:
            share = _lost(record["disc_sides_mm"][one.place], "usual")
            stage = grade_of(share, policy.height.stage_from)
            yield replace(one, sign=BELOW_USUAL, drawn=stage, drawn_value=share)


def graded_areas(
    drawn: Mapping[tuple[Sign, Place], Drawn], product: Graded, marks: Graded
) -> Iterator[GradedSign]:
    """The highest drawn degree of each area's discs beside the degree of the product's conclusion."""
    degrees = {place: one for (sign, place), one in drawn.items() if sign is Sign.DISC_DEGENERATION}
    for area, (first, last) in _AREAS.items():
        within = [
            one
            for disc, one in degrees.items()
            if isinstance(disc, DiscLevel) and first <= disc.upper <= last
        ]
        if not within:
            continue
        worst, said, true = max(within), product.conclusions.get(area), marks.conclusions.get(area)
        yield GradedSign(
            sign=CONCLUSION,
            place=area.value,
            region=area.value,
            level=int(first),
            drawn=worst.grade,
            drawn_value=worst.value,
            computed=_grade(said.computed_degree if said else None),
            published=_grade(said.published_degree if said else None),
            reason=str(said.reason or "") if said else NOT_FOUND,
            value=float("nan"),
            marks=_grade(true.computed_degree if true else None),
            marks_value=float("nan"),
        )
