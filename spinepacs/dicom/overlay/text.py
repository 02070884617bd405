"""What stands beside the picture: legend, angles, conclusions, what was withheld and why, and on what ground."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

import spinepacs
from spinepacs.dicom import identity
from spinepacs.dicom.overlay.draw import Row
from spinepacs.dicom.overlay.letters import Chip, Colour
from spinepacs.dicom.overlay.marks import ALIGNMENT, COBB, HEIGHTS, LETTERS, STAGES, UNGRADED
from spinepacs.domain import words
from spinepacs.domain.anatomy import Span
from spinepacs.domain.findings import Reading
from spinepacs.domain.measures import Measure, Place, Reason, Unit
from spinepacs.domain.signs import GRADE_NAMES, Sign
from spinepacs.domain.study import View

_WHITE: Colour = (255, 255, 255)
_FEW = 6
"""Places up to which all are named."""


def rows_of(reading: Reading) -> list[Row]:
    """Everything that is written beside the film of a reading, in order."""
    if reading.refusal:
        return [_title(), Row(f"Not read: {reading.refusal.reason}"), _versions(reading)]
    if reading.correction:
        rows = [_title(), Row(f"Corrected and verified by a person, {reading.correction.made_at:%Y-%m-%d}.")]
    else:
        rows = [_title()]
    parts = [_angles(reading), _legend(reading), _conclusions(reading), _withheld(reading), _notes(reading)]
    for part in parts:
        rows += [Row(""), *section] if (section := list(part)) else []
    return [*rows, Row(""), _versions(reading)]


def _title() -> Row:
    return Row(f"{identity.DISCLAIMER}.", colour=_WHITE)


def _versions(reading: Reading) -> Row:
    versions = reading.versions
    return Row(
        f"spinepacs {spinepacs.__version__}, model {versions.model_name} {versions.model_version}, "
        f"policy {versions.policy_name} {versions.policy_version}",
        colour=(150, 150, 150),
    )


def _angles(reading: Reading) -> Iterator[Row]:
    for m in reading.published_measures:
        if isinstance(m.place, Span):
            side = ""
            if m.quantity in COBB and m.convex_left is not None:
                side = f", convex to the image's {'left' if m.convex_left else 'right'}"
            yield Row(f"{words.ANGLES[m.quantity]} {m.place.name}: {_value(m)}{side}", colour=ALIGNMENT)


def _value(measure: Measure) -> str:
    unit = {Unit.DEGREE: "°", Unit.MM: " mm"}.get(measure.unit, "")
    margin = f" ± {measure.margin:.1f}" if measure.margin is not None else ""
    return f"{words.number(measure.value, 1)}{margin}{unit}"


def _legend(reading: Reading) -> Iterator[Row]:
    """What the figures at the discs are, and what the colours and letters that occur mean."""
    heights = [m for m in reading.published_measures if m.quantity in HEIGHTS]
    if heights and reading.spacing:
        sides = "anterior / middle / posterior" if len({m.quantity for m in heights}) == 3 else "middle"
        yield Row(f"Disc heights {sides}, {words.BASES[reading.spacing.basis]}{_typical(heights)}")
    elif heights:
        yield Row(f"Disc height index (height / depth): {words.why_no_mm(reading.notes)}")
    if any(f.sign is Sign.DISC_HEIGHT_LOSS for f in reading.findings):
        names = GRADE_NAMES[Sign.DISC_HEIGHT_LOSS]
        stages = [Chip(str(n), STAGES[n], name) for n, name in enumerate(names) if n]
        yield Row("Loss of height:", chips=(*stages, Chip("?", UNGRADED, "withheld")))
    graded = {f.sign for f in reading.findings if f.published_grade}
    wear = (Sign.OSTEOPHYTES, Sign.SUBCHONDRAL_SCLEROSIS)
    if chips := [Chip(f"{LETTERS[sign]}1", STAGES[1], words.SIGNS[sign]) for sign in wear if sign in graded]:
        yield Row("Degrees 1 to 3, slight to severe:", chips=tuple(chips))
    if Sign.VERTEBRAL_DEFORMITY in graded:
        form = Chip(f"{LETTERS[Sign.VERTEBRAL_DEFORMITY]}1w", STAGES[1])
        yield Row("Deformity, Genant's grade 1 to 3 and form (wedge, biconcave, crush):", chips=(form,))
    if Sign.SPONDYLOLISTHESIS in graded:
        yield Row("Slip with Meyerding's grade I to V:", chips=(Chip("antero I", ALIGNMENT),))


def _typical(heights: list[Measure]) -> str:
    margins = [m.margin for m in heights if m.margin is not None]
    return f"; ± {np.median(margins):.1f} (median of 95 % intervals)" if margins else ""


def _conclusions(reading: Reading) -> Iterator[Row]:
    """Every sentence in the colour of its degree, those that say why there is none in grey."""
    for conclusion in reading.conclusions:
        degree = conclusion.published_degree
        colour = UNGRADED if degree is None else STAGES[min(degree, len(STAGES) - 1)]
        yield Row(conclusion.sentence.removesuffix(words.TO_PHYSICIAN), colour=colour)
    if any(conclusion.published_degree is not None for conclusion in reading.conclusions):
        yield Row(words.TO_PHYSICIAN.strip(), colour=_WHITE)


def _withheld(reading: Reading) -> Iterator[Row]:
    """Signs and measures that are known but not published, by reason."""
    held: dict[Reason, list[tuple[Place, str]]] = defaultdict(list)
    for measure in reading.withheld_measures:
        if measure.reason:
            held[measure.reason].append((measure.place, "measures"))
    for finding in reading.findings:
        if finding.published_grade is None and finding.computed_grade is not None and finding.reason:
            held[finding.reason].append((finding.place, words.SIGNS[finding.sign]))
    for reason, withheld in held.items():
        what = ", ".join(dict.fromkeys(what for _, what in withheld))
        places = _places([place for place, _ in withheld])
        yield Row(f"Withheld ({words.REASONS[reason]}): {places}: {what}", colour=UNGRADED)


def _places(places: Sequence[Place]) -> str:
    names = list(dict.fromkeys(place.name for place in places))
    return ", ".join(names) if len(names) < _FEW else f"{len(names)} places"


def _notes(reading: Reading) -> Iterator[Row]:
    missing = reading.spine.missing if reading.spine else ()
    if missing:
        yield Row(f"Not found: {', '.join(level.name for level in missing)}", colour=_WHITE)
    if reading.spine and reading.spine.view is View.LATERAL and reading.spine.anterior_left is None:
        yield Row("Which side is the front is not known: no slips, no angles", colour=_WHITE)
    if notes := words.notes_of(reading.notes):
        yield Row(f"Note: {'; '.join(notes)}", colour=UNGRADED)
