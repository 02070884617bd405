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
from spinepacs.domain.study import StudyHeader, View
from spinepacs.exchange.author import closing
from spinepacs.show.page.html import NONE, Html, image, joined, table, tag
from spinepacs.show.page.tables import discs, figures, grade_mark, single_signs, vertebrae

_TAIL = 12
"""Last characters of a UID, enough to tell the films of a house apart."""
_MANY = 14
"""Rows from which a page is set closely."""
_VIEWS = {View.AP: "AP", View.LATERAL: "lateral", View.OBLIQUE: "oblique", View.UNKNOWN: "view not known"}


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
    rows = len(columns.table.get("Disc", ()))
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
    day = f"{date[:4]}-{date[4:6]}-{date[6:]}" if len(date) == 8 else "without date"
    return f"study {day}, …{header.study_uid[-_TAIL:]}"


def _head(reading: Reading, header: StudyHeader, with_identity: bool) -> Html:
    title = "Spine radiograph"
    about = [study_name(header).capitalize(), f"film …{reading.sop_uid[-_TAIL:]}"]
    if spine := reading.spine:
        title += f", {_VIEWS[spine.view]}"
        title += f", {_span(spine)}" if spine.vertebrae else ""
        if spine.anterior_left is not None:
            side = "left" if spine.anterior_left else "right"
            about.append(f"front at the image's {side} (by {spine.anterior_basis})")
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
    return f"{DISCLAIMER}. Found by software, to be judged by a physician."


def _span(spine: Spine) -> str:
    first, last = spine.vertebrae[0].level.name, spine.vertebrae[-1].level.name
    return first if first == last else f"{first}–{last}"


def _identity(header: StudyHeader) -> Iterator[str]:
    yield f"Patient ID {header.patient_id or 'not given'}"
    if header.patient_sex:
        yield f"sex {header.patient_sex}"
    if header.patient_age_years is not None:
        yield f"{header.patient_age_years:.0f} years"
    if header.accession_number:
        yield f"accession number {header.accession_number}"
    if header.study_description:
        yield header.study_description


def _refused(reading: Reading) -> Html:
    if reading.refusal is None:
        return tag("p", "No spine was found.")
    return tag(
        "section", tag("h2", "Not read"), tag("p", f"{reading.refusal.reason} ({reading.refusal.code})")
    )


def _picture(result: ImageResult) -> Html:
    """The film with what is drawn on it; the words of the picture stand on the page."""
    encoded = [item.part10 for item in result.objects if item.kind is ObjectKind.OVERLAY]
    if not encoded:
        return tag("p", "The picture is switched off in the settings.")
    jpeg = next(generate_frames(dcmread(BytesIO(encoded[0])).PixelData, number_of_frames=1))
    reading = result.reading
    drawn = np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR))
    scale = scale_of(reading.rows, reading.columns)
    film = drawn[: round(reading.rows * scale), : round(reading.columns * scale)]
    _, small = cv2.imencode(".jpg", film, [cv2.IMWRITE_JPEG_QUALITY, 88])
    source = f"data:image/jpeg;base64,{base64.b64encode(small.tobytes()).decode('ascii')}"
    found = ", ".join(v.level.name for v in reading.spine.vertebrae) if reading.spine else ""
    alt = f"The film with the outlines of {found}; all that is written on it stands in the tables."
    shown = "mm" if reading.spacing else "ratio to the depth (no mm)"
    caption = (
        f"At the discs: height anterior / middle / posterior, {shown}; tint: stage. Pink: angles, slips."
    )
    if reading.spine and reading.spine.view is View.AP:
        caption = "Pink: the ends of the angles."
    return tag("figure", tag("figcaption", caption), tag("div", image(source, alt)))


def _words(reading: Reading, spine: Spine) -> Html:
    """What stands beside the picture."""
    bodies = vertebrae(reading)
    parts = [
        _section("Conclusions", _conclusions(reading)),
        _angles([m for m in reading.published_measures if isinstance(m.place, Span)]),
        _halves("Vertebrae", bodies.table),
        _note(bodies.notes),
        _note(single_signs(reading)),
        tag("section", tag("h2", "Quality of the film"), tag("p", " ".join(_quality(reading, spine)))),
    ]
    return tag("div", *parts, class_="words")


def _halves(caption: str, columns: dict[str, list[str]]) -> Html:
    """A long table as two beside each other."""
    rows = len(next(iter(columns.values()), []))
    if rows <= _MANY:
        return table(caption, columns) if rows else Html("")
    cuts = (slice(0, (rows + 1) // 2), slice((rows + 1) // 2, rows))
    parts = [{head: cells[cut] for head, cells in columns.items()} for cut in cuts]
    return tag("div", table(caption, parts[0]), table(f"{caption}, continued", parts[1]), class_="halves")


def _note(text: str) -> Html:
    return tag("p", text, class_="notes") if text else Html("")


def _section(title: str, items: Iterator[Html]) -> Html:
    listed = joined(items)
    return tag("section", tag("h2", title), tag("ul", listed)) if listed else Html("")


def _conclusions(reading: Reading) -> Iterator[Html]:
    for conclusion in reading.conclusions:
        degree = conclusion.published_degree
        sentence = conclusion.sentence.removesuffix(words.TO_PHYSICIAN)
        yield tag("li", *([grade_mark(degree, str(degree)), " "] if degree else []), sentence)


def _angles(measures: Sequence[Measure]) -> Html:
    columns: dict[str, list[str]] = {"Angle": [], "From – to": [], "Value": [], "Apex": [], "Convex": []}
    for m in measures:
        side = {None: "–", True: "image left", False: "image right"}[m.convex_left]
        apex = m.apex.name if m.apex is not None else "–"
        value = figures(m.value, m.margin, 0, "°")
        for head, cell in zip(
            columns, (words.ANGLES[m.quantity], m.place.name, value, apex, side), strict=True
        ):
            columns[head].append(cell)
    return table("Angles", columns)


def _quality(reading: Reading, spine: Spine) -> Iterator[str]:
    if whole := words.whole_regions(reading.notes):
        yield f"Shown from end to end: {', '.join(whole)} spine."
    if spine.missing:
        yield f"Not found between the levels named: {', '.join(level.name for level in spine.missing)}."
    if spine.view is View.LATERAL and spine.anterior_left is None:
        yield "Which side is the front is not known: nothing that needs it was measured."
    notes = words.notes_of(reading.notes)
    yield from (f"{note[0].upper()}{note[1:]}." for note in notes)
    if not notes and not spine.missing:
        yield "No fault noted."


def _disc_caption(reading: Reading) -> str:
    if reading.spine and reading.spine.view is View.AP:
        return "Discs (AP film: the rays cross them at an angle, so their heights are not graded)"
    return "Discs"


def _foot(reading: Reading) -> Html:
    versions, spacing = reading.versions, reading.spacing
    basis = words.why_no_mm(reading.notes)
    if spacing:
        basis = words.BASES[spacing.basis]
        basis += f", divided by {spacing.magnification:.3g}" if spacing.magnification != 1 else ""
    about = (
        f"Lengths: {basis}. ±: half-width of the 95 % interval; small ranges beside grades: the grades within it; "
        f"{NONE}: not measured or not graded. "
        f"spinepacs {spinepacs.__version__}, model {versions.model_name} {versions.model_version}, grading policy "
        f"{versions.policy_name} {versions.policy_version}."
    )
    return tag("footer", about)
