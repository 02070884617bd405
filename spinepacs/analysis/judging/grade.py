"""Measures and what the pixels show, against the policy → findings: the signs of wear of one lateral film.

A grade is computed wherever its value is known, and published unless there is a reason not to; both are kept. Where
a value cannot be told from no sign at all, grade 0 is published (``WITHIN_ERROR``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from spinepacs.analysis.judging.expected import expected_index
from spinepacs.analysis.judging.policy import Policy, grade_of
from spinepacs.analysis.judging.publish import Doubts
from spinepacs.analysis.judging.quality import Quality
from spinepacs.analysis.judging.texture import LOWER, UPPER, Texture, plate_mark, spur_mark
from spinepacs.domain.anatomy import ALL_DISCS, DiscLevel, Level, Region
from spinepacs.domain.findings import Spine
from spinepacs.domain.measures import HALF_95, Measure, Place, Quantity, Reason, Unit
from spinepacs.domain.signs import Deformity, Finding, Scheme, Side, Sign
from spinepacs.domain.study import View

_LOW_CONTRAST = "LOW_CONTRAST"
"""Note of a film on which densities say nothing."""
_RIMS = (Side.UPPER_ANTERIOR, Side.LOWER_ANTERIOR)
_PLATES = (Side.UPPER, Side.LOWER)
_FORMS = {
    Quantity.WEDGE_RATIO: Deformity.WEDGE,
    Quantity.BICONCAVITY_RATIO: Deformity.BICONCAVE,
    Quantity.CRUSH_RATIO: Deformity.CRUSH,
}


Given = Mapping[tuple[Sign, Place, Side | None], int]
"""Grades that a person has given; a side only for what is at one side of a vertebra."""
NONE_GIVEN: Given = MappingProxyType({})


def grade(
    spine: Spine,
    measures: Sequence[Measure],
    texture: Texture,
    quality: Quality,
    policy: Policy,
    given: Given = NONE_GIVEN,
) -> tuple[Finding, ...]:
    """Grade one film: its discs from head to foot, then its vertebrae; a film that is not lateral has no findings.

    What is ``given`` is published in place of what was computed, which stays beside it; overall degrees follow it.
    """
    if spine.view is not View.LATERAL:
        return ()
    doubts = Doubts.of(spine, measures, quality, policy.least_score)
    film = _Film(spine, {(m.quantity, m.place): m for m in measures}, texture, quality, policy, doubts, given)
    return (*_discs(film), *map(film.settled, _vertebrae(film)))


@dataclass(frozen=True)
class _Film:
    """Everything that the grades of one film rest on."""

    spine: Spine
    measures: Mapping[tuple[Quantity, Place], Measure]
    texture: Texture
    quality: Quality
    policy: Policy
    doubts: Doubts
    given: Given

    def settled(self, finding: Finding) -> Finding:
        """The finding, with the grade that a person has given it."""
        side = finding.side if isinstance(finding.place, Level) else None
        grade = self.given.get((finding.sign, finding.place, side))
        return finding if grade is None else replace(finding, published_grade=grade, reason=Reason.BY_PERSON)

    def finding(
        self,
        sign: Sign,
        place: DiscLevel | Level,
        scheme: Scheme,
        value: float,
        grading: Callable[[float], int],
        deviation: float | None,
        is_none: bool,
        none_at: float = 0.0,
        *,
        is_unsure: bool = False,
        **rest: Any,
    ) -> Finding:
        """Grade a value that is known; ``is_none``: it cannot be told from no sign, whose value is ``none_at``.

        is_unsure: not even none can be published.
        """
        computed = grading(value)
        reason = self.doubts.about(place) or (Reason.UNCERTAIN if is_unsure else None)
        published: int | None = None if reason else computed
        if published and is_none:
            published, reason = 0, Reason.WITHIN_ERROR
        reach = HALF_95 * (deviation or 0.0)
        within = [value - reach, value, value + reach, *([none_at] if abs(value - none_at) <= reach else [])]
        ends = () if deviation is None else [grading(one) for one in within]
        return Finding(
            sign, place, scheme, value, Unit.RATIO, computed, published, reason,
            uncertainty=deviation, grade_range=(min(ends), max(ends)) if ends else None, **rest,
        )  # fmt: skip


def _ungraded(
    sign: Sign, place: DiscLevel, scheme: Scheme, reason: Reason, value: float | None = None
) -> Finding:
    return Finding(sign, place, scheme, value, Unit.RATIO, None, None, reason)


def _discs(film: _Film) -> Iterator[Finding]:
    found = {vertebra.level for vertebra in film.spine.vertebrae}
    indices = {
        place: measure.value
        for (quantity, place), measure in film.measures.items()
        if quantity is Quantity.DISC_HEIGHT_INDEX and isinstance(place, DiscLevel)
    }
    for disc in ALL_DISCS:
        if found.issuperset(disc):
            parts = tuple(map(film.settled, (
                _height_loss(film, disc, indices), _osteophytes(film, disc), _sclerosis(film, disc),
            )))  # fmt: skip
            yield parts[0]
            yield from map(film.settled, _slip(film, disc))
            yield from parts[1:]
            yield film.settled(_degeneration(film, disc, parts))


def _height_loss(film: _Film, disc: DiscLevel, indices: Mapping[DiscLevel, float]) -> Finding:
    rules = film.policy.height
    measure = film.measures.get((Quantity.DISC_HEIGHT_INDEX, disc))
    expected = expected_index(disc, indices, rules)
    if measure is None or expected is None or measure.value < rules.least_index:
        reason = Reason.NO_EXPECTED_HEIGHT if measure and expected is None else Reason.NOT_MEASURABLE
        return _ungraded(Sign.DISC_HEIGHT_LOSS, disc, Scheme.SPINEPACS, reason)
    left = measure.value / expected.index
    deviation = None
    if measure.uncertainty is not None:
        deviation = float(np.hypot(measure.uncertainty / expected.index, left * expected.spread))
    loss = 1 - left
    return film.finding(
        Sign.DISC_HEIGHT_LOSS, disc, Scheme.SPINEPACS, loss,
        partial(grade_of, steps=rules.stage_from),
        deviation, deviation is not None and loss < rules.certain[disc.upper.region] * deviation,
        is_unsure=deviation is not None and deviation > rules.most_deviation,
        expected=expected.index, expected_from=expected.source,
        reference_scheme=Scheme.KETTLER if disc.upper.region is Region.CERVICAL else Scheme.WILKE,
        reference_grade=grade_of(loss, rules.reference_from),
    )  # fmt: skip


def _slip(film: _Film, disc: DiscLevel) -> Iterator[Finding]:
    """Meyerding's grade where the step is not a usual one; nothing where the front is not known."""
    measure = film.measures.get((Quantity.SLIP_SHARE, disc))
    if measure is None:
        return
    rules, index = film.policy.slip, film.measures.get((Quantity.DISC_HEIGHT_INDEX, disc))
    touching = index is not None and index.value < film.policy.height.least_index
    if touching or disc not in rules.usual:
        reason = Reason.NOT_MEASURABLE if touching else Reason.NOT_VALIDATED
        yield _ungraded(Sign.SPONDYLOLISTHESIS, disc, Scheme.MEYERDING, reason, measure.value)
        return
    usual, within = rules.usual[disc]
    away, deviation = measure.value - usual, measure.uncertainty
    yield film.finding(
        Sign.SPONDYLOLISTHESIS, disc, Scheme.MEYERDING, measure.value,
        lambda step: 1 + grade_of(abs(step), rules.grade_from) if abs(step - usual) > within else 0,
        deviation, abs(away) <= np.hypot(within, film.policy.certain[Sign.SPONDYLOLISTHESIS] * (deviation or 0)),
        none_at=usual, expected=usual, side=Side.ANTERIOR if away > 0 else Side.POSTERIOR,
    )  # fmt: skip


