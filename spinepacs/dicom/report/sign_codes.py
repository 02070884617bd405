"""Codes of graded signs, of what they add up to, and of why a grade is withheld."""

from __future__ import annotations

from pydicom.sr.codedict import codes as standard
from pydicom.sr.coding import Code

from spinepacs.dicom.codes import ANTERIOR, POSTERIOR, private
from spinepacs.domain.measures import Reason
from spinepacs.domain.signs import (
    GRADE_NAMES,
    Area,
    Deformity,
    ExpectedFrom,
    ForAge,
    Scheme,
    Side,
    Sign,
    Statement,
)
from spinepacs.domain.words import REASONS, capital, grade_name, note_words
from spinepacs.language import _

SIGNS: dict[Sign, Code] = {
    Sign.DISC_HEIGHT_LOSS: private("DISC_NARROWING", "Disc space narrowing"),
    Sign.SPONDYLOLISTHESIS: private("SLIP", "Vertebral slip"),
    Sign.OSTEOPHYTES: private("OSTEOPHYTE", "Osteophytes"),
    Sign.SUBCHONDRAL_SCLEROSIS: private("EP_SCLEROSIS", "Endplate sclerosis"),
    Sign.VERTEBRAL_DEFORMITY: private("DEFORMITY", "Vertebral deformity"),
    Sign.DISC_DEGENERATION: private("DISC_DEGEN", "Overall degree of disc degeneration"),
}
"""SNOMED CT has disorders for some of them; a sign graded by software is none, so they are private."""

WITHHELD = private("WITHHELD", "Withheld")
NOT_GRADED = private("NOT_GRADED", "Not graded")
"""Withheld: there is a grade that is not published; not graded: there is none."""
COMPUTED = private("COMPUTED_GRADE", "Computed grade, not published")
REASON = private("REASON", "Reason")
GRADED = private("GRADED_VALUE", "Value that was graded")
EXPECTED = private("EXPECTED", "Expected value")
LEAST_GRADE = private("LEAST_GRADE", "Lowest grade within the 95 % interval")
MOST_GRADE = private("MOST_GRADE", "Highest grade within the 95 % interval")
EXPECTED_FROM = private("EXPECTED_FROM", "Origin of the expected value")
FORM = private("FORM", "Shape of the deformity")
REFERENCE_GRADE = private("REFERENCE_GRADE", "Grade under a published scheme")
FOR_AGE = private("FOR_AGE", "Compared with what is usual at this age")

SCHEMES: dict[Scheme, Code] = {
    Scheme.SPINEPACS: private("SPINEPACS", "spinepacs grading policy"),
    Scheme.WILKE: private("WILKE_2006", "Wilke et al. 2006"),
    Scheme.WALRAEVENS: private("WALRAEVENS_2009", "Walraevens et al. 2009"),
    Scheme.KETTLER: private("KETTLER_2006", "Kettler et al. 2006"),
    Scheme.MEYERDING: private("MEYERDING_1932", "Meyerding 1932"),
    Scheme.GENANT: private("GENANT_1993", "Genant et al. 1993"),
}

SIDES: dict[Side, Code] = {
    Side.ANTERIOR: ANTERIOR,
    Side.POSTERIOR: POSTERIOR,
    Side.UPPER: private("UPPER", "Upper"),
    Side.LOWER: private("LOWER", "Lower"),
    Side.UPPER_ANTERIOR: private("UPPER_ANTERIOR", "Upper anterior"),
    Side.UPPER_POSTERIOR: private("UPPER_POSTERIOR", "Upper posterior"),
    Side.LOWER_ANTERIOR: private("LOWER_ANTERIOR", "Lower anterior"),
    Side.LOWER_POSTERIOR: private("LOWER_POSTERIOR", "Lower posterior"),
}

AREAS: dict[Area, Code] = {
    Area.CERVICAL: standard.SCT.CervicalSpine,
    Area.THORACIC: standard.SCT.ThoracicSpine,
    Area.LUMBAR: standard.SCT.LumbarSpine,
    Area.LUMBOSACRAL: standard.SCT.LumbosacralRegionOfSpineStructure,
    Area.COMBINED: standard.SCT.Spine,
}

