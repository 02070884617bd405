"""Labelled films: corner CSVs and YOLO-seg folders read into one form, doubtful labels dropped, groups split.

A film's vertebrae are polygons in native pixels, pixel centres at whole numbers.  A film also says which classes
its labels do *not* cover although the anatomy may be in view: these are neither foreground nor background.
"""

from __future__ import annotations

import csv
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from spinepacs.anatomy import Level

CLASS_NAMES: tuple[str, ...] = tuple(level.name for level in sorted(Level))
"""Names of the classes, in the order of their numbers: C1 = 0 … S1 = 24."""

AP_LABELLED = frozenset(range(int(Level.T1), int(Level.L5) + 1))
LATERAL_LABELLED = frozenset(range(int(Level.C3), int(Level.L5) + 1))
_MAX_HEIGHT_RATIO = 1.6
_MAX_OVERLAP = 0.15


class LabelsError(ValueError):
    """A label file is missing or cannot be read as what its name promises."""


@dataclass(frozen=True)
class LabelledBody:
    """One vertebral body: class number 0 … 24 and its outline, float32 (n, 2) of x, y in native pixels."""

    class_id: int
    outline_px: NDArray[np.float32]


@dataclass(frozen=True)
class Film:
    """One labelled radiograph.

    ``group`` keeps films of one patient or source day together; ``unlabelled`` holds the classes that may be in
    view without a label; ``view`` is ``ap``, ``lateral`` or another word of the data set.
    """

    path: Path
    width_px: int
    height_px: int
    group: str
    view: str
    bodies: tuple[LabelledBody, ...]
    unlabelled: frozenset[int] = field(default_factory=frozenset)

    @property
    def name(self) -> str:
        """File name, which identifies the film within its data set."""
        return self.path.name


def read_ap_corners(folder: Path) -> list[Film]:
    """Read AP films with ``corners.csv`` (film, level, four corners) and ``films.csv`` (film, group, width, height).

    Parameters
    ----------
    folder : Path
        Holds both tables and the films.

    Returns
    -------
    list of Film
        In the order of ``films.csv``; C1 … C7 and S1 count as unlabelled.

    Raises
    ------
    LabelsError
        A table is missing or lacks a column.
    """
    bodies: dict[str, list[LabelledBody]] = defaultdict(list)
    for row in _rows(folder / "corners.csv", ("film", "level", "tl_x")):
        quad = [[float(row[f"{corner}_x"]), float(row[f"{corner}_y"])] for corner in ("tl", "tr", "br", "bl")]
        bodies[row["film"]].append(LabelledBody(int(Level[row["level"]]), np.array(quad, np.float32)))
    unlabelled = frozenset(range(len(CLASS_NAMES))) - AP_LABELLED
    films = []
    for row in _rows(folder / "films.csv", ("film", "group", "width", "height")):
        size_px, name = (int(row["width"]), int(row["height"])), row["film"]
        films.append(Film(folder / name, *size_px, row["group"], "ap", tuple(bodies[name]), unlabelled))
    return films


def read_lateral_corners(folder: Path) -> list[Film]:
    """Read lateral films with ``corners.csv`` of film, corner (``C3TB``: level, top/bottom, back/front), x, y.

    Only levels with all four corners become bodies; C1, C2 and S1 count as unlabelled.

    Raises
    ------
    LabelsError
        The table is missing or lacks a column.
    """
    points: dict[str, dict[str, list[float]]] = defaultdict(dict)
    for row in _rows(folder / "corners.csv", ("film", "corner", "x", "y")):
        points[row["film"]][row["corner"]] = [float(row["x"]), float(row["y"])]
    unlabelled = frozenset(range(len(CLASS_NAMES))) - LATERAL_LABELLED
    films = []
    for name, corners in points.items():
        quads = {
            level: [corners.get(level.name + end) for end in ("TB", "TF", "BF", "BB")] for level in Level
        }
        bodies = tuple(
            LabelledBody(int(level), np.array(quad, np.float32))
            for level, quad in quads.items()
            if None not in quad
        )
        films.append(Film(folder / name, *_size_px(folder / name), name, "lateral", bodies, unlabelled))
    return films


def finished_labels(folder: Path) -> list[Path]:
    """Label files of a YOLO-seg data set whose films are complete, sorted by name.

    The film generator writes ``truth/NAME.json`` last, so a film without it is still being written; in a data set
    without a ``truth`` folder every film counts.
    """
    labels = sorted((folder / "labels").glob("*.txt"))
    truth = folder / "truth"
    if not truth.is_dir():
        return labels
    return [path for path in labels if (truth / f"{path.stem}.json").is_file()]


def read_yolo_seg(folder: Path) -> list[Film]:
    """Read ``images/NAME.png`` with ``labels/NAME.txt`` (class and polygon in shares of width and height).

    Parameters
    ----------
    folder : Path
        A YOLO-seg data set, one level deep, as the film generator writes it.

    Returns
    -------
    list of Film
        Sorted by name; each film is its own group unless its truth names a ``group``.

    Raises
    ------
    LabelsError
        An image is not a PNG.
    """
    return [read_yolo_film(path) for path in finished_labels(folder)]


