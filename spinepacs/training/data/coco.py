"""Read COCO JSON with outlines: polygons and run lengths, COCO's own layout and Roboflow's.

Roboflow's COCO-segmentation export keeps ``_annotations.coco.json`` beside the films of ``train``, ``valid`` and
``test``; COCO itself keeps ``annotations/instances_train2017.json`` with the films in ``train2017``.  Masks are
decoded by pycocotools.  Source of the form: https://cocodataset.org/#format-data
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from spinepacs.training.data.dataset import LabelsError, image_size_px
from spinepacs.training.data.raw import RawFilm, Source, part_of

_LEAST_LARGEST = 0.9
"""Share of an object's area that its largest piece must hold to stand for all."""
_ZOOM = 4
"""A mask is enlarged so before its contour is taken: contours run through the middle of border pixels."""
Outline = NDArray[np.float32]


def read_coco(source: Source) -> tuple[list[str], list[RawFilm], list[str]]:
    """Class names, films and problems of a COCO data set.

    Raises
    ------
    LabelsError
        There is no COCO JSON, or it is not what its name promises.
    """
    names: list[str] = []
    films: list[RawFilm] = []
    problems: list[str] = []
    for path in _json_files(source.path):
        content = _content(path)
        categories = {int(entry["id"]): str(entry["name"]) for entry in content["categories"]}
        objects = defaultdict(list)
        for annotation in content["annotations"]:
            objects[annotation.get("image_id")].append(annotation)
        for image in content["images"]:
            try:
                films.append(_film(path, source, image, objects.pop(image["id"], []), categories))
            except LabelsError as error:
                problems.append(str(error))
        problems += [f"{path}: image {key!r} has annotations but no entry; remove them" for key in objects]
        names += categories.values()
    return names, films, problems


def _json_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found = sorted(path.rglob("*.coco.json")) or sorted(path.glob("annotations/instances_*.json"))
    found = found or sorted(path.glob("*.json"))
    if not found:
        raise LabelsError(f"{path}: no COCO JSON there; give the JSON file itself as path")
    return found


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LabelsError(f"{path}: not valid JSON ({error}); export the data set again") from error
    missing = [key for key in ("images", "annotations", "categories") if key not in content]
    if missing:
        raise LabelsError(f"{path}: lacks {', '.join(missing)}; export it as COCO (segmentation)")
    return dict(content)


def _film(
    path: Path,
    source: Source,
    image: dict[str, Any],
    objects: list[dict[str, Any]],
    categories: dict[int, str],
) -> RawFilm:
    film = _find(path, source, str(image["file_name"]))
    size_px = image_size_px(film)
    said = (int(image["width"]), int(image["height"]))
    if said != size_px:
        raise LabelsError(
            f"{film}: {size_px[0]} × {size_px[1]} px, but {path} says {said[0]} × {said[1]}; export again"
        )
    outlines = []
    for entry in objects:
        where = f"{path}: annotation {entry.get('id')} of {film.name}"
        if entry.get("category_id") not in categories:
            raise LabelsError(f"{where}: category {entry.get('category_id')} is not listed; correct it")
        try:
            outlines.append(
                (categories[entry["category_id"]], outline_of(entry.get("segmentation"), size_px))
            )
        except ValueError as error:
            raise LabelsError(f"{where}: {error}; mend it, or remove it with its film") from error
    inside = path.relative_to(source.path) if source.path.is_dir() else Path(path.name)
    return RawFilm(film, size_px, tuple(outlines), part_of(inside))


def _find(path: Path, source: Source, name: str) -> Path:
    stem = path.stem.removeprefix("instances_")
    places = [path.parent, path.parent / "images", path.parent.parent / stem, path.parent.parent / "images"]
    places += [path.parent.parent / "images" / stem]
    for place in [source.images] if source.images else places:
        if (place / name).is_file():
            return place / name
    raise LabelsError(f'{path}: film {name} is missing; add it, or say images = "FOLDER" in data.toml')


def outline_of(segmentation: Any, size_px: tuple[int, int]) -> Outline:
    """Outline of one object, float32 (n, 2), native px with pixel centres at whole numbers.

    Parameters
    ----------
    segmentation : list of list of float, or dict
        COCO polygons (x, y …, the left edge of the image at 0), or run lengths, compressed or not.
    size_px : tuple of int
        Width and height of the film.

    Raises
    ------
    ValueError
        There is no outline, or it comes in pieces of similar size.
    """
    if not segmentation:
        raise ValueError("a box, not an outline (export the data set for segmentation)")
    pieces = (
        _from_mask(segmentation, size_px) if isinstance(segmentation, dict) else _from_polygons(segmentation)
    )
    areas = [cv2.contourArea(piece) for piece in pieces]
    if not pieces or max(areas) <= 0:
        raise ValueError("the outline has no area")
    if max(areas) < _LEAST_LARGEST * sum(areas):
        raise ValueError(f"the outline comes in {len(pieces)} pieces")
    return pieces[int(np.argmax(areas))]


def _from_polygons(polygons: list[list[float]]) -> list[Outline]:
    if any(len(polygon) < 6 or len(polygon) % 2 for polygon in polygons):
        raise ValueError("a polygon without x and y of three or more points")
    pieces = [np.array(polygon, np.float32).reshape(-1, 2) - np.float32(0.5) for polygon in polygons]
    if not all(np.isfinite(piece).all() for piece in pieces):
        raise ValueError("a coordinate is no number")
    return pieces


def _from_mask(run_lengths: dict[str, Any], size_px: tuple[int, int]) -> list[Outline]:
    from pycocotools import mask  # type: ignore[import-untyped]  # comes without stubs

    width, height = size_px
    if list(run_lengths.get("size", ())) != [height, width]:
        raise ValueError(
            f"a mask of {run_lengths.get('size')}, but the film has {height} rows and {width} columns"
        )
    if isinstance(run_lengths["counts"], list):
        run_lengths = mask.frPyObjects(run_lengths, height, width)
    left, top, columns, rows = (int(value) for value in mask.toBbox(run_lengths))
    region = mask.decode(run_lengths)[top : top + rows, left : left + columns]
    large = np.pad(np.kron(region, np.ones((_ZOOM, _ZOOM), np.uint8)), 1)
    contours, _ = cv2.findContours(large, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    corner = np.array([left, top], np.float32) - np.float32(0.5)
    return [((line[:, 0] - 0.5) / _ZOOM + corner).astype(np.float32) for line in contours]
