"""What codes are called for people: in the picture, on the page and in tables, in one place."""

from __future__ import annotations

from collections.abc import Iterable

from spinepacs.domain.geometry import SpacingBasis
from spinepacs.domain.measures import Quantity, Reason
from spinepacs.domain.signs import GRADE_NAMES, Deformity, ExpectedFrom, Scheme, Side, Sign

TO_PHYSICIAN = " To be judged by a physician."
"""How sentences of conclusions end; where several stand together it is said once."""

BASES: dict[SpacingBasis, str] = {
    SpacingBasis.CALIBRATED: "mm, calibrated",
    SpacingBasis.MAGNIFICATION_CORRECTED: "mm, corrected for magnification",
    SpacingBasis.CALIBRATED_UNKNOWN: "mm, corrected or calibrated, not said how",
    SpacingBasis.DETECTOR_PLANE: "mm in the detector plane (magnified)",
    SpacingBasis.UNCALIBRATED: "mm, not calibrated",
}
ANGLES: dict[Quantity, str] = {
    Quantity.CERVICAL_LORDOSIS: "Cervical lordosis",
    Quantity.THORACIC_KYPHOSIS: "Thoracic kyphosis",
    Quantity.LUMBAR_LORDOSIS: "Lumbar lordosis",
    Quantity.COBB_MAIN: "Cobb angle",
    Quantity.COBB_OTHER: "Cobb angle",
}
SIGNS: dict[Sign, str] = {
    Sign.DISC_HEIGHT_LOSS: "loss of height",
    Sign.SPONDYLOLISTHESIS: "slip",
    Sign.OSTEOPHYTES: "osteophytes",
    Sign.SUBCHONDRAL_SCLEROSIS: "sclerosis",
    Sign.VERTEBRAL_DEFORMITY: "deformity",
    Sign.DISC_DEGENERATION: "overall degree",
}
SCHEMES: dict[Scheme, str] = {scheme: scheme.value.capitalize() for scheme in Scheme}
FORMS: dict[Deformity, str] = {form: form.value for form in Deformity}
ORIGINS: dict[ExpectedFrom, str] = {
    ExpectedFrom.NEIGHBOURS: "other discs of this film",
    ExpectedFrom.NORMS: "published norms",
    ExpectedFrom.BOTH: "other discs of this film and published norms",
}
SLIPS: dict[Side, str] = {Side.ANTERIOR: "antero", Side.POSTERIOR: "retro"}
MEYERDING = ("0", "I", "II", "III", "IV", "V")

REASONS: dict[Reason, str] = {
    Reason.NO_EXPECTED_HEIGHT: "nothing to compare the height with",
    Reason.NOT_MEASURABLE: "not measurable",
    Reason.LEVEL_AMBIGUOUS: "levels may be shifted by one",
    Reason.LOW_CONFIDENCE: "vertebra barely found",
    Reason.UNCERTAIN: "outlines too uncertain",
    Reason.CUT_AT_BORDER: "cut by the border of the film",
    Reason.IMPLANT: "metal over it",
    Reason.FILM_QUALITY: "quality of the film",
    Reason.NOT_VALIDATED: "no tested rule for this region",
    Reason.WITHIN_ERROR: "not to be told from none",
    Reason.BY_PERSON: "graded by a person",
    Reason.PARTS_BY_PERSON: "signs graded by a person",
    Reason.NOT_LATERAL: "not a lateral film",
    Reason.TOO_FEW_DISCS: "too few discs graded",
}

