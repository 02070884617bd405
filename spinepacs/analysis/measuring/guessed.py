"""What a measure is worth where the picture was stretched, and its natural width was told from the bodies' shape."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from spinepacs.analysis.measuring.measure import measure
from spinepacs.analysis.seeing.localisation import Localisation
from spinepacs.domain.findings import Spine
from spinepacs.domain.geometry import stretching
from spinepacs.domain.measures import Measure, Place, Quantity
from spinepacs.domain.study import View

_DEVIATION = {View.AP: 0.14, View.LATERAL: 0.08}
"""Standard deviation of the logarithm of a film's width for height, from one patient to another: (ln 2.30 − ln 1.45) ÷
3.29 of 481 AP films, (ln 1.33 − ln 1.02) ÷ 3.29 of 15 lateral ones."""


def with_guessed_width(
    measures: Sequence[Measure], spine: Spine, localisation: Mapping[View, Localisation] | None
) -> tuple[Measure, ...]:
    """The same measures with an uncertainty that holds the error of the width, too.

    It is found by measuring once more with the film stretched by one standard deviation; what is not measured then
    (a curve with other ends) is as uncertain as the most uncertain of its kind.

    Parameters
    ----------
    spine
        At the proportions that were told; without a spacing, so that nothing is in mm.
    """
    wider = spine.moved(stretching(math.exp(_DEVIATION.get(spine.view, max(_DEVIATION.values()))), 1.0))
    other = {(each.quantity, each.place): each.value for each in measure(wider, None, localisation)}
    kinds: dict[str, float] = {}
    for each in measures:
        if (each.quantity, each.place) in other:
            error = abs(other[each.quantity, each.place] - each.value)
            kinds[each.quantity] = max(error, kinds.get(each.quantity, 0.0))
    return tuple(
        replace(each, uncertainty=math.hypot(each.uncertainty, _error(each, other, kinds)))
        if each.uncertainty is not None
        else each
        for each in measures
    )


def _error(one: Measure, other: Mapping[tuple[Quantity, Place], float], kinds: Mapping[str, float]) -> float:
    value = other.get((one.quantity, one.place))
    if value is not None:
        return abs(value - one.value)
    return kinds.get(one.quantity, abs(one.value))
