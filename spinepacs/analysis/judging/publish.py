"""What is sure enough to be published: one rule, by place, for measures and grades on every way out.

What stands on a doubtful place is kept with its reason, in tables; picture, report, page and sheet show that alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from spinepacs.analysis.judging.quality import Quality
from spinepacs.domain.anatomy import Level, Span
from spinepacs.domain.findings import Spine
from spinepacs.domain.measures import Measure, Place, Quantity, Reason

_MOST_DEVIATION = 0.15
"""Standard deviation of a disc's mean height, or of a body's depth, over that depth. Discs are 0.15 (chest) to 0.30
(neck, loin) of the depth high: beyond it the 95 % interval holds none as well as twice the usual. At most 0.12 on the
demo's films, but 0.18 at T2/T3 behind the shoulder; 15 real films exceed it mostly from C7 to T10, where heights are as
wild as their intervals say."""
_RATIOS = (Quantity.DISC_HEIGHT_INDEX, Quantity.AP_DISC_HEIGHT_INDEX)


@dataclass(frozen=True)
class Doubts:
    """Why places of one film are not published.

    Parameters
    ----------
    spine, quality
        The film's.
    uncertain
        Places whose outlines are too uncertain.
    least_score
        Confidence of a vertebra below which nothing that stands on it is published, 0-1.
    """

    spine: Spine
    quality: Quality
    uncertain: frozenset[Place]
    least_score: float

    @classmethod
    def of(cls, spine: Spine, measures: Sequence[Measure], quality: Quality, least_score: float) -> Doubts:
        """Find the doubtful places of a film."""
        uncertain = frozenset(m.place for m in measures if _deviation(m) > _MOST_DEVIATION)
        return cls(spine, quality, uncertain, least_score)

    def about(self, place: Place) -> Reason | None:
        """Why nothing that stands on a place is published; None where it may be.

        An angle over a region keeps its value when its ends are named one level too high.
        """
        levels = {place} if isinstance(place, Level) else {place.upper, place.lower}
        on = [vertebra for vertebra in self.spine.vertebrae if vertebra.level in levels]
        ambiguous = not isinstance(place, Span) and any(vertebra.level_is_ambiguous for vertebra in on)
        applies = {
            Reason.LEVEL_AMBIGUOUS: ambiguous,
            Reason.CUT_AT_BORDER: bool(self.quality.cut & levels),
            Reason.IMPLANT: bool(self.quality.metal & levels),
            Reason.FILM_QUALITY: self.quality.unfit,
            Reason.LOW_CONFIDENCE: min((vertebra.score for vertebra in on), default=1.0) < self.least_score,
            Reason.UNCERTAIN: place in self.uncertain,
        }
        return next((reason for reason, true in applies.items() if true), None)


def published(measures: Sequence[Measure], doubts: Doubts) -> tuple[Measure, ...]:
    """The same measures, those on doubtful places with the reason."""
    reasons: Mapping[Place, Reason | None] = {
        place: doubts.about(place) for place in {measure.place for measure in measures}
    }
    return tuple(replace(m, reason=reasons[m.place]) if reasons[m.place] else m for m in measures)


def _deviation(measure: Measure) -> float:
    """Of a disc's height index or a body's depth, as a share of the depth; 0 for what says nothing about it."""
    if measure.uncertainty is None:
        return 0.0
    if measure.quantity is Quantity.VERTEBRA_DEPTH:
        return measure.uncertainty / max(measure.value, 1e-9)
    return measure.uncertainty if measure.quantity in _RATIOS else 0.0
