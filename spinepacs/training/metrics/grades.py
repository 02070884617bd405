"""Figures of agreement between graded signs and what was drawn into synthetic films, each for all resamples at once.

Three answers stand beside the drawn grade: ``computed`` and ``published`` are the product's; ``marks`` is what the same
rules make of the film's true marks, so that an error of the rules can be told from one of the outlines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinepacs.domain.signs import GRADE_NAMES, Sign

Floats = NDArray[np.float64]
CONCLUSION = "conclusion"
"""Stands for a sign where the overall degree of a region is meant."""
BELOW_USUAL = "disc_height_below_usual"
"""Stages of disc height against another truth: what the disc lacks of the mean height of healthy ones of its level and
build. No film can tell a disc that is low by nature from one that was narrowed by as much."""
ANSWERS = ("computed", "published", "marks")
SIGNS: Mapping[str, int] = {sign.value: len(names) for sign, names in GRADE_NAMES.items()} | {
    CONCLUSION: len(GRADE_NAMES[Sign.DISC_DEGENERATION]),
    BELOW_USUAL: len(GRADE_NAMES[Sign.DISC_HEIGHT_LOSS]),
}
"""What is graded, and how many grades it has, none included."""
UNKNOWN = -1
"""Grade of what was not graded or not published."""
NOT_FOUND = "NOT_FOUND"
"""Reason: a body that the grade needs was not found, or its neighbour is not the next level."""


@dataclass(frozen=True)
class GradedSign:
    """One sign at one place of a film whose truth is known.

    Parameters
    ----------
    sign, place, region
        Value of ``domain.signs.Sign`` or ``conclusion``; labelled disc, vertebra or area; region of the spine.
    level
        Labelled class of the place's first vertebra.
    drawn, drawn_value
        Grade that was drawn, and the value it comes from.
    computed, published, reason, value
        The product's grades (``UNKNOWN``: none), why the two differ, and the value it graded (nan: none).
    marks, marks_value
        What the same rules say of the film's true marks.
    """

    sign: str
    place: str
    region: str
    level: int
    drawn: int
    drawn_value: float
    computed: int
    published: int
    reason: str
    value: float
    marks: int
    marks_value: float


def confusion_tables(grades: Sequence[tuple[int, GradedSign]], answer: str, films: int, size: int) -> Floats:
    """Drawn grade (rows) against an answer (columns) by film: (films, size, size); what has no answer is left out."""
    tables = np.zeros((films, size, size))
    for film, one in grades:
        given = getattr(one, answer)
        if given != UNKNOWN:
            tables[film, one.drawn, given] += 1
    return tables


def agreement(weights: Floats, tables: Floats) -> dict[str, Floats]:
    """Figures of a confusion of grades for each row of the weights, by name: (R,); nan where nothing is known.

    Parameters
    ----------
    weights
        (R, F).
    tables
        (F, n, n), see :func:`confusion_tables`.

    Notes
    -----
    ``kappa``: Cohen 1968 (Psychol Bull 70: 213), weights by the squared distance of grades. ``false_1``, ``false_2``:
    share given that grade or more of those drawn without the sign; ``caught_1``, ``caught_2``: of those drawn with that
    grade or more.
    """
    size = tables.shape[1]
    table = (weights @ tables.reshape(len(tables), -1)).reshape(-1, size, size)
    apart = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    total, none = table.sum(axis=(1, 2)), table[:, 0].sum(axis=1)
    found = {
        "kappa": _kappa(table, apart**2.0),
        "exact": _share(table[:, apart == 0].sum(axis=1), total),
        "within_one": _share(table[:, apart <= 1].sum(axis=1), total),
        "exact_of_signs": _share(np.trace(table[:, 1:, 1:], axis1=1, axis2=2), table[:, 1:].sum(axis=(1, 2))),
    }
    for least in (1, 2):
        found[f"false_{least}"] = _share(table[:, 0, least:].sum(axis=1), none)
        found[f"caught_{least}"] = _share(
            table[:, least:, least:].sum(axis=(1, 2)), table[:, least:].sum(axis=(1, 2))
        )
    return found


def _kappa(table: Floats, cost: Floats) -> Floats:
    rows, columns, total = table.sum(axis=2), table.sum(axis=1), table.sum(axis=(1, 2))
    expected = _share(np.einsum("ri,rj,ij->r", rows, columns, cost), total)
    return 1 - _share((table * cost).sum(axis=(1, 2)), expected)


def _share(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.full(len(below), np.nan), where=below > 0)


def grade_figures(weights: Floats, grades: Sequence[tuple[int, GradedSign]], sign: str) -> dict[str, Floats]:
    """All figures of one sign's grades, each given with its film's place, by name: (R,) each.

    ``withheld``: share of what was computed that is not published; ``not_graded``: share without even a computed grade.
    """
    films = weights.shape[1]
    figures: dict[str, Floats] = {}
    for answer in ANSWERS:
        tables = confusion_tables(grades, answer, films, SIGNS[sign])
        figures |= {f"{name}_{answer}": value for name, value in agreement(weights, tables).items()}
    computed = np.array([one.computed != UNKNOWN for _, one in grades], bool)
    published = np.array([one.published != UNKNOWN for _, one in grades], bool)
    film = np.array([film for film, _ in grades], np.int64)

    def counted(chosen: NDArray[np.bool_]) -> Floats:
        return weights @ np.bincount(film[chosen], minlength=films)

    figures["withheld"] = _share(counted(computed & ~published), counted(computed))
    figures["not_graded"] = _share(counted(~computed), counted(np.ones(len(film), bool)))
    return figures
