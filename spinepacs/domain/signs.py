"""Graded signs of wear, and what they add up to by region: the computed and the published answer kept apart.

Why the two differ is a :class:`~spinepacs.domain.measures.Reason`, as of measures that are not published.

All names are stable: they are in the database, in reports and in files.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from spinepacs.domain.anatomy import DiscLevel, Level, Span
from spinepacs.domain.geometry import Move, Points, SpacingBasis
from spinepacs.domain.measures import Place, Reason, Unit
from spinepacs.language import NP_


class Sign(StrEnum):
    """What is graded, and where it is stated."""

    DISC_HEIGHT_LOSS = "disc_height_loss"
    """At a disc: stage 0 to 4, loss as a ratio of the expected height."""
    SPONDYLOLISTHESIS = "spondylolisthesis"
    """At a disc, whose upper vertebra slips: grade 0 to 5, share of the lower plate's depth; to the front positive."""
    OSTEOPHYTES = "osteophytes"
    """At a disc: the greatest of its four rims; at a vertebra with a ``side``: one rim (only where there is one)."""
    SUBCHONDRAL_SCLEROSIS = "subchondral_sclerosis"
    """At a disc: the denser of its two endplates; at a vertebra with a ``side``: one endplate (only where dense)."""
    VERTEBRAL_DEFORMITY = "vertebral_deformity"
    """At a vertebra: loss of height as a ratio; ``form`` names the shape."""
    DISC_DEGENERATION = "disc_degeneration"
    """At a disc: overall degree 0 to 3 from height loss, osteophytes and sclerosis; the value is their sum."""


class Scheme(StrEnum):
    """Whose grades they are; the policy (``config/grading.toml``) holds the thresholds."""

    SPINEPACS = "spinepacs"
    """Our own: stages 0 to 4 of disc height, degrees 0 to 3 of sclerosis."""
    WILKE = "wilke"
    """Wilke et al. 2006, Eur Spine J 15: 720: lumbar discs, 0 to 3."""
    WALRAEVENS = "walraevens"
    """Walraevens et al. 2009, Eur Spine J 18: 358: osteophytes 0 to 3 and overall degree 0 to 3; made for the neck."""
    KETTLER = "kettler"
    """Kettler et al. 2006, Eur Spine J 15: 732: cervical discs, 0 to 3."""
    MEYERDING = "meyerding"
    """Meyerding 1932, Surg Gynecol Obstet 54: 371: slips, I to IV; V beyond the whole depth (ptosis)."""
    GENANT = "genant"
    """Genant et al. 1993, J Bone Miner Res 8: 1137: vertebral deformity, 0 to 3."""


class Side(StrEnum):
    """Which rim or endplate of a body, or which way a vertebra slipped; the patient's directions."""

    ANTERIOR = "anterior"
    POSTERIOR = "posterior"
    UPPER = "upper"
    LOWER = "lower"
    UPPER_ANTERIOR = "upper_anterior"
    UPPER_POSTERIOR = "upper_posterior"
    LOWER_ANTERIOR = "lower_anterior"
    LOWER_POSTERIOR = "lower_posterior"


class Deformity(StrEnum):
    """Shape of a deformed vertebra (Genant 1993)."""

    WEDGE = "wedge"
    BICONCAVE = "biconcave"
    CRUSH = "crush"


class ExpectedFrom(StrEnum):
    """Where an expected value comes from."""

    NEIGHBOURS = "neighbours"
    """The same film's other discs, each against the norm of its own level."""
    NORMS = "norms"
    """Published means by level."""
    BOTH = "both"


@dataclass(frozen=True)
class Finding:
    """One graded sign at one place.

    Parameters
    ----------
    sign, place, side
        What and where. ``sign``, ``place`` and ``side`` together are unique within a film.
    scheme
        Whose grades ``computed_grade`` and ``published_grade`` are.
    value, unit, uncertainty
        The measure that was graded, and its standard deviation; None where unknown.
    basis
        Of a value in mm; None for every other unit.
    computed_grade
        What the policy gives for the value; None where it gives none.
    published_grade
        What is shown; None when withheld.
    reason
        Why the two differ, or why there is none; None where they agree.
    grade_range
        Lowest and highest grade within the value's 95 % interval; None where the uncertainty is not known.
    expected, expected_from
        What the value was compared with, for instance the expected height index, and where it comes from.
    form
        Of a vertebral deformity: its shape.
    reference_scheme, reference_grade
        A published scheme's grade of the same value, beside our own; to be shown only where a grade is published.
    marks_px
        (N, 2) float64 polylines that show the sign on the film, native px.
    """

    sign: Sign
    place: Place
    scheme: Scheme
    value: float | None
    unit: Unit
    computed_grade: int | None
    published_grade: int | None
    reason: Reason | None = None
    uncertainty: float | None = None
    basis: SpacingBasis | None = None
    grade_range: tuple[int, int] | None = None
    expected: float | None = None
    expected_from: ExpectedFrom | None = None
    side: Side | None = None
    form: Deformity | None = None
    reference_scheme: Scheme | None = None
    reference_grade: int | None = None
    marks_px: tuple[Points, ...] = field(default=(), compare=False, repr=False)

    def moved(self, move: Move) -> Finding:
        """The same finding, shown on another picture."""
        return replace(self, marks_px=tuple(map(move, self.marks_px)))

    @property
    def disc(self) -> DiscLevel | None:
        """The disc, where the place is one."""
        return self.place if isinstance(self.place, DiscLevel) else None

    @property
    def level(self) -> Level | None:
        """The vertebra, where the place is one."""
        return self.place if isinstance(self.place, Level) else None

    @property
    def is_borderline(self) -> bool:
        """Whether another grade than the computed one lies within the value's 95 % interval."""
        return self.grade_range is not None and self.grade_range[0] != self.grade_range[1]


