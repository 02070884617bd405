"""The picture: what is drawn where, and the Secondary Capture that carries it."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from spinepacs.anatomy import Level
from spinepacs.dicom.overlay import draw_overlay, encode_overlay, scale_of
from spinepacs.dicom.overlay_draw import Colour
from spinepacs.dicom.overlay_marks import ALIGNMENT, HEIGHTS, STAGES, UNGRADED, outline_colour
from spinepacs.dicom.overlay_text import rows_of
from spinepacs.findings import EncodedObject, Reading, Refusal
from spinepacs.geometry import Outline
from spinepacs.measures import Quantity
from spinepacs.settings import OutputSettings
from spinepacs.signs import Sign
from spinepacs.study import View
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
