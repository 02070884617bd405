"""The picture: what is drawn where, and the Secondary Capture that carries it."""

from __future__ import annotations

import re
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from spinepacs.analysis.judging import quality
from spinepacs.analysis.judging.conclude import conclude
from spinepacs.analysis.judging.policy import Policy
from spinepacs.analysis.naming import label
from spinepacs.dicom.overlay.draw import Label, labels, panel
from spinepacs.dicom.overlay.letters import Chip, Colour, length_px, write
from spinepacs.dicom.overlay.marks import ALIGNMENT, HEIGHTS, STAGES, UNGRADED, Marks, outline_colour
from spinepacs.dicom.overlay.picture import draw_overlay, encode_overlay, scale_of
from spinepacs.dicom.overlay.text import rows_of
from spinepacs.domain.anatomy import DiscLevel, Level
from spinepacs.domain.findings import EncodedObject, Reading, Refusal
from spinepacs.domain.geometry import Outline, Turn
from spinepacs.domain.measures import Place, Quantity, Reason, Unit
from spinepacs.domain.signs import Deformity, Finding, Scheme, Side, Sign
from spinepacs.domain.study import View
from spinepacs.domain.words import NOTES, SIGNS, TO_PHYSICIAN
from spinepacs.settings.sections import OutputSettings
from tests.dicom import readings
from tests.dicom.tools import dciodvfy_complaints

OUTPUT = OutputSettings()


ROWS, COLUMNS = 1200, 1000


def film(rows: int = ROWS, columns: int = COLUMNS) -> NDArray[np.uint8]:
    return readings.display(rows, columns)


def reading_of(**changes: Any) -> Reading:
    return readings.reading(readings.header(ROWS, COLUMNS), **changes)


def encode() -> EncodedObject:
    reading = reading_of()
    return encode_overlay(readings.header(ROWS, COLUMNS), reading, draw_overlay(film(), reading), OUTPUT)


def near(picture: NDArray[np.uint8], points: NDArray[np.float64], colour: Colour) -> float:
    """Share of the points at whose pixels, or those next to them, the colour stands."""
    x, y = np.floor(points).astype(int).T
    steps = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    off = [np.abs(picture[y + dy, x + dx].astype(int) - colour).max(axis=1) for dy, dx in steps]
    return float((np.min(off, axis=0) < 70).mean())


def test_outlines_lie_on_the_vertebrae_in_the_colour_of_their_level() -> None:
    reading = reading_of()
    assert reading.spine
    picture = draw_overlay(film(), reading)
    for vertebra in reading.spine.vertebrae:
        colour = outline_colour(vertebra.level)
        assert near(picture, vertebra.outline.points, colour) > 0.8, vertebra.level


def test_the_film_inside_and_around_stays_as_it_is() -> None:
    reading = replace(reading_of(), measures=())
    assert reading.spine
    picture = draw_overlay(film(), reading)[:ROWS, :COLUMNS]
    changed = (picture != film()[..., None]).any(axis=2)
    assert changed.mean() < 0.12
    for vertebra in reading.spine.vertebrae:
        x, y = np.floor(vertebra.outline.centroid).astype(int)
        assert not changed[y - 8 : y + 8, x - 12 : x + 12].any()


def test_names_stand_at_the_left_and_heights_at_the_right() -> None:
    reading = reading_of()
    assert reading.spine
    changed = (draw_overlay(film(), reading)[:ROWS, :COLUMNS] != film()[..., None]).any(axis=2)
    for vertebra in reading.spine.vertebrae:
        y = int(vertebra.outline.centroid.y)
        assert changed[y - 10 : y + 10, : int(vertebra.outline.points[:, 0].min()) - 4].any()
    for height in reading.measures:
        if height.quantity is Quantity.DISC_HEIGHT_POSTERIOR:
            y, right = int(height.lines_px[0][:, 1].mean()), int(height.lines_px[0][:, 0].max())
            assert changed[y - 10 : y + 10, right + 6 :].any()


