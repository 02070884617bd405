"""What is measured on a film: one form for heights, ratios, slips and angles, so that all are stored and shown alike.

Lengths are in mm where the film has a spacing, whose basis stands beside the value, and in px where it has none. Film
px that are not square are first brought to px of isotropic length (see :mod:`spinepacs.analysis.measuring.measure`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from spinepacs.domain.anatomy import DiscLevel, Level, Span
from spinepacs.domain.geometry import Move, Points, SpacingBasis

HALF_95 = 1.96
"""Half-width of a 95 % interval, in standard deviations."""
Place = Level | DiscLevel | Span
"""Where something was measured: at a vertebra, at a disc with its two neighbours, or from one level to another."""


class Unit(StrEnum):
    """Unit of a value, as UCUM writes it; ``px`` where a film has no spacing."""

    PX = "px"
    MM = "mm"
    RATIO = "1"
    DEGREE = "deg"


class Quantity(StrEnum):
    """What a value measures. The names are stable: they are in the database.

    "Front" and "back" are the patient's; "left" and "right" are the sides of the image. Anterior and posterior, and
    every sign, need to know where the front is: where that is unknown, those measures are missing.
    """

    DISC_HEIGHT_ANTERIOR = "disc_height_anterior"
    """Lateral: length between the front corners, at right angles to the bisectrix of the two endplates."""
    DISC_HEIGHT_MIDDLE = "disc_height_middle"
    """Lateral: the same, between the endplates' curves half-way."""
    DISC_HEIGHT_POSTERIOR = "disc_height_posterior"
    """Lateral: the same, between the back corners."""
    DISC_HEIGHT_FROBIN = "disc_height_frobin"
    """Lateral: ventral height from the bisectrix of the midplanes ÷ mean depth of the upper vertebra (Frobin 1997)."""
    DISC_HEIGHT_DABBS = "disc_height_dabbs"
    """Lateral: mean of the distances between the front corners and between the back corners (Dabbs 1990)."""
    DISC_HEIGHT_HURXTHAL = "disc_height_hurxthal"
    """Lateral: distance between the centres of the two endplates (Hurxthal 1968)."""
    DISC_HEIGHT_INDEX = "disc_height_index"
    """Lateral: mean of anterior and posterior height ÷ mean depth of the two endplates."""
    DISC_ANGLE = "disc_angle"
    """Lateral: angle between the two endplates, positive where the disc opens to the front."""
    SEGMENT_ANGLE = "segment_angle"
    """Lateral: upper endplate of the upper vertebra to lower one of the lower (S1: its upper); lordosis positive."""
    SLIP = "slip"
    """Lateral: displacement of the upper vertebra on the lower one along the bisectrix; to the front positive."""
    SLIP_SHARE = "slip_share"
    """Lateral: slip ÷ depth of the lower vertebra's upper endplate (Meyerding 1932, Taillard 1954)."""
    VERTEBRA_HEIGHT_ANTERIOR = "vertebra_height_anterior"
    """Lateral: distance between the front corners of one body."""
    VERTEBRA_HEIGHT_MIDDLE = "vertebra_height_middle"
    """Lateral: distance between the middles of the two endplates' curves."""
    VERTEBRA_HEIGHT_POSTERIOR = "vertebra_height_posterior"
    """Lateral: distance between the back corners."""
    VERTEBRA_DEPTH = "vertebra_depth"
    """Lateral: mean length of the endplates."""
    WEDGE_RATIO = "wedge_ratio"
    """Lateral: anterior ÷ posterior height of a body."""
    BICONCAVITY_RATIO = "biconcavity_ratio"
    """Lateral: middle ÷ posterior height of a body."""
    CRUSH_RATIO = "crush_ratio"
    """Lateral: posterior height of a body ÷ mean posterior height of its neighbours."""
    VERTEBRA_HEIGHT_LOSS = "vertebra_height_loss"
    """Lateral: greatest of the losses of height that Genant 1993 grades, 0 where there is none."""
    CERVICAL_LORDOSIS = "cervical_lordosis"
    """Lateral: lower endplate of C2 to lower endplate of C7, lordosis positive."""
    THORACIC_KYPHOSIS = "thoracic_kyphosis"
    """Lateral: upper endplate of T4 to lower endplate of T12, kyphosis positive."""
    LUMBAR_LORDOSIS = "lumbar_lordosis"
    """Lateral: upper endplate of L1 to upper endplate of S1, or to the lower one of L5; lordosis positive."""
    AP_DISC_HEIGHT_LEFT = "ap_disc_height_left"
    """AP: length between the corners at the image's left, at right angles to the bisectrix of the two endplates."""
    AP_DISC_HEIGHT_MIDDLE = "ap_disc_height_middle"
    """AP: the same, between the endplates' curves half-way."""
    AP_DISC_HEIGHT_RIGHT = "ap_disc_height_right"
    """AP: the same, at the image's right."""
    AP_DISC_HEIGHT_INDEX = "ap_disc_height_index"
    """AP: mean of left and right height ÷ mean width of the two endplates."""
    AP_DISC_WEDGE = "ap_disc_wedge"
    """AP: angle between the two endplates, positive where the disc opens to the image's left."""
    AP_VERTEBRA_WEDGE = "ap_vertebra_wedge"
    """AP: angle between the two endplates of one body, positive where it is higher at the image's left."""
    LATERAL_LISTHESIS = "lateral_listhesis"
    """AP: displacement of the upper vertebra on the lower one along the bisectrix; to the image's left positive."""
    LATERAL_LISTHESIS_SHARE = "lateral_listhesis_share"
    """AP: lateral listhesis ÷ width of the lower vertebra's upper endplate."""
    COBB_MAIN = "cobb_main"
    """AP: Cobb angle of the largest curve, never negative; the place names its end vertebrae."""
    COBB_OTHER = "cobb_other"
    """AP: Cobb angle of another curve, above or below the main one, of 10° or more."""


