"""What codes are called for people: in the picture, on the page and in tables, in one place, in the language spoken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from spinepacs.domain.geometry import SpacingBasis
from spinepacs.domain.measures import Quantity, Reason
from spinepacs.domain.signs import GRADE_NAMES, Area, Deformity, ExpectedFrom, Scheme, Side, Sign
from spinepacs.domain.study import View
from spinepacs.language import N_, NP_, _, n_, p_

PHYSICIAN = N_("To be judged by a physician.")
TO_PHYSICIAN = f" {PHYSICIAN}"
"""How sentences of conclusions end; where several stand together it is said once."""

_Code = TypeVar("_Code")


class Words(Mapping[_Code, str]):
    """Words for codes, each given in the language that is spoken when it is asked for.

    Parameters
    ----------
    english
        Texts that are marked for the catalogues.
    context
        That of all of them, where they have one.
    """

    def __init__(self, english: Mapping[_Code, str], context: str = "") -> None:
        self.english, self._context = english, context

    def __getitem__(self, code: _Code) -> str:
        text = self.english[code]
        return p_(self._context, text) if self._context else _(text)

    def __iter__(self) -> Iterator[_Code]:
        return iter(self.english)

    def __len__(self) -> int:
        return len(self.english)


BASES: Words[SpacingBasis] = Words(
    {
        SpacingBasis.CALIBRATED: N_("mm, calibrated"),
        SpacingBasis.MAGNIFICATION_CORRECTED: N_("mm, corrected for magnification"),
        SpacingBasis.CALIBRATED_UNKNOWN: N_("mm, corrected or calibrated, not said how"),
        SpacingBasis.DETECTOR_PLANE: N_("mm in the detector plane (magnified)"),
        SpacingBasis.UNCALIBRATED: N_("mm, not calibrated"),
    }
)
ANGLES: Words[Quantity] = Words(
    {
        Quantity.CERVICAL_LORDOSIS: N_("Cervical lordosis"),
        Quantity.THORACIC_KYPHOSIS: N_("Thoracic kyphosis"),
        Quantity.LUMBAR_LORDOSIS: N_("Lumbar lordosis"),
        Quantity.COBB_MAIN: N_("Cobb angle"),
        Quantity.COBB_OTHER: N_("Cobb angle"),
    }
)
SIGNS: Words[Sign] = Words(
    {
        Sign.DISC_HEIGHT_LOSS: N_("loss of height"),
        Sign.SPONDYLOLISTHESIS: N_("slip"),
        Sign.OSTEOPHYTES: N_("osteophytes"),
        Sign.SUBCHONDRAL_SCLEROSIS: N_("sclerosis"),
        Sign.VERTEBRAL_DEFORMITY: N_("deformity"),
        Sign.DISC_DEGENERATION: N_("overall degree"),
    }
)
SCHEMES: dict[Scheme, str] = {scheme: scheme.value.capitalize() for scheme in Scheme}
FORMS: Words[Deformity] = Words(
    {
        Deformity.WEDGE: NP_("form", "wedge"),
        Deformity.BICONCAVE: NP_("form", "biconcave"),
        Deformity.CRUSH: NP_("form", "crush"),
    },
    "form",
)
ORIGINS: Words[ExpectedFrom] = Words(
    {
        ExpectedFrom.NEIGHBOURS: N_("other discs of this film"),
        ExpectedFrom.NORMS: N_("published norms"),
        ExpectedFrom.BOTH: N_("other discs of this film and published norms"),
    }
)
FORM_LETTERS: Words[Deformity] = Words(
    {
        Deformity.WEDGE: NP_("letter of a form", "w"),
        Deformity.BICONCAVE: NP_("letter of a form", "b"),
        Deformity.CRUSH: NP_("letter of a form", "c"),
    },
    "letter of a form",
)
"""What stands behind the grade of a deformity in the picture."""
SHORT_SLIPS: Words[Side | None] = Words(
    {
        Side.ANTERIOR: NP_("short", "antero"),
        Side.POSTERIOR: NP_("short", "retro"),
        None: NP_("short", "slip"),
    },
    "short",
)
"""The same on the picture, where there is little room."""
SLIPS: Words[Side] = Words({Side.ANTERIOR: N_("antero"), Side.POSTERIOR: N_("retro")})
SIDES: Words[Side] = Words(
    {
        Side.ANTERIOR: NP_("side", "anterior"),
        Side.POSTERIOR: NP_("side", "posterior"),
        Side.UPPER: NP_("side", "upper"),
        Side.LOWER: NP_("side", "lower"),
        Side.UPPER_ANTERIOR: NP_("side", "upper anterior"),
        Side.UPPER_POSTERIOR: NP_("side", "upper posterior"),
        Side.LOWER_ANTERIOR: NP_("side", "lower anterior"),
        Side.LOWER_POSTERIOR: NP_("side", "lower posterior"),
    },
    "side",
)
"""Rims (those with two words) and endplates of a body."""
AREAS: Words[Area] = Words(
    {
        Area.CERVICAL: N_("Cervical spine"),
        Area.THORACIC: N_("Thoracic spine"),
        Area.LUMBAR: N_("Lumbar spine"),
        Area.LUMBOSACRAL: N_("Lumbosacral spine"),
        Area.COMBINED: N_("Whole film"),
    }
)
VIEWS: Words[View] = Words(
    {
        View.AP: NP_("view", "AP"),
        View.LATERAL: NP_("view", "lateral"),
        View.OBLIQUE: NP_("view", "oblique"),
        View.UNKNOWN: NP_("view", "view not known"),
    },
    "view",
)
MEYERDING = ("0", "I", "II", "III", "IV", "V")

REASONS: Words[Reason] = Words(
    {
        Reason.NO_EXPECTED_HEIGHT: N_("nothing to compare the height with"),
        Reason.NOT_MEASURABLE: N_("not measurable"),
        Reason.LEVEL_AMBIGUOUS: N_("levels may be shifted by one"),
        Reason.LOW_CONFIDENCE: N_("vertebra barely found"),
        Reason.UNCERTAIN: N_("outlines too uncertain"),
        Reason.CUT_AT_BORDER: N_("cut by the border of the film"),
        Reason.IMPLANT: N_("metal over it"),
        Reason.FILM_QUALITY: N_("quality of the film"),
        Reason.NOT_VALIDATED: N_("no tested rule for this region"),
        Reason.WITHIN_ERROR: N_("not to be told from none"),
        Reason.BY_PERSON: N_("graded by a person"),
        Reason.PARTS_BY_PERSON: N_("signs graded by a person"),
        Reason.NOT_LATERAL: N_("not a lateral film"),
        Reason.TOO_FEW_DISCS: N_("too few discs graded"),
    }
)

NOTES: Words[str] = Words(
    {
        "LEVEL_AMBIGUOUS": N_("levels may be shifted by one"),
        "LEVELS_SHIFTED": N_("most levels differ from the network's own"),
        "VERTEBRAE_MISSING": N_("vertebrae between those named were not found"),
        "DETECTIONS_DROPPED": N_("something was found that fits nowhere in the chain"),
        "HEAD_AT_THE_BOTTOM": N_("the film stands on its head"),
        "TURNED_CLOCKWISE": N_("it lies on its side: left and right are those with the head up"),
        "TURNED_HALF": N_("it stands on its head: left and right are those with the head up"),
        "TURNED_COUNTERCLOCKWISE": N_("it lies on its side: left and right are those with the head up"),
        "TURN_FROM_PICTURE": N_("where the head is was told from the picture"),
        "ORIENTATION_CONTRADICTED": N_("the header has the head elsewhere: the picture was believed"),
        "FACING_CONTRADICTED": N_("header and picture have the front at opposite sides: no fronts"),
        "PROPORTIONS_RESTORED": N_("stretched: proportions told from the bodies, measures are rough"),
        "VIEW_FROM_PICTURE": N_("view told from the picture, not from the header"),
        "VIEW_MISMATCH": N_("header and picture speak of different views"),
        "VIEW_UNKNOWN": N_("view not known"),
        "VIEW_OBLIQUE": N_("oblique view"),
        "WHOLE_CERVICAL": N_("the whole cervical spine is shown"),
        "WHOLE_THORACIC": N_("the whole thoracic spine is shown"),
        "WHOLE_LUMBAR": N_("the whole lumbar spine is shown"),
        "CUT_AT_BORDER": N_("a vertebra is cut by the border of the film"),
        "TILTED": N_("the spine as a whole leans"),
        "LOW_CONTRAST": N_("bone hardly stands out from soft tissue"),
        "METAL": N_("metal over a vertebra"),
        "SPACING_IMPLAUSIBLE": N_("a stated pixel spacing cannot be right and was not used"),
        "WINDOW_MISSING": N_("no window in the header, so the pixels' own range"),
        "WINDOW_ABSURD": N_("the header's window shows nothing, so the pixels' own range"),
        "FOR_PROCESSING": N_("a film for processing, not for presentation"),
        "POLARITY_INCONSISTENT": N_("the header contradicts itself on what is bright"),
        "POLARITY_FROM_PICTURE": N_("a negative by the picture: turned round to be read"),
        "POLARITY_UNCLEAR": N_("whether bone is bright or dark cannot be told"),
        "MODALITY_LUT_DAMAGED": N_("the modality lookup table is damaged and was not used"),
        "RESCALE_SLOPE_ZERO": N_("the rescale slope is 0 and was not used"),
        "DECIMAL_COMMA": N_("a number of the header has a comma, read as a decimal point"),
        "PADDING_ABSURD": N_("the padding value covers the whole image and was not used"),
        "BITS_ABOVE_USED": N_("pixels are wider than BitsStored says and were read as they are"),
        "BITS_ABOVE_LEFT_OUT": N_("pixels hold more than BitsStored says, which was left out"),
        "RESCALE_ABSURD": N_("the rescale slope or intercept is absurd and was not used"),
    }
)
"""What is to be known about a film, by the code of its note."""
LEVEL_REASONS: Words[str] = Words({"by a person": N_("by a person")})
"""Why a level is not the network's, where it is no code."""
_UNSAID = frozenset({"VERTEBRAE_MISSING", "DETECTIONS_DROPPED"})
"""Missing levels are named where they are shown; what fits nowhere in the chain is of no use to a reader."""
_FIELDS: Words[str] = Words(
    {
        "WHOLE_CERVICAL": NP_("spine", "cervical"),
        "WHOLE_THORACIC": NP_("spine", "thoracic"),
        "WHOLE_LUMBAR": NP_("spine", "lumbar"),
    },
    "spine",
)


