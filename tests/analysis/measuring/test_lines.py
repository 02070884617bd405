"""Segments of many places at once: those of each place alone."""

import numpy as np
import pytest

from spinepacs.analysis.measuring.lines import lines_of
from spinepacs.domain.measures import Quantity

PLATES = np.random.default_rng(7).uniform(0, 500, (9, 6, 3, 2))
PLATES[4, 3] = np.nan


@pytest.mark.parametrize("quantity", Quantity)
def test_places_do_not_disturb_each_other(quantity):
    together = lines_of(quantity, PLATES)
    for n, plates in enumerate(PLATES):
        alone = lines_of(quantity, plates)
        assert [line.shape for line in alone] == [(2, 2)] * len(together)
        np.testing.assert_array_equal([line[n] for line in together], alone)


def test_the_segment_s_angle_ends_at_s1_s_upper_plate():
    first, last = lines_of(Quantity.SEGMENT_ANGLE, PLATES[[3, 4]])
    np.testing.assert_array_equal(first, PLATES[[3, 4], 0][:, [0, 2]])
    np.testing.assert_array_equal(last, [PLATES[3, 3][[0, 2]], PLATES[4, 2][[0, 2]]])
