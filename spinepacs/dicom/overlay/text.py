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
from spinepacs.domain.refusals import refusal_words
from spinepacs.domain.sentences import statement
from spinepacs.domain.signs import GRADE_NAMES, Deformity, Side, Sign
from spinepacs.domain.study import View
from spinepacs.language import _, n_

_WHITE: Colour = (255, 255, 255)
_FEW = 6
"""Places up to which all are named."""


def rows_of(reading: Reading) -> list[Row]:
    """Everything that is written beside the film of a reading, in order."""
    if reading.refusal:
        return [
            _title(),
            Row(_("Not read: {reason}", reason=refusal_words(reading.refusal.code, reading.refusal.reason))),
            _versions(reading),
        ]
    if reading.correction:
        day = f"{reading.correction.made_at:%Y-%m-%d}"
        rows = [_title(), Row(_("Corrected and verified by a person, {day}.", day=day))]
    else:
        rows = [_title()]
    parts = [_angles(reading), _legend(reading), _conclusions(reading), _withheld(reading), _notes(reading)]
    for part in parts:
        rows += [Row(""), *section] if (section := list(part)) else []
    return [*rows, Row(""), _versions(reading)]


def _title() -> Row:
    return Row(f"{_(identity.DISCLAIMER)}.", colour=_WHITE)


def _versions(reading: Reading) -> Row:
    versions = reading.versions
    return Row(
        _(
            "spinepacs {version}, model {model}, policy {policy}",
            version=spinepacs.__version__,
            model=f"{versions.model_name} {versions.model_version}",
            policy=f"{versions.policy_name} {versions.policy_version}",
        ),
        colour=(150, 150, 150),
    )


def _angles(reading: Reading) -> Iterator[Row]:
    for m in reading.published_measures:
        if isinstance(m.place, Span):
            side = ""
            if m.quantity in COBB and m.convex_left is not None:
                side = (
                    _(", convex to the image's left") if m.convex_left else _(", convex to the image's right")
                )
            yield Row(f"{words.ANGLES[m.quantity]} {m.place.name}: {_value(m)}{side}", colour=ALIGNMENT)


def _value(measure: Measure) -> str:
    unit = {Unit.DEGREE: "°", Unit.MM: f" {words.unit('mm')}"}.get(measure.unit, "")
    margin = f" ± {measure.margin:.1f}" if measure.margin is not None else ""
    return f"{words.number(measure.value, 1)}{margin}{unit}"


def _legend(reading: Reading) -> Iterator[Row]:
    """What the figures at the discs are, and what the colours and letters that occur mean."""
    heights = [m for m in reading.published_measures if m.quantity in HEIGHTS]
    if heights and reading.spacing:
        basis = words.BASES[reading.spacing.basis] + _typical(heights)
        if len({m.quantity for m in heights}) == 3:
            yield Row(_("Disc heights anterior / middle / posterior, {basis}", basis=basis))
        else:
            yield Row(_("Disc heights middle, {basis}", basis=basis))
    elif heights:
        yield Row(_("Disc height index (height / depth): {why}", why=words.why_no_mm(reading.notes)))
    if any(f.sign is Sign.DISC_HEIGHT_LOSS for f in reading.findings):
        loss = Sign.DISC_HEIGHT_LOSS
        stages = [
            Chip(str(n), STAGES[n], words.grade_name(loss, n)) for n in range(1, len(GRADE_NAMES[loss]))
        ]
        yield Row(_("Loss of height:"), chips=(*stages, Chip("?", UNGRADED, _("withheld"))))
    graded = {f.sign for f in reading.findings if f.published_grade}
    wear = (Sign.OSTEOPHYTES, Sign.SUBCHONDRAL_SCLEROSIS)
    if chips := [Chip(f"{LETTERS[sign]}1", STAGES[1], words.SIGNS[sign]) for sign in wear if sign in graded]:
        yield Row(_("Degrees 1 to 3, slight to severe:"), chips=tuple(chips))
    if Sign.VERTEBRAL_DEFORMITY in graded:
        form = Chip(f"{LETTERS[Sign.VERTEBRAL_DEFORMITY]}1{words.FORM_LETTERS[Deformity.WEDGE]}", STAGES[1])
        yield Row(_("Deformity, Genant's grade 1 to 3 and form (wedge, biconcave, crush):"), chips=(form,))
    if Sign.SPONDYLOLISTHESIS in graded:
        yield Row(
            _("Slip with Meyerding's grade I to V:"),
            chips=(Chip(f"{words.SHORT_SLIPS[Side.ANTERIOR]} I", ALIGNMENT),),
        )


def _typical(heights: list[Measure]) -> str:
    margins = [m.margin for m in heights if m.margin is not None]
    if not margins:
        return ""
    return _("; ± {margin} (median of 95 % intervals)", margin=f"{np.median(margins):.1f}")


def _conclusions(reading: Reading) -> Iterator[Row]:
    """Every sentence in the colour of its degree, those that say why there is none in grey."""
    for conclusion in reading.conclusions:
        degree = conclusion.published_degree
        colour = UNGRADED if degree is None else STAGES[min(degree, len(STAGES) - 1)]
        yield Row(statement(conclusion), colour=colour)
    if any(conclusion.published_degree is not None for conclusion in reading.conclusions):
        yield Row(_(words.PHYSICIAN), colour=_WHITE)


def _withheld(reading: Reading) -> Iterator[Row]:
    """Signs and measures that are known but not published, by reason."""
    held: dict[Reason, list[tuple[Place, str]]] = defaultdict(list)
    for measure in reading.withheld_measures:
        if measure.reason:
            held[measure.reason].append((measure.place, _("measures")))
    for finding in reading.findings:
        if finding.published_grade is None and finding.computed_grade is not None and finding.reason:
            held[finding.reason].append((finding.place, words.SIGNS[finding.sign]))
    for reason, withheld in held.items():
        what = ", ".join(dict.fromkeys(each[1] for each in withheld))
        places = _places([each[0] for each in withheld])
        why = words.REASONS[reason]
        yield Row(_("Withheld ({why}): {places}: {what}", why=why, places=places, what=what), colour=UNGRADED)


def _places(places: Sequence[Place]) -> str:
    names = list(dict.fromkeys(place.name for place in places))
    return ", ".join(names) if len(names) < _FEW else n_("{count} place", "{count} places", len(names))


def _notes(reading: Reading) -> Iterator[Row]:
    missing = reading.spine.missing if reading.spine else ()
    if missing:
        levels = ", ".join(level.name for level in missing)
        yield Row(_("Not found: {levels}", levels=levels), colour=_WHITE)
    if reading.spine and reading.spine.view is View.LATERAL and reading.spine.anterior_left is None:
        yield Row(_("Which side is the front is not known: no slips, no angles"), colour=_WHITE)
    if notes := words.notes_of(reading.notes):
        yield Row(_("Note: {notes}", notes="; ".join(notes)), colour=UNGRADED)
