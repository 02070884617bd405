"""The closer look: windows cover the spine, cut bodies are dropped, no vertebra comes twice."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from spinepacs.analysis.seeing.windows import Window, join, placed, plan_windows
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import Detection
from spinepacs.domain.geometry import Outline

INPUT_PX, BODY_PX = 640, 48.0


def body(x: float, y: float, size: float, level: Level, score: float = 0.9) -> Detection:
    half = size / 2
    corners = np.array(
        [[x - half, y - half], [x + half, y - half], [x + half, y + half], [x - half, y + half]]
    )
    class_scores = np.zeros(len(Level), np.float32)
    class_scores[level] = score
    return Detection(
        class_scores, score, np.array([*corners.min(axis=0), *corners.max(axis=0)]), Outline(corners)
    )


def chain(rows: int, columns: int, first: float, last: float, bend: float = 0.0) -> list[Detection]:
    """C2 to S1 from the top to the bottom of a film, bodies growing from ``first`` to ``last`` px."""
    sizes = np.linspace(first, last, 24)
    y = np.cumsum(sizes * 1.25)
    y = (y - y[0]) / (y[-1] - y[0]) * rows * 0.8 + rows * 0.1
    x = columns / 2 + bend * np.sin(y / rows * 6)
    return [body(*at, Level(i + 1)) for i, at in enumerate(zip(x, y, sizes * 0.9, strict=True))]


def holds(window: Window, box: NDArray[np.float64]) -> bool:
    right, bottom = window.left_px + window.width_px, window.top_px + window.height_px
    return bool(window.left_px < box[0] and box[2] < right and window.top_px < box[1] and box[3] < bottom)


@given(
    st.integers(1600, 4000), st.floats(0.3, 0.8), st.floats(0.5, 1.0), st.floats(-0.1, 0.1), st.floats(32, 60)
)
def test_every_body_is_whole_in_some_window(
    rows: int, aspect: float, ratio: float, bend: float, body_px: float
):
    columns, last = round(rows * aspect), rows * 0.8 / 24 / 1.1
    spine = chain(rows, columns, last * ratio, last, bend * columns)
    windows, width_px = plan_windows(spine, rows, columns, INPUT_PX, body_px)
    assert windows
    assert width_px % 32 == 0
    for detection in spine:
        assert any(holds(window, detection.box_px) for window in windows)
    assert len(windows) <= 12
    for window in windows:
        assert window.width_px / window.height_px == pytest.approx(
            width_px / INPUT_PX, abs=2 / window.height_px
        )


def test_a_film_that_shows_its_bodies_large_is_not_read_again():
    spine = [body(320, 60 + 70 * i, 55, Level(i + 1)) for i in range(8)]
    assert plan_windows(spine, 640, 640, INPUT_PX, BODY_PX) == ((), 0)
    assert plan_windows([], 3000, 1000, INPUT_PX, BODY_PX) == ((), 0)


def test_a_window_beyond_the_film_is_padded():
    display = np.arange(100, dtype=np.uint8).reshape(10, 10)
    cut = Window(-2, 6, 8, 8).cut(display, 114)
    assert cut.shape == (8, 8)
    assert (cut[:, :2] == 114).all()
    assert (cut[4:] == 114).all()
    assert (cut[:4, 2:] == display[6:, :6]).all()


def test_what_a_window_cuts_off_is_left_to_its_neighbour():
    spine = chain(3000, 1200, 70, 95)
    windows, _ = plan_windows(spine, 3000, 1200, INPUT_PX, BODY_PX)

    def shown(window: Window) -> list[Detection]:
        """What a perfect network says: each body in the window, clipped by its edges."""
        found = []
        for detection in spine:
            points = detection.outline.points - [window.left_px, window.top_px]
            clipped = points.clip(0, [window.width_px, window.height_px])
            if np.ptp(clipped, axis=0).min() > 5:
                box = np.array([*clipped.min(axis=0), *clipped.max(axis=0)])
                found.append(Detection(detection.class_scores, detection.score, box, Outline(clipped)))
        return found

    result = join([], placed(windows, [shown(window) for window in windows], (3000, 1200), INPUT_PX))
    assert sorted(one.raw_level for one in result) == [one.raw_level for one in spine]
    for one in result:
        (truth,) = (item for item in spine if item.raw_level == one.raw_level)
        np.testing.assert_allclose(one.box_px, truth.box_px)


def test_joined_looks_keep_the_closer_outline_and_the_mean_of_the_scores():
    coarse, fine = body(100, 100, 40, Level.C5, 0.4), body(102, 99, 38, Level.C4, 0.8)
    elsewhere = body(100, 300, 40, Level.T1, 0.5)
    first, second = join([coarse, elsewhere], [fine])
    assert first.outline is fine.outline
    assert first.class_scores[Level.C5] == pytest.approx(0.2)
    assert first.class_scores[Level.C4] == pytest.approx(0.4)
    assert first.score == 0.8
    assert second.outline is elsewhere.outline
    np.testing.assert_allclose(second.class_scores, elsewhere.class_scores)


def test_a_doubtful_closer_outline_does_not_replace_a_sure_one():
    sure, doubtful = body(100, 100, 40, Level.C5, 0.9), body(105, 100, 40, Level.C5, 0.1)
    (only,) = join([sure], [doubtful])
    assert only.outline is sure.outline
    assert only.score == 0.9


def test_neighbours_that_touch_stay_two():
    assert len(join([], [body(100, 100, 40, Level.C1), body(100, 118, 40, Level.C2)])) == 2
