"""Read one data set of a merged set: YOLO-seg folders of any layout, COCO JSON, our corner tables.

A YOLO-seg data set is a folder with ``data.yaml`` (or ``data.json``) and films below any ``images`` folder, each with
its label at the same place below ``labels``.  That covers Ultralytics' own layout (``images/train``,
``labels/train``), Roboflow's YOLOv8 and YOLO11 exports (``train/images``, ``train/labels``) and the flat one of the
film generator.  The part of the data set's own split is read from the folder names.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spinepacs.training.data.classmap import ClassMap
from spinepacs.training.data.coco import read_coco
from spinepacs.training.data.dataset import (
    Film,
    LabelledBody,
    LabelsError,
    image_size_px,
    read_ap_corners,
    read_lateral_corners,
    yolo_outlines,
)
from spinepacs.training.data.raw import RawFilm, Source, gather, part_of

IMAGE_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"))
ROBOFLOW_GROUP = r"^(.+?)(?:_(?:png|jpe?g|bmp|tiff?|webp))?\.rf\.[0-9A-Za-z]+$"
"""Roboflow's exports name the augmented copies of FILM.jpg FILM_jpg.rf.HASH.jpg: they must stay together."""
_MOST_PROBLEMS = 20


@dataclass
class Reading:
    """What came out of one source: films with the part of the data set's own split, and what was left out and why."""

    films: list[tuple[Film, str]]
    left_out: list[str]


def read_source(source: Source, class_map: ClassMap) -> Reading:
    """Read a source into films.

    Raises
    ------
    LabelsError
        Anything is missing, damaged or of an unknown class; every finding has its line in the message.
    """
    if source.kind in ("ap-corners", "lateral-corners"):
        read = read_ap_corners if source.kind == "ap-corners" else read_lateral_corners
        return Reading([(_renamed(film, source), "") for film in read(source.path)], [])
    names, raw, problems = read_yolo(source.path) if source.kind == "yolo-seg" else read_coco(source)
    unknown = _unknown_classes(raw, class_map)
    if unknown or (problems and not source.skip_damaged):
        raise LabelsError(_report(source, unknown + problems))
    unlabelled = class_map.unlabelled(names)
    films = [_film(film, source, class_map, unlabelled) for film in raw]
    return Reading(list(zip(films, [film.part for film in raw], strict=True)), problems)


def _report(source: Source, problems: Sequence[str]) -> str:
    more = len(problems) - _MOST_PROBLEMS
    tail = [f"… and {more} more"] if more > 0 else []
    head = f"source {source.name}: {len(problems)} problems (skip_damaged = true leaves damaged films out)"
    return "\n".join([head, *problems[:_MOST_PROBLEMS], *tail])


def _unknown_classes(raw: Iterable[RawFilm], class_map: ClassMap) -> list[str]:
    counts: Counter[str] = Counter()
    first: dict[str, Path] = {}
    for film in raw:
        for name, _ in film.outlines:
            if not class_map.knows(name):
                counts[name] += 1
                first.setdefault(name, film.path)
    return [class_map.missing(name, first[name], count) for name, count in counts.items()]


def _film(raw: RawFilm, source: Source, class_map: ClassMap, unlabelled: frozenset[int]) -> Film:
    levels = [(class_map.level(name), outline) for name, outline in raw.outlines]
    bodies = tuple(LabelledBody(level, outline) for level, outline in levels if level is not None)
    group = raw.group or _group(raw.path.stem, source.group)
    return Film(raw.path, *raw.size_px, group, raw.view or source.view, bodies, unlabelled, source.name)


def _renamed(film: Film, source: Source) -> Film:
    group = _group(film.path.stem, source.group) if source.group else film.group
    return replace(film, source=source.name, group=group)


def _group(stem: str, pattern: str | None) -> str:
    match = re.search(pattern or ROBOFLOW_GROUP, stem)
    return str(match.group(1) if match.re.groups else match.group()) if match else stem


def read_yolo(folder: Path) -> tuple[list[str], list[RawFilm], list[str]]:
    """Class names, films and problems of a YOLO-seg data set of any layout; see the module.

    A film without a label file has no vertebra, as Ultralytics has it; a label without film is a problem.
    """
    names = _yolo_names(folder)
    films = sorted(path for path in folder.rglob("*") if _is_film(path.relative_to(folder)))
    if not films:
        raise LabelsError(
            f"{folder}: no film below an 'images' folder; YOLO-seg keeps images/ beside labels/"
        )
    raw, problems = gather(films, lambda path: _read_yolo_film(path, folder, names))
    labels = {path for path in folder.rglob("*.txt") if "labels" in path.relative_to(folder).parts[:-1]}
    orphans = labels - {_beside(path, "labels", ".txt") for path in films}
    lone = [f"{path}: no image of that name; remove the label, or add the image" for path in sorted(orphans)]
    return list(names), raw, problems + [line for line in lone if not line.endswith("classes.txt")]


def _is_film(inside: Path) -> bool:
    return inside.suffix.lower() in IMAGE_SUFFIXES and "images" in inside.parts[:-1]


def _beside(image: Path, folder: str, suffix: str) -> Path:
    """Path with its last ``images`` folder replaced, as Ultralytics finds a label."""
    parts = list(image.parts)
    last = len(parts) - 1 - parts[::-1].index("images")
    parts[last] = folder
    return Path(*parts).with_suffix(suffix)


def _read_yolo_film(path: Path, folder: Path, names: Sequence[str]) -> RawFilm | None:
    label, truth_path = _beside(path, "labels", ".txt"), _beside(path, "truth", ".json")
    truth: dict[str, Any] = {}
    if truth_path.parent.is_dir():  # the film generator's; it writes the truth last
        if not truth_path.is_file():
            return None
        truth = json.loads(truth_path.read_text(encoding="utf-8"))
    size_px = image_size_px(path)
    numbered = yolo_outlines(label, size_px, len(names)) if label.is_file() else []
    outlines = tuple((names[number], outline) for number, outline in numbered)
    view, group = str(truth.get("view", "")).lower(), str(truth.get("group", ""))
    return RawFilm(path, size_px, outlines, part_of(path.relative_to(folder).parent), view, group)


def _yolo_names(folder: Path) -> tuple[str, ...]:
    for name in ("data.yaml", "data.yml", "data.json"):
        path = folder / name
        if path.is_file():
            return _names_of(path)
    raise LabelsError(f"{folder}: neither data.yaml nor data.json is there; one must list the class names")


def _names_of(path: Path) -> tuple[str, ...]:
    text = path.read_text(encoding="utf-8")
    try:
        names = (json.loads(text) if path.suffix == ".json" else _yaml(text))["names"]
    except (ValueError, KeyError, TypeError) as error:
        raise LabelsError(
            f"{path}: holds no 'names' that can be read ({error}); list the classes there"
        ) from error
    return tuple(map(str, names.values() if isinstance(names, dict) else names))


def _yaml(text: str) -> Any:
    import yaml  # type: ignore[import-untyped]  # comes without stubs

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
