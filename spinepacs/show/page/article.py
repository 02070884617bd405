"""One film as one printed page: its picture, conclusions, tables, and on what ground all of it stands."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from io import BytesIO

import cv2
import numpy as np
from pydicom import dcmread
from pydicom.encaps import generate_frames

import spinepacs
from spinepacs.dicom.identity import DISCLAIMER
from spinepacs.dicom.overlay.picture import scale_of
from spinepacs.domain import words
from spinepacs.domain.anatomy import Span
from spinepacs.domain.findings import ImageResult, ObjectKind, Reading, Spine
from spinepacs.domain.measures import Measure
from spinepacs.domain.refusals import refusal_words
from spinepacs.domain.sentences import statement
from spinepacs.domain.study import StudyHeader, View
from spinepacs.exchange.author import closing
from spinepacs.language import _
from spinepacs.show.page.html import NONE, Html, image, joined, table, tag
from spinepacs.show.page.tables import discs, figures, grade_mark, single_signs, vertebrae

_TAIL = 12
"""Last characters of a UID, enough to tell the films of a house apart."""
_MANY = 14
"""Rows from which a page is set closely."""


def article(result: ImageResult, header: StudyHeader, *, with_identity: bool = False) -> Html:
    """Describe one film; of a refused one say the reason.

    Parameters
    ----------
    result
        The film's reading with its objects; the picture is taken from the overlay.
    with_identity
        Whether patient ID, sex, age, accession number and study description of the header are shown.
    """
    reading, said = result.reading, _head(result.reading, header, with_identity)
    if reading.refusal or reading.spine is None:
        return tag("article", said, _refused(reading), _foot(reading))
    columns = discs(reading)
    rows = columns.rows
    height_over_width = reading.rows / max(reading.columns, 1)
    wide = min(max(150 / height_over_width, 62), 104)
    return tag(
        "article",
        said,
        tag("div", _picture(result), _words(reading, reading.spine), class_="upper"),
        tag("section", table(_disc_caption(reading), columns.table)) if columns.table else Html(""),
        _note(columns.notes),
        _foot(reading),
        class_="close" if rows > _MANY else None,
        style=f"--picture: {wide:.0f}mm; --film: {wide * height_over_width + 8:.0f}mm",
    )


def study_name(header: StudyHeader) -> str:
    """Date and end of the UID, which name nobody."""
    date = header.study_date
    day = f"{date[:4]}-{date[4:6]}-{date[6:]}" if len(date) == 8 else _("without date")
    return _("study {day}, …{uid}", day=day, uid=header.study_uid[-_TAIL:])


def page_title(header: StudyHeader) -> str:
    """What the file of a study is called for people."""
    return _("Spine findings, {study}", study=study_name(header))


def _head(reading: Reading, header: StudyHeader, with_identity: bool) -> Html:
    title = _("Spine radiograph")
    about = [words.capital(study_name(header)), _("film …{uid}", uid=reading.sop_uid[-_TAIL:])]
    if spine := reading.spine:
        title += f", {words.VIEWS[spine.view]}"
        title += f", {_span(spine)}" if spine.vertebrae else ""
        if spine.anterior_left is not None:
            about.append(words.front(spine.anterior_left, spine.anterior_basis))
    whose = tag("p", " · ".join(_identity(header)), class_="patient") if with_identity else Html("")
    return tag(
        "header",
        tag("h1", title),
        whose,
        tag("p", " · ".join(about)),
        tag("p", _warning(reading), class_="warning"),
    )


def _warning(reading: Reading) -> str:
    """What the page is not for, and whose word it is."""
    if reading.correction:
        return f"{closing(reading.correction)} {reading.correction.made_at:%Y-%m-%d}."
    return _("{disclaimer}. Found by software, to be judged by a physician.", disclaimer=_(DISCLAIMER))


def _span(spine: Spine) -> str:
    first, last = spine.vertebrae[0].level.name, spine.vertebrae[-1].level.name
    return first if first == last else f"{first}–{last}"


def _identity(header: StudyHeader) -> Iterator[str]:
    yield _("Patient ID {value}", value=header.patient_id or _("not given"))
    if header.patient_sex:
        yield _("sex {value}", value=header.patient_sex)
    if header.patient_age_years is not None:
        yield words.years(header.patient_age_years)
    if header.accession_number:
        yield _("accession number {value}", value=header.accession_number)
    if header.study_description:
        yield header.study_description


def _refused(reading: Reading) -> Html:
    if reading.refusal is None:
        return tag("p", _("No spine was found."))
    why = refusal_words(reading.refusal.code, reading.refusal.reason)
    return tag("section", tag("h2", _("Not read")), tag("p", f"{why} ({reading.refusal.code})"))


def _picture(result: ImageResult) -> Html:
    """The film with what is drawn on it; the words of the picture stand on the page."""
    encoded = [item.part10 for item in result.objects if item.kind is ObjectKind.OVERLAY]
    if not encoded:
        return tag("p", _("The picture is switched off in the settings."))
    jpeg = next(generate_frames(dcmread(BytesIO(encoded[0])).PixelData, number_of_frames=1))
    reading = result.reading
    drawn = np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR))
    scale = scale_of(reading.rows, reading.columns)
    film = drawn[: round(reading.rows * scale), : round(reading.columns * scale)]
    small = cv2.imencode(".jpg", film, [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
    source = f"data:image/jpeg;base64,{base64.b64encode(small.tobytes()).decode('ascii')}"
    found = ", ".join(v.level.name for v in reading.spine.vertebrae) if reading.spine else ""
    alt = _(
        "The film with the outlines of {levels}; all that is written on it stands in the tables.",
        levels=found,
    )
    caption = _(
        "At the discs: height anterior / middle / posterior, {unit}; tint: stage. Pink: angles, slips.",
        unit=words.unit("mm") if reading.spacing else _("ratio to the depth (no mm)"),
    )
    if reading.spine and reading.spine.view is View.AP:
        caption = _("Pink: the ends of the angles.")
    return tag("figure", tag("figcaption", caption), tag("div", image(source, alt)))


def _words(reading: Reading, spine: Spine) -> Html:
    """What stands beside the picture."""
    bodies = vertebrae(reading)
    parts = [
        _section(_("Conclusions"), _conclusions(reading)),
        _angles([m for m in reading.published_measures if isinstance(m.place, Span)]),
        _halves(_("Vertebrae"), bodies.table),
        _note(bodies.notes),
        _note(single_signs(reading)),
        tag("section", tag("h2", _("Quality of the film")), tag("p", " ".join(_quality(reading, spine)))),
    ]
    return tag("div", *parts, class_="words")


def _halves(caption: str, columns: dict[str, list[str]]) -> Html:
    """A long table as two beside each other."""
    rows = len(next(iter(columns.values()), []))
    if rows <= _MANY:
        return table(caption, columns) if rows else Html("")
    cuts = (slice(0, (rows + 1) // 2), slice((rows + 1) // 2, rows))
    parts = [{head: cells[cut] for head, cells in columns.items()} for cut in cuts]
    return tag(
        "div",
        table(caption, parts[0]),
        table(_("{caption}, continued", caption=caption), parts[1]),
        class_="halves",
    )


def _note(text: str) -> Html:
    return tag("p", text, class_="notes") if text else Html("")


def _section(title: str, items: Iterator[Html]) -> Html:
    listed = joined(items)
    return tag("section", tag("h2", title), tag("ul", listed)) if listed else Html("")


def _conclusions(reading: Reading) -> Iterator[Html]:
    for conclusion in reading.conclusions:
        degree = conclusion.published_degree
        yield tag("li", *([grade_mark(degree, str(degree)), " "] if degree else []), statement(conclusion))


def _angles(measures: Sequence[Measure]) -> Html:
    heads = (_("Angle"), _("From – to"), _("Value"), _("Apex"), _("Convex"))
    columns: dict[str, list[str]] = {head: [] for head in heads}
    for m in measures:
        side = {None: "–", True: _("image left"), False: _("image right")}[m.convex_left]
        apex = m.apex.name if m.apex is not None else "–"
        value = figures(m.value, m.margin, 0, "°")
        for head, cell in zip(
            columns, (words.ANGLES[m.quantity], m.place.name, value, apex, side), strict=True
        ):
            columns[head].append(cell)
    return table(_("Angles"), columns)


def _quality(reading: Reading, spine: Spine) -> Iterator[str]:
    if whole := words.whole_regions(reading.notes):
        yield _("Shown from end to end: {regions} spine.", regions=", ".join(whole))
    if spine.missing:
        missing = ", ".join(level.name for level in spine.missing)
        yield _("Not found between the levels named: {levels}.", levels=missing)
    if spine.view is View.LATERAL and spine.anterior_left is None:
        yield _("Which side is the front is not known: nothing that needs it was measured.")
    notes = words.notes_of(reading.notes)
    yield from (f"{words.capital(note)}." for note in notes)
    if not notes and not spine.missing:
        yield _("No fault noted.")


def _disc_caption(reading: Reading) -> str:
    if reading.spine and reading.spine.view is View.AP:
        return _("Discs (AP film: the rays cross them at an angle, so their heights are not graded)")
    return _("Discs")


def _foot(reading: Reading) -> Html:
    versions, spacing = reading.versions, reading.spacing
    basis = words.why_no_mm(reading.notes)
    if spacing:
        basis = words.BASES[spacing.basis]
        if spacing.magnification != 1:
            basis += _(", divided by {factor}", factor=f"{spacing.magnification:.3g}")
    about = _(
        "Lengths: {basis}. ±: half-width of the 95 % interval; small ranges beside grades: the grades within it; "
        "{none}: not measured or not graded.",
        basis=basis,
        none=NONE,
    )
    made_by = _(
        "spinepacs {version}, model {model}, grading policy {policy}.",
        version=spinepacs.__version__,
        model=f"{versions.model_name} {versions.model_version}",
        policy=f"{versions.policy_name} {versions.policy_version}",
    )
    return tag("footer", f"{about} {made_by}")