STATEMENTS: dict[Statement, Code] = {
    Statement.WITHHELD: WITHHELD,
    Statement.NO_SIGNS: private("NO_SIGNS", "No signs of osteochondrosis"),
    Statement.ISOLATED_SIGNS: private("ISOLATED_SIGNS", "Isolated signs of wear"),
    Statement.SLIGHT_SIGNS: private("SLIGHT_SIGNS", "Slight signs of osteochondrosis"),
    Statement.MODERATE_SIGNS: private("MODERATE_SIGNS", "Moderate signs of osteochondrosis"),
    Statement.SEVERE_SIGNS: private("SEVERE_SIGNS", "Severe signs of osteochondrosis"),
}

FOR_AGES: dict[ForAge, Code] = {
    ForAge.LESS: private("AGE_LESS", "Less than usual at this age"),
    ForAge.USUAL: private("AGE_USUAL", "Usual at this age"),
    ForAge.MORE: private("AGE_MORE", "More than usual at this age"),
}
FORMS: dict[Deformity, Code] = {
    Deformity.WEDGE: private("FORM_WEDGE", "Wedge"),
    Deformity.BICONCAVE: private("FORM_BICONCAVE", "Biconcave"),
    Deformity.CRUSH: private("FORM_CRUSH", "Crush"),
}
EXPECTED_FROMS: dict[ExpectedFrom, Code] = {
    ExpectedFrom.NEIGHBOURS: private("EXP_NEIGHBOURS", "Neighbouring discs of this film"),
    ExpectedFrom.NORMS: private("EXP_NORMS", "Published norms by level"),
    ExpectedFrom.BOTH: private("EXP_BOTH", "Neighbouring discs and published norms"),
}

_REASON_VALUES = {
    Reason.NO_EXPECTED_HEIGHT: "NO_EXPECTED",
    Reason.LEVEL_AMBIGUOUS: "AMBIGUOUS_LEVEL",
}
"""Values of codes have at most 16 characters (VR SH)."""


NOTE = private("FILM_NOTE", "Note on the film")
_NOTE_VALUES = {
    "VERTEBRAE_MISSING": "LEVELS_MISSING",
    "DETECTIONS_DROPPED": "DETECTION_LEFT",
    "HEAD_AT_THE_BOTTOM": "UPSIDE_DOWN",
    "TURNED_COUNTERCLOCKWISE": "TURNED_COUNTER",
    "TURN_FROM_PICTURE": "TURN_BY_PICTURE",
    "ORIENTATION_CONTRADICTED": "ORIENT_DOUBTED",
    "FACING_CONTRADICTED": "FACING_DOUBTED",
    "SPACING_IMPLAUSIBLE": "SPACING_DOUBTED",
    "PROPORTIONS_RESTORED": "PROPORTION_GUESS",
    "VIEW_FROM_PICTURE": "VIEW_BY_PICTURE",
    "POLARITY_INCONSISTENT": "POLARITY_UNCLEAR",
    "POLARITY_FROM_PICTURE": "POLARITY_PICTURE",
    "POLARITY_UNCLEAR": "POLARITY_UNKNOWN",
    "MODALITY_LUT_DAMAGED": "LUT_DAMAGED",
    "RESCALE_SLOPE_ZERO": "SLOPE_ZERO",
    "BITS_ABOVE_LEFT_OUT": "BITS_LEFT_OUT",
}
"""The same, for notes."""


def note_code(note: str) -> Code:
    """Return the code of a note on the film's quality."""
    return private(_NOTE_VALUES.get(note, note[:16]), capital(note_words(note))[:64])


def reason_code(reason: Reason) -> Code:
    """Return the code of a reason."""
    value = _REASON_VALUES.get(reason, reason.value)
    return private(value, capital(REASONS[reason]))


def grade_code(sign: Sign, grade: int) -> Code:
    """Return the code of a sign's grade; its thresholds are the policy's, whose version is in the report."""
    word = grade_name(sign, grade) if 0 <= grade < len(GRADE_NAMES[sign]) else "?"
    return private(f"{SIGNS[sign].value}_{grade}", _("Grade {grade}: {word}", grade=grade, word=word))


def reference_code(grade: int) -> Code:
    """Return the code of a published scheme's grade, which has no word of ours."""
    return private(f"GRADE_{grade}", _("Grade {grade}", grade=grade))