class Reason(StrEnum):
    """Why a measure is not published, or a published grade not the computed one, or why there is none."""

    NO_EXPECTED_HEIGHT = "NO_EXPECTED_HEIGHT"
    """Nothing says how high this disc should be: nothing is computed either."""
    NOT_MEASURABLE = "NOT_MEASURABLE"
    """What the grade needs could not be measured here: nothing is computed either."""
    LEVEL_AMBIGUOUS = "LEVEL_AMBIGUOUS"
    """The levels may be shifted by one."""
    LOW_CONFIDENCE = "LOW_CONFIDENCE"
    """One of the vertebrae was barely found."""
    UNCERTAIN = "UNCERTAIN"
    """The outlines are so uncertain here that a value says nothing."""
    CUT_AT_BORDER = "CUT_AT_BORDER"
    """A vertebra that the grade needs is cut by the border of the film."""
    IMPLANT = "IMPLANT"
    """Metal lies over what was measured."""
    FILM_QUALITY = "FILM_QUALITY"
    """The film is not good enough: tilt, contrast or the like; its notes say which."""
    NOT_VALIDATED = "NOT_VALIDATED"
    """The sign could not be told from none in this region when it was tested: nothing is graded."""
    WITHIN_ERROR = "WITHIN_ERROR"
    """The value cannot be told from none at its uncertainty: grade 0 is published."""
    BY_PERSON = "BY_PERSON"
    """A person has graded it: the correction says who and why."""
    PARTS_BY_PERSON = "PARTS_BY_PERSON"
    """An overall degree: a person has graded one of the signs that it adds up."""
    NOT_LATERAL = "NOT_LATERAL"
    """Of a conclusion: the film is not a lateral one."""
    TOO_FEW_DISCS = "TOO_FEW_DISCS"
    """Of a conclusion: too few discs of the region have a published degree."""


@dataclass(frozen=True)
class Measure:
    """One value at one place.

    Parameters
    ----------
    quantity, place
        What and where; a film has each pair at most once.
    value, unit
        The value; lengths in mm, or in px where the film has no spacing.
    uncertainty
        Standard deviation of the value, same unit; None where the model's localisation error is not known.
    basis
        Of a value in mm; None for every other unit.
    lines_px
        (2, 2) float64 segments that show the measure on the film, native px: the height's line, the angle's legs.
    apex
        Of a Cobb angle: the vertebra or disc that lies farthest out of the curve's ends.
    convex_left
        Of a Cobb angle: whether the curve bends towards the image's left.
    reason
        Why it is not published, that is shown nowhere but in tables, and there with the reason; None where it is.
    """

    quantity: Quantity
    place: Place
    value: float
    unit: Unit
    uncertainty: float | None = None
    basis: SpacingBasis | None = None
    lines_px: tuple[Points, ...] = field(default=(), compare=False, repr=False)
    apex: Level | DiscLevel | None = None
    convex_left: bool | None = None
    reason: Reason | None = None

    def __post_init__(self) -> None:
        if (self.unit is Unit.MM) != (self.basis is not None):
            raise ValueError(f"{self.quantity}: mm need a basis, and nothing else has one")

    def moved(self, move: Move) -> Measure:
        """The same value, shown on another picture."""
        return replace(self, lines_px=tuple(map(move, self.lines_px)))

    @property
    def margin(self) -> float | None:
        """Half-width of the 95 % interval, same unit; None where the uncertainty is not known."""
        return None if self.uncertainty is None else HALF_95 * self.uncertainty

    @property
    def levels(self) -> tuple[Level, Level]:
        """First and last level of the place; the same one twice for a vertebra."""
        if isinstance(self.place, Level):
            return self.place, self.place
        return self.place.upper, self.place.lower
