import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinepacs.analysis.measuring.measure import disc_heights
from spinepacs.analysis.naming.label import label
from spinepacs.analysis.naming.spine import detect
from spinepacs.analysis.seeing.endplates import profile
from spinepacs.analysis.seeing.normalise import input_shape, to_input
from spinepacs.analysis.seeing.segment import Segmenter, scaled
from spinepacs.domain.anatomy import Level
from spinepacs.domain.geometry import Spacing, SpacingBasis
from spinepacs.domain.study import View
from tests import models, phantoms


def _iou(outline, corners):
    low = corners.min(axis=0) - 10
    size = np.ceil((corners.max(axis=0) - low + 10) * 4).astype(int)
    masks = []
    for points in (outline.points, corners):
        mask = np.zeros((size[1], size[0]), np.uint8)
        cv2.fillPoly(mask, [np.round(((points - low) * 4 - 0.5) * 16).astype(np.int32)], 1, shift=4)
        masks.append(mask.astype(bool))
    return (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()


@pytest.fixture(scope="module")
def phantom():
    return phantoms.spine(left_px=44, right_px=30, lean_deg=-12)


@pytest.fixture(scope="module")
def segmenter(phantom, tmp_path_factory):
    return Segmenter.open(models.write_model(tmp_path_factory.mktemp("model"), phantom), threads=1)


def test_each_body_is_outlined_where_it_is(segmenter, phantom):
    detections = detect(segmenter, phantom.picture())
    assert sorted(detection.raw_level for detection in detections) == list(phantom.bodies)
    for detection in detections:
        assert _iou(detection.outline, phantom.bodies[detection.raw_level]) > 0.985
        assert np.allclose(
            detection.box_px, phantom.detection(detection.raw_level).box_px, atol=1.01 * 1500 / 640
        )
        assert detection.class_scores.shape == (len(Level),)
        assert 0.8 < detection.score <= 1
        assert len(detection.outline.points) <= 100


def test_the_long_sides_of_the_bodies_are_met_within_a_fraction_of_a_native_pixel(segmenter, phantom):
    for detection in detect(segmenter, phantom.picture()):
        (start, end) = phantom.bodies[detection.raw_level][:2]
        along = (end - start) / np.hypot(*(end - start))
        offset = detection.outline.points - start
        share = offset @ along / np.hypot(*(end - start))
        height = offset @ np.array([along[1], -along[0]])
        upper = profile(share[None], height[None], np.linspace(0.15, 0.85, 15)[None])
        assert np.abs(upper).max() < 0.2


def test_a_dark_film_shows_nothing(segmenter):
    assert detect(segmenter, np.full((1500, 900), 60, np.uint8)) == ()


def test_a_model_of_fewer_classes_keeps_them_at_their_levels(tmp_path, phantom):
    folder = models.write_model(tmp_path / "m", phantom, classes=[level.name for level in reversed(Level)])
    found = detect(Segmenter.open(folder, threads=1), phantom.picture())
    assert sorted(item.raw_level for item in found) == sorted(Level(24 - level) for level in phantom.bodies)


def test_outlines_end_at_the_edge_of_the_film(tmp_path):
    cut = phantoms.spine(rows=900, columns=900)
    cut = cut.moved(np.array([[1.0, 0, -380], [0, 1, 0]]), 900, 900)
    segmenter = Segmenter.open(models.write_model(tmp_path / "m", cut), threads=1)
    for detection in detect(segmenter, cut.picture()):
        assert detection.outline.points.min() >= 0
        assert detection.outline.points.max() <= 900


def test_scaling_a_detection_scales_box_and_outline(phantom):
    detection = phantom.detection(Level.L3)
    double = scaled(detection, np.array([2.0, 1.0]))
    assert double.box_px.tolist() == (detection.box_px * [2, 1, 2, 1]).tolist()
    assert double.outline.area_px == pytest.approx(2 * detection.outline.area_px)


@given(
    lefts=st.lists(st.floats(18, 50), min_size=5, max_size=5),
    rights=st.lists(st.floats(18, 50), min_size=5, max_size=5),
    degrees=st.floats(-25, 25),
)
def test_heights_survive_the_way_through_prototypes_and_outlines(segmenter, lefts, rights, degrees):
    phantom = phantoms.spine(left_px=lefts, right_px=rights)
    turned = phantom.moved(phantoms.rotation(degrees, 1500, 900), 1500, 900)
    _, letterbox = to_input(np.zeros((1500, 900), np.uint8), *input_shape(1500, 900, 640))
    output0, output1 = models.heads(turned)
    spine = label(segmenter.read_heads(output0[0], output1[0], letterbox, 1500, 900), View.LATERAL, True)
    discs = disc_heights(spine, Spacing(0.15, 0.15, SpacingBasis.CALIBRATED))
    assert [disc.disc for disc in discs] == list(phantom.discs)
    for disc in discs:
        truth = phantom.discs[disc.disc]
        assert disc.anterior_mm == pytest.approx(truth.left_px * 0.15, abs=0.1)
        assert disc.posterior_mm == pytest.approx(truth.right_px * 0.15, abs=0.1)
        assert disc.wedge_deg == pytest.approx(truth.wedge_deg, abs=0.3)
