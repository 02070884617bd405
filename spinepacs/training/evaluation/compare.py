"""Measures and grades of one film beside its truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinepacs.analysis.judging.policy import Policy
from spinepacs.analysis.measuring.measure import measure
from spinepacs.analysis.seeing.localisation import Localisation
from spinepacs.domain.anatomy import DiscLevel, Level
from spinepacs.domain.findings import Refusal, Spine, Vertebra
from spinepacs.domain.geometry import Spacing, SpacingBasis
from spinepacs.domain.measures import Measure, Quantity
from spinepacs.domain.study import Radiograph, View
from spinepacs.training.data.dataset import Film
from spinepacs.training.evaluation.marks import by_label, true_spine
from spinepacs.training.evaluation.signs import (
    drawn_signs,
    graded,
    graded_areas,
    graded_heights,
    graded_signs,
    marked_signs,
)
from spinepacs.training.evaluation.truth import FilmTruth, truth_record
from spinepacs.training.evaluation.values import (
    by_place,
    compared,
    compared_cobb,
    compared_heights,
    drawn_heights_mm,
    mean_heights,
)
from spinepacs.training.metrics.grades import GradedSign
from spinepacs.training.metrics.values import ComparedValue


@dataclass(frozen=True)
class Rules:
    """What turns a spine into measures and grades: the policy, and the model's localisation error by view."""

    policy: Policy
    localisation: Mapping[View, Localisation] | None = None


@dataclass(frozen=True)
class Measured:
    """A spine, the product's or the labelled one, with its measures."""

    spine: Spine | Refusal
    measures: tuple[Measure, ...]
    heights: Mapping[DiscLevel, float]

    @classmethod
    def of(cls, spine: Spine | Refusal, spacing: Spacing | None, rules: Rules) -> Measured:
        """Measure a spine."""
        measures = () if isinstance(spine, Refusal) else measure(spine, spacing, rules.localisation)
        return cls(spine, measures, mean_heights(spine, spacing))


def compare(
    spine: Spine | Refusal,
    display: NDArray[np.uint8],
    film: Film,
    truth: FilmTruth,
    bodies: Mapping[int, Vertebra],
    rules: Rules,
) -> tuple[tuple[ComparedValue, ...], tuple[GradedSign, ...]]:
    """What the product measures and grades on a film beside its truth; nothing on oblique films.

    Parameters
    ----------
    display
        (h, w) uint8, as the product saw it: evaluated films are 8-bit pictures and have no other values.
    bodies
        By place in ``film.bodies``: the published vertebra that is that body.
    """
    view = {"ap": View.AP, "lateral": View.LATERAL}.get(film.view)
    if view is None:
        return (), ()
    spacing = None
    if truth.mm_per_px:
        spacing = Spacing(truth.mm_per_px, truth.mm_per_px, SpacingBasis.MAGNIFICATION_CORRECTED)
    product = Measured.of(spine, spacing, rules)
    marks = Measured.of(true_spine(film, truth, view), spacing, Rules(rules.policy))
    labelled = by_label(spine, film, truth, bodies)
    values = tuple(_values(product, marks, labelled, film, truth))
    radiograph = Radiograph("", "", "", display.astype(np.float32), display, spacing, view, None, "")
    return values, tuple(_grades(product, marks, labelled, film, radiograph, rules.policy))


def _values(
    product: Measured, marks: Measured, labelled: Mapping[Level, Vertebra], film: Film, truth: FilmTruth
) -> Iterator[ComparedValue]:
    true = by_place(marks.measures)
    yield from compared(by_place(product.measures), true, labelled)
    depths = {
        place: one.value
        for (quantity, place), one in true.items()
        if quantity is Quantity.VERTEBRA_DEPTH and isinstance(place, Level)
    }
    drawn_mm = drawn_heights_mm(film, truth)
    yield from compared_heights(product.heights, marks.heights, depths, labelled, drawn_mm)
    yield from compared_cobb(product.spine, marks.spine, film)


def _grades(
    product: Measured,
    marks: Measured,
    labelled: Mapping[Level, Vertebra],
    film: Film,
    radiograph: Radiograph,
    policy: Policy,
) -> Iterator[GradedSign]:
    if isinstance(marks.spine, Refusal) or radiograph.view is not View.LATERAL:
        return
    record = truth_record(film)
    said, by_rules = (graded(one.spine, radiograph, one.measures, policy) for one in (product, marks))
    if record is None:
        yield from graded_signs(marked_signs(by_rules), said, by_rules, labelled)
        return
    levels = [vertebra.level for vertebra in marks.spine.vertebrae]
    drawn = drawn_signs(record, levels, policy)
    signs = list(graded_signs(drawn, said, by_rules, labelled))
    yield from signs
    yield from graded_heights(signs, record, policy)
    yield from graded_areas(drawn, said, by_rules)