def why_no_mm(codes: Iterable[str]) -> str:
    """Why a film without a spacing has none, by its notes."""
    if "SPACING_IMPLAUSIBLE" in codes:
        return _("the film's pixel spacing cannot be right, hence no mm")
    return _("the film states no pixel spacing, hence no mm")


def unit(symbol: str) -> str:
    """The symbol of a unit as it is written in the language spoken."""
    return p_("unit", symbol)


UNITS = (NP_("unit", "mm"), NP_("unit", "px"))


def years(age: float) -> str:
    """A patient's age."""
    return n_("{count} year", "{count} years", round(age))


def front(is_left: bool, basis: str) -> str:
    """Where the front is on a film with its head up, and by what (``header`` or ``picture``; empty: not said)."""
    side = _("front at the image's left") if is_left else _("front at the image's right")
    return f"{side} ({_BY[basis]})" if basis in _BY else side


_BY: Words[str] = Words({"header": N_("by header"), "picture": N_("by picture")})


def capital(text: str) -> str:
    """A text that begins with a capital; the others stay as they are (German has them within a sentence)."""
    return text[:1].upper() + text[1:]


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
    return f"{grade} {grade_name(sign, grade)}" if grade < len(GRADE_NAMES[sign]) else str(grade)


def grade_name(sign: Sign, grade: int) -> str:
    """The word for a grade; raises IndexError where the sign has no such grade."""
    return p_(sign.value, GRADE_NAMES[sign][grade])


def number(value: float, digits: int) -> str:
    """A rounded value; what rounds to nothing has no sign."""
    return f"{round(value, digits) + 0.0:.{digits}f}"
