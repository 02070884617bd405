"""Made-up labelled films, and where the project's own data may lie."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from spinepacs.domain.anatomy import Level

if TYPE_CHECKING:
    from spinepacs.training.films.anatomy import Anatomy
    from spinepacs.training.films.second import Second

REPOSITORY = Path(__file__).parents[2]


def data_folder() -> Path:
    """Folder of films and weights: $SPINEPACS_DATA, else ../shared/data beside the repository."""
    return Path(os.environ.get("SPINEPACS_DATA", REPOSITORY.parent / "shared" / "data"))


MESHES = Path(os.environ.get("SPINEPACS_MESHES", data_folder() / "meshes" / "bodyparts3d"))


@pytest.fixture(scope="session")
def anatomy() -> Anatomy:
    """The donor, loaded once."""
    pytest.importorskip("numba", reason="numba is not installed (extra: train)")
    from spinepacs.training.films.anatomy import load_anatomy

    if not (MESHES / "index.csv").is_file():
        pytest.skip(f"no BodyParts3D surfaces at {MESHES}; set SPINEPACS_MESHES")
    return load_anatomy(MESHES)


@pytest.fixture(scope="session")
def second(anatomy: Anatomy) -> Second:
    """The second donor, laid in the first one's place, loaded once."""
    from spinepacs.training.films.second import load_second

    folder = data_folder() / "meshes" / "vhm_lumbosacral"
    if not folder.is_dir():
        pytest.skip(f"no surfaces of a second donor at {folder}; set SPINEPACS_DATA")
    return load_second(folder, anatomy)


@pytest.fixture
def coco_weights() -> Path:
    """OpenVINO folder of the COCO detector: $SPINEPACS_COCO_WEIGHTS, else below the data folder."""
    given = os.environ.get("SPINEPACS_COCO_WEIGHTS")
    folder = Path(given) if given else data_folder() / "weights" / "yolo11n-coco-int8-openvino"
    if not folder.is_dir():
        pytest.skip(f"the COCO weights are not at {folder}; set SPINEPACS_COCO_WEIGHTS to their folder")
    return folder


@pytest.fixture
def ap_folder(tmp_path: Path) -> Path:
    """Six AP films in three groups; 17 quads each, 100 × 300 px."""
    folder = tmp_path / "ap"
    folder.mkdir()
    levels = [level.name for level in Level if Level.T1 <= level <= Level.L5]
    with (
        (folder / "films.csv").open("w", newline="") as films,
        (folder / "corners.csv").open("w", newline="") as corners,
    ):
        film_table, corner_table = csv.writer(films), csv.writer(corners)
        film_table.writerow(("film", "group", "width", "height"))
        corner_table.writerow(
            ("film", "level", *(f"{c}_{a}" for c in ("tl", "tr", "bl", "br") for a in "xy"))
        )
        for number in range(6):
            name = f"ap-{number}.png"
            film_table.writerow((name, number // 2, 100, 300))
            noise = np.random.default_rng(number).integers(
                0, 120, (30, 10), np.uint8
            )  # else all would look alike
            image = cv2.resize(noise, (100, 300), interpolation=cv2.INTER_CUBIC)
            for k, level in enumerate(levels):
                top, bottom = 10 + 16 * k, 22 + 16 * k
                image[top:bottom, 35:65] = 190
                corner_table.writerow((name, level, 35, top, 65, top, 35, bottom, 65, bottom))
            cv2.imwrite(str(folder / name), image)
    return folder


@pytest.fixture
def yolo_folder(tmp_path: Path) -> Path:
    """Two finished films and one whose truth is not written yet."""
    folder = tmp_path / "synthetic"
    for part in ("images", "labels", "truth"):
        (folder / part).mkdir(parents=True)
    for number in range(3):
        cv2.imwrite(str(folder / "images" / f"s{number}.png"), np.full((200, 160), 90, np.uint8))
        lines = [
            f"{c} 0.3 {y} 0.7 {y} 0.7 {y + 0.1} 0.3 {y + 0.1}" for c, y in ((22, 0.2), (23, 0.4), (24, 0.6))
        ]
        (folder / "labels" / f"s{number}.txt").write_text("\n".join(lines))
        if number < 2:
            (folder / "truth" / f"s{number}.json").write_text('{"view": "lateral"}')
    return folder
