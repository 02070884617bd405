"""The comparison of two folders of films."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("numba", reason="numba is not installed (extra: train)")

from spinepacs.training.films.compare import NAMES, comparison, film_paths, film_statistics, folder_statistics


def waves(wavelength_px: float) -> np.ndarray:
    column = 128 + 60 * np.sin(2 * np.pi * np.arange(1536) / wavelength_px)
    return np.repeat(column[:, None], 600, axis=1).astype(np.uint8)


@pytest.mark.parametrize(("wavelength_px", "band"), [(24.0, "16-32"), (200.0, "128-256")])
def test_a_wave_lies_in_its_own_octave(wavelength_px: float, band: str) -> None:
    powers = film_statistics(waves(wavelength_px))[-8:]
    assert NAMES[-8:][int(np.argmax(powers))] == f"log10 power, {band} px"


def test_greys_of_a_plain_film() -> None:
    numbers = dict(zip(NAMES, film_statistics(np.full((1536, 600), 90, np.uint8)), strict=True))
    assert numbers["grey 5 %"] == numbers["grey 95 %"] == 90
    assert numbers["tile SD 50 %"] == 0


def test_only_films_of_the_view_asked_for_are_compared(tmp_path: Path) -> None:
    for folder in ("images", "truth"):
        (tmp_path / folder).mkdir()
    for name, view in (("a", "ap"), ("b", "lateral")):
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), waves(24))
        (tmp_path / "truth" / f"{name}.json").write_text(json.dumps({"view": view, "region": "full"}))
    paths = film_paths(tmp_path, "ap")
    assert [path.stem for path in paths] == ["a"]
    table = comparison(folder_statistics(paths), folder_statistics(paths))
    assert len(table.splitlines()) == 1 + len(NAMES)
    with pytest.raises(FileNotFoundError, match="no film"):
        film_paths(tmp_path, "oblique")
