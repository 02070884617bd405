"""Corrected films as a data set: PNG without identity in native pixels, outlines under the corrected names.

The layout is ``yolo-seg`` of docs/training.md: ``images/``, ``labels/`` and ``data.yaml``. Text that is burnt into the
pixels stays there.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2

from spinepacs.dicom.reading.film import read_film
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import Reading, Refusal
from spinepacs.errors import BadInput, BadSettings, Permanent


def begin(folder: Path) -> None:
    """Make the folders and the list of classes.

    Raises
    ------
    BadSettings
        If the folder holds something already: films of two exports would be there twice, under two names.
    """
    if folder.exists() and any(folder.iterdir()):
        raise BadSettings(f"{folder} is not empty: films that are exported twice have two names")
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    names = json.dumps([level.name for level in Level])
    (folder / "data.yaml").write_text(f"train: images\nval: images\nnames: {names}\n", encoding="utf-8")


def write_film(film: Path, reading: Reading, folder: Path, name: str, character_set: str = "") -> None:
    """Write one film, as it is windowed and turned in its file, and its outlines.

    Raises
    ------
    BadInput
        If the film is damaged.
    Permanent
        If it cannot be written.
    """
    loaded = read_film(film, character_set)
    if isinstance(loaded, Refusal):
        raise BadInput(loaded.code, loaded.reason)
    display = loaded.radiograph.display
    if not cv2.imwrite(str(folder / "images" / f"{name}.png"), display):
        raise Permanent("the picture could not be written")
    lines = labels(reading, *display.shape)
    (folder / "labels" / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def labels(reading: Reading, rows: int, columns: int) -> list[str]:
    """One line for each vertebra: number of its class, and x and y of its outline as shares of the film."""
    lines = []
    for vertebra in reading.spine.vertebrae if reading.spine else ():
        shares = (vertebra.outline.points / (columns, rows)).clip(0, 1)
        lines.append(" ".join([str(int(vertebra.level)), *(f"{share:.7f}" for share in shares.ravel())]))
    return lines
