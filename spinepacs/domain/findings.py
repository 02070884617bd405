"""What was found: detections, the named spine, disc heights, readings, results.

Everything is in native pixels (see :mod:`spinepacs.domain.geometry`); millimetres stand beside pixels only where the
film has a spacing, whose basis is stored with the reading.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from spinepacs.domain.anatomy import DiscLevel, Level, either
from spinepacs.domain.corrections import Correction
from spinepacs.domain.geometry import Endplate, Move, Outline, Spacing, Turn
from spinepacs.domain.measures import Measure
from spinepacs.domain.signs import Conclusion, Finding
from spinepacs.domain.study import View
from spinepacs.later import Later

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = Later("numpy")


@dataclass(frozen=True)
class Refusal:
    """An expected clinical outcome: why an image was not read, or a reading not published.

    Parameters
    ----------
    code
        Stable, upper case, for the database and the metrics, for instance ``NOT_SELECTED``,
        ``NO_VERTEBRA_FOUND``, ``MULTI_FRAME``, ``EMPTY_IMAGE``.
    reason
        A sentence for a person, free of patient identity.
    """

    code: str
    reason: str


SURE_SCORE = 0.25
"""Confidence from which a detection is a vertebra by itself; a less sure one only as a member of a chain."""
SURE_MARGIN = 3.0
"""Log odds from which a level is sure, nats: 95 %, as far as the weights of the evidence make them nats of a
probability. What that is worth: the model's card."""


@dataclass(frozen=True)
class Detection:
    """One vertebra as the network drew it.

    Parameters
    ----------
    class_scores
        (25,) float32, the network's score by level, 0–1; index = ``Level``.
    score
        Confidence that it is a vertebra at all, 0–1.
    box_px
        (4,) float64: x0, y0, x1, y1, native px.
    outline
        Outline of the vertebral body, native px, sub-pixel.
    evidence
        (25,) float64, what all networks together say of its level, nats, weighed so that they add up along a film;
        0 says nothing. None where only ``class_scores`` do.
    """

    class_scores: NDArray[np.float32]
    score: float
    box_px: NDArray[np.float64]
    outline: Outline
    evidence: NDArray[np.float64] | None = None

    @property
    def raw_level(self) -> Level:
        """Level with the network's highest score."""
        return Level(int(np.argmax(self.class_scores)))


@dataclass(frozen=True)
class Vertebra:
    """A named vertebra: the published level beside the network's raw answer.

    Parameters
    ----------
    level
        Published level.
    raw_level, raw_score
        The network's own best class and its score.
    level_reason
        Why ``level`` differs from ``raw_level``; empty where it does not.
    score
        Confidence that it is a vertebra, 0–1.
    outline
        Native px.
    upper, lower
        Endplates; None where the outline does not show one (C1; C2 has no upper, S1 no lower).
    level_margin
        Log odds of the level against all others that this vertebra may have, nats; None where there is no other.
    other_level
        The likeliest of those others, where the level is not sure.
    """

    level: Level
    raw_level: Level
    raw_score: float
    level_reason: str
    score: float
    outline: Outline
    upper: Endplate | None
    lower: Endplate | None
    level_margin: float | None = None
    other_level: Level | None = None

    def moved(self, move: Move) -> Vertebra:
        """The same vertebra on another picture."""
        upper, lower = (plate and plate.moved(move) for plate in (self.upper, self.lower))
        return replace(self, outline=self.outline.moved(move), upper=upper, lower=lower)

    @property
    def names(self) -> tuple[str, ...]:
        """What it is called: its level, and where that is not sure the other one too, from head to foot."""
        return either(self.level, self.other_level)

    @property
    def level_is_ambiguous(self) -> bool:
        """Whether another level fits almost as well."""
        return self.level_margin is not None and self.level_margin < SURE_MARGIN


@dataclass(frozen=True)
class Spine:
    """The named vertebrae of one film, from head to foot, each level at most once.

    Parameters
    ----------
    vertebrae
        Ordered by level.
    missing
        Levels between the first and the last that were not found.
    view
        The view that the measures assume (header, else picture).
    anterior_left
        True: anterior is at the image's left with the head up; False: right; None: AP film or unknown.
    anterior_basis
        ``header``, ``picture`` or empty.
    notes
        Codes, for instance ``LEVELS_SHIFTED``.
    """

    vertebrae: tuple[Vertebra, ...]
    missing: tuple[Level, ...]
    view: View
    anterior_left: bool | None
    anterior_basis: str = ""
    notes: tuple[str, ...] = ()

    def moved(self, move: Move) -> Spine:
        """The same spine on another picture."""
        return replace(self, vertebrae=tuple(vertebra.moved(move) for vertebra in self.vertebrae))


