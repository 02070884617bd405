"""Uncertainties: by hand where that is easy, else against errors drawn at random."""

import tomllib

import numpy as np
import pytest

from spinepacs.analysis.measuring import coronal, sagittal
from spinepacs.analysis.measuring.measure import measure
from spinepacs.analysis.measuring.uncertainty import standard_deviations
from spinepacs.analysis.naming.label import label
from spinepacs.analysis.seeing.localisation import Localisation
from spinepacs.domain.anatomy import DiscLevel, Level
from spinepacs.domain.measures import Quantity
from spinepacs.domain.study import View
from tests import phantoms

Q = Quantity
L3_L4 = DiscLevel(Level.L3, Level.L4)
NONE = (0.0,) * 5
SHARES = (0.02, 0.03, 0.015, 0.01, 0.025)


def _measures(localisation, view=View.LATERAL, **shape):
    phantom = phantoms.spine(**{"left_px": 40, "right_px": 40} | shape)
    spine = label(phantom.detections(), view, True if view is View.LATERAL else None)
    return {(m.quantity, m.place): m for m in measure(spine, None, {view: localisation})}


def _only(mode, share, disc=NONE, body=NONE, doubt=0.0):
    shares = tuple(share if number == mode else 0.0 for number in range(5))
    return Localisation({"lumbar": shares, "sacral": shares}, doubt, body, disc)


def test_independent_shifts_of_two_plates_add_in_quadrature():
    found = _measures(_only(0, 0.02))
    for quantity in (
        Q.DISC_HEIGHT_ANTERIOR,
        Q.DISC_HEIGHT_MIDDLE,
        Q.DISC_HEIGHT_HURXTHAL,
        Q.DISC_HEIGHT_DABBS,
    ):
        assert found[quantity, L3_L4].uncertainty == pytest.approx(np.sqrt(2) * 0.02 * 170, rel=1e-3)
    assert found[Q.DISC_HEIGHT_INDEX, L3_L4].uncertainty == pytest.approx(np.sqrt(2) * 0.02, rel=1e-3)
    assert found[Q.VERTEBRA_HEIGHT_POSTERIOR, Level.L3].margin == pytest.approx(
        1.96 * np.sqrt(2) * 3.4, rel=1e-3
    )
    assert found[Q.DISC_ANGLE, L3_L4].uncertainty == pytest.approx(0, abs=1e-3)


def test_outlines_that_are_too_large_together_err_more_and_those_that_move_together_less():
    together = _measures(_only(0, 0.02, disc=(1.0, 0, 0, 0, 0)))
    assert together[Q.DISC_HEIGHT_ANTERIOR, L3_L4].uncertainty == pytest.approx(2 * 3.4, rel=1e-3)
    apart = _measures(_only(0, 0.02, disc=(-1.0, 0, 0, 0, 0)))
    assert apart[Q.DISC_HEIGHT_ANTERIOR, L3_L4].uncertainty == pytest.approx(0, abs=0.01)


def test_a_tilt_is_an_angle_and_a_slide_a_slip():
    tilted = _measures(_only(1, 0.03))
    assert tilted[Q.DISC_ANGLE, L3_L4].uncertainty == pytest.approx(np.sqrt(2) * np.degrees(0.03), rel=1e-2)
    assert tilted[Q.DISC_HEIGHT_MIDDLE, L3_L4].uncertainty == pytest.approx(0, abs=0.01)
    slid = _measures(_only(3, 0.01))
    assert slid[Q.SLIP, L3_L4].uncertainty == pytest.approx(np.sqrt(2) * 1.7, rel=1e-3)
    stretched = _measures(_only(4, 0.02))
    assert stretched[Q.VERTEBRA_DEPTH, Level.L3].uncertainty == pytest.approx(
        0.02 * 170 / np.sqrt(2), rel=1e-3
    )


def test_doubtful_vertebrae_are_measured_less_surely():
    sure = _measures(_only(0, 0.02))[Q.DISC_HEIGHT_ANTERIOR, L3_L4].uncertainty
    # The phantom's bodies have a score of 0.9.
    doubtful = _measures(_only(0, 0.02, doubt=5.0))[Q.DISC_HEIGHT_ANTERIOR, L3_L4].uncertainty
    assert doubtful == pytest.approx(1.5 * sure)


