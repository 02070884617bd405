"""Pictures of measures and graded signs: Bland–Altman, errors by level, confusion of grades.

Needs matplotlib, which comes with the training extra.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinepacs.domain.signs import GRADE_NAMES, Sign
from spinepacs.training.metrics.cobb import ANGLES
from spinepacs.training.metrics.grades import ANSWERS, BELOW_USUAL, CONCLUSION
from spinepacs.training.metrics.reading import FilmReading

Told = Mapping[str, Any]
_COMPARED = {
    "disc_height_patient": "disc height (mm), lateral",
    "disc_height_of_depth": "disc height ÷ depth, lateral",
    "cobb_main": "Cobb angle of the largest curve (°)",
    ANGLES[0]: "Cobb angle, AASCE, main (°)",
}
"""What is drawn as Bland–Altman plots, in this order; of two that are the same the first."""
_PICTURES = {
    "stages": ("disc_height_loss", BELOW_USUAL),
    "meyerding": ("spondylolisthesis",),
    "signs": ("osteophytes", "subchondral_sclerosis", "vertebral_deformity", CONCLUSION),
}
_TITLES = {
    "disc_height_loss": "stage of disc height, drawn narrowing",
    BELOW_USUAL: "stage of disc height, below the usual",
    "spondylolisthesis": "Meyerding",
    "osteophytes": "osteophytes",
    "subchondral_sclerosis": "sclerosis",
    "vertebral_deformity": "Genant",
    CONCLUSION: "degree of a region",
}
_ANSWER_WORDS = {"computed": "computed", "published": "published", "marks": "rules on true marks"}
_BY_LEVEL = (("mean_error", "mean error"), ("bias", "bias"))
_COLOURS = ("#0072B2", "#D55E00", "#009E73")
"""Blue, vermilion, green: told apart by colour-blind readers too (Okabe and Ito)."""


def draw_agreement(folder: Path, set_name: str, told: Told, readings: Sequence[FilmReading]) -> None:
    """Write the pictures that a set's measures and signs allow, as PNG.

    Raises
    ------
    ImportError
        Without matplotlib.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values, grades = told.get("values", {}), told.get("grades", {})
    shown = [name for name in _COMPARED if name in values]
    if ANGLES[0] in shown and "cobb_main" in shown:
        shown.remove(ANGLES[0])
    if shown:
        figure = _figure(6 * len(shown), 4.5, set_name)
        for axes, name in zip(np.ravel(figure.subplots(1, len(shown))), shown, strict=True):
            _bland_altman(axes, name, values[name], _pairs(readings, name))
        figure.savefig(folder / f"bland-altman-{set_name}.png", dpi=110)
    heights = [name for name in ("disc_height_patient", "disc_height_of_depth") if name in values]
    if heights:
        figure = _figure(9, 7, set_name)
        _errors_by_level(figure, values[heights[0]], _COMPARED[heights[0]], grades)
        figure.savefig(folder / f"errors-{set_name}.png", dpi=110)
    for picture, signs in _PICTURES.items():
        there = [sign for sign in signs if sign in grades]
        if there:
            figure = _figure(11, 0.6 + 3.6 * len(there), set_name)
            _confusions(figure, grades, there)
            figure.savefig(folder / f"{picture}-{set_name}.png", dpi=110)


def _figure(width: float, height: float, title: str) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title)
    return figure


def _pairs(readings: Sequence[FilmReading], quantity: str) -> NDArray[np.float64]:
    """(n, 2) true and found values."""
    each = [
        (one.true, one.found) for reading in readings for one in reading.values if one.quantity == quantity
    ]
    return np.array(each, np.float64).reshape(-1, 2)


