"""A study as a table for a radiologist: per film and region the levels, the discs, their signs, and the conclusion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from spinepacs.domain import words
from spinepacs.domain.anatomy import ALL_DISCS, Level
from spinepacs.domain.geometry import SpacingBasis
from spinepacs.domain.measures import Quantity
from spinepacs.domain.refusals import refusal_words
from spinepacs.domain.signs import Area, Sign
from spinepacs.domain.study import View
from spinepacs.language import N_, NP_, _, p_
from spinepacs.show.listing import rendered
from spinepacs.show.sheet.cells import (
    AP_HEIGHTS,
    HEIGHTS,
    NONE,
    Film,
    Row,
    concluded,
    expected,
    footnotes,
    grade,
    percent,
    reference,
    shown,
    slip,
    value,
    words_of,
)

_REGIONS = (
    (N_("Cervical"), Level.C1, Level.C7, (Area.CERVICAL,)),
    (N_("Thoracic"), Level.T1, Level.T11, (Area.THORACIC,)),
    (N_("Lumbar"), Level.T12, Level.S1, (Area.LUMBAR, Area.LUMBOSACRAL)),
)
"""Title, first and last level whose discs (below them) belong to it, and the areas that conclude about it."""
_VIEWS = words.Words(
    {
        View.AP.value: N_("AP view"),
        View.LATERAL.value: N_("lateral view"),
        View.OBLIQUE.value: N_("oblique view"),
        View.UNKNOWN.value: N_("unknown view"),
    }
)
_BASES = words.Words(
    {
        SpacingBasis.CALIBRATED.value: N_("mm: calibrated"),
        SpacingBasis.MAGNIFICATION_CORRECTED.value: N_("mm: magnification-corrected"),
        SpacingBasis.CALIBRATED_UNKNOWN.value: N_("mm: calibrated-unknown"),
        SpacingBasis.DETECTOR_PLANE.value: N_("mm: detector-plane"),
        SpacingBasis.UNCALIBRATED.value: N_("mm: uncalibrated"),
    }
)
_KINDS = words.Words(
    {
        Sign.OSTEOPHYTES.value: NP_("at a vertebra", "osteophytes"),
        Sign.SUBCHONDRAL_SCLEROSIS.value: NP_("at a vertebra", "subchondral sclerosis"),
        Sign.VERTEBRAL_DEFORMITY.value: NP_("at a vertebra", "vertebral deformity"),
    },
    "at a vertebra",
)
"""What a single body shows, after its form, rim or endplate."""


def draw(films: Sequence[Row]) -> str:
    """Films as :func:`spinepacs.store.queries.find_films` gives them, as text; ± is the 95 % interval."""
    if not films:
        return _("nothing")
    return rendered(*(part for film in films for part in _film(Film.of(film))))


def _film(film: Film) -> Iterator[RenderableType]:
    yield from _head(film.row)
    if film.row["refusal_code"]:
        code = film.row["refusal_code"]
        why = refusal_words(code, film.row["refusal_reason"])
        yield Text(_("not read: {code}: {reason}", code=code, reason=why) + "\n")
        return
    for title, first, last, areas in _REGIONS:
        yield from _region(film, title, first, last, areas)
    said = film.row["conclusions"]
    overall = list(_conclusions(film, (Area.COMBINED,)))
    if any(conclusion["published_degree"] is not None for conclusion in said):
        overall.append(_(words.PHYSICIAN))
    for title, lines in (
        (_("Angles"), list(_angles(film))),
        (_("Withheld, changed or not graded"), list(footnotes(film.row["findings"], film.row["measures"]))),
        (_("Overall"), overall),
    ):
        if lines:
            yield Text(title, style="bold")
            yield Padding(Group(*map(Text, lines)), (0, 2))
    yield Text("")


def _head(row: Row) -> Iterator[Text]:
    age = row["patient_age_years"]
    about = [row["patient_id"], row["patient_sex"], words.years(age) if age is not None else ""]
    study = [
        _("Study {day}", day=row["study_date"] or _("without date")),
        row["accession_number"],
        row["study_description"],
        *about,
    ]
    yield Text(" · ".join(word for word in study if word), style="bold")
    yield Text(_("Film {uid}", uid=row["sop_uid"]))
    if row["refusal_code"]:
        return
    is_left = row["anterior_left"]
    front = "" if is_left is None else words.front(is_left, row["anterior_basis"])
    view = [_VIEWS.get(str(row["view_position"]), str(row["view_position"])), front, _basis(row)]
    yield Text(" · ".join(word for word in view if word))
    yield Text(
        _(
            "{model} · policy {policy} · read {time} UTC",
            model=f"{row['model_name']} {row['model_version']}",
            policy=f"{row['policy_name']} {row['policy_version']}",
            time=row["read_at"][:16],
        )
    )
    codes = (row["notes"] or "").split()
    if whole := words.whole_regions(codes):
        yield Text(_("Shown from end to end: {regions} spine", regions=", ".join(whole)))
    if notes := words.notes_of(codes):
        yield Text(_("Notes: {notes}", notes="; ".join(notes)), style="yellow")


def _basis(row: Row) -> str:
    if not row["spacing_basis"]:
        return _("lengths in px: the film has no spacing")
    factor = row["magnification"] or 1
    return _BASES[row["spacing_basis"]] + (f", ÷ {factor:.2f}" if factor != 1 else "")


def _region(
    film: Film, title: str, first: Level, last: Level, areas: Sequence[Area]
) -> Iterator[RenderableType]:
    names = {level.name for level in Level if first <= level <= last}
    found = [row["level"] for row in film.row["vertebrae"] if row["level"] in names]
    missing = [name for name in film.row["missing_levels"].split() if name in names]
    if not found and not missing:
        return
    levels = _("{region}  found {levels}", region=_(title), levels=" ".join(found) or p_("found", "none"))
    if missing:
        levels += _(" · missing {levels}", levels=" ".join(missing))
    yield Text(levels, style="bold")
    discs = [disc.name for disc in ALL_DISCS if first <= disc.upper <= last and _has(film, disc.name)]
    if discs:
        yield Padding(_discs(film, discs), (0, 2))
    said = [*_bodies(film.row["findings"], names), *_conclusions(film, areas)]
    if said:
        yield Padding(Group(*map(Text, said)), (0, 2))


def _has(film: Film, disc: str) -> bool:
    return any(place == disc for _, place in (*film.measures, *film.findings))


def _discs(film: Film, discs: Sequence[str]) -> Table:
    """One line for each disc; columns that would stay empty are left out."""
    columns = {"": list(discs)} | (_ap if film.row["view_position"] == "AP" else _lateral)(film, discs)
    kept = {name: cells for name, cells in columns.items() if set(cells) != {NONE}}
    table = Table(*kept, box=None, header_style="dim", pad_edge=False)
    for cells in zip(*kept.values(), strict=True):
        table.add_row(*cells)
    return table


def _lateral(film: Film, discs: Sequence[str]) -> dict[str, list[str]]:
    graded = {sign: [film.findings.get((sign.value, disc)) for disc in discs] for sign in Sign}
    lost = graded[Sign.DISC_HEIGHT_LOSS]
    return {
        _("ant. / mid. / post. ({unit})", unit=film.length_unit): [
            film.lengths(HEIGHTS.values(), disc) for disc in discs
        ],
        _("height index"): [film.value(Quantity.DISC_HEIGHT_INDEX, disc) for disc in discs],
        _("expected"): [expected(row) for row in lost],
        _("loss"): [percent(row) if row else NONE for row in lost],
        _("stage"): list(map(grade, lost)),
        _("reference"): list(map(reference, lost)),
        _("slip"): [slip(film, disc, Quantity.SLIP, Quantity.SLIP_SHARE) for disc in discs],
        _("Meyerding"): list(map(grade, graded[Sign.SPONDYLOLISTHESIS])),
        _("osteophytes"): list(map(grade, graded[Sign.OSTEOPHYTES])),
        _("sclerosis"): list(map(grade, graded[Sign.SUBCHONDRAL_SCLEROSIS])),
        _("overall"): list(map(grade, graded[Sign.DISC_DEGENERATION])),
    }


def _ap(film: Film, discs: Sequence[str]) -> dict[str, list[str]]:
    lengths = (Quantity.LATERAL_LISTHESIS, Quantity.LATERAL_LISTHESIS_SHARE)
    return {
        _("left / mid. / right ({unit})", unit=film.length_unit): [
            film.lengths(AP_HEIGHTS.values(), disc) for disc in discs
        ],
        _("height index"): [film.value(Quantity.AP_DISC_HEIGHT_INDEX, disc) for disc in discs],
        p_("angle", "wedge"): [film.value(Quantity.AP_DISC_WEDGE, disc) for disc in discs],
        _("side slip"): [slip(film, disc, *lengths) for disc in discs],
    }


def _bodies(findings: Sequence[Row], names: set[str]) -> Iterator[str]:
    """Deformed vertebrae, and the single rims and endplates that show a sign."""
    for finding in findings:
        if finding["level"] in names and finding["published_grade"]:
            yield f"{finding['level']}: {_what(finding)}, {grade(finding)}, {shown(finding)}".rstrip(", ")


def _what(finding: Row) -> str:
    """The form of a body, or a rim or endplate with what it shows."""
    kind = _KINDS.get(finding["kind"], words_of(finding["kind"]))
    if finding["form"]:
        return _("{form} {sign}", form=words.FORMS[finding["form"]], sign=kind)
    if finding["side"] in words.SIDES:
        return _("{side} {sign}", side=words.SIDES[finding["side"]], sign=kind)
    return kind


def _angles(film: Film) -> Iterator[str]:
    for measure in film.row["measures"]:
        if measure["quantity"] in words.ANGLES and not measure.get("reason"):
            apex = _(", apex {level}", level=measure["apex"]) if measure["apex"] else ""
            side = {
                None: "",
                True: _(", convex to the image's left"),
                False: _(", convex to the image's right"),
            }
            name = words.ANGLES[measure["quantity"]]
            yield f"{name} {measure['place']}: {value(measure)}{apex}{side[measure['convex_left']]}"


def _conclusions(film: Film, areas: Sequence[Area]) -> Iterator[str]:
    for conclusion in film.row["conclusions"]:
        if conclusion["area"] in areas:
            yield f"→ {concluded(conclusion, film.row)}"