def test_what_depends_on_a_level_without_figures_has_no_uncertainty():
    found = _measures(Localisation({"lumbar": SHARES}, 0.0, NONE, NONE))
    l5_s1 = DiscLevel(Level.L5, Level.S1)
    assert found[Q.DISC_HEIGHT_ANTERIOR, l5_s1].uncertainty is None
    assert found[Q.DISC_HEIGHT_ANTERIOR, l5_s1].margin is None
    assert found[Q.DISC_HEIGHT_ANTERIOR, L3_L4].uncertainty > 0
    assert all(
        m.uncertainty is None for m in measure(label(phantoms.spine().detections(), View.AP, None), None)
    )


def test_a_levels_own_figures_go_before_those_of_its_region():
    own = Localisation({"lumbar": NONE, "sacral": NONE, "L4": SHARES}, 0.0, NONE, NONE)
    found = _measures(own)
    assert found[Q.DISC_HEIGHT_ANTERIOR, L3_L4].uncertainty > 0
    assert found[Q.DISC_HEIGHT_ANTERIOR, DiscLevel(Level.L1, Level.L2)].uncertainty == 0


def _plate(left, right):
    left, right = np.array(left, float), np.array(right, float)
    return np.array([left, (left + right) / 2, right])


SKEWED = np.array(
    [
        _plate([3, 0], [98, 6]),
        _plate([0, 72], [104, 80]),
        _plate([12, 101], [113, 98]),
        _plate([10, 180], [118, 171]),
    ]
)


def _drawn(rng, sides, body, disc, count=20_000):
    """(count, K, 3, 2) plates that are wrong by chance: modes as words say, correlated along the chain."""
    chain = np.eye(4)
    chain[0, 1] = chain[2, 3] = body
    chain[1, 2], chain[0, 2], chain[1, 3], chain[0, 3] = disc, body * disc, disc * body, body * disc * body
    chain = np.triu(chain) + np.triu(chain, 1).T
    draws = np.linalg.cholesky(chain) @ rng.normal(size=(count, 5, len(sides), 1))
    shift, tilt, bow, slide, stretch = np.moveaxis(draws[..., 0] * np.array(SHARES)[:, None], 1, 0)
    plates = np.broadcast_to(SKEWED, (count, *SKEWED.shape)).copy()
    for k, side in enumerate(sides):
        way = SKEWED[k, 2] - SKEWED[k, 0]
        away = np.array([-way[1], way[0]]) * (1 if side else -1)
        for point, (turn, bend, longer) in enumerate(
            [(0.5, -1 / 3, -0.5), (0, 2 / 3, 0), (-0.5, -1 / 3, 0.5)]
        ):
            across = shift[:, k] + turn * tilt[:, k] + bend * bow[:, k]
            backwards = slide[:, k] + longer * stretch[:, k]
            plates[:, k, point] += across[:, None] * away + backwards[:, None] * way
    return plates


@pytest.mark.parametrize("formula", [sagittal.disc, coronal.cobb])
def test_deviations_are_those_of_errors_drawn_at_random(formula):
    body, disc = -0.3, 0.4
    sides, links = (0, 1, 0, 1), ("body", "disc", "body")
    localisation = Localisation({"lumbar": SHARES}, 0.0, (body,) * 5, (disc,) * 5)
    deviations = np.broadcast_to(np.array(SHARES), (1, 4, 5))
    found = standard_deviations(formula, SKEWED[None], sides, deviations, localisation.correlation(links))
    drawn = formula(_drawn(np.random.default_rng(1), sides, body, disc))
    for quantity, values in drawn.items():
        assert found[quantity][0] == pytest.approx(values.std(), rel=0.04), quantity


TABLE = """
doubt = 7.0
body = [0.0, -0.3, 0.2, 0.2, 0.2]
disc = [0.0, -0.4, 0.1, 0.3, 0.3]
[shares]
lumbar = [0.02, 0.03, 0.02, 0.01, 0.03]
L5 = [0.03, 0.04, 0.02, 0.02, 0.03]
"""


def test_a_manifests_table_is_read():
    read = Localisation.from_table(tomllib.loads(TABLE))
    assert read.shares["L5"] == (0.03, 0.04, 0.02, 0.02, 0.03)
    assert (read.doubt, read.disc[1]) == (7.0, -0.4)


@pytest.mark.parametrize(
    ("old", "new"),
    [("doubt = 7.0", ""), ("lumbar", "lumber"), ("0.02, 0.03, 0.02, 0.01, 0.03", "0.02"), ("-0.4", "-1.4"),
     ("[0.03, 0.04", "[-0.03, 0.04"), ("7.0", "-1.0")],
)  # fmt: skip
def test_a_table_that_cannot_be_meant_is_refused(old, new):
    with pytest.raises((KeyError, ValueError)):
        Localisation.from_table(tomllib.loads(TABLE.replace(old, new)))
