"""Pictures of an evaluation: curves, confusion, distribution, figures by level, and overlays of the worst films.

Needs matplotlib, which comes with the training extra. The colours are told apart by colour-blind readers too (Okabe and
Ito).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from spinepacs.training.data.dataset import Film, read_grey
from spinepacs.training.evaluation.figures import LEVEL_NAMES
from spinepacs.training.evaluation.truth import film_truth
from spinepacs.training.metrics.reading import FilmReading

_TRUTH, _FOUND = (86, 180, 233), (230, 159, 0)
"""Red, green, blue: labels sky blue, the product's outlines orange."""
_LONGEST_PX = 1400
"""Of an overlay's side; larger films are shrunk."""


def draw_figures(folder: Path, set_name: str, told: Mapping[str, Any]) -> None:
    """Write the four pictures of one set as PNG.

    Raises
    ------
    ImportError
        Without matplotlib.
    """
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    for kind, draw, size in (
        ("curves", _draw_curves, (11, 8)),
        ("confusion", _draw_confusion, (17, 8.5)),
        ("distribution", _draw_distribution, (9, 3.5)),
        ("levels", _draw_levels, (9, 8)),
    ):
        figure = Figure(figsize=size, layout="constrained")
        figure.suptitle(set_name)
        draw(figure, told)
        figure.savefig(folder / f"{kind}-{set_name}.png", dpi=110)


def _draw_curves(figure: Any, told: Mapping[str, Any]) -> None:
    """Precision, recall and F1 over the score, and precision over recall, at IoU 0.5."""
    places = figure.subplots(2, 2).ravel()
    kinds = (
        ("precision", "score", "precision"),
        ("recall", "score", "recall"),
        ("f1", "score", "F1"),
        ("precision_at_recall", "recall", "precision"),
    )
    for axes, (key, x_name, y_name) in zip(places, kinds, strict=True):
        for kind, ways in told["curves"].items():
            for way, curve in ways.items():
                label = f"{kind}, {'by level' if way == 'by_level' else 'one class'}"
                if key == "f1":
                    label += f": {curve['best_f1']:.3f} at {curve['best_f1_threshold']:.2f}"
                axes.plot(curve["thresholds"], curve[key], "--" if way == "by_level" else "-", label=label)
        axes.set(xlabel=x_name, ylabel=y_name, xlim=(0, 1), ylim=(0, 1.02))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)


def _draw_confusion(figure: Any, told: Mapping[str, Any]) -> None:
    confusion = told["confusion"]
    for axes, key, title in zip(
        figure.subplots(1, 2), ("raw", "chain"), ("raw", "after the chain"), strict=True
    ):
        table = np.array(confusion[key])
        axes.imshow(table / np.maximum(table.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
        for row, column in zip(*np.nonzero(table), strict=True):
            axes.text(column, row, str(table[row, column]), ha="center", va="center", fontsize=6)
        axes.set_xticks(range(len(table)), confusion["columns"], rotation=90, fontsize=7)
        axes.set_yticks(range(len(table)), confusion["rows"], fontsize=7)
        axes.set(title=title, xlabel="found", ylabel="labelled")


def _draw_distribution(figure: Any, told: Mapping[str, Any]) -> None:
    axes = figure.subplots()
    numbers = told["label_distribution"]
    axes.bar(range(len(numbers)), list(numbers.values()), color="tab:blue")
    axes.set_xticks(range(len(numbers)), list(numbers), rotation=90)
    axes.set(ylabel="labelled bodies")


def _draw_levels(figure: Any, told: Mapping[str, Any]) -> None:
    """Recall, levels and corner error by level, with their intervals."""
    levels = told["by_level"]
    for axes, key, title in zip(
        figure.subplots(3, 1, sharex=True),
        ("recall", "level_exact_chain", "corner_share_median"),
        ("recall", "level exact, after the chain", "corner error ÷ size, median"),
        strict=True,
    ):
        for place, part in enumerate(levels.values()):
            value, low, high = (part["figures"][key][name] for name in ("value", "low", "high"))
            if value is not None:
                axes.plot(place, value, "o", color="tab:blue")
            if low is not None:
                axes.vlines(place, low, high, color="tab:blue", alpha=0.5)
        axes.set_xticks(range(len(levels)), list(levels), rotation=90)
        axes.set(ylabel=title, ylim=(0, None))
        axes.grid(alpha=0.3)


def draw_overlay(film: Film, reading: FilmReading, *, inverted: bool = False) -> NDArray[np.uint8]:
    """The film with labels (blue) and the product's outlines (orange), levels beside them: (h, w, 3) uint8, RGB."""
    image = read_grey(film.path, inverted=inverted)
    scale = min(1.0, _LONGEST_PX / max(image.shape))
    shrunk = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    canvas = cv2.cvtColor(shrunk, cv2.COLOR_GRAY2RGB)
    for body in film.bodies:
        _draw_body(canvas, (body.outline_px + 0.5) * scale, LEVEL_NAMES[body.class_id], _TRUTH, at_left=True)
    plate = film_truth(film).sacral_plate_px
    if plate is not None:
        _draw_body(canvas, plate * scale, "S1", _TRUTH, at_left=True)
    for found in reading.found:
        name = LEVEL_NAMES[found.published_level] if found.published_level >= 0 else "dropped"
        _draw_body(canvas, found.outline_px * scale, name, _FOUND, at_left=False)
    return np.asarray(canvas, np.uint8)


def _draw_body(
    canvas: NDArray[np.uint8],
    outline: NDArray[Any],
    name: str,
    colour: tuple[int, int, int],
    *,
    at_left: bool,
) -> None:
    points = np.round(outline * 16).astype(np.int32)
    cv2.polylines(canvas, [points], isClosed=True, color=colour, thickness=1, lineType=cv2.LINE_AA, shift=4)
    size = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 0.4, 1)[0]
    x = outline[:, 0].min() - size[0] - 4 if at_left else outline[:, 0].max() + 4
    place = (int(x), int(outline[:, 1].mean() + size[1] / 2))
    cv2.putText(canvas, name, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1, cv2.LINE_AA)


def write_overlays(
    folder: Path, worst: Sequence[tuple[Film, FilmReading]], *, inverted: bool = False
) -> None:
    """Write overlays of films, numbered in the given order, the worst first."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (film, reading) in enumerate(worst, 1):
        picture = draw_overlay(film, reading, inverted=inverted)
        cv2.imwrite(str(folder / f"{number:02}-{film.path.stem}.png"), picture[:, :, ::-1])