class Area(StrEnum):
    """What a conclusion speaks of."""

    CERVICAL = "cervical"
    """C2/C3 to C7/T1."""
    THORACIC = "thoracic"
    """T1/T2 to T11/T12."""
    LUMBAR = "lumbar"
    """T12/L1 to L4/L5."""
    LUMBOSACRAL = "lumbosacral"
    """L5/S1."""
    COMBINED = "combined"
    """All of them, where a film shows more than one."""


class Statement(StrEnum):
    """What a conclusion says; its sentence says the same in words."""

    WITHHELD = "withheld"
    NO_SIGNS = "no_signs"
    ISOLATED_SIGNS = "isolated_signs"
    """Single signs, at no disc the loss of height together with changes of its endplates or rims."""
    SLIGHT_SIGNS = "slight_signs"
    """Signs of osteochondrosis, overall degree 1."""
    MODERATE_SIGNS = "moderate_signs"
    SEVERE_SIGNS = "severe_signs"


class ForAge(StrEnum):
    """How a degree compares with what is usual at the patient's age."""

    LESS = "less"
    USUAL = "usual"
    MORE = "more"


@dataclass(frozen=True)
class Conclusion:
    """What the findings of one region add up to: a finding for a physician, never a diagnosis.

    Parameters
    ----------
    area, span
        The region, and the first and last level of it that the film shows; None where it shows no disc of it.
    scheme
        Whose overall degree it is.
    computed_degree, published_degree
        The highest degree among the discs, 0 (none) to 3 (severe); None where there is none or it is withheld.
    statement, sentence
        Its code, and one sentence in English; in the language that is spoken: ``sentences.statement``.
    support
        The findings that the statement rests on, worst first; then the other published signs of the region.
    reason
        Why it is withheld; None where it is not.
    for_age
        Against published frequencies at the patient's age; None where age or norm is not known.
    """

    area: Area
    span: Span | None
    scheme: Scheme
    computed_degree: int | None
    published_degree: int | None
    statement: Statement
    sentence: str
    support: tuple[Finding, ...] = ()
    reason: Reason | None = None
    for_age: ForAge | None = None


GRADE_NAMES: dict[Sign, tuple[str, ...]] = {
    Sign.DISC_HEIGHT_LOSS: (
        NP_("disc_height_loss", "none"),
        NP_("disc_height_loss", "initial"),
        NP_("disc_height_loss", "middle"),
        NP_("disc_height_loss", "advanced"),
        NP_("disc_height_loss", "critical"),
    ),
    Sign.SPONDYLOLISTHESIS: (
        NP_("spondylolisthesis", "none"), "I", "II", "III", "IV", NP_("spondylolisthesis", "V (ptosis)"),
    ),
    Sign.OSTEOPHYTES: (
        NP_("osteophytes", "none"),
        NP_("osteophytes", "slight"),
        NP_("osteophytes", "moderate"),
        NP_("osteophytes", "severe"),
    ),
    Sign.SUBCHONDRAL_SCLEROSIS: (
        NP_("subchondral_sclerosis", "none"),
        NP_("subchondral_sclerosis", "slight"),
        NP_("subchondral_sclerosis", "moderate"),
        NP_("subchondral_sclerosis", "severe"),
    ),
    Sign.VERTEBRAL_DEFORMITY: (
        NP_("vertebral_deformity", "none"),
        NP_("vertebral_deformity", "mild"),
        NP_("vertebral_deformity", "moderate"),
        NP_("vertebral_deformity", "severe"),
    ),
    Sign.DISC_DEGENERATION: (
        NP_("disc_degeneration", "none"),
        NP_("disc_degeneration", "slight"),
        NP_("disc_degeneration", "moderate"),
        NP_("disc_degeneration", "severe"),
    ),
}  # fmt: skip
"""Words for the grades of a sign, from 0, in English; in the language that is spoken: ``words.grade_name``."""
