"""Figures of the product's readings, counted by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spinepacs.training.evaluation.figures import confusion
from spinepacs.training.metrics.bootstrap import resample_weights
from spinepacs.training.metrics.reading import (
    NOWHERE,
    BodyReading,
    BodyTable,
    FilmReading,
    FoundBody,
    PlateReading,
    body_figures,
    reading_figures,
)

L4, L5, S1 = 22, 23, 24
SQUARE = np.array([[0.0, 0], [1, 0], [1, 1]])


def _body(
    level: int, raw: int, published: int, corner_px: float = np.nan, iou: float = 0.8, *, sure: bool = True
) -> BodyReading:
    found = raw != NOWHERE
    return BodyReading(
        level,
        0.9 if found else 0.0,
        iou if found else 0.0,
        raw,
        published,
        np.full(4, corner_px),
        size_px=20.0,
        endplates_mm=np.array([corner_px / 10, np.nan]),
        disc_mm=-corner_px,
        level_sure=sure and published != NOWHERE,
    )


def _film(
    *bodies: BodyReading, plate: PlateReading | None = None, false: tuple[FoundBody, ...] = ()
) -> FilmReading:
    return FilmReading("film", "group", "lateral", "lateral", bodies, false, plate, (), 0.5)


READINGS = [
    # Wholly right; S1's plate is found and named.
    _film(_body(L4, L4, L4, 1.0), _body(L5, L5, L5, 2.0), plate=PlateReading(0.1, S1, True)),
    # Found, one raw level wrong and mended; the other dropped by the chain; the plate is named L5.
    _film(_body(L4, L5, L4, 4.0), _body(L5, L5, NOWHERE), plate=PlateReading(0.2, L5, True)),
    # One missed, one level off after the chain too; a false L4 published; the plate is too far off.
    _film(
        _body(L4, NOWHERE, NOWHERE),
        _body(L5, L4, L4, 9.0, iou=0.6),
        plate=PlateReading(0.7, S1, False),
        false=(FoundBody(L4, L4, 0.4, SQUARE, True), FoundBody(S1, NOWHERE, 0.4, SQUARE, False)),
    ),
]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("recall", 5 / 6),
        ("precision", 5 / 6),
        ("false_per_film", 1 / 3),
        ("films_with_all_bodies", 2 / 3),
        ("films_with_levels_right", 1 / 3),
        ("films_wholly_right", 1 / 3),
        ("films_with_view_right", 1),
        ("level_exact_raw", 3 / 5),
        ("level_within_one_raw", 1),
        ("level_exact_chain", 3 / 5),
        ("level_within_one_chain", 4 / 5),
        ("dice_mean", (4 * 1.6 / 1.8 + 1.2 / 1.6) / 5),
        ("mask_iou_mean", (4 * 0.8 + 0.6) / 5),
        ("corner_px_median", 3),
        ("corner_px_mean", 4),
        ("corner_share_median", 3 / 20),
        ("endplate_mm_median", 0.3),
        ("disc_height_mm_median", 3),
        ("s1_plate_found", 2 / 3),
        ("s1_plate_found_as_s1", 1 / 3),
        ("s1_plate_error_median", 0.15),
    ],
)
def test_figures_by_hand(name: str, value: float) -> None:
    figures = reading_figures(READINGS, resample_weights(["a", "b", "c"], 10))
    assert figures[name].shape == (11,)
    assert figures[name][0] == pytest.approx(value)


@pytest.mark.parametrize(("said", "of_wrong", "of_right"), [((0,), 0, 1), ((1,), 0.5, 0), ((1, 2), 1, 0)])
def test_doubt_is_counted_among_wrong_and_right_films(
    said: tuple[int, ...], of_wrong: float, of_right: float
) -> None:
    doubting = [
        replace(one, notes=("LEVEL_AMBIGUOUS",) if place in said else ())
        for place, one in enumerate(READINGS)
    ]
    figures = reading_figures(doubting, np.ones((1, 3)))
    assert figures["wrong_films_doubted"][0] == of_wrong
    assert figures["right_films_doubted"][0] == of_right


def test_levels_that_are_doubted_are_not_judged_as_certain() -> None:
    unsure = _film(_body(L4, L4, L4), _body(L5, L4, L4, sure=False))
    assert reading_figures([unsure], np.ones((1, 1)))["level_exact_sure"][0] == 1
    assert reading_figures(READINGS, np.ones((1, 3)))["level_exact_sure"][0] == pytest.approx(3 / 4)


def test_figures_of_one_level_leave_the_others_out() -> None:
    figures = body_figures(BodyTable(READINGS, range(L5, L5 + 1)), np.ones((1, 3)))
    assert figures["recall"][0] == 1
    assert figures["level_exact_chain"][0] == pytest.approx(1 / 3)


def test_confusion_counts_missed_dropped_and_false() -> None:
    tables = confusion(READINGS)
    raw, chain = np.array(tables["raw"]), np.array(tables["chain"])
    assert tables["columns"][25] == "missed"
    assert tables["rows"][25] == "false"
    assert (raw[L4, L4], raw[L4, L5], raw[L4, 25], raw[L5, L4], raw[L5, L5]) == (1, 1, 1, 1, 2)
    assert (chain[L4, L4], chain[L5, L5], chain[L5, 25], chain[L5, L4]) == (2, 1, 1, 1)
    assert raw[25].sum() == chain[25].sum() == 1
    assert raw.sum() == chain.sum() == 7


def test_nothing_found_is_no_accuracy() -> None:
    figures = reading_figures([_film(_body(L4, NOWHERE, NOWHERE))], np.ones((1, 1)))
    assert figures["recall"][0] == 0
    assert np.isnan(figures["level_exact_chain"][0])
    assert np.isnan(figures["corner_px_median"][0])
    assert np.isnan(figures["s1_plate_found"][0])