def _spur_share(film: _Film, level: Level, side: int) -> float:
    """How far a rim stands out; NaN where it was not looked at, or is not graded."""
    is_graded = any(
        (level, side) in ((disc.upper, LOWER), (disc.lower, UPPER)) for disc in film.policy.spur.discs
    )
    return float(film.texture.spurs[level, side]) if is_graded else float("nan")


def _osteophytes(film: _Film, disc: DiscLevel) -> Finding:
    if disc not in film.policy.spur.discs:
        return _ungraded(Sign.OSTEOPHYTES, disc, Scheme.WALRAEVENS, Reason.NOT_VALIDATED)
    shares = [_spur_share(film, level, side) for level, side in ((disc.upper, LOWER), (disc.lower, UPPER))]
    if not np.isfinite(shares).any():
        return _ungraded(Sign.OSTEOPHYTES, disc, Scheme.WALRAEVENS, Reason.NOT_MEASURABLE)
    return _spur_finding(film, disc, float(np.nanmax(shares)))


def _spur_finding(film: _Film, place: DiscLevel | Level, share: float, **rest: Any) -> Finding:
    rules = film.policy.spur
    error = rules.error[(place if isinstance(place, Level) else place.upper).region]
    return film.finding(
        Sign.OSTEOPHYTES, place, Scheme.WALRAEVENS, share,
        partial(grade_of, steps=rules.grade_from),
        error, share < film.policy.certain[Sign.OSTEOPHYTES] * error, **rest,
    )  # fmt: skip