NOTES: dict[str, str] = {
    "LEVEL_AMBIGUOUS": "levels may be shifted by one",
    "LEVELS_SHIFTED": "most levels differ from the network's own",
    "VERTEBRAE_MISSING": "vertebrae between those named were not found",
    "DETECTIONS_DROPPED": "something was found that fits nowhere in the chain",
    "HEAD_AT_THE_BOTTOM": "the film stands on its head",
    "TURNED_CLOCKWISE": "it lies on its side: left and right are those with the head up",
    "TURNED_HALF": "it stands on its head: left and right are those with the head up",
    "TURNED_COUNTERCLOCKWISE": "it lies on its side: left and right are those with the head up",
    "TURN_FROM_PICTURE": "where the head is was told from the picture",
    "ORIENTATION_CONTRADICTED": "the header has the head elsewhere: the picture was believed",
    "FACING_CONTRADICTED": "header and picture have the front at opposite sides: no fronts",
    "PROPORTIONS_RESTORED": "stretched: proportions told from the bodies, measures are rough",
    "VIEW_FROM_PICTURE": "view told from the picture, not from the header",
    "VIEW_MISMATCH": "header and picture speak of different views",
    "VIEW_UNKNOWN": "view not known",
    "VIEW_OBLIQUE": "oblique view",
    "WHOLE_CERVICAL": "the whole cervical spine is shown",
    "WHOLE_THORACIC": "the whole thoracic spine is shown",
    "WHOLE_LUMBAR": "the whole lumbar spine is shown",
    "CUT_AT_BORDER": "a vertebra is cut by the border of the film",
    "TILTED": "the spine as a whole leans",
    "LOW_CONTRAST": "bone hardly stands out from soft tissue",
    "METAL": "metal over a vertebra",
    "SPACING_IMPLAUSIBLE": "a stated pixel spacing cannot be right and was not used",
    "WINDOW_MISSING": "no window in the header, so the pixels' own range",
    "WINDOW_ABSURD": "the header's window shows nothing, so the pixels' own range",
    "FOR_PROCESSING": "a film for processing, not for presentation",
    "POLARITY_INCONSISTENT": "the header contradicts itself on what is bright",
    "POLARITY_FROM_PICTURE": "a negative by the picture: turned round to be read",
    "POLARITY_UNCLEAR": "whether bone is bright or dark cannot be told",
    "MODALITY_LUT_DAMAGED": "the modality lookup table is damaged and was not used",
    "RESCALE_SLOPE_ZERO": "the rescale slope is 0 and was not used",
    "DECIMAL_COMMA": "a number of the header has a comma, read as a decimal point",
    "PADDING_ABSURD": "the padding value covers the whole image and was not used",
    "BITS_ABOVE_USED": "pixels are wider than BitsStored says and were read as they are",
    "BITS_ABOVE_LEFT_OUT": "pixels hold more than BitsStored says, which was left out",
    "RESCALE_ABSURD": "the rescale slope or intercept is absurd and was not used",
}
"""What is to be known about a film, by the code of its note."""
_UNSAID = frozenset({"VERTEBRAE_MISSING", "DETECTIONS_DROPPED"})
"""Missing levels are named where they are shown; what fits nowhere in the chain is of no use to a reader."""
_FIELDS = {
    "WHOLE_CERVICAL": "cervical",
    "WHOLE_THORACIC": "thoracic",
    "WHOLE_LUMBAR": "lumbar",
}


def why_no_mm(codes: Iterable[str]) -> str:
    """Why a film without a spacing has none, by its notes."""
    if "SPACING_IMPLAUSIBLE" in codes:
        return "the film's pixel spacing cannot be right, hence no mm"
    return "the film states no pixel spacing, hence no mm"


def note_words(code: str) -> str:
    """Words for one note; a code that nobody has described is shown as it is, in lower case."""
    return NOTES.get(code, code.replace("_", " ").lower())


def notes_of(codes: Iterable[str]) -> list[str]:
    """Words for the notes of a film that a reader should mind, each once."""
    return [note_words(code) for code in dict.fromkeys(codes) if code not in _UNSAID and code not in _FIELDS]


def whole_regions(codes: Iterable[str]) -> list[str]:
    """Regions that a film shows from end to end, from head to foot."""
    shown = set(codes)
    return [region for code, region in _FIELDS.items() if code in shown]


def grade_words(sign: Sign, grade: int) -> str:
    """A grade with its word (``2 middle``); Meyerding's as the Roman number that he gave it."""
    if sign is Sign.SPONDYLOLISTHESIS:
        return MEYERDING[grade] if grade < len(MEYERDING) else str(grade)
    names = GRADE_NAMES[sign]
    return f"{grade} {names[grade]}" if grade < len(names) else str(grade)


def number(value: float, digits: int) -> str:
    """A rounded value; what rounds to nothing has no sign."""
    return f"{round(value, digits) + 0.0:.{digits}f}"