def test_a_disc_has_the_colour_of_its_published_stage_and_none_without() -> None:
    reading = reading_of()
    picture = draw_overlay(film(), reading).astype(int)
    seen = set()
    for finding in reading.findings:
        if finding.sign is Sign.DISC_HEIGHT_LOSS:
            lines = [
                m.lines_px[0]
                for m in reading.measures
                if m.place == finding.place and m.quantity in (HEIGHTS[0], HEIGHTS[1])
            ]
            x, y = np.mean(lines, axis=(0, 1)).astype(int)  # half-way between two of the heights
            red, _, blue = picture[y, x]
            assert (red > blue + 20) == bool(finding.published_grade), finding
            seen.add(finding.published_grade)
    assert seen == {0, 2, None}


def test_the_legs_of_an_angle_are_drawn_beyond_their_endplates() -> None:
    reading = reading_of(first=Level.T1, count=17, view=View.AP)
    (cobb,) = [m for m in reading.measures if m.quantity is Quantity.COBB_MAIN]
    picture = draw_overlay(film(), reading)
    for leg in cobb.lines_px:
        beyond = leg[1] + np.linspace(0.2, 0.7, 9)[:, None] * (leg[1] - leg[0])
        assert near(picture, beyond, ALIGNMENT) > 0.8


# Machado, Oliveira, Fernandes 2009, IEEE Trans Vis Comput Graph 15: 1291: severity 1.0, on linear RGB.
COLOUR_VISION = {
    "usual": np.eye(3),
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


@pytest.mark.parametrize("vision", COLOUR_VISION)
def test_stages_can_be_told_apart_by_every_kind_of_colour_vision(vision: str) -> None:
    colours = np.array([*STAGES, UNGRADED, ALIGNMENT]) / 255
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(COLOUR_VISION[vision]).T, 0, 1)
    shown = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = cv2.cvtColor(shown[None].astype(np.float32), cv2.COLOR_RGB2LAB)[0]
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=2) + 99 * np.eye(len(lab))
    assert apart.min() > 15
    assert (np.diff(lab[1 : len(STAGES), 0]) < -3).all()  # the worse, the darker


def words_of(reading: Reading) -> str:
    return "\n".join(" ".join([row.text, *(chip.word for chip in row.chips)]) for row in rows_of(reading))


def test_beside_the_film_stand_angles_legend_conclusion_and_what_is_withheld() -> None:
    reading = reading_of()
    (angle,) = [m for m in reading.measures if m.quantity is Quantity.CERVICAL_LORDOSIS]
    words = words_of(replace(reading, notes=("LEVEL_AMBIGUOUS", "SOMETHING_NEW")))
    assert f"Cervical lordosis C2-C7: {angle.value:.1f} ± {angle.margin:.1f}°" in words
    assert "Disc heights anterior / middle / posterior, mm in the detector plane (magnified)" in words
    assert "initial middle advanced critical withheld" in words
    assert reading.conclusions[0].sentence in words
    assert "Withheld (vertebra barely found): C3/C4, C6/C7: loss of height" in words
    assert "levels may be shifted by one" in words
    assert "something new" in words
    assert "Not for diagnostic use." in words
    assert "no mm" in words_of(reading_of(spacing=None))


def _withheld_at(reading: Reading, place: str) -> Reading:
    measures = tuple(
        replace(m, reason=Reason.UNCERTAIN) if m.place.name == place else m for m in reading.measures
    )
    return replace(reading, measures=measures)


def test_a_withheld_height_is_neither_written_nor_drawn_but_said() -> None:
    reading = _withheld_at(reading_of(), "C4/C5")
    assert "Withheld (outlines too uncertain): C4/C5: measures" in words_of(reading)
    marks = Marks(reading, reading.spine, 14)
    labels = {label.text for label in marks.values()}
    shown = Marks(reading_of(), reading.spine, 14)
    assert len(marks.values()) == len(shown.values())
    assert labels - {label.text for label in shown.values()} == {""}
    (mark,) = [label for label in marks.values() if not label.text]
    assert [chip.text for chip in mark.chips] == ["?"]
    assert len(marks.lines()) < len(shown.lines())