def _bland_altman(axes: Any, name: str, told: Told, pairs: NDArray[np.float64]) -> None:
    """Difference over mean of each pair, with bias and limits of agreement and their intervals."""
    axes.plot(pairs.mean(axis=1), pairs[:, 1] - pairs[:, 0], ".", ms=4, alpha=0.35, color=_COLOURS[0])
    for key, style in (("bias", "-"), ("limit_low", "--"), ("limit_high", "--")):
        line = told["figures"][key]
        axes.axhline(line["value"], ls=style, color=_COLOURS[1])
        if line["low"] is not None:
            axes.axhspan(line["low"], line["high"], color=_COLOURS[1], alpha=0.15)
        place = (0.995, line["value"])
        axes.annotate(
            f"{line['value']:+.3g}", place, xycoords=("axes fraction", "data"), ha="right", va="bottom"
        )
    axes.axhline(0, color="grey", lw=0.8)
    axes.set(title=f"{_COMPARED[name]}, n = {len(pairs)}", xlabel="mean of both", ylabel="found − true")
    axes.grid(alpha=0.3)


def _errors_by_level(figure: Any, heights: Told, title: str, grades: Told) -> None:
    """Mean error and bias of disc heights by level, and below how well their stages agree."""
    stages = grades.get("disc_height_loss", {}).get("by_level", {})
    places = list(heights["by_level"])
    rows = figure.subplots(2 if stages else 1, 1, sharex=True, squeeze=False)[:, 0]
    for (key, words), colour, shift in zip(_BY_LEVEL, _COLOURS, (-0.1, 0.1), strict=False):
        _points(
            rows[0], [heights["by_level"][place]["figures"][key] for place in places], words, colour, shift
        )
    rows[0].axhline(0, color="grey", lw=0.8)
    rows[0].set(ylabel=title)
    if stages:
        for answer, colour, shift in zip(ANSWERS, _COLOURS, (-0.2, 0.0, 0.2), strict=True):
            told = [stages.get(place, {}).get("figures", {}).get(f"kappa_{answer}") for place in places]
            _points(rows[1], told, _ANSWER_WORDS[answer], colour, shift)
        rows[1].set(ylabel="kappa of stages", ylim=(-0.2, 1.02))
    for axes in rows:
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    rows[-1].set_xticks(range(len(places)), places, rotation=90)


def _points(axes: Any, told: Sequence[Told | None], label: str, colour: str, shift: float) -> None:
    known = [(place + shift, one) for place, one in enumerate(told) if one and one["value"] is not None]
    axes.plot([x for x, _ in known], [one["value"] for _, one in known], "o", ms=4, color=colour, label=label)
    spread = [(x, one) for x, one in known if one["low"] is not None]
    axes.vlines(
        [x for x, _ in spread], [one["low"] for _, one in spread], [one["high"] for _, one in spread],
        color=colour, alpha=0.5,
    )  # fmt: skip


def _confusions(figure: Any, grades: Told, signs: Sequence[str]) -> None:
    """One row for each sign, one column for each answer; shares of the drawn grade as shade, numbers as text."""
    table = figure.subplots(len(signs), len(ANSWERS), squeeze=False)
    for row, sign in zip(table, signs, strict=True):
        for axes, answer in zip(row, ANSWERS, strict=True):
            _confusion(axes, np.array(grades[sign]["confusion"][answer]))
            kappa = grades[sign]["figures"][f"kappa_{answer}"]["value"]
            words = "" if kappa is None else f", kappa {kappa:.2f}"
            axes.set(title=f"{_ANSWER_WORDS[answer]}{words}", xlabel="found")
        row[0].set(ylabel=f"{_TITLES[sign]}\ndrawn")
        names = _names(sign)
        for axes in row:
            axes.set_xticks(range(len(names)), names)
            axes.set_yticks(range(len(names)), names)


def _names(sign: str) -> list[str]:
    if sign == Sign.SPONDYLOLISTHESIS:
        return [name.split()[0] for name in GRADE_NAMES[Sign.SPONDYLOLISTHESIS]]
    known = {CONCLUSION: Sign.DISC_DEGENERATION, BELOW_USUAL: Sign.DISC_HEIGHT_LOSS}
    return [str(grade) for grade in range(len(GRADE_NAMES[Sign(known.get(sign, sign))]))]


def _confusion(axes: Any, table: NDArray[np.int64]) -> None:
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in zip(*np.nonzero(table), strict=True):
        colour = "white" if shares[row, column] > 0.6 else "black"
        axes.text(column, row, str(table[row, column]), ha="center", va="center", color=colour, fontsize=9)
