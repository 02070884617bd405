"""The localisation error is found again that was put in."""

import tomllib
from dataclasses import replace

import numpy as np
import pytest

from spinepacs.analysis.naming.label import label
from spinepacs.analysis.seeing.localisation import Localisation
from spinepacs.domain.anatomy import Level
from spinepacs.domain.geometry import Endplate, PointPx
from spinepacs.domain.study import View
from spinepacs.training.data.dataset import Film, LabelledBody
from spinepacs.training.evaluation.truth import FilmTruth
from spinepacs.training.release.localise import as_toml, coverage, errors, fit, pair
from tests import phantoms

SHARES = np.array([0.02, 0.03, 0.015, 0.01, 0.025])
DOUBT = 6.0


def _true_spine(anterior_left=True):
    return label(phantoms.spine(left_px=40, right_px=36).detections(), View.LATERAL, anterior_left)


def _wrong(plate, errors, upper, anterior_left):
    """A plate with the errors of the five modes, in shares of its length."""
    shift, tilt, bow, slide, stretch = errors
    points = np.array([plate.left, plate.middle, plate.right])
    points = points if anterior_left else points[::-1]
    way = points[2] - points[0]
    away = np.array([-way[1], way[0]]) * (-1 if upper else 1) * (1 if anterior_left else -1)
    across = np.array([shift + tilt / 2 - bow / 3, shift + 2 * bow / 3, shift - tilt / 2 - bow / 3])
    along = np.array([slide - stretch / 2, slide, slide + stretch / 2])
    points = points + across[:, None] * away + along[:, None] * way
    points = points if anterior_left else points[::-1]
    return Endplate(PointPx(*points[0]), PointPx(*points[-1]), points)


def _pairs(count, seed, anterior_left=True):
    rng = np.random.default_rng(seed)
    true = _true_spine(anterior_left)
    found = []
    for _ in range(count):
        vertebrae = []
        for vertebra in true.vertebrae:
            score = rng.uniform(0.4, 1)
            upper, lower = rng.normal(size=(2, 5)) * SHARES * (1 + DOUBT * (1 - score))
            plates = {"upper": _wrong(vertebra.upper, upper, True, anterior_left)}
            if vertebra.lower:
                plates["lower"] = _wrong(vertebra.lower, lower, False, anterior_left)
            vertebrae.append(replace(vertebra, score=score, **plates))
        found.append((replace(true, vertebrae=tuple(vertebrae)), true))
    return found


@pytest.mark.parametrize("anterior_left", [True, False])
def test_errors_are_told_by_mode(anterior_left):
    true = _true_spine(anterior_left)
    put_in = [0.01, -0.02, 0.03, 0.04, -0.05]
    wrong = tuple(replace(v, upper=_wrong(v.upper, put_in, True, anterior_left)) for v in true.vertebrae)
    found = errors((replace(true, vertebrae=wrong), true))
    assert found[Level.L3, 0] == pytest.approx(
        put_in, abs=1e-3
    )  # "middle" is half-way between the drawn ends
    assert found[Level.L3, 1] == pytest.approx(np.zeros(5), abs=1e-9)
    assert np.isnan(found[Level.C4]).all()


def test_the_errors_that_were_put_in_are_found_again_and_the_intervals_hold_the_truth():
    found = fit(_pairs(60, seed=1))
    assert found.doubt == pytest.approx(DOUBT, abs=2)
    half_sure = np.array(found.shares["L3"]) * (1 + found.doubt / 2)
    assert half_sure == pytest.approx(SHARES * (1 + DOUBT / 2), rel=0.2)
    assert max(map(abs, (*found.body, *found.disc))) < 0.2
    held = coverage(_pairs(60, seed=2), found)
    everything = sum(count * share for count, share in held.values()) / sum(
        count for count, _ in held.values()
    )
    assert 0.93 < everything < 0.97


def test_where_corners_were_scattered_the_errors_grow_with_that_and_not_with_the_score():
    rng, pairs = np.random.default_rng(4), []
    true = _true_spine()
    for _ in range(60):
        vertebrae = []
        for vertebra in true.vertebrae:
            plates = {}
            for side in ("upper", "lower"):
                if plate := getattr(vertebra, side):
                    spread = rng.uniform(0.03, 0.3)
                    wrong = _wrong(plate, rng.normal(size=5) * 0.1 * spread, side == "upper", True)
                    plates[side] = replace(wrong, spreads=(spread, spread))
            vertebrae.append(replace(vertebra, score=rng.uniform(0.4, 1), **plates))
        pairs.append((replace(true, vertebrae=tuple(vertebrae)), true))
    found = fit(pairs)
    assert found.doubt > 30
    for spread in (0.05, 0.2):
        assert np.array(found.shares["L3"]) * (1 + found.doubt * spread) == pytest.approx(
            0.1 * spread, rel=0.25
        )
    assert 0.93 < np.mean([share for _, share in coverage(pairs, found).values()]) < 0.97


def test_a_bias_counts_as_an_error():
    true = _true_spine()
    shifted = tuple(replace(v, upper=_wrong(v.upper, [0.05, 0, 0, 0, 0], True, True)) for v in true.vertebrae)
    found = fit([(replace(true, vertebrae=shifted), true)] * 3)
    # The lower plates are right, so the mean square is half of the upper plates'.
    assert found.shares["lumbar"][0] * (1 + found.doubt * 0.1) == pytest.approx(
        0.05 * np.sqrt(6 / 11), rel=0.1
    )


def test_what_is_printed_is_what_a_manifest_takes():
    found = fit(_pairs(20, seed=3))
    table = tomllib.loads(as_toml(View.LATERAL, found))["localisation"]["LATERAL"]
    read = Localisation.from_table(table)
    assert read.shares["lumbar"] == pytest.approx(found.shares["lumbar"], abs=1e-4)
    assert read.doubt == found.doubt


def test_nothing_to_estimate_from_is_said():
    with pytest.raises(ValueError, match="no labelled vertebra"):
        fit([])


def test_drawn_vertebrae_are_compared_at_their_labelled_levels(tmp_path):
    phantom = phantoms.spine(left_px=40, right_px=36)
    bodies = tuple(
        LabelledBody(int(level) - 1, (corners - 0.5).astype(np.float32))
        for level, corners in phantom.bodies.items()
    )
    film = Film(tmp_path / "a.png", 900, 1500, "a", "lateral", bodies)
    quads = {place: body.outline_px + 0.5 for place, body in enumerate(bodies)}
    both = pair(_true_spine(), film, FilmTruth(corners_px=quads))
    assert both is not None
    found, true = both
    assert [v.level for v in found.vertebrae] == [v.level for v in true.vertebrae]
    assert found.vertebrae[0].level is Level.T12
    off = errors(both)
    assert off[Level.L1, :, [0, 1, 3, 4]] == pytest.approx(0, abs=1e-3)
    assert np.isnan(off[Level.L1, :, 2]).all()  # the labels do not know the plates' middles
    assert np.isnan(off[Level.L5, 1]).all()  # S1's lower plate is not drawn


def test_a_labelled_sacral_plate_is_enough():
    spine = _true_spine()
    sacrum = spine.vertebrae[-1].upper
    plate = np.array([sacrum.left, sacrum.right])
    both = pair(spine, Film(None, 900, 1500, "a", "lateral", ()), FilmTruth(sacral_plate_px=plate))
    assert errors(both)[Level.S1, 0, 0] == pytest.approx(0, abs=1e-9)
