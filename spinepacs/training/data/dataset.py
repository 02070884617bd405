"""Labelled films: corner CSVs and the generator's YOLO-seg folders read into one form, groups split.

Every other form is read by :mod:`spinepacs.training.data.sources`.

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
from PIL import Image

from spinepacs.domain.anatomy import Level
from spinepacs.errors import Permanent

CLASS_NAMES: tuple[str, ...] = tuple(level.name for level in sorted(Level))
"""Names of the classes, in the order of their numbers: C1 = 0 … S1 = 24."""

AP_LABELLED = frozenset(range(int(Level.T1), int(Level.L5) + 1))
LATERAL_LABELLED = frozenset(range(int(Level.C3), int(Level.L5) + 1))
_SLACK = 0.01
"""Of shares beyond 0 … 1 in YOLO labels: what Ultralytics takes, too."""


class LabelsError(Permanent, ValueError):
    """A label file or film is missing or damaged: the message names the file and what to do about it."""


@dataclass(frozen=True)
class LabelledBody:
    """One vertebral body: class number 0 … 24 and its outline, float32 (n, 2) of x, y in native pixels."""

    class_id: int
    outline_px: NDArray[np.float32]


@dataclass(frozen=True)
class Film:
    """One labelled radiograph.

    ``group`` keeps films of one patient or source day together; ``unlabelled`` holds the classes that may be in
    view without a label; ``view`` is ``ap``, ``lateral`` or another word of the data set; ``source`` is the
    data set's name where several are merged.
    """

    path: Path
    width_px: int
    height_px: int
    group: str
    view: str
    bodies: tuple[LabelledBody, ...]
    unlabelled: frozenset[int] = field(default_factory=frozenset)
    source: str = ""

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
        films.append(Film(folder / name, *image_size_px(folder / name), name, "lateral", bodies, unlabelled))
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
        An image or a label line is damaged.
    """
    return [read_yolo_film(path) for path in finished_labels(folder)]


def read_yolo_film(label_path: Path) -> Film:
    """Read one film of a YOLO-seg data set; see :func:`read_yolo_seg`."""
    folder, stem = label_path.parent.parent, label_path.stem
    truth_path = folder / "truth" / f"{stem}.json"
    truth = json.loads(truth_path.read_text(encoding="utf-8")) if truth_path.is_file() else {}
    return _yolo_film(folder / "images" / f"{stem}.png", label_path, truth)


def _yolo_film(image_path: Path, label_path: Path, truth: dict[str, object]) -> Film:
    size_px = image_size_px(image_path)
    named = yolo_outlines(label_path, size_px, len(CLASS_NAMES))
    bodies = tuple(LabelledBody(class_id, outline) for class_id, outline in named)
    view = str(truth.get("view", "unknown")).lower()
    return Film(image_path, *size_px, str(truth.get("group", image_path.stem)), view, bodies)


def yolo_outlines(
    path: Path, size_px: tuple[int, int], n_classes: int
) -> list[tuple[int, NDArray[np.float32]]]:
    """Class number and outline (float32 (n, 2), native px) of each line of a YOLO-seg label file.

    Raises
    ------
    LabelsError
        A line cannot be trained on; the message gives file, line and remedy.
    """
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if line.strip():
            try:
                found.append(_yolo_line(line.split(), size_px, n_classes))
            except ValueError as error:
                raise LabelsError(
                    f"{path}:{number}: {error}; mend the line, or remove image and label"
                ) from error
    return found


def _yolo_line(
    words: Sequence[str], size_px: tuple[int, int], n_classes: int
) -> tuple[int, NDArray[np.float32]]:
    numbers = np.array(words, np.float64)  # a ValueError names the word that is no number
    class_id, shares = int(numbers[0]), numbers[1:]
    if class_id != numbers[0] or not 0 <= class_id < n_classes:
        raise ValueError(f"class {words[0]} is not one of the {n_classes} that the data set names")
    if len(shares) == 4:
        raise ValueError("a box, not an outline (export the data set for segmentation)")
    if len(shares) < 6 or len(shares) % 2:
        raise ValueError(f"{len(shares)} coordinates are not the x and y of three or more points")
    if not (np.isfinite(shares).all() and shares.min() >= -_SLACK and shares.max() <= 1 + _SLACK):
        raise ValueError("a coordinate lies outside 0 … 1")
    outline = shares.clip(0, 1).reshape(-1, 2) * size_px - 0.5
    if not np.ptp(outline, axis=0).min() > 0:
        raise ValueError("the outline has no area")
    return class_id, outline.astype(np.float32)


def image_size_px(path: Path) -> tuple[int, int]:
    """Width and height of an image as it is shown (EXIF turn applied), from its header, without decoding it."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            # Orientation 5 … 8 lie on their side; without the check, Pillow decodes a whole PNG to look for EXIF.
            turned = "exif" in image.info and image.getexif().get(0x0112, 1) >= 5
    except (OSError, SyntaxError, ImportError) as error:
        # ImportError: Ultralytics makes Pillow look for a plugin where a file is no image that it knows.
        raise LabelsError(
            f"{path}: missing, or no image that can be read; replace it, or remove image and label"
        ) from error
    return (height, width) if turned else (width, height)


def read_grey(path: Path, *, inverted: bool = False) -> NDArray[np.uint8]:
    """A film as (h, w) uint8.

    Raises
    ------
    FileNotFoundError
        The film is missing or is no image.
    """
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise FileNotFoundError(f"{path} is missing or is no image")
    return np.asarray(255 - image if inverted else image, np.uint8)


def _rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    if not path.is_file():
        raise LabelsError(f"{path} is missing; docs/training.md says what each kind of data set holds")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [column for column in columns if column not in (reader.fieldnames or ())]
        if missing:
            raise LabelsError(f"{path} lacks the columns {', '.join(missing)}")
        return list(reader)


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
