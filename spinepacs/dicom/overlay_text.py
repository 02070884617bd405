"""What stands beside the picture: legend, angles, conclusions, what was withheld and why, and on what ground."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

import spinepacs
from spinepacs.anatomy import Span
from spinepacs.dicom import identity
from spinepacs.dicom.overlay_draw import Chip, Row
from spinepacs.dicom.overlay_marks import ALIGNMENT, COBB, HEIGHTS, STAGES, UNGRADED
from spinepacs.dicom.sign_codes import REASON_WORDS
from spinepacs.findings import Reading
from spinepacs.geometry import SpacingBasis
from spinepacs.measures import Measure, Quantity, Unit
from spinepacs.signs import GRADE_NAMES, Reason, Sign
from spinepacs.study import View

_BASIS = {
    SpacingBasis.CALIBRATED: "mm, calibrated",
    SpacingBasis.MAGNIFICATION_CORRECTED: "mm, corrected for magnification",
    SpacingBasis.DETECTOR_PLANE: "mm in the detector plane (magnified)",
    SpacingBasis.UNCALIBRATED: "mm, not calibrated",
}
_ANGLES = {
    Quantity.CERVICAL_LORDOSIS: "Cervical lordosis",
    Quantity.THORACIC_KYPHOSIS: "Thoracic kyphosis",
    Quantity.LUMBAR_LORDOSIS: "Lumbar lordosis",
    Quantity.COBB_MAIN: "Cobb angle",
    Quantity.COBB_OTHER: "Cobb angle",
}
_NOTES = {
    "LEVEL_AMBIGUOUS": "levels may be shifted by one",
    "LEVELS_SHIFTED": "levels differ from the network's own",
    "VERTEBRAE_MISSING": "",  # named on their own
    "DETECTIONS_DROPPED": "",  # of no use to a reader
    "HEAD_AT_THE_BOTTOM": "the head is at the bottom",
    "VIEW_FROM_PICTURE": "view told from the picture, not from the header",
}
_SIGN_WORDS = {
    Sign.DISC_HEIGHT_LOSS: "stages of disc height",
    Sign.SPONDYLOLISTHESIS: "slips",
    Sign.OSTEOPHYTES: "osteophytes",
    Sign.SUBCHONDRAL_SCLEROSIS: "sclerosis",
    Sign.VERTEBRAL_DEFORMITY: "deformities",
}


def rows_of(reading: Reading) -> list[Row]:
    """Everything that is written beside the film of a reading, in order."""
    if reading.refusal:
        return [_title(), Row(f"Not read: {reading.refusal.reason}"), _versions(reading)]
    parts = [_angles(reading), _legend(reading), _conclusions(reading), _withheld(reading), _notes(reading)]
    rows = [_title()]
    for part in parts:
        rows += [Row(""), *section] if (section := list(part)) else []
    return [*rows, Row(""), _versions(reading)]


def _title() -> Row:
    return Row(f"{identity.DISCLAIMER}.", colour=(255, 255, 255))


def _versions(reading: Reading) -> Row:
    versions = reading.versions
    return Row(
        f"spinepacs {spinepacs.__version__}, model {versions.model_name} {versions.model_version}, "
        f"policy {versions.policy_name} {versions.policy_version}",
        colour=(150, 150, 150),
    )


def _angles(reading: Reading) -> Iterator[Row]:
    for m in reading.measures:
        if isinstance(m.place, Span):
            side = ""
            if m.quantity in COBB and m.convex_left is not None:
                side = f", convex to the image's {'left' if m.convex_left else 'right'}"
            yield Row(f"{_ANGLES[m.quantity]} {m.place.name}: {_value(m)}{side}", colour=ALIGNMENT)


def _value(measure: Measure) -> str:
    unit = {Unit.DEGREE: "°", Unit.MM: " mm"}.get(measure.unit, "")
    margin = f" ± {measure.margin:.1f}" if measure.margin is not None else ""
    return f"{measure.value:.1f}{margin}{unit}"


def _legend(reading: Reading) -> Iterator[Row]:
    """What the figures at the discs are, and what the colours and letters that occur mean."""
    heights = [m for m in reading.measures if m.quantity in HEIGHTS]
    if heights and reading.spacing:
        sides = "anterior / middle / posterior" if len({m.quantity for m in heights}) == 3 else "middle"
        yield Row(f"Disc heights {sides}, {_BASIS[reading.spacing.basis]}{_typical(heights)}")
    elif heights:
        yield Row("Disc height index (height / depth): the film states no pixel spacing, hence no mm")
    graded = {f.sign for f in reading.findings if f.published_grade}
    if any(f.sign is Sign.DISC_HEIGHT_LOSS for f in reading.findings):
        names = GRADE_NAMES[Sign.DISC_HEIGHT_LOSS]
        stages = [Chip(str(n), STAGES[n], name) for n, name in enumerate(names) if n]
        yield Row("Loss of height:", chips=(*stages, Chip("?", UNGRADED, "withheld")))
    letters = {Sign.OSTEOPHYTES: ("Os", "osteophytes"), Sign.SUBCHONDRAL_SCLEROSIS: ("Sc", "sclerosis")}
    letters[Sign.VERTEBRAL_DEFORMITY] = ("G", "Genant's grade")
    if others := [letters[sign] for sign in letters if sign in graded]:
        yield Row("Degree 1 to 3:", chips=tuple(Chip(letter, STAGES[1], word) for letter, word in others))


def _typical(heights: list[Measure]) -> str:
    margins = [m.margin for m in heights if m.margin is not None]
    return f"; ± {np.median(margins):.1f} (median of 95 % intervals)" if margins else ""


def _conclusions(reading: Reading) -> Iterator[Row]:
    for conclusion in reading.conclusions:
        if conclusion.published_degree is not None:
            degree = min(conclusion.published_degree, len(STAGES) - 1)
            yield Row(conclusion.sentence, colour=STAGES[degree])


def _withheld(reading: Reading) -> Iterator[Row]:
    """Signs that were computed but not published, by reason."""
    places: dict[tuple[Reason, Sign], list[str]] = defaultdict(list)
    for f in reading.findings:
        if f.published_grade is None and f.computed_grade is not None and f.reason and f.sign in _SIGN_WORDS:
            places[f.reason, f.sign].append(f.place.name)
    for (reason, sign), names in places.items():
        where = ", ".join(names) if len(names) < 6 else f"at {len(names)} places"
        yield Row(f"Withheld: {_SIGN_WORDS[sign]} {where}: {REASON_WORDS[reason]}", colour=UNGRADED)


def _notes(reading: Reading) -> Iterator[Row]:
    missing = reading.spine.missing if reading.spine else ()
    if missing:
        yield Row(f"Not found: {', '.join(level.name for level in missing)}", colour=(255, 255, 255))
    if reading.spine and reading.spine.view is View.LATERAL and reading.spine.anterior_left is None:
        yield Row("Which side is the front is not known: no slips, no angles", colour=(255, 255, 255))
    for note in reading.notes:
        if words := _NOTES.get(note, note.replace("_", " ").lower()):
            yield Row(f"Note: {words}", colour=UNGRADED)
