"""The picture: what is drawn where, and the Secondary Capture that carries it."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest

from spinepacs.anatomy import Level
from spinepacs.dicom.codes import colour_of
from spinepacs.dicom.overlay import draw_overlay, encode_overlay
from spinepacs.findings import EncodedObject, Refusal
from spinepacs.geometry import Outline
from spinepacs.settings import OutputSettings
from tests.dicom import readings
from tests.dicom.tools import dciodvfy_complaints

OUTPUT = OutputSettings()


def encode() -> EncodedObject:
    header = readings.header()
    reading = readings.reading(header)
    return encode_overlay(header, reading, draw_overlay(readings.display(), reading), OUTPUT)


def test_outlines_lie_on_the_vertebrae_in_the_colour_of_their_level() -> None:
    reading = readings.reading(readings.header())
    assert reading.spine
    picture = draw_overlay(readings.display(), reading)
    for vertebra in reading.spine.vertebrae:
        x, y = np.floor(vertebra.outline.points).astype(int).T
        drawn = picture[y, x].astype(int)
        close = np.abs(drawn - colour_of(vertebra.level)).max(axis=1) < 100
        assert close.mean() > 0.8, vertebra.level


def test_the_film_inside_and_around_stays_as_it_is() -> None:
    reading = readings.reading(readings.header())
    assert reading.spine
    film = readings.display()
    picture = draw_overlay(film, reading)[: film.shape[0]]
    changed = (picture != film[..., None]).any(axis=2)
    assert changed.mean() < 0.12
    for vertebra in reading.spine.vertebrae:
        x, y = np.floor(vertebra.outline.centroid).astype(int)
        assert not changed[y - 8 : y + 8, x - 12 : x + 12].any()


def test_names_stand_at_the_left_and_heights_at_the_right() -> None:
    reading = readings.reading(readings.header())
    assert reading.spine
    film = readings.display()
    changed = (draw_overlay(film, reading)[: film.shape[0]] != film[..., None]).any(axis=2)
    for vertebra in reading.spine.vertebrae:
        y = int(vertebra.outline.centroid.y)
        assert changed[y - 5 : y + 5, : int(vertebra.outline.points[:, 0].min()) - 4].any()
    for disc in reading.discs:
        line = disc.lines_px["posterior"]
        y = int(line[:, 1].mean())
        assert changed[y - 5 : y + 5, int(line[:, 0].max()) + 6 :].any()


def test_no_name_is_written_over_a_vertebra_of_few_corners() -> None:
    reading = readings.reading(readings.header())
    assert reading.spine
    boxes = []
    for vertebra in reading.spine.vertebrae:
        (x0, y0), (x1, y1) = vertebra.outline.points.min(axis=0), vertebra.outline.points.max(axis=0)
        corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
        boxes.append(replace(vertebra, outline=Outline(corners)))
    film = readings.display()
    picture = draw_overlay(film, replace(reading, spine=replace(reading.spine, vertebrae=tuple(boxes))))
    for box in boxes:
        (x0, y0), (x1, y1) = box.outline.points[[0, 2]].astype(int)
        inner = np.s_[y0 + 4 : y1 - 4, x0 + 4 : x1 - 4]
        np.testing.assert_array_equal(picture[inner][..., 0], film[inner])


def test_a_large_film_is_drawn_at_half_size_with_a_footer_below() -> None:
    header = readings.header(1400, 1301)
    picture = draw_overlay(readings.display(1400, 1301), readings.reading(header))
    assert picture.shape[1] in (650, 651)
    assert 700 < picture.shape[0] < 850
    footer = picture[702:]
    assert footer.max() > 200
    assert np.median(footer) == 0


def test_without_mm_the_index_is_written() -> None:
    header = readings.header()
    film = readings.display()
    with_mm = draw_overlay(film, readings.reading(header))
    without = draw_overlay(film, readings.reading(header, spacing=None))
    assert (with_mm[: film.shape[0]] != without[: film.shape[0]]).any()


def test_a_refused_film_is_drawn_with_its_reason() -> None:
    reading = replace(
        readings.reading(readings.header()),
        spine=None,
        discs=(),
        refusal=Refusal("NO_VERTEBRA_FOUND", "none"),
    )
    film = readings.display()
    picture = draw_overlay(film, reading)
    np.testing.assert_array_equal(picture[: film.shape[0], :, 0], film)


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
    picture = draw_overlay(readings.display(), readings.reading(readings.header()))
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