def read_yolo_film(label_path: Path) -> Film:
    """Read one film of a YOLO-seg data set; see :func:`read_yolo_seg`."""
    folder, stem = label_path.parent.parent, label_path.stem
    truth_path = folder / "truth" / f"{stem}.json"
    truth = json.loads(truth_path.read_text(encoding="utf-8")) if truth_path.is_file() else {}
    return _yolo_film(folder / "images" / f"{stem}.png", label_path, truth)


def _yolo_film(image_path: Path, label_path: Path, truth: dict[str, object]) -> Film:
    width, height = png_size_px(image_path)
    bodies = []
    for line in label_path.read_text().splitlines():
        words = line.split()
        if len(words) >= 7:
            shares = np.array(words[1:], np.float32).reshape(-1, 2)
            outline = shares * np.array([width, height], np.float32) - 0.5
            bodies.append(LabelledBody(int(words[0]), outline.astype(np.float32)))
    view = str(truth.get("view", "unknown")).lower()
    return Film(image_path, width, height, str(truth.get("group", image_path.stem)), view, tuple(bodies))


def _size_px(path: Path) -> tuple[int, int]:
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise LabelsError(f"{path} is missing or is no image")
    return image.shape[1], image.shape[0]


def png_size_px(path: Path) -> tuple[int, int]:
    """Width and height of a PNG from its header, without decoding it."""
    with path.open("rb") as file:
        head = file.read(24)
    if head[:8] != b"\x89PNG\r\n\x1a\n":
        raise LabelsError(f"{path} is not a PNG")
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


def _rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    if not path.is_file():
        raise LabelsError(f"{path} is missing")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [column for column in columns if column not in (reader.fieldnames or ())]
        if missing:
            raise LabelsError(f"{path} lacks the columns {', '.join(missing)}")
        return list(reader)


def suspicion(film: Film) -> str | None:
    """Say why the labels of a film should not be trained on, or None.

    Found are: no label, a level given twice, a crossed quad, bodies that overlap, levels out of order along the
    spine, and a body much taller than both neighbours (a quad that includes a disc).
    """
    bodies = sorted(film.bodies, key=lambda body: body.class_id)
    names = [CLASS_NAMES[body.class_id] for body in bodies]
    if not bodies:
        return "no labels"
    if len(set(names)) < len(names):
        return "a level is given twice"
    for body, name in zip(bodies, names, strict=True):
        if len(body.outline_px) == 4 and not _is_convex(body.outline_px):
            return f"{name} is crossed or not convex"
    for upper, lower, name in zip(bodies, bodies[1:], names, strict=False):
        if lower.outline_px[:, 1].mean() <= upper.outline_px[:, 1].mean():
            return f"what follows {name} lies above it"
        if _overlap(upper.outline_px, lower.outline_px) > _MAX_OVERLAP:
            return f"{name} overlaps the next"
    return _odd_height(bodies, names)


def _is_convex(outline: NDArray[np.float32]) -> bool:
    edges = np.roll(outline, -1, axis=0) - outline
    following = np.roll(edges, -1, axis=0)
    turns = edges[:, 0] * following[:, 1] - edges[:, 1] * following[:, 0]
    return bool(np.all(turns > 0) or np.all(turns < 0))


def _overlap(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    shared, _ = cv2.intersectConvexConvex(cv2.convexHull(first), cv2.convexHull(second))
    return float(shared) / max(1.0, min(cv2.contourArea(first), cv2.contourArea(second)))


def _odd_height(bodies: Sequence[LabelledBody], names: Sequence[str]) -> str | None:
    heights = [_height_px(body.outline_px) for body in bodies]
    for index in range(len(heights)):
        beside = heights[max(0, index - 2) : index] + heights[index + 1 : index + 3]
        if beside and heights[index] > _MAX_HEIGHT_RATIO * float(np.median(beside)):
            return f"{names[index]} is much taller than its neighbours"
    return None


def _height_px(outline: NDArray[np.float32]) -> float:
    if len(outline) != 4:
        return float(np.ptp(outline[:, 1]))
    left, right = outline[3] - outline[0], outline[2] - outline[1]
    return float((np.hypot(*left) + np.hypot(*right)) / 2)


def split_by_group(films: Iterable[Film], share: float, seed: int) -> tuple[list[Film], list[Film]]:
    """Split films into training and validation, never a group into both.

    Groups are drawn in a random order of ``seed`` and go to validation while they fit into ``share`` of all films.

    Returns
    -------
    tuple of two lists of Film
        Training films, validation films, both in the given order.
    """
    everything = list(films)
    sizes: dict[str, int] = defaultdict(int)
    for film in everything:
        sizes[film.group] += 1
    groups = sorted(sizes)
    random.Random(seed).shuffle(groups)  # noqa: S311  (not a secret, but a split that can be repeated)
    room = round(share * len(everything))
    held_back: set[str] = set()
    for group in groups:
        if sizes[group] <= room:
            held_back.add(group)
            room -= sizes[group]
    training = [film for film in everything if film.group not in held_back]
    return training, [film for film in everything if film.group in held_back]


def write_split(path: Path, training: Iterable[Film], validation: Iterable[Film]) -> None:
    """Write which film went where as CSV of film, group and part."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("film", "group", "part"))
        for part, films in (("train", training), ("validation", validation)):
            writer.writerows((film.name, film.group, part) for film in films)
