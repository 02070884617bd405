"""Compare the greys, local contrast and spectra of two folders of films, such as real and synthetic ones.

Run as ``python -m spinepacs.training.films.compare REAL SYNTHETIC [--view ap]``.  Films are brought to one height
first, so that a band means the same part of the anatomy in both folders, whatever their pixels.
"""

from __future__ import annotations

import argparse
import json
import sys
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from spinepacs.training.films.mesh import Floats

HEIGHT_PX = 1536
WINDOW_PX = 512
TILE_PX = 32
PERCENTILES = (5, 25, 50, 75, 95)
ENDINGS = (".png", ".jpg", ".jpeg")
NAMES = (*(f"grey {p} %" for p in PERCENTILES), "tile SD 25 %", "tile SD 50 %", "tile SD 75 %",
         *(f"log10 power, {2 * 2**k}-{4 * 2**k} px" for k in range(7, -1, -1)))  # fmt: skip


def film_paths(
    folder: Path, view: str | None = None, region: str | None = None, limit: int = 60
) -> list[Path]:
    """Return the films of a folder (or of its `images`), sorted, at most `limit` spread evenly.

    view, region: only films whose truth says so; folders without `truth` are taken whole.
    Raises FileNotFoundError when there is none.
    """
    inner = folder / "images" if (folder / "images").is_dir() else folder
    paths = sorted(path for path in inner.iterdir() if path.suffix.lower() in ENDINGS)
    if (folder / "truth").is_dir():
        paths = [path for path in paths if _is(folder / "truth" / f"{path.stem}.json", view, region)]
    if not paths:
        raise FileNotFoundError(f"{folder} holds no film of the kind asked for")
    return [paths[k] for k in np.unique(np.linspace(0, len(paths) - 1, min(limit, len(paths))).astype(int))]


def _is(truth_path: Path, view: str | None, region: str | None) -> bool:
    if not truth_path.is_file():
        return False
    truth = json.loads(truth_path.read_text(encoding="utf-8"))
    return (view is None or truth["view"] == view) and (region is None or truth["region"] == region)


def film_statistics(film: NDArray[np.uint8]) -> Floats:
    """Return one number for each of NAMES for a film (H, W) uint8.

    Greys are percentiles of the film, the SD that of 32-px tiles, the power that of Hann windows of 512 px in the
    middle of the film by octaves of wavelength, all at a film height of 1536 px.
    """
    scale = HEIGHT_PX / film.shape[0]
    size = (max(WINDOW_PX, round(film.shape[1] * scale)), HEIGHT_PX)
    grey = cv2.resize(film, size, interpolation=cv2.INTER_AREA).astype(np.float64)
    rows, columns = grey.shape[0] // TILE_PX, grey.shape[1] // TILE_PX
    tiles = grey[: rows * TILE_PX, : columns * TILE_PX].reshape(rows, TILE_PX, columns, TILE_PX)
    spread = tiles.std(axis=(1, 3))
    return np.concatenate(
        [np.percentile(grey, PERCENTILES), np.percentile(spread, (25, 50, 75)), octave_power(grey)]
    )


def octave_power(grey: Floats) -> Floats:
    """Return log10 of the mean power of 512-px Hann windows, eight octaves from 512-256 px to 4-2 px wavelength."""
    hann = np.hanning(WINDOW_PX)
    left = (grey.shape[1] - WINDOW_PX) // 2
    windows = [
        grey[top : top + WINDOW_PX, left : left + WINDOW_PX] for top in range(0, grey.shape[0] - 255, 256)
    ]
    whole = [w for w in windows if w.shape == (WINDOW_PX, WINDOW_PX)]
    power = np.mean([np.abs(np.fft.rfft2((w - w.mean()) * np.outer(hann, hann))) ** 2 for w in whole], axis=0)
    across, along = np.fft.rfftfreq(WINDOW_PX), np.fft.fftfreq(WINDOW_PX)
    radius = np.hypot(along[:, None], across[None])
    edges = 0.5 ** np.arange(9, 0, -1)
    bands = [power[(radius >= low) & (radius < high)].mean() for low, high in pairwise(edges)]
    return np.log10(np.maximum(bands, 1e-9))


def folder_statistics(paths: list[Path]) -> Floats:
    """Return the statistics of films, (films, len(NAMES)). Raises ValueError for a file that is no picture."""
    rows = []
    for path in paths:
        film = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if film is None:
            raise ValueError(f"{path} is no picture")
        rows.append(film_statistics(np.asarray(film, dtype=np.uint8)))
    return np.array(rows)


def comparison(real: Floats, synthetic: Floats) -> str:
    """Return a table of medians with quartiles, and how far apart the medians are in quartile ranges of the real."""
    lines = [f"{'':24}{'real (quartiles)':>26}{'synthetic (quartiles)':>26}{'apart':>8}"]
    for k, name in enumerate(NAMES):
        a, b = (np.percentile(side[:, k], (50, 25, 75)) for side in (real, synthetic))
        apart = (b[0] - a[0]) / max(a[2] - a[1], 1e-6)
        cells = [f"{m:.2f} ({low:.2f} to {high:.2f})" for m, low, high in (a, b)]
        lines.append(f"{name:24}{cells[0]:>26}{cells[1]:>26}{apart:>8.2f}")
    return "\n".join(lines)


def main() -> None:
    """Print the comparison of two folders from the command line."""
    parser = argparse.ArgumentParser(
        description="Compare greys, contrast and spectra of two folders of films."
    )
    parser.add_argument("real", type=Path)
    parser.add_argument("synthetic", type=Path)
    parser.add_argument(
        "--view", choices=("lateral", "ap", "oblique"), help="only synthetic films of this view"
    )
    parser.add_argument("--region", choices=("full", "cervical", "thoracic", "lumbar"))
    parser.add_argument("--films", type=int, default=60, help="at most so many of each folder")
    given = parser.parse_args()
    real = film_paths(given.real, given.view, given.region, given.films)
    synthetic = film_paths(given.synthetic, given.view, given.region, given.films)
    table = comparison(folder_statistics(real), folder_statistics(synthetic))
    sys.stdout.write(f"{len(real)} real films, {len(synthetic)} synthetic ones\n{table}\n")


if __name__ == "__main__":
    main()