def _sclerosis(film: _Film, disc: DiscLevel) -> Finding:
    steps = film.policy.sclerosis_from.get(disc.upper.region)
    values = np.array([film.texture.densities[disc.upper, LOWER], film.texture.densities[disc.lower, UPPER]])
    known = values[np.isfinite(values)]
    reason = None
    if steps is None:
        reason = Reason.NOT_VALIDATED
    elif not known.size:
        reason = Reason.NOT_MEASURABLE
    elif _LOW_CONTRAST in film.quality.notes:
        reason = Reason.FILM_QUALITY
    density = float(known.max()) if known.size else None
    if steps is None or density is None or reason:
        return _ungraded(
            Sign.SUBCHONDRAL_SCLEROSIS, disc, Scheme.SPINEPACS, reason or Reason.NOT_MEASURABLE, density
        )
    return film.finding(
        Sign.SUBCHONDRAL_SCLEROSIS, disc, Scheme.SPINEPACS, density,
        partial(grade_of, steps=steps), None, False,
    )  # fmt: skip


def _degeneration(film: _Film, disc: DiscLevel, parts: Sequence[Finding]) -> Finding:
    """Overall degree by the points of height, rims and plates; what is not graded gives none and widens the range."""
    rules = film.policy
    most = (4, 3, rules.most_sclerosis)
    height = parts[0]
    if height.computed_grade is None and height.published_grade is None:
        return _ungraded(Sign.DISC_DEGENERATION, disc, Scheme.WALRAEVENS, Reason.NOT_MEASURABLE)

    def degree(points: Sequence[int]) -> int:
        return grade_of(sum(min(p, m) for p, m in zip(points, most, strict=True)), rules.degeneration_from)

    computed, published = (
        degree([getattr(part, name) or 0 for part in parts]) for name in ("computed_grade", "published_grade")
    )
    ranges = [
        part.grade_range or ((0, 4) if part.computed_grade is None else (part.computed_grade,) * 2)
        for part in parts
    ]
    reason = film.doubts.about(disc) or (height.reason if height.published_grade is None else None)
    points = sum(min(part.published_grade or 0, m) for part, m in zip(parts, most, strict=True))
    by_person = any(part.reason is Reason.BY_PERSON for part in parts)
    differs = Reason.PARTS_BY_PERSON if by_person else Reason.WITHIN_ERROR
    return Finding(
        Sign.DISC_DEGENERATION, disc, Scheme.WALRAEVENS, float(points), Unit.RATIO, computed,
        None if reason else published, reason or (differs if published != computed else None),
        grade_range=(degree([low for low, _ in ranges]), degree([high for _, high in ranges])),
    )  # fmt: skip


def _vertebrae(film: _Film) -> Iterator[Finding]:
    """Deformities, and the single rims and endplates that show a sign."""
    for vertebra in film.spine.vertebrae:
        level = vertebra.level
        if measure := film.measures.get((Quantity.VERTEBRA_HEIGHT_LOSS, level)):
            yield _deformity(film, level, measure)
        steps = None if _LOW_CONTRAST in film.quality.notes else film.policy.sclerosis_from.get(level.region)
        for side in (UPPER, LOWER):
            share = _spur_share(film, level, side)
            if grade_of(share, film.policy.spur.grade_from) and np.isfinite(share):
                mark = spur_mark(film.spine, level, side, share)
                yield _spur_finding(film, level, share, side=_RIMS[side], marks_px=mark)
            density = float(film.texture.densities[level, side])
            if steps and np.isfinite(density) and grade_of(density, steps):
                yield film.finding(
                    Sign.SUBCHONDRAL_SCLEROSIS, level, Scheme.SPINEPACS, density,
                    partial(grade_of, steps=steps), None, False,
                    side=_PLATES[side], marks_px=plate_mark(film.spine, level, side),
                )  # fmt: skip


def _deformity(film: _Film, level: Level, measure: Measure) -> Finding:
    ratios = {
        form: film.measures[quantity, level].value
        for quantity, form in _FORMS.items()
        if (quantity, level) in film.measures
    }
    steps, deviation = film.policy.deformity_from, measure.uncertainty
    computed = grade_of(measure.value, steps)
    return film.finding(
        Sign.VERTEBRAL_DEFORMITY, level, Scheme.GENANT, measure.value,
        partial(grade_of, steps=steps),
        deviation, deviation is not None and measure.value < film.policy.certain[Sign.VERTEBRAL_DEFORMITY] * deviation,
        form=min(ratios, key=ratios.__getitem__) if computed and ratios else None,
    )  # fmt: skip