def test_a_withheld_angle_has_no_legs() -> None:
    reading = _withheld_at(reading_of(), "C2-C7")
    assert not Marks(reading, reading.spine, 14).angles()
    assert "Cervical lordosis" not in words_of(reading)


@pytest.mark.parametrize("turn", list(Turn))
def test_a_film_on_its_side_is_drawn_as_with_its_head_up_and_laid_back(turn: Turn) -> None:
    reading, picture = reading_of(), film()
    upright = draw_overlay(picture, reading)[:ROWS, :COLUMNS]
    laid = turn.as_filmed(picture)
    as_filmed = replace(reading, turn=turn, rows=laid.shape[0], columns=laid.shape[1])
    as_filmed = as_filmed.moved(turn.to_film(*laid.shape))
    drawn = draw_overlay(laid, as_filmed)[: laid.shape[0], : laid.shape[1]]
    if turn.is_sideways:  # marks and letters alike
        np.testing.assert_array_equal(turn.upright(drawn), upright)
    else:  # letters are not turned upside down, the outlines lie where the vertebrae are
        body = reading.spine.vertebrae[1].outline.points
        x, y = np.round(turn.to_film(ROWS, COLUMNS)(body)[::7]).astype(int).T
        assert (drawn[y.clip(0, ROWS - 1), x.clip(0, COLUMNS - 1)] != laid[y, x][:, None]).any(
            axis=1
        ).mean() > 0.5


def test_missing_levels_and_an_unknown_front_are_said() -> None:
    reading = reading_of()
    assert reading.spine
    words = words_of(replace(reading, spine=replace(reading.spine, missing=(Level.C4,), anterior_left=None)))
    assert "Not found: C4" in words
    assert "front is not known" in words