@dataclass(frozen=True)
class DiscHeight:
    """Heights of one disc space.

    On lateral films ``anterior`` and ``posterior`` are set, on AP films (and where the facing is unknown)
    ``left`` and ``right`` (image sides). ``lines_px`` holds, by the same names, the (2, 2) float64 segments that were
    measured, from the upper vertebra's lower endplate to the lower vertebra's upper endplate.

    Parameters
    ----------
    disc
        The disc.
    anterior_px, middle_px, posterior_px, left_px, right_px
        Heights in px of isotropic length (see ``analysis.measuring.measure``).
    anterior_mm, …
        The same in mm; None without a spacing.
    height_index
        Mean height ÷ mean depth (width on AP films) of the two endplates; a ratio, no unit.
    wedge_deg
        Angle between the two endplates, degrees, positive when the disc opens to the anterior (or image-left) side.
    """

    disc: DiscLevel
    middle_px: float
    height_index: float
    wedge_deg: float
    lines_px: dict[str, NDArray[np.float64]]
    anterior_px: float | None = None
    posterior_px: float | None = None
    left_px: float | None = None
    right_px: float | None = None
    middle_mm: float | None = None
    anterior_mm: float | None = None
    posterior_mm: float | None = None
    left_mm: float | None = None
    right_mm: float | None = None

    def moved(self, move: Move) -> DiscHeight:
        """The same heights, shown on another picture."""
        return replace(self, lines_px={name: move(line) for name, line in self.lines_px.items()})


@dataclass(frozen=True)
class Versions:
    """What produced a reading: together they are part of every output UID."""

    model_name: str
    model_version: str
    policy_name: str
    policy_version: str

    def with_policy_of(self, other: Versions) -> Versions:
        """The same model under another policy."""
        return replace(self, policy_name=other.policy_name, policy_version=other.policy_version)


@dataclass(frozen=True)
class Reading:
    """The result of one radiograph under one model and one policy.

    All coordinates are those of the film's own pixels, however it was turned to be read; left and right, in names and
    words, are those of the film with its head up.
    """

    study_uid: str
    series_uid: str
    sop_uid: str
    versions: Versions
    rows: int
    columns: int
    spacing: Spacing | None
    spine: Spine | None
    discs: tuple[DiscHeight, ...]
    findings: tuple[Finding, ...]
    refusal: Refusal | None
    notes: tuple[str, ...] = ()
    """Codes, each once: of the film's header and pixels, of its spine, and of its quality."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Seconds by step: read, normalise, infer, segment, levels (where the model has a reader), label, measure, grade,
    segmentation, report, overlay, presentation."""
    measures: tuple[Measure, ...] = ()
    conclusions: tuple[Conclusion, ...] = ()
    """By region, from head to foot, the combined one last."""
    turn: Turn = Turn.NONE
    """How the film was turned to be read."""
    correction: Correction | None = None
    """What a person has changed, or said, to make this reading of an earlier one; None: it is the model's."""

    @property
    def published_measures(self) -> tuple[Measure, ...]:
        """What is shown: the measures that are not withheld."""
        return tuple(measure for measure in self.measures if measure.reason is None)

    @property
    def withheld_measures(self) -> tuple[Measure, ...]:
        """The others, each with its reason."""
        return tuple(measure for measure in self.measures if measure.reason is not None)

    def moved(self, move: Move) -> Reading:
        """The same reading with everything that it shows on another picture."""
        supported = (
            replace(one, support=tuple(finding.moved(move) for finding in one.support))
            for one in self.conclusions
        )
        return replace(
            self,
            spine=self.spine and self.spine.moved(move),
            discs=tuple(disc.moved(move) for disc in self.discs),
            measures=tuple(measure.moved(move) for measure in self.measures),
            findings=tuple(finding.moved(move) for finding in self.findings),
            conclusions=tuple(supported),
        )


class ObjectKind(StrEnum):
    """Kinds of objects that we write."""

    SEG = "SEG"
    SR = "SR"
    OVERLAY = "OVERLAY"
    REJECTION = "KO"
    """A key object that says of earlier ones that they are not to be used; goes where those went, unasked."""
    GSPS = "GSPS"
    """Grayscale softcopy presentation state."""
    PDF = "PDF"
    """The printable page, encapsulated."""
    FHIR = "FHIR"
    """Bundle of FHIR resources about a study; no DICOM object."""
    HL7 = "HL7"
    """HL7 v2 message about a study; no DICOM object."""


RESULTS = (ObjectKind.SEG, ObjectKind.SR, ObjectKind.OVERLAY)
"""What is made of every reading that is published."""

REPLACED = (*RESULTS, ObjectKind.GSPS, ObjectKind.PDF)
"""What a correction replaces in the archives."""

DOCUMENTS = (ObjectKind.FHIR, ObjectKind.HL7)
"""What is made of a study, not of a film; a correction sends it anew."""


@dataclass(frozen=True)
class EarlierObject:
    """One of the objects that an earlier reading of the film has left in the archive."""

    kind: ObjectKind
    sop_uid: str
    sop_class_uid: str
    series_uid: str


@dataclass(frozen=True)
class EncodedObject:
    """One DICOM object, ready to be stored and sent.

    Parameters
    ----------
    kind
        What it is.
    source_sop_uid
        SOP Instance UID of the radiograph that it describes.
    sop_uid, sop_class_uid, series_uid, transfer_syntax_uid
        Its own identity; of what is no DICOM object all but the first are empty.
    part10
        The whole file (PS3.10, or as its kind has it).
    """

    kind: ObjectKind
    source_sop_uid: str
    sop_uid: str
    sop_class_uid: str
    series_uid: str
    transfer_syntax_uid: str
    part10: bytes | memoryview


@dataclass(frozen=True)
class ImageResult:
    """One radiograph's reading with the objects made from it (none when refused)."""

    reading: Reading
    objects: tuple[EncodedObject, ...]


@dataclass(frozen=True)
class StudyResult:
    """What is made of one study: its films, and the corrections that persons have asked for, each in their order."""

    study_uid: str
    images: tuple[ImageResult, ...]
    corrections: tuple[ImageResult | Refusal, ...] = ()
