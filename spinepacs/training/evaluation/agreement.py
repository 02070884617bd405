"""Figures of measures and graded signs of a set of films, ready for JSON: in all, by region and by level."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from spinepacs.training.metrics.bootstrap import figure
from spinepacs.training.metrics.cobb import ANGLES
from spinepacs.training.metrics.grades import ANSWERS, SIGNS, GradedSign, confusion_tables, grade_figures
from spinepacs.training.metrics.reading import FilmReading
from spinepacs.training.metrics.values import ComparedValue, smape, value_figures

Floats = NDArray[np.float64]
One = TypeVar("One", ComparedValue, GradedSign)
Told = dict[str, Any]


def agreement_figures(readings: Sequence[FilmReading], weights: Floats) -> Told:
    """``values`` by quantity, ``grades`` by sign and ``cobb``, as far as the films have any; see docs/evaluation.md.

    Parameters
    ----------
    weights
        (R, F), see :func:`spinepacs.training.metrics.bootstrap.resample_weights`.
    """
    values = [(film, one) for film, reading in enumerate(readings) for one in reading.values]
    grades = [(film, one) for film, reading in enumerate(readings) for one in reading.grades]
    told = {
        "values": {
            name: _value(part, weights) for name, part in _parts(values, lambda one: one.quantity).items()
        },
        "grades": {
            name: _grade(part, weights) for name, part in _parts(grades, lambda one: one.sign).items()
        },
        "cobb": _cobb([(film, one) for film, one in values if one.quantity in ANGLES], weights),
    }
    return {name: part for name, part in told.items() if part}


def _parts(rows: Iterable[tuple[int, One]], key: Callable[[One], str]) -> dict[str, list[tuple[int, One]]]:
    parts: dict[str, list[tuple[int, One]]] = {}
    for film, one in rows:
        parts.setdefault(key(one), []).append((film, one))
    return parts


def _value(values: Sequence[tuple[int, ComparedValue]], weights: Floats) -> Told:
    def counted(part: Sequence[tuple[int, ComparedValue]]) -> Told:
        return {"count": len(part), "figures": _figures(value_figures(weights, part))}

    told = {"unit": values[0][1].unit, **counted(values)}
    places = [row for row in values if "-" not in row[1].place]  # discs and bodies, no spans
    by_place = _parts(sorted(places, key=lambda row: row[1].level), lambda one: one.place)
    return told | ({"by_level": {name: counted(part) for name, part in by_place.items()}} if places else {})


def _grade(grades: Sequence[tuple[int, GradedSign]], weights: Floats) -> Told:
    sign = grades[0][1].sign

    def counted(part: Sequence[tuple[int, GradedSign]]) -> Told:
        return {
            "count": len(part),
            "drawn": np.bincount([one.drawn for _, one in part], minlength=SIGNS[sign]).tolist(),
            "figures": _figures(grade_figures(weights, part, sign)),
        }

    by_level = sorted(grades, key=lambda row: row[1].level)
    films = weights.shape[1]
    return {
        **counted(grades),
        "by_region": {name: counted(part) for name, part in _parts(by_level, lambda one: one.region).items()},
        "by_level": {name: counted(part) for name, part in _parts(by_level, lambda one: one.place).items()},
        "confusion": {
            answer: confusion_tables(grades, answer, films, SIGNS[sign]).sum(axis=0).astype(int).tolist()
            for answer in ANSWERS
        },
        "reasons": dict(Counter(one.reason for _, one in grades if one.reason)),
    }


def _cobb(values: Sequence[tuple[int, ComparedValue]], weights: Floats) -> Told:
    """AASCE's figure and the same of the main angle alone, and the mean error of the three angles together."""
    if not values:
        return {}
    main = [row for row in values if row[1].quantity == ANGLES[0]]
    figures = {
        "smape_percent": smape(weights, values),
        "smape_main_percent": smape(weights, main),
        **value_figures(weights, values),
    }
    return {"films": len({film for film, _ in values}), "figures": _figures(figures)}


def _figures(values: Mapping[str, Floats]) -> Told:
    return {name: figure(value) for name, value in values.items()}