def test_a_scale_bar_stands_only_where_there_are_mm() -> None:
    corner = np.s_[ROWS - 60 : ROWS, : COLUMNS // 4]
    reading = reading_of(first=Level.S1, count=1)
    with_mm = draw_overlay(film(), reading)[corner]
    without = draw_overlay(film(), reading_of(first=Level.S1, count=1, spacing=None))[corner]
    assert (with_mm == 255).any()
    np.testing.assert_array_equal(without[..., 0], film()[corner])


def test_no_name_is_written_over_a_vertebra_of_few_corners() -> None:
    reading = replace(reading_of(), measures=())
    assert reading.spine
    boxes = []
    for vertebra in reading.spine.vertebrae:
        (x0, y0), (x1, y1) = vertebra.outline.points.min(axis=0), vertebra.outline.points.max(axis=0)
        corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
        boxes.append(replace(vertebra, outline=Outline(corners)))
    picture = draw_overlay(film(), replace(reading, spine=replace(reading.spine, vertebrae=tuple(boxes))))
    for box in boxes:
        (x0, y0), (x1, y1) = box.outline.points[[0, 2]].astype(int)
        inner = np.s_[y0 + 4 : y1 - 4, x0 + 4 : x1 - 4]
        np.testing.assert_array_equal(picture[inner][..., 0], film()[inner])


@pytest.mark.parametrize(
    ("rows", "columns", "scale"), [(1501, 1401, 0.5), (1200, 1000, 1.0), (600, 500, 2.0), (300, 250, 1.0)]
)
def test_large_films_are_halved_small_ones_doubled(rows: int, columns: int, scale: float) -> None:
    display = film(rows, columns)
    picture = draw_overlay(display, readings.reading(readings.header(rows, columns)))
    assert scale_of(rows, columns) == scale
    assert picture.shape[1] == round(columns * scale)
    words = picture[round(rows * scale) :]
    assert words.max() > 200
    assert np.median(words) == 0


def test_the_words_stand_beside_a_tall_film() -> None:
    header = readings.header(2000, 700)
    picture = draw_overlay(film(2000, 700), readings.reading(header))
    assert picture.shape[0] == 2000
    assert picture[:, 700:].max() > 200
    assert np.median(picture[:, 700:]) == 0


def test_without_mm_the_index_is_written() -> None:
    with_mm, without = (draw_overlay(film(), reading_of(spacing=s)) for s in (readings.SPACING, None))
    assert (with_mm[:ROWS] != without[:ROWS]).any()


def test_a_refused_film_is_drawn_with_its_reason() -> None:
    refusal = Refusal("NO_VERTEBRA_FOUND", "no vertebra")
    reading = replace(reading_of(spacing=None), spine=None, discs=(), refusal=refusal)
    picture = draw_overlay(film(), reading)
    np.testing.assert_array_equal(picture[:ROWS, :, 0], film())
    assert "Not read: no vertebra" in words_of(reading)


@pytest.mark.parametrize(("rows", "columns"), [(64, 48), (300, 40), (40, 300)])
def test_tiny_films_can_be_drawn(rows: int, columns: int) -> None:
    header = readings.header(rows, columns)
    assert (
        draw_overlay(readings.display(rows, columns), readings.reading(header, Level.T1, 12)).shape[1]
        == columns
    )


def test_it_is_a_secondary_capture_that_owns_up_to_its_burnt_in_text() -> None:
    encoded = encode()
    capture = pydicom.dcmread(BytesIO(encoded.part10))
    assert capture.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7" == encoded.sop_class_uid
    assert encoded.transfer_syntax_uid == "1.2.840.10008.1.2.4.50"
    assert capture.BurnedInAnnotation == "YES"
    assert list(capture.ImageType) == ["DERIVED", "SECONDARY"]
    assert capture.BodyPartExamined == "CSPINE"
    assert capture.SourceImageSequence[0].ReferencedSOPInstanceUID == readings.header().SOPInstanceUID
    assert "PixelSpacing" not in capture


def test_the_picture_comes_back_from_the_jpeg() -> None:
    picture = draw_overlay(film(), reading_of())
    back = pydicom.dcmread(BytesIO(encode().part10)).pixel_array.astype(int)
    assert back.shape == picture.shape
    assert np.abs(back - picture).mean() < 3


@pytest.mark.peer
def test_dciodvfy_has_nothing_to_say(tmp_path: Path) -> None:
    path = tmp_path / "picture.dcm"
    path.write_bytes(encode().part10)
    assert dciodvfy_complaints(path) == []


def test_the_same_reading_gives_the_same_bytes() -> None:
    assert encode().part10 == encode().part10


def graded(*findings: Finding) -> Reading:
    return replace(reading_of(), findings=findings, conclusions=())


def of_sign(sign: Sign, place: Place, **changes: Any) -> Finding:
    finding = Finding(sign, place, Scheme.SPINEPACS, 0.2, Unit.RATIO, 2, 2)
    return replace(finding, **changes)


def changed_by(*findings: Finding) -> NDArray[np.bool_]:
    """Pixels of the film that the findings change."""
    with_them, without = (draw_overlay(film(), graded(*f))[:ROWS, :COLUMNS] for f in (findings, ()))
    return np.asarray((with_them != without).any(axis=2))


def test_an_arrow_points_at_a_spur_from_outside() -> None:
    tip, start = np.array([300.0, 500.0]), np.array([310.0, 500.0])
    spur = of_sign(Sign.OSTEOPHYTES, Level.C5, side=Side.UPPER_ANTERIOR, marks_px=(np.array([start, tip]),))
    picture = draw_overlay(film(), graded(spur))
    beyond = tip + np.array([[-6.0, 0.0], [-10.0, 0.0]])
    assert near(picture, beyond, STAGES[2]) == 1
    _, x = np.nonzero(changed_by(spur)[480:520, 250:400])
    assert x.max() + 250 <= tip[0] + 1
    assert len(x) > 100


def test_no_label_covers_the_arrow_at_a_spur() -> None:
    disc = DiscLevel.below(Level.C4)
    (middle,) = [m for m in reading_of().measures if m.place == disc and m.quantity is HEIGHTS[1]]
    (back,) = [m for m in reading_of().measures if m.place == disc and m.quantity is HEIGHTS[2]]
    tip = np.array([back.lines_px[0][:, 0].max() + 8, middle.lines_px[0][:, 1].mean()])
    spur = of_sign(
        Sign.OSTEOPHYTES, Level.C4, side=Side.LOWER_ANTERIOR, marks_px=(np.array([tip - [5, 0], tip]),)
    )
    picture = draw_overlay(film(), graded(spur, of_sign(Sign.OSTEOPHYTES, disc)))
    along = tip + np.arange(6.0, 26.0)[:, None] * [1, 0]
    assert near(picture, along, STAGES[2]) == 1


def test_every_row_fits_its_panel() -> None:
    rows = rows_of(graded(*(of_sign(sign, Level.C5) for sign in Sign)))
    drawn = panel(rows, 500, 23)
    assert not drawn[:, -10:].any()


def test_a_dense_endplate_is_drawn_within_its_body() -> None:
    reading = reading_of()
    assert reading.spine
    body = next(v for v in reading.spine.vertebrae if v.level is Level.C5)
    assert body.lower
    plate = np.array([body.lower.left, body.lower.right])
    dense = of_sign(Sign.SUBCHONDRAL_SCLEROSIS, Level.C5, side=Side.LOWER, marks_px=(plate,))
    rows = np.nonzero(changed_by(dense).any(axis=1))[0]
    depth = plate[0, 1] - body.outline.centroid.y
    assert plate[0, 1] - 0.3 * depth < rows.min() <= rows.max() < plate[0, 1] + 3


def test_a_deformed_body_is_tinted_and_its_form_named() -> None:
    reading = reading_of()
    assert reading.spine
    body = next(v for v in reading.spine.vertebrae if v.level is Level.C5)
    deformed = of_sign(Sign.VERTEBRAL_DEFORMITY, Level.C5, form=Deformity.WEDGE)
    x, y = (int(v) for v in body.outline.centroid)
    assert changed_by(deformed)[y - 5 : y + 5, x - 5 : x + 5].all()
    marks = Marks(graded(deformed), reading.spine, 20)
    assert [chip.text for label in marks.names() for chip in label.chips] == ["G2w"]
    assert "Genant's grade 1 to 3 and form (wedge, biconcave, crush)" in words_of(graded(deformed))


def test_where_a_level_is_not_sure_both_names_stand() -> None:
    spine = reading_of().spine
    assert spine
    doubted = replace(spine.vertebrae[1], other_level=spine.vertebrae[0].level)
    marks = Marks(
        reading_of(), replace(spine, vertebrae=(spine.vertebrae[0], doubted, *spine.vertebrae[2:])), 20
    )
    assert [label.text for label in marks.names()][:3] == ["C2", "C2/C3", "C4"]


def test_a_slip_is_named_by_its_side_and_not_by_its_sign() -> None:
    reading, disc = reading_of(), DiscLevel.below(Level.C4)
    assert reading.spine
    slip = of_sign(Sign.SPONDYLOLISTHESIS, disc, value=0.01, published_grade=1, side=Side.POSTERIOR)
    marks = Marks(graded(slip), reading.spine, 20)
    assert [chip.text for label in marks.values() for chip in label.chips] == ["retro I"]


def test_only_what_is_withheld_has_a_question_mark() -> None:
    reading, disc = reading_of(), DiscLevel.below(Level.C4)
    assert reading.spine
    for computed, chips in ((2, ["?"]), (None, [])):
        lost = of_sign(Sign.DISC_HEIGHT_LOSS, disc, computed_grade=computed, published_grade=None)
        marks = Marks(graded(lost), reading.spine, 20)
        assert [chip.text for label in marks.values() for chip in label.chips] == chips


def test_what_is_not_published_is_not_drawn() -> None:
    mark = (np.array([[310.0, 500.0], [300.0, 500.0]]),)
    for sign in (Sign.OSTEOPHYTES, Sign.SUBCHONDRAL_SCLEROSIS, Sign.VERTEBRAL_DEFORMITY):
        hidden = of_sign(sign, Level.C5, marks_px=mark, published_grade=None, reason=Reason.IMPLANT)
        assert not changed_by(hidden)[:, : COLUMNS * 2 // 3].any()
        assert f"Withheld (metal over it): C5: {SIGNS[sign]}" in words_of(graded(hidden))


def test_a_label_without_room_at_the_left_stands_free_at_the_right() -> None:
    picture = np.zeros((200, 300, 3), np.uint8)
    body = np.array([[20.0, 80.0], [60.0, 80.0], [60.0, 120.0], [20.0, 120.0]])
    name = Label("T10", 100, (255, 255, 255), 20, True, (Chip("G2w", STAGES[2]),))
    labels(picture, [[name, Label("4.1", 104, (255, 255, 255), 20, False)]], body, 1.0)
    lines = np.nonzero(picture[:, 70:].any(axis=(1, 2)))[0]
    assert not picture[:, :62].any()
    assert lines.max() - lines.min() > 36  # one below the other


def test_every_code_of_notes_has_words() -> None:
    for module in (quality, label):
        for code in re.findall(r"``([A-Z_]{4,})``", module.__doc__ or ""):
            assert code in NOTES, code


def test_sentences_end_in_what_is_said_once() -> None:
    reading = reading_of()
    assert reading.spine
    policy = Policy.load(Path(__file__).parents[3] / "config" / "grading.toml")
    scheme = {"scheme": Scheme.WALRAEVENS, "published_grade": 1}
    found = [of_sign(Sign.DISC_DEGENERATION, disc.disc, **scheme) for disc in reading.discs]
    (said, *_) = conclude(reading.spine, found, policy)
    assert said.sentence.endswith(TO_PHYSICIAN)
    words = words_of(replace(graded(*found), conclusions=(said, said)))
    assert words.count(TO_PHYSICIAN.strip()) == 1


@pytest.mark.parametrize("halo_px", [0, 2])
@pytest.mark.parametrize("at", [(40, 30), (-6, 3), (150, 56)])
def test_a_text_is_written_as_pillow_writes_it_and_cut_off_at_the_border(at, halo_px):
    face = ImageFont.load_default(24)
    written = np.random.default_rng(0).integers(0, 256, (60, 200, 3), np.uint8)
    canvas = Image.fromarray(written)
    ImageDraw.Draw(canvas).text(
        at, "C5 6.2 mm", (200, 90, 30), face, "lm", stroke_width=halo_px, stroke_fill=(0, 0, 0)
    )
    for _ in range(2):  # rendered, and kept
        picture = written.copy()
        write(picture, *at, "C5 6.2 mm", 24, (200, 90, 30), halo_px)
        assert np.array_equal(picture, np.asarray(canvas))
    assert length_px("C5 6.2 mm", 24) == face.getlength("C5 6.2 mm")


def test_a_chip_is_black_on_its_colour_and_leaves_what_lies_beside_it():
    picture = np.full((60, 200, 3), 77, np.uint8)
    write(picture, 20, 30, Chip("Os 1", (255, 158, 20), "osteophytes"), 24, (255, 255, 255))
    wide = length_px("Os 1", 24) + 12
    field = picture[30 - 13 : 30 + 14, 20 : 20 + int(wide)]
    assert (field == (255, 158, 20)).all(axis=2).mean() > 0.5
    assert (field == 0).all(axis=2).any(), "the text"
    assert (picture[:15] == 77).all()
    assert (picture[:, :20] == 77).all()
    assert (picture[:, 20 + int(wide) + 6 :] == 255).any(), "its word"
