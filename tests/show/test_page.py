"""The printed page of a study: what stands on it, that it names nobody unasked, and that a film fills one sheet."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from spinepacs.batch.films import find_films
from spinepacs.batch.folder import try_out
from spinepacs.batch.run import Batch
from spinepacs.batch.task import Task
from spinepacs.dicom.overlay.picture import draw_overlay, encode_overlay
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import ImageResult, Reading, Refusal
from spinepacs.domain.geometry import Spacing
from spinepacs.domain.measures import Quantity, Reason, Unit
from spinepacs.domain.signs import Deformity, Finding, Scheme, Side, Sign
from spinepacs.domain.study import StudyHeader, View
from spinepacs.settings.sections import OutputSettings
from spinepacs.show.page.html import Html, joined, tag
from spinepacs.show.page.pages import Pages
from tests.dicom import readings
from tests.peers import require

DEMO_FILMS = sorted((Path(__file__).parents[2] / "demo" / "films").glob("*.dcm"))
HEADER = StudyHeader(
    study_uid="1.2.826.0.1.99.1234567890123", series_uid="1.2.3", sop_uid="1.2.4", sop_class_uid="1.2.5",
    transfer_syntax_uid="1.2.6", modality="DX", body_part="SPINE", descriptions=(), patient_id="SECRET-17<b>",
    patient_sex="F", patient_age_years=54.0, study_date="20260312", accession_number="ACC-5",
    study_description="Spine & hip", manufacturer="", is_ours=False,
)  # fmt: skip


def result(rows: int = 1700, columns: int = 720, **changes: Any) -> ImageResult:
    header = readings.header(rows, columns)
    reading = readings.reading(header, **changes)
    picture = draw_overlay(readings.display(rows, columns), reading)
    return ImageResult(reading, (encode_overlay(header, reading, picture, OutputSettings()),))


def text_of(image: ImageResult, folder: Path, *, with_identity: bool = False) -> str:
    file = Pages(folder, folder / "studies", with_identity=with_identity).add("film", image, HEADER)
    return file.read_text(encoding="utf-8")


def full_spine() -> ImageResult:
    """A film on which everything is graded and something is withheld for every reason."""
    image = result(first=Level.C1, count=25)
    assert image.reading.spine
    findings = list(image.reading.findings)
    for n, vertebra in enumerate(image.reading.spine.vertebrae[1:]):
        spur, dense = Sign.OSTEOPHYTES, Sign.SUBCHONDRAL_SCLEROSIS
        parts = [(spur, Side.UPPER_ANTERIOR), (spur, Side.LOWER_ANTERIOR), (dense, Side.UPPER)]
        findings += [
            Finding(sign, vertebra.level, Scheme.WALRAEVENS, 0.1, Unit.RATIO, 1, 1, side=side)
            for sign, side in (parts if n % 4 == 0 else [])
        ]
        findings.append(
            Finding(
                Sign.VERTEBRAL_DEFORMITY, vertebra.level, Scheme.GENANT, 0.31, Unit.RATIO, 2, 2,
                uncertainty=0.1, grade_range=(0, 3), form=Deformity.BICONCAVE,
            )
        )  # fmt: skip
    discs = [f.place for f in findings if f.sign is Sign.DISC_HEIGHT_LOSS]
    reasons = list(Reason)
    for sign, scheme in (
        (Sign.OSTEOPHYTES, Scheme.WALRAEVENS),
        (Sign.SUBCHONDRAL_SCLEROSIS, Scheme.SPINEPACS),
        (Sign.SPONDYLOLISTHESIS, Scheme.MEYERDING),
        (Sign.DISC_DEGENERATION, Scheme.WALRAEVENS),
    ):
        side = Side.POSTERIOR if sign is Sign.SPONDYLOLISTHESIS else None
        for n, disc in enumerate(discs):
            reason = reasons[n % len(reasons)] if n % 2 else None
            findings.append(
                Finding(
                    sign, disc, scheme, -0.13, Unit.RATIO, 3, None if reason else 3, reason,
                    uncertainty=0.5, grade_range=(0, 3), side=side,
                )
            )  # fmt: skip
    sentence = (
        "Cervical spine (C2-T1): moderate radiographic signs of osteochondrosis (overall degree 2 of 3), most marked "
        "at C5/C6: loss of disc height, stage 3 (advanced), anterior osteophytes, grade 2 (moderate). More changes "
        "than are usual at this age. To be judged by a physician."
    )
    said = tuple(replace(image.reading.conclusions[0], sentence=sentence) for _ in range(5))
    notes = (
        "WHOLE_CERVICAL",
        "WHOLE_THORACIC",
        "WHOLE_LUMBAR",
        "METAL",
        "TILTED",
        "LOW_CONTRAST",
        "LEVEL_AMBIGUOUS",
    )
    reading = replace(image.reading, findings=tuple(findings), conclusions=said, notes=notes)
    return replace(image, reading=reading)


class Outline(HTMLParser):
    """Checks that elements are closed in order, and gathers what matters to a reader who does not see."""

    EMPTY = frozenset({"meta", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def printed_pages(file: Path, folder: Path) -> int:
    """Pages of the PDF that Chromium prints."""
    subprocess.run(
        [require("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer",
         f"--user-data-dir={folder / 'chromium'}", f"--print-to-pdf={folder / 'page.pdf'}", file.as_uri()],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return len(re.findall(rb"/Type /Page\b", (folder / "page.pdf").read_bytes()))


def plain(text: str) -> str:
    return re.sub(r"<[^>]*>", " ", text)


def test_a_disc_has_its_heights_index_expectation_and_grades(tmp_path: Path) -> None:
    image = result(first=Level.C2, count=6)
    text = text_of(image, tmp_path)
    row = re.search(r'<tr><th scope="row">C4/C5</th>(.*?)</tr>', text)
    assert row
    cells = [" ".join(plain(cell).split()) for cell in re.findall(r"<td>(.*?)</td>", row[1])]
    of_disc = {m.quantity: m for m in image.reading.measures if m.place.name == "C4/C5"}
    middle, index = of_disc[Quantity.DISC_HEIGHT_MIDDLE], of_disc[Quantity.DISC_HEIGHT_INDEX]
    assert f"{middle.value:.1f}" in cells
    assert index.margin
    assert f"{index.value:.2f} ± {index.margin:.2f}" in cells
    assert "0.30" in cells  # expected
    assert "40 %" in cells  # lost
    assert "2 middle 1–2" in cells
    assert "Kettler 1" in cells
    assert "slip II" in cells or "II" in cells
    assert "mm in the detector plane (magnified)" in text
    assert "model spine-v0 0.1, grading policy default 1" in text


def test_what_is_withheld_says_why(tmp_path: Path) -> None:
    text = plain(text_of(result(first=Level.C2, count=6), tmp_path))
    assert "withheld a" in " ".join(text.split())
    assert "a: vertebra barely found" in text


def test_a_withheld_measure_has_a_letter_and_no_value(tmp_path: Path) -> None:
    image = result(first=Level.C2, count=6)
    measures = tuple(
        replace(m, reason=Reason.UNCERTAIN) if m.place.name == "C4/C5" else m for m in image.reading.measures
    )
    text = text_of(replace(image, reading=replace(image.reading, measures=measures)), tmp_path)
    row = re.search(r'<tr><th scope="row">C4/C5</th>(.*?)</tr>', text)
    assert row
    cells = [" ".join(plain(cell).split()) for cell in re.findall(r"<td>(.*?)</td>", row[1])]
    assert re.fullmatch(r"– [a-z]", cells[0])
    assert not re.match(r"\d+\.\d", cells[1])
    assert "outlines too uncertain" in text


def test_a_film_without_spacing_shows_no_millimetres(tmp_path: Path) -> None:
    text = plain(text_of(result(spacing=None), tmp_path).split("</style>")[1])
    assert "the film states no pixel spacing, hence no mm" in text
    assert not re.search(r"\d\s*mm", text)
    assert "(mm)" not in text


def test_conclusions_say_once_who_is_to_judge(tmp_path: Path) -> None:
    text = plain(text_of(full_spine(), tmp_path))
    assert text.count("moderate radiographic signs of osteochondrosis") == 5
    assert text.count("judged by a physician") == 1
    assert "Metal over a vertebra." in text
    assert "Shown from end to end: cervical, thoracic, lumbar spine." in text


def test_missing_levels_and_an_unknown_front_are_said(tmp_path: Path) -> None:
    image = result()
    assert image.reading.spine
    spine = replace(image.reading.spine, missing=(Level.C4,), anterior_left=None)
    text = text_of(replace(image, reading=replace(image.reading, spine=spine)), tmp_path)
    assert "Not found between the levels named: C4." in text
    assert "Which side is the front is not known" in text


def test_nobody_is_named_unless_asked(tmp_path: Path) -> None:
    unasked, asked = (plain(text_of(result(), tmp_path, with_identity=wanted)) for wanted in (False, True))
    for secret in ("SECRET-17", "54 years", "ACC-5", "hip"):
        assert secret not in unasked
        assert secret in asked
    assert "2026-03-12" in unasked
    assert HEADER.study_uid not in unasked
    assert HEADER.study_uid[-12:] in unasked


def test_what_the_header_says_is_escaped(tmp_path: Path) -> None:
    text = text_of(result(), tmp_path, with_identity=True)
    assert "SECRET-17&lt;b&gt;" in text
    assert "Spine &amp; hip" in text
    assert tag("p", "<i>", title='"') == '<p title="&quot;">&lt;i&gt;</p>'
    assert joined(["<", Html("<")]) == "&lt;<"


def test_a_refused_film_has_its_reason_and_no_picture(tmp_path: Path) -> None:
    refusal = Refusal("NO_VERTEBRA_FOUND", "no vertebra < found")
    reading = replace(result().reading, spine=None, discs=(), refusal=refusal)
    text = text_of(ImageResult(reading, ()), tmp_path)
    assert "no vertebra &lt; found (NO_VERTEBRA_FOUND)" in text
    assert not Outline(text).all("img")


def test_without_the_picture_the_tables_stand_alone(tmp_path: Path) -> None:
    text = text_of(replace(result(), objects=()), tmp_path)
    assert "The picture is switched off in the settings." in text
    assert not Outline(text).all("img")
    assert Outline(text).all("table")


def test_single_rims_and_forms_are_named(tmp_path: Path) -> None:
    text = plain(text_of(full_spine(), tmp_path))
    assert "Single rims and endplates: " in text
    assert "C6 upper anterior osteophytes 1, lower anterior osteophytes 1, upper sclerosis 1" in text
    assert "2 biconcave" in text
    assert "retro III" in text


@pytest.mark.parametrize("view", [View.LATERAL, View.AP])
def test_it_can_be_read_without_eyes(tmp_path: Path, view: View) -> None:
    text = text_of(result(first=Level.T1, count=17, view=view), tmp_path)
    seen = Outline(text)
    assert seen.open == ["html", "body"]  # whose end tags HTML lets be left out
    assert seen.all("html") == [{"lang": "en"}]
    assert all("L5" in str(picture["alt"]) for picture in seen.all("img"))
    assert len(seen.all("img")) == 1
    assert len(seen.all("caption")) == len(seen.all("table")) > 1
    assert {heading.get("scope") for heading in seen.all("th")} == {"col", "row"}
    assert len(seen.all("h1")) == len(seen.all("title")) == 1


def test_nothing_is_fetched_from_elsewhere(tmp_path: Path) -> None:
    seen = Outline(text_of(full_spine(), tmp_path))
    assert not seen.all("link")
    assert not seen.all("script")
    assert all(str(picture["src"]).startswith("data:image/jpeg;base64,") for picture in seen.all("img"))


@pytest.mark.peer
def test_every_film_fills_one_printed_page(tmp_path: Path) -> None:
    pages = Pages(tmp_path, tmp_path / "studies")
    films = [
        full_spine(),
        result(1200, 1240, first=Level.C2, count=6),
        result(first=Level.T1, count=17, view=View.AP),
    ]
    files = {pages.add(f"film-{n}", image, HEADER) for n, image in enumerate(films)}
    (file,) = files
    assert file.name == "film-0.page.html"
    assert printed_pages(file, tmp_path) == len(films)


def test_process_writes_one_file_for_each_study(tmp_path: Path) -> None:
    try_out(tmp_path)
    films = find_films(DEMO_FILMS[:2], tmp_path)
    for again in (False, True):  # the second time it is written anew
        batch = Batch(Task(tmp_path, page=True, key=b"not much of a secret"), workers=2, again=again)
        batch.run(films[::-1], lambda path, head: None)
    (file,) = tmp_path.glob("*.page.html")
    assert file.name == "1-cervical-lateral.page.html"
    text = file.read_text(encoding="utf-8")
    assert text.count("<article") == 2
    assert "SYN-0001" not in text


def test_a_page_is_called_after_the_first_film_whichever_is_read_first(tmp_path: Path) -> None:
    pages = Pages(tmp_path, tmp_path / "studies")
    assert pages.add("film-2", result(), HEADER).name == "film-2.page.html"
    assert pages.add("film-1", result(), HEADER).name == "film-1.page.html"
    assert pages.add("film-3", result(), HEADER).name == "film-1.page.html"
    assert [page.name for page in tmp_path.glob("*.html")] == ["film-1.page.html"]
    assert (tmp_path / "film-1.page.html").read_text(encoding="utf-8").count("<article") == 3


def reading_without_conclusions(reading: Reading) -> Reading:
    return replace(reading, conclusions=())


@pytest.mark.parametrize("spacing", [readings.SPACING, None])
def test_a_single_vertebra_needs_no_tables(tmp_path: Path, spacing: Spacing | None) -> None:
    image = result(first=Level.S1, count=1, spacing=spacing)
    text = text_of(replace(image, reading=reading_without_conclusions(image.reading)), tmp_path)
    assert "Spine radiograph, lateral, S1" in text
    assert "Conclusions" not in text
